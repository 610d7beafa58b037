"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zsd_ray.spec.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    RunBrokenError,
    StoreError,
    UserError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from zsd_ray.results.tracking import TrackedRun

_EXIT_CODES = """\
exit codes:
  0    every image was classified
  1    the run broke off; the same command goes on
  2    bad input; nothing was started
  3    some images could not be classified; their rows say why
  130  interrupted; the same command goes on
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    _interrupt_on_terminate()
    try:
        code: int = options.command(options)
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
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zsd-ray",
        description="Measures diffusion models as zero-shot image classifiers.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="classify the images of a configuration, or go on with an interrupted run",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("config", help="YAML file; docs/configuration.md lists its keys")
    _add_set(run)
    run.add_argument(
        "--limit", type=int, metavar="N", help="classify N of the images (a fixed, nested choice)"
    )
    run.add_argument("--local", action="store_true", help="in one process, without Ray")
    run.set_defaults(command=_run)
    train = commands.add_parser(
        "train", help="train a small text-to-image diffusion model, or go on with its training"
    )
    train.add_argument("config", help="YAML file; docs/training.md lists its keys")
    _add_set(train)
    train.set_defaults(command=_train)
    return parser


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one key of the file; may be given several times",
    )


def _run(options: argparse.Namespace) -> int:
    _quieten()
    from zsd_ray.spec.config import RunConfig, load_config

    config = load_config(RunConfig, options.config, options.overrides, options.limit)
    from zsd_ray.api import run
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.reports.summary import summary_table

    console = _console()
    with ProgressBar(console) as bar:
        result = run(config, local=options.local, on_progress=bar.run, on_warning=_warn(console))
    done = result.run
    console.print(summary_table(done))
    _print_place(console, "decisions", f"{result.output}/decisions/*.parquet")
    _print_tracked(console, result.tracked)
    _print_place(console, "report", result.report)
    if done.status == "incomplete":
        print(
            f"zsd-ray: {done.n_done} of {done.n_images} images were classified; the error column "
            "of the decisions says why the others were not",
            file=sys.stderr,
        )
        return EXIT_INCOMPLETE
    return EXIT_OK


def _train(options: argparse.Namespace) -> int:
    _quieten()
    from zsd_ray.spec.config import load_config
    from zsd_ray.spec.train_config import TrainConfig

    config = load_config(TrainConfig, options.config, options.overrides)
    from zsd_ray.reports.progress_bar import ProgressBar, duration
    from zsd_ray.training.run import train

    console = _console()
    with ProgressBar(console) as bar:

        def on_step(stage: str, done: int, steps: int, loss: float) -> None:
            bar.training(stage, done, steps, f"loss {loss:.4f}")

        result = train(config, on_step, _warn(console))
    console.print(f"trained in {duration(result.seconds)}", highlight=False)
    _print_tracked(console, result.tracked)
    _print_place(console, "model", result.model)
    return EXIT_OK


def _print_place(console: Console, name: str, place: str) -> None:
    console.print(f"{name:11}{place}", soft_wrap=True, markup=False)


def _print_tracked(console: Console, tracked: TrackedRun | None) -> None:
    if tracked is not None:
        place = f"{tracked.uri} experiment {tracked.experiment!r} run {tracked.run_id}"
        _print_place(console, "MLflow", place)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _warn(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"warning: {text}", style="yellow", markup=False)


def _interrupt_on_terminate() -> None:
    """Let SIGTERM (`ray job stop`, Kubernetes, Slurm) end a run as Ctrl-C does: rows are kept."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupt)


def _quieten() -> None:
    """Keep the libraries' own progress bars and advice out of ours."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)


if __name__ == "__main__":
    sys.exit(main())
