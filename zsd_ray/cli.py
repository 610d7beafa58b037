"""The command line. Heavy imports wait until a command needs them, so that --help is instant."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
    from zsd_ray.spec.config import StorageConfig

_STATUS_SECONDS = 10.0
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
    _add_config(run)
    run.add_argument("--local", action="store_true", help="in one process, without Ray")
    run.add_argument(
        "--fresh", action="store_true", help="start over beside output.path, at -2, -3, ..."
    )
    run.set_defaults(command=_run)
    plan = commands.add_parser(
        "plan", help="check a configuration, and say or estimate what its run will take"
    )
    _add_config(plan)
    plan.add_argument(
        "--pilot", type=int, metavar="N", help="run N of the images, and estimate from them"
    )
    plan.add_argument("--local", action="store_true", help="the pilot in one process, without Ray")
    plan.add_argument("--price", type=float, metavar="DOLLARS", help="of one GPU, an hour")
    _add_json(plan)
    plan.set_defaults(command=_plan)
    status = commands.add_parser("status", help="show how a run is doing, from any shell")
    status.add_argument("output", help="its output.path: a folder or a URL")
    _add_set(status, "storage.KEY=VALUE", "how s3:// is reached; may be given several times")
    _add_json(status)
    status.set_defaults(command=_status)
    check = commands.add_parser(
        "check-model", help="compare the model's fast numbers with plain float32, on a few images"
    )
    _add_config(check)
    check.add_argument("--images", type=int, default=8, metavar="N", help="how many (default: 8)")
    _add_json(check)
    check.set_defaults(command=_check_model)
    models = commands.add_parser("models", help="list the model families and what each can do")
    _add_json(models)
    models.set_defaults(command=_models)
    train = commands.add_parser(
        "train", help="train a small text-to-image diffusion model, or go on with its training"
    )
    train.add_argument("config", help="YAML file; docs/training.md lists its keys")
    _add_set(train)
    train.set_defaults(command=_train)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="YAML file; docs/configuration.md lists its keys")
    _add_set(parser)
    parser.add_argument(
        "--limit", type=int, metavar="N", help="classify N of the images (a fixed, nested choice)"
    )


def _add_set(
    parser: argparse.ArgumentParser,
    form: str = "SECTION.KEY=VALUE",
    text: str = "override one key of the file; may be given several times",
) -> None:
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar=form, help=text
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _run(options: argparse.Namespace) -> int:
    _quieten()
    from zsd_ray.spec.config import RunConfig, load_config

    config = load_config(RunConfig, options.config, options.overrides, options.limit)
    from zsd_ray.api import in_fresh_place, run
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.reports.summary import summary_table
    from zsd_ray.spec.secrets import redact

    console = _console()
    if options.fresh:
        config = in_fresh_place(config)
        _print_place(console, "output", redact(config.output.path))
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


def _plan(options: argparse.Namespace) -> int:
    _quieten()
    from zsd_ray.spec.config import RunConfig, load_config

    config = load_config(RunConfig, options.config, options.overrides, options.limit)
    from zsd_ray.api import forecast
    from zsd_ray.reports.forecast import bounds_rows, caveat, estimate_rows
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.progress_bar import ProgressBar

    console = _console(stderr=True)  # stdout is for what is asked for
    with ProgressBar(console) as bar:
        found = forecast(
            config,
            pilot=options.pilot,
            price=options.price,
            local=options.local,
            on_progress=bar.run,
            on_warning=_warn(console),
        )
    if options.json:
        _print_json(asdict(found))
        return EXIT_OK
    print(aligned(bounds_rows(found.bounds)))
    if found.estimate is not None and found.pilot is not None:
        print(f"\n{caveat(found.estimate, options.local)}\n")
        print(aligned(estimate_rows(found.bounds, found.estimate, found.pilot)))
    return EXIT_OK


def _check_model(options: argparse.Namespace) -> int:
    _quieten()
    from zsd_ray.spec.config import RunConfig, load_config

    config = load_config(RunConfig, options.config, options.overrides, options.limit)
    from zsd_ray.api import check_model
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.models import check_rows
    from zsd_ray.reports.progress_bar import ProgressBar

    with ProgressBar(_console(stderr=True)) as bar:
        found = check_model(config, options.images, bar.passes)
    if options.json:
        _print_json(asdict(found) | {"agreement": found.agreement})
    else:
        differ, dtype = found.relative_difference, config.model.dtype
        print(aligned(check_rows(differ, found.n_agree, found.n_images, dtype)))
    return EXIT_OK


def _models(options: argparse.Namespace) -> int:
    from zsd_ray.models.families import FAMILIES
    from zsd_ray.reports.models import family_lines

    if options.json:
        _print_json({name: asdict(family) for name, family in FAMILIES.items()})
    else:
        print(family_lines(FAMILIES))
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.status import status_rows
    from zsd_ray.results.status import read_status
    from zsd_ray.storage import filesystem

    filesystem.configure(_storage(options.overrides), retry_seconds=_STATUS_SECONDS)
    status = read_status(options.output)
    if options.json:
        _print_json(asdict(status))
    else:
        print(aligned(status_rows(status)))
    return EXIT_OK


def _storage(overrides: Sequence[str]) -> StorageConfig:
    """The storage section that `--set storage.KEY=VALUE` describes, without a file."""
    from zsd_ray.spec.config import StorageConfig, parse_config

    tree = {}
    for override in overrides:
        name, separator, value = override.partition("=")
        section, _, key = name.partition(".")
        if section != "storage" or not key or not separator:
            raise UserError(f"--set takes storage.KEY=VALUE here, but came {override!r}")
        tree[key] = value
    return parse_config(StorageConfig, tree, "--set storage")


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


def _print_json(tree: dict[str, Any]) -> None:
    print(json.dumps(tree, indent=2, ensure_ascii=False))


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


def _warn(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(
        f"warning: {text}", style="yellow", markup=False, soft_wrap=True
    )


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
    warnings.showwarning = _show_warning  # type: ignore[assignment]


def _show_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """One line, without the place in the code that a user has no use for."""
    print(f"warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
