"""From arguments to a command and its exit code."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence

from zsd_ray.cli import (
    datasets,
    fid,
    generate,
    illustrate,
    models,
    probe,
    runs,
    saved,
    sweep,
    tasks,
    train,
)
from zsd_ray.cli.options import EXIT_CODES
from zsd_ray.spec.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    RunBrokenError,
    StoreError,
    UserError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    _interrupt_on_terminate()
    try:
        code: int = options.command(options)
        sys.stdout.flush()
    except UserError as error:
        print(f"zsd-ray: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except RunBrokenError as error:
        print(f"zsd-ray: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except StoreError as error:
        print(f"zsd-ray: error: {error}; run the same command again to go on", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("zsd-ray: interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return EXIT_OK
    return code


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as in `zsd-ray models | head`; then nothing is."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    gone = any(event & select.POLLERR for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    generate.add(commands)
    fid.add(commands)
    models.add(commands)
    datasets.add(commands)
    train.add(commands)
    return parser


def _interrupt_on_terminate() -> None:
    """Let SIGTERM (`ray job stop`, Kubernetes, Slurm) end a run as Ctrl-C does: rows are kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)
