"""The `run`, `plan` and `status` commands."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from zsd_ray.cli.options import EXIT_CODES, Commands, add_config, add_json, add_storage
from zsd_ray.cli.storage_options import store_of
from zsd_ray.cli.terminal import make_console, print_json, print_place, print_tracked, quieten, warn
from zsd_ray.records.errors import EXIT_INCOMPLETE, EXIT_OK


def add(commands: Commands) -> None:
    """Add these commands to the parser's."""
    run = commands.add_parser(
        "run",
        help="classify the images of a configuration, or resume an interrupted run",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config(run)
    run.add_argument("--local", action="store_true", help="in one process, without Ray")
    run.add_argument(
        "--fresh", action="store_true", help="start over beside output.path, at -2, -3, ..."
    )
    run.set_defaults(command=_run)
    plan = commands.add_parser(
        "plan", help="check a configuration, and say or estimate what its run will take"
    )
    add_config(plan)
    plan.add_argument(
        "--pilot", type=int, metavar="N", help="run N of the images, and estimate from them"
    )
    plan.add_argument("--local", action="store_true", help="the pilot in one process, without Ray")
    plan.add_argument("--price", type=float, metavar="DOLLARS", help="of one GPU, an hour")
    add_json(plan)
    plan.set_defaults(command=_plan)
    status = commands.add_parser("status", help="show how a run is doing, from any shell")
    status.add_argument("output", help="its output.path: a folder or a URL")
    add_storage(status)
    add_json(status)
    status.set_defaults(command=_status)


def _run(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import RunConfig, load_config

    config = load_config(
        RunConfig, options.config, options.overrides, options.limit, options.preset
    )
    from zsd_ray.evaluation.evaluate import in_fresh_place, run
    from zsd_ray.records.redaction import redact
    from zsd_ray.reports.progress_bar import ProgressBar
    from zsd_ray.reports.summary import summary_table

    console = make_console()
    if options.fresh:
        config = in_fresh_place(config)
        print_place(console, "output", redact(config.output.path))
    with ProgressBar(console) as bar:
        result = run(
            config,
            local=options.local,
            on_progress=bar.run,
            on_warning=warn(console),
            began=options.began,
        )
    done = result.run
    if result.nothing_to_do:
        n_rows = result.table.num_rows
        console.print(f"nothing to do: {n_rows:,} of {done.n_images:,} images are done")
    console.print(summary_table(done))
    print_place(console, "decisions", f"{result.output}/decisions/*.parquet")
    print_tracked(console, result.tracked)
    print_place(console, "report", result.report)
    if done.status == "incomplete":
        print(
            f"zsd-ray: {done.n_done} of {done.n_images} images were classified; the error column "
            "of the decisions says why the others were not",
            file=sys.stderr,
        )
        return EXIT_INCOMPLETE
    return EXIT_OK


def _plan(options: argparse.Namespace) -> int:
    quieten()
    from zsd_ray.config.run import RunConfig, load_config

    config = load_config(
        RunConfig, options.config, options.overrides, options.limit, options.preset
    )
    from zsd_ray.evaluation.forecast import forecast
    from zsd_ray.reports.forecast_lines import bounds_rows, caveat, estimate_rows, sample_lines
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.progress_bar import ProgressBar

    console = make_console(stderr=True)  # stdout is for the requested output
    with ProgressBar(console) as bar:
        found = forecast(
            config,
            pilot=options.pilot,
            price=options.price,
            local=options.local,
            on_progress=bar.run,
            on_warning=warn(console),
        )
    if options.json:
        print_json(asdict(found))
        return EXIT_OK
    print(aligned(bounds_rows(found.bounds, found.noise_levels)))
    print(f"\n{sample_lines(found.sample, found.bounds)}")
    if found.estimate is not None and found.pilot is not None:
        print(f"\n{caveat(found.estimate, options.local)}\n")
        print(aligned(estimate_rows(found.bounds, found.estimate, found.pilot)))
    return EXIT_OK


def _status(options: argparse.Namespace) -> int:
    from zsd_ray.reports.lines import aligned
    from zsd_ray.reports.status_lines import status_rows
    from zsd_ray.results.run_status import read_status

    status = read_status(options.output, store_of(options.overrides))
    if options.json:
        print_json(asdict(status))
    else:
        print(aligned(status_rows(status)))
    return EXIT_OK
