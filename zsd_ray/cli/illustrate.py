"""The `illustrate` command: figures of a run's model applied to a few of its images."""

from __future__ import annotations

import argparse

from zsd_ray.cli.options import Commands, add_json, add_storage
from zsd_ray.cli.storage_options import storage_section
from zsd_ray.cli.terminal import make_console, print_json, quieten
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    illustrate = commands.add_parser(
        "illustrate", help="show what a run's model makes of a few of its images"
    )
    illustrate.add_argument("run", metavar="RUN", help="its output.path: a folder or a URL")
    illustrate.add_argument(
        "--images",
        type=int,
        default=2,
        metavar="N",
        help="how many, right and wrong ones in turn (default: 2)",
    )
    add_storage(illustrate)
    add_json(illustrate)
    illustrate.set_defaults(command=_illustrate)


def _illustrate(options: argparse.Namespace) -> int:
    quieten()
    storage = storage_section(options.overrides)
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.studies.illustrations.illustration_page import illustration_lines
    from zsd_ray.studies.illustrations.illustrations_of_run import illustrate

    with ProgressBar(make_console(stderr=True)) as bar:

        def on_part(done: int, total: int) -> None:
            bar.stage("parts", done, total, "")

        found = illustrate(
            options.run,
            options.images,
            storage=storage if options.overrides else None,
            on_part=on_part,
        )
    if options.json:
        print_json(found.index())
        return EXIT_OK
    place = found.run.rstrip("/")
    print(illustration_lines(found))
    print(f"\nfigures  {place}/illustrations.html\narrays   {place}/illustrations/")
    return EXIT_OK
