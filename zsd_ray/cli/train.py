"""The `train` command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from zsd_ray.cli.options import EXIT_CODES, Commands, add_set
from zsd_ray.cli.terminal import make_console, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_OK

if TYPE_CHECKING:  # torch takes seconds to import
    from zsd_ray.training.news import Steps


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    train = commands.add_parser(
        "train",
        help="train a model on a Ray cluster, or resume its training",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_argument("config", help="YAML file; docs/reference/training.md lists its keys")
    add_set(train)
    train.add_argument("--local", action="store_true", help="in one process, without Ray")
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.training import load_training

    config = load_training(options.config, options.overrides)
    from zsd_ray.api import train
    from zsd_ray.reports.progress_bar import ProgressBar, duration

    console = make_console()
    with ProgressBar(console) as bar:

        def show(steps: Steps, images_per_second: float) -> None:
            parts = [] if steps.epoch is None else [f"epoch {steps.epoch}"]
            parts.append(f"loss {steps.losses[-1]:.4f}")
            if images_per_second:
                parts.append(f"{images_per_second:,.0f} images/s")
            bar.stage(steps.stage, steps.done, steps.total, " | ".join(parts))

        result = train(config, local=options.local, on_progress=show, on_warning=warn(console))
    console.print(f"trained in {duration(result.seconds)}", highlight=False)
    print_tracked(console, result.tracked)
    print_place(console, "model", result.model)
    return EXIT_OK
