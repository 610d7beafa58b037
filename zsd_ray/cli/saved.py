"""The `rescore`, `compare`, `fit` and `calibrate` commands: saved rows only, no model."""

from __future__ import annotations

import argparse
from dataclasses import asdict, astuple

from zsd_ray.cli.options import Commands, add_html, add_json, add_set, add_storage
from zsd_ray.cli.storage_options import store_of
from zsd_ray.cli.terminal import print_json, quieten, write_page
from zsd_ray.records.errors import EXIT_OK


def add(commands: Commands) -> None:
    """Add these commands to the parser's."""
    rescore = commands.add_parser(
        "rescore", help="replay a run's saved scores under another weighting or rule"
    )
    _add_run(rescore)
    rescore.add_argument("--weighting", metavar="NAME", help="as method.weighting")
    rescore.add_argument("--rule", metavar="NAME", help="as pruning.rule, with its defaults")
    add_set(
        rescore,
        "SECTION.KEY=VALUE",
        "pruning.KEY, method.weighting, method.profile, storage.KEY; may be given several times",
    )
    rescore.add_argument(
        "--class-offset",
        action="store_true",
        help="take out the model's bias for some classes, as the other images tell it",
    )
    rescore.add_argument(
        "--output", metavar="FOLDER", help="write the decisions there, for `compare`"
    )
    add_json(rescore)
    rescore.set_defaults(command=_rescore)
    compare = commands.add_parser(
        "compare", help="compare runs of the same images: accuracy, cost, and what differs"
    )
    compare.add_argument("runs", nargs="+", metavar="RUN", help="their output.path")
    compare.add_argument(
        "--by-id",
        action="store_true",
        help="also runs whose data sections differ: an image is the one of the same id",
    )
    add_html(compare)
    add_storage(compare)
    add_json(compare)
    compare.set_defaults(command=_compare)
    fit = commands.add_parser("fit", help="fit a weighting to a run's saved scores")
    fit.add_argument("kind", choices=("learned", "standardised"), help="with labels, or without")
    _add_run(fit)
    fit.add_argument("--output", metavar="FILE", help="default: KIND.json in the run's output")
    fit.add_argument(
        "--fit-share",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of the images, whose labels `learned` takes (default: 0.5)",
    )
    add_storage(fit)
    add_json(fit)
    fit.set_defaults(command=_fit)
    calibrate = commands.add_parser(
        "calibrate",
        help="fit probabilities to one part of a run's images, and test them on the rest",
    )
    _add_run(calibrate)
    calibrate.add_argument(
        "--method",
        choices=("posterior", "temperature", "platt", "all"),
        default="all",
        help="which to print (default: all)",
    )
    calibrate.add_argument(
        "--split",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="of the images, to fit on (default: 0.5)",
    )
    add_storage(calibrate)
    add_json(calibrate)
    calibrate.set_defaults(command=_calibrate)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="its output.path: a folder or a URL")


def _rescore(options: argparse.Namespace) -> int:
    quieten()
    storage = [text for text in options.overrides if text.startswith("storage.")]
    store = store_of(storage)
    from zsd_ray.analysis.rescore import rescore
    from zsd_ray.reports.rescored import rescored_lines

    overrides = [text for text in options.overrides if text not in storage]
    found = rescore(
        options.run,
        options.weighting,
        options.rule,
        overrides,
        options.output,
        options.class_offset,
        store,
    )
    if options.json:
        print_json(asdict(found))
    else:
        print(rescored_lines(found))
    return EXIT_OK


def _compare(options: argparse.Namespace) -> int:
    quieten()
    store = store_of(options.overrides)
    from zsd_ray.analysis.compare import compare
    from zsd_ray.reports.comparison_page import comparison_lines

    found = compare(options.runs, options.by_id, store)
    if options.html is not None:
        from zsd_ray.reports.comparison_page import render_comparison

        write_page(options.html, render_comparison(found))
    if options.json:
        print_json(asdict(found))
    else:
        print(comparison_lines(found))
    return EXIT_OK


def _fit(options: argparse.Namespace) -> int:
    quieten()
    store = store_of(options.overrides)
    from zsd_ray.analysis.weighting_fit import fit_from_run
    from zsd_ray.reports.fitted import fitted_rows
    from zsd_ray.reports.lines import aligned

    found = fit_from_run(options.run, options.kind, options.output, options.fit_share, store)
    if options.json:
        print_json(asdict(found) | {"profile": found.profile.model_dump(mode="json")})
        return EXIT_OK
    before = None if found.before is None else astuple(found.before)
    after = None if found.after is None else astuple(found.after)
    sizes = (found.images, found.draws, found.share)
    print(aligned(fitted_rows(found.kind, found.path, *sizes, before, after, found.n_beyond)))
    return EXIT_OK


def _calibrate(options: argparse.Namespace) -> int:
    quieten()
    store = store_of(options.overrides)
    from zsd_ray.studies.calibration.calibrating import calibrate
    from zsd_ray.studies.calibration.calibration_page import calibration_lines

    found = calibrate(options.run, options.split, store)
    names = list(found.methods) if options.method == "all" else [options.method]
    if options.json:
        methods = {name: asdict(found.methods[name]) for name in names}
        print_json(asdict(found) | {"methods": methods})
        return EXIT_OK
    print(calibration_lines(found, names))
    print(f"\nfigures  {found.run.rstrip('/')}/calibration.html")
    return EXIT_OK
