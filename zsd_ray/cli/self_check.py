"""The `self-check` command: does a model classify its own generated images?"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from zsd_ray.cli.options import Commands, add_config, add_json
from zsd_ray.cli.terminal import make_console, print_json, print_place, quieten, warn
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    check = commands.add_parser(
        "self-check",
        help="classify images that the model makes itself, beside those of a configuration",
    )
    add_config(check)
    check.add_argument(
        "--images-per-class", type=int, default=5, metavar="N", help="to make (default: 5)"
    )
    check.add_argument(
        "--draws", type=int, default=40, metavar="N", help="of every class (default: 40)"
    )
    check.add_argument("--local", action="store_true", help="in one process, without Ray")
    add_json(check)
    check.set_defaults(command=_self_check)


def _self_check(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import RunConfig, load_config

    config = load_config(
        RunConfig, options.config, options.overrides, options.limit, options.preset
    )
    from zsd_ray.api import self_check
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.studies.self_check.self_check_page import self_check_lines

    console = make_console(stderr=options.json)
    with ProgressBar(console) as bar:

        def on_part(done: int, total: int) -> None:
            bar.stage("images", done, total, "")

        found = self_check(
            config,
            options.images_per_class,
            options.draws,
            local=options.local,
            on_part=on_part,
            on_progress=bar.run,
            on_warning=warn(console),
        )
    if options.json:
        print_json(asdict(found))
        return EXIT_OK
    print(self_check_lines(found))
    print_place(console, "page", found.page)
    return EXIT_OK
