"""Parses the arguments, runs the command and returns its exit code."""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
import time
from collections.abc import Sequence
from typing import Any

from zsd_ray.cli import (
    datasets,
    fid,
    generate,
    illustrate,
    models,
    probe,
    runs,
    saved,
    self_check,
    sweep,
    tasks,
    train,
)
from zsd_ray.cli.endings import ending_of
from zsd_ray.cli.options import EXIT_CODES
from zsd_ray.records.errors import EXIT_OK


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    began = time.monotonic()
    _print_any_name()
    options = _parser().parse_args(arguments)
    options.began = began
    try:
        code: int = options.command(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - also what libraries in Rust raise
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return EXIT_OK
        code, line = ending_of(error)
        print(line, file=sys.stderr)
        _flush_or_forget()
    return code


def _print_any_name() -> None:
    """Print characters that the terminal's encoding lacks as backslash escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _reader_is_gone() -> bool:
    """Return whether the reader of stdout is gone, as in `zsd-ray models | head`; then stop."""
    poll = select.poll()
    try:
        poll.register(sys.stdout, 0)
    except (TypeError, ValueError, OSError):  # it is no file; the pipe was another
        return False
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        _print_nothing()
    return gone


def _flush_or_forget() -> None:
    """Flush stdout; if that fails, keep Python from trying again."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _print_nothing()


def _print_nothing() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """A parser without abbreviated options: `--lim` may mean another one tomorrow."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _Parser(
        prog="zsd-ray",
        description="Measures diffusion models as zero-shot image classifiers.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    runs.add(commands)
    sweep.add(commands)
    saved.add(commands)
    tasks.add(commands)
    illustrate.add(commands)
    probe.add(commands)
    self_check.add(commands)
    generate.add(commands)
    fid.add(commands)
    models.add(commands)
    datasets.add(commands)
    train.add(commands)
    return parser
