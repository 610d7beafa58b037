"""The `fid` command: the distance between generated and real images."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from zsd_ray.cli.options import Commands, add_json, add_set
from zsd_ray.cli.terminal import make_console, print_json, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    fid = commands.add_parser("fid", help="measure FID and KID of generated against real images")
    fid.add_argument("config", help="YAML file; docs/reference/fid.md lists its keys")
    add_set(fid)
    fid.add_argument("--local", action="store_true", help="in one process, without Ray")
    add_json(fid)
    fid.set_defaults(command=_fid)


def _fid(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import load_config
    from zsd_ray.studies.fid.fid_config import FidConfig

    config = load_config(FidConfig, options.config, options.overrides)
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.studies.fid.fid_lines import fid_rows
    from zsd_ray.studies.fid.measuring import fid

    console = make_console(stderr=options.json)
    with ProgressBar(console) as bar:

        def on_images(done: int, total: int) -> None:
            bar.stage("images", done, total, "")

        found = fid(config, local=options.local, on_images=on_images, on_warning=warn(console))
    if options.json:
        print_json(asdict(found.entry))
        return EXIT_OK
    print(aligned(fid_rows(found.entry)))
    print_tracked(console, found.tracked)
    print_place(console, "figures", f"{found.output}/fid.json")
    return EXIT_OK
