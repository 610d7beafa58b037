"""The `pairs` and `shape-bias` commands: task-specific metrics of a saved run."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from zsd_ray.cli.options import Commands, add_html, add_json, add_storage
from zsd_ray.cli.storage_options import store_of
from zsd_ray.cli.terminal import print_json, quieten, write_page
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add these commands to the parser's."""
    pairs = _add_task(commands, "pairs", "Winoground's text, image and group score of a run")
    pairs.set_defaults(command=_pairs)
    bias = _add_task(
        commands, "shape-bias", "whether a run on cue-conflict images decides by shape or texture"
    )
    bias.add_argument(
        "--decisions",
        action="extend",
        nargs="+",
        default=[],
        metavar="CSV",
        help="recorded decisions of people and networks, to compare with",
    )
    add_html(bias)
    bias.set_defaults(command=_shape_bias)


def _add_task(commands: Commands, name: str, text: str) -> argparse.ArgumentParser:
    """Add a command that evaluates one saved run."""
    command = commands.add_parser(name, help=text)
    command.add_argument("run", metavar="RUN", help="its output.path: a folder or a URL")
    add_storage(command)
    add_json(command)
    return command


def _pairs(options: argparse.Namespace) -> int:
    quieten()
    store = store_of(options.overrides)
    from zsd_ray.studies.pairs.pair_lines import pairs_lines
    from zsd_ray.studies.pairs.pairs_of_run import pairs

    found = pairs(options.run, store)
    if options.json:
        print_json(asdict(found))
    else:
        print(pairs_lines(found.scores, found.n_left_out, found.doubt))
    return EXIT_OK


def _shape_bias(options: argparse.Namespace) -> int:
    quieten()
    store = store_of(options.overrides)
    from zsd_ray.studies.cue_conflict.shape_bias_of_run import cue_conflict
    from zsd_ray.studies.cue_conflict.shape_bias_page import render_shape_bias, shape_bias_lines

    found = cue_conflict(options.run, options.decisions, store)
    shown = (found.observers, found.n_errors, found.n_open)
    if options.html is not None:
        write_page(options.html, render_shape_bias(found.run, *shown))
    if options.json:
        print_json(asdict(found))
    else:
        print(shape_bias_lines(*shown))
    return EXIT_OK
