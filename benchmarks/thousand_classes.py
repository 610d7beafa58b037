"""Runs of 1,000 classes on the built-in model: the paper's rule against others.

    python benchmarks/thousand_classes.py [--images N] [--output FOLDER] [--json]
    python benchmarks/thousand_classes.py --quick

The others are the default, and a moderated t-test on the paper's own weighting with times by
importance.

The digits' ten names are among 990 words that mean nothing, so the images are real, the prompts
are 1,000 different ones and the answers can be checked. All are whole runs in this process;
each resumes where an earlier one was interrupted. The paper's rule gives every class 20 draws at
least: 20,000 evaluations per image. --quick takes 12 classes and one image, and keeps nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from typing import Any

import zsd_ray
from zsd_ray.config.classifier_method import FULL_RANGE
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.readers.digits import NAMES
from zsd_ray.stats.intervals import wilson

N_CLASSES, N_QUICK = 1000, 12
MAX_DRAWS, MAX_QUICK = 300, 20


def class_names(n: int) -> list[str]:
    """The ten digits, then words of two syllables."""
    syllables = [c + v for c, v in itertools.product("bdfgklmnprstvz", "aeiou")]
    words = (a + b for a, b in itertools.product(syllables, repeat=2) if a + b not in NAMES)
    return [*NAMES, *itertools.islice(words, n - len(NAMES))]


def run(name: str, options: argparse.Namespace, **sections: Any) -> list[dict[str, Any]]:
    """The rows of one run."""
    classes = class_names(N_QUICK if options.quick else N_CLASSES)
    tree = {
        "data": {"source": "digits", "limit": options.images},
        "prompts": {"classes": classes, "templates": ["a photo of the digit {}."]},
        # Two minutes once, and half as fast again.
        "model": {"compile": not options.quick},
        "cluster": {"batch_size": 250},
        "output": {"path": f"{options.output}/{name}"},
        "tracking": {"mlflow": "off"},
        **sections,
    }
    rows = zsd_ray.run(parse_config(RunConfig, tree), local=True).table.to_pylist()
    return sorted(rows, key=lambda row: str(row["image_id"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="1,000 classes, by the paper's rule and by ours")
    parser.add_argument("--images", type=int, default=100, metavar="N")
    parser.add_argument("--output", default="runs/thousand-classes", metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="12 classes, one image")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.quick:
            options.images, options.output = 1, folder
        found = compare(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):32}{value}")


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """What the three runs took, and how far they decide alike."""
    most = MAX_QUICK if options.quick else MAX_DRAWS
    paper = run("paper", options, preset="clark-jaini", pruning={"max_scores": most})
    short = {"pruning": {"max_draws": most}} if options.quick else {}
    ours = run("default", options, **short)
    chosen = {row["image_id"] for row in ours}  # an earlier, longer run may lie there
    paper = [row for row in paper if row["image_id"] in chosen]
    frugal = run(
        "t-test-heuristic",
        options,
        method={
            "weighting": "heuristic",
            "timesteps": "importance",
            "t_range": list(FULL_RANGE),
        },
        pruning={"rule": "t-test", "max_draws": most, "growth": 1.1},
    )
    n_classes = N_QUICK if options.quick else N_CLASSES
    found: dict[str, Any] = {"images": options.images, "classes": n_classes}
    for name, rows in (("paper", paper), ("default", ours), ("t-test", frugal)):
        found |= _figures(name, rows)
    for name, rows in (("default", ours), ("t-test", frugal)):
        predicted = {row["image_id"]: row["prediction"] for row in paper}
        same = sum(row["prediction"] == predicted[row["image_id"]] for row in rows)
        found |= {
            f"{name}_same_decisions": same,
            f"{name}_interval": list(wilson(same, len(rows))),
        }
    return found


def _figures(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    spent = sorted(row["n_evaluations"] for row in rows)
    return {
        f"{name}_evaluations_least": spent[0],
        f"{name}_evaluations_median": spent[len(spent) // 2],
        f"{name}_evaluations_mean": round(sum(spent) / len(spent)),
        f"{name}_correct": sum(row["correct"] for row in rows),
    }


if __name__ == "__main__":
    main()
