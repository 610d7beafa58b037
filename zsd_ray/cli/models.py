"""The `check-model` and `models` commands."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from zsd_ray.cli.options import Commands, add_config, add_json
from zsd_ray.cli.terminal import make_console, print_json, quieten
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add these commands to the parser's."""
    check = commands.add_parser(
        "check-model", help="compare the model's fast numbers with plain float32, on a few images"
    )
    add_config(check)
    check.add_argument("--images", type=int, default=8, metavar="N", help="how many (default: 8)")
    add_json(check)
    check.set_defaults(command=_check_model)
    models = commands.add_parser("models", help="list the model families and what each can do")
    add_json(models)
    models.set_defaults(command=_models)


def _check_model(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import RunConfig, load_config

    config = load_config(
        RunConfig, options.config, options.overrides, options.limit, options.preset
    )
    from zsd_ray.evaluation.check_model import check_model
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.model_lines import check_rows
    from zsd_ray.reports.progress_bar import ProgressBar

    with ProgressBar(make_console(stderr=True)) as bar:
        found = check_model(config, options.images, bar.passes)
    if options.json:
        print_json(asdict(found) | {"agreement": found.agreement})
    else:
        differ, dtype = found.relative_difference, config.model.dtype
        print(aligned(check_rows(differ, found.n_agree, found.n_images, dtype)))
    return EXIT_OK


def _models(options: argparse.Namespace) -> int:
    from zsd_ray.config.families import FAMILIES
    from zsd_ray.reports.model_lines import family_lines, methods_of

    if options.json:
        print_json(
            {
                name: asdict(family) | {"methods": methods_of(family)}
                for name, family in FAMILIES.items()
            }
        )
    else:
        print(family_lines(FAMILIES))
    return EXIT_OK
