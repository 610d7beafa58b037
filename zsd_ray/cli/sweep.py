"""The `sweep` command: models x data sets x methods, and the table of results."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from zsd_ray.cli.options import EXIT_CODES, Commands, add_json, add_set
from zsd_ray.cli.terminal import make_console, print_json, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_INCOMPLETE, EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    sweep = commands.add_parser(
        "sweep",
        help="run models x data sets x methods, or resume an interrupted sweep of them",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument("config", help="YAML file; docs/how-to/suites.md lists its keys")
    add_set(sweep)
    sweep.add_argument(
        "--limit", type=int, metavar="N", help="classify N of the images of each cell"
    )
    sweep.add_argument("--local", action="store_true", help="in one process, without Ray")
    add_json(sweep)
    sweep.set_defaults(command=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import load_config
    from zsd_ray.studies.sweeps.suite_config import Cell, SuiteConfig

    suite = load_config(SuiteConfig, options.config, options.overrides)
    from zsd_ray.reports.lines import columns
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.studies.sweeps.sweep_tables import tables
    from zsd_ray.studies.sweeps.sweeping import sweep

    console = make_console(stderr=True)  # stdout is for the requested output
    with ProgressBar(console) as bar:

        def on_cell(cell: Cell, number: int, total: int) -> None:
            console.print(f"{number} of {total}  {cell.name}", markup=False, soft_wrap=True)

        result = sweep(
            suite,
            limit=options.limit,
            local=options.local,
            on_check=lambda done, total: bar.stage("cells checked", done, total, ""),
            on_cell=on_cell,
            on_progress=bar.run,
            on_warning=warn(console),
        )
    record = result.record
    if options.json:
        print_json(asdict(record))
    else:
        for table in tables(record.cells, suite):
            print(f"{table.title}\n\n{columns([table.header, *table.rows])}\n\n{table.note}\n")
        places = make_console()
        print_place(places, "table", f"{result.output}/table.csv, table.md")
        print_tracked(places, result.tracked)
        print_place(places, "report", result.report)
    if record.status == "incomplete":
        n_open = len(record.cells) - record.n_whole
        print(f"zsd-ray: {n_open} of {len(record.cells)} cells are not whole", file=sys.stderr)
        return EXIT_INCOMPLETE
    return EXIT_OK
