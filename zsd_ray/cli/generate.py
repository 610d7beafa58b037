"""The `generate` command: sample images from a model."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from zsd_ray.cli.options import Commands, add_json, add_set
from zsd_ray.cli.terminal import make_console, print_json, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add this command to the parser's."""
    generate = commands.add_parser(
        "generate", help="make images by a diffusion model, or resume an interrupted set"
    )
    generate.add_argument("config", help="YAML file; docs/reference/generate.md lists its keys")
    add_set(generate)
    generate.add_argument("--local", action="store_true", help="in one process, without Ray")
    add_json(generate)
    generate.set_defaults(command=_generate)


def _generate(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import load_config
    from zsd_ray.studies.generation.generate_config import GenerateConfig

    config = load_config(GenerateConfig, options.config, options.overrides)
    from zsd_ray.reports.progress_bar import ProgressBar, duration
    from zsd_ray.studies.generation.generating import generate

    console = make_console(stderr=options.json)
    with ProgressBar(console) as bar:

        def on_part(done: int, total: int) -> None:
            bar.stage("images", done, total, "")

        made = generate(config, local=options.local, on_part=on_part, on_warning=warn(console))
    if options.json:
        print_json(asdict(made))
        return EXIT_OK
    console.print(
        f"{made.n_images:,} images, {made.n_evaluations:,} evaluations, {duration(made.seconds)}"
    )
    print_tracked(console, made.tracked)
    print_place(console, "images", f"{made.output}/images")
    print_place(console, "grid", f"{made.output}/grid.png")
    return EXIT_OK
