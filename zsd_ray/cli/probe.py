"""The `probe` command: how well a model's block activations predict the class of an image."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from zsd_ray.cli.options import EXIT_CODES, Commands, add_json, add_set
from zsd_ray.cli.terminal import make_console, print_json, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_INCOMPLETE, EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    probe = commands.add_parser(
        "probe",
        help="fit linear and nearest-neighbour probes to every block of a model",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    probe.add_argument("config", help="YAML file; docs/reference/probes.md lists its keys")
    add_set(probe)
    probe.add_argument("--local", action="store_true", help="in one process, without Ray")
    add_json(probe)
    probe.set_defaults(command=_probe)


def _probe(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import load_config
    from zsd_ray.studies.probes.probe_config import ProbeConfig

    config = load_config(ProbeConfig, options.config, options.overrides)
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.studies.probes.probe_page import probe_lines
    from zsd_ray.studies.probes.probing import probe

    console = make_console(stderr=True)  # stdout is for the requested output
    with ProgressBar(console) as bar:

        def on_stage(stage: str, done: int, total: int) -> None:
            bar.stage(stage, done, total, "")

        result = probe(config, local=options.local, on_stage=on_stage, on_warning=warn(console))
    if options.json:
        print_json(asdict(result.record) | {"rows": result.rows})
    else:
        print(probe_lines(result.record, result.rows), end="\n\n")
        places = make_console()
        print_place(places, "rows", f"{result.output}/probes.parquet")
        if result.saved is not None:
            print_place(places, "probe", result.saved)
        print_tracked(places, result.tracked)
        print_place(places, "report", result.report)
    errors = result.record.errors
    if errors:
        image, reason = next(iter(errors.items()))
        print(f"zsd-ray: {len(errors)} images were left out ({image}: {reason})", file=sys.stderr)
        return EXIT_INCOMPLETE
    return EXIT_OK
