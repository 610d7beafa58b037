"""The seven algorithms beside the diffusion classifier, on the same images.

    python benchmarks/methods.py [--images N] [--mnist FOLDER] [--only NAME ...]
        [--output FOLDER] [--quick] [--json]

Whole runs of configs/methods/*.yaml and configs/digits.yaml on the built-in model, in this process,
each on the first N held-out digits, and with --mnist on as many of MNIST (see accuracy.py). Seconds
are processor time of one process with one thread, loading included; evaluations count a network
forward a row, with its backward where an algorithm needs one. Runs are kept in FOLDER; what is
there is not run again, and has no seconds. --quick: two of the methods on one digit, nothing kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from accuracy import mnist_parquet
from rich.console import Console

import zsd_ray
from zsd_ray.config.algorithms import ALGORITHMS
from zsd_ray.config.run import RunConfig, load_config
from zsd_ray.reports.progress_bar import ProgressBar

CONFIGS = Path(__file__).parent.parent / "configs"
QUICK: dict[str, tuple[str, ...]] = {
    "diffusion-classifier": ("pruning.min_scores=2", "pruning.max_scores=4"),
    "noise-denoise": ("method.steps=2",),
}


def configurations() -> dict[str, Path]:
    """By name: first the diffusion classifier with its paper's rule."""
    own = {name: CONFIGS / "methods" / f"{name}.yaml" for name in ALGORITHMS}
    return {"diffusion-classifier": CONFIGS / "digits.yaml", **own}


def measure(name: str, config: Path, data: str, *overrides: str, output: str) -> dict[str, Any]:
    """One row of the table."""
    was_there = Path(output).exists()
    loaded = load_config(
        RunConfig, config, [*overrides, "tracking.mlflow=off", f"output.path={output}"]
    )
    start = time.process_time()
    with ProgressBar(Console(stderr=True)) as bar:
        metrics = zsd_ray.run(loaded, local=True, on_progress=bar.run).metrics
    seconds = time.process_time() - start
    kept = ("images", "accuracy", "accuracy_low", "accuracy_high", "evaluations_per_image")
    return {
        "method": name,
        "data": data,
        **{key: metrics[key] for key in kept},
        "processor_seconds_per_image": None if was_there else round(seconds / metrics["images"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=100, metavar="N")
    parser.add_argument("--mnist", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=configurations(), metavar="NAME")
    parser.add_argument("--output", default="runs/benchmark-methods", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="two methods on one digit")
    parser.add_argument("--json", action="store_true", help="a list of rows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.quick:
            options.images, options.mnist, options.only = 1, None, list(QUICK)
            options.output = folder
        rows = table(options)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'data':8}{'method':22}{'images':>7}{'accuracy':>10}  {'95 % interval':18}", end="")
    print(f"{'evaluations/image':>18}{'CPU s/image':>13}")
    for row in rows:
        print_row(row)


def table(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each data set and method."""
    chosen = {
        name: path
        for name, path in configurations().items()
        if options.only is None or name in options.only
    }
    sets = {"digits": f"data.limit={options.images}"}
    if options.mnist is not None:
        path = Path(options.output) / "mnist-test.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            mnist_parquet(options.mnist, path)
        sets["MNIST"] = f"data={{source: parquet, path: {path}, limit: {options.images}}}"
    rows = []
    for data, override in sets.items():
        for name, path in chosen.items():
            print(f"{data}: {name}", file=sys.stderr)
            output = f"{options.output}/{data.lower()}-{name}"
            own = QUICK.get(name, ()) if options.quick else ()
            rows.append(measure(name, path, data, override, *own, output=output))
    return rows


def print_row(row: dict[str, Any]) -> None:
    seconds = row["processor_seconds_per_image"]
    interval = f"[{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}]"
    print(
        f"{row['data']:8}{row['method']:22}{row['images']:>7,}{row['accuracy']:>10.1%}"
        f"  {interval:18}{row['evaluations_per_image']:>18,.1f}"
        f"{'-' if seconds is None else f'{seconds:.2f}':>13}"
    )


if __name__ == "__main__":
    main()
