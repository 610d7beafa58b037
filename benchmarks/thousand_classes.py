"""Runs of 1,000 classes on the built-in model: the paper's rule against others.

    python benchmarks/thousand_classes.py [--images N] [--output FOLDER] [--profile FILE] [--json]

The others are the default, and a moderated t-test on the paper's own weighting with times by
importance.

The digits' ten names are among 990 words that mean nothing, so the images are real, the prompts
are 1,000 different ones and the answers can be checked. All are whole runs in this process;
each goes on where an earlier one was interrupted. The paper's rule gives every class 20 draws at
least: 20,000 evaluations an image.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import zsd_ray
from zsd_ray.data.digits import NAMES
from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.stats.intervals import wilson

N_CLASSES = 1000
PILOT = {"images": 4, "draws": 10}


def class_names() -> list[str]:
    """The ten digits, then words of two syllables."""
    syllables = [c + v for c, v in itertools.product("bdfgklmnprstvz", "aeiou")]
    words = (a + b for a, b in itertools.product(syllables, repeat=2) if a + b not in NAMES)
    return [*NAMES, *itertools.islice(words, N_CLASSES - len(NAMES))]


def run(name: str, output: str, n_images: int, **sections: Any) -> list[dict[str, Any]]:
    """The rows of one run."""
    tree = {
        "data": {"source": "digits", "limit": n_images},
        "prompts": {"classes": class_names(), "templates": ["a photo of the digit {}."]},
        "model": {"compile": True},  # two minutes once, and half as fast again
        "cluster": {"batch_size": 250},
        "output": {"path": f"{output}/{name}"},
        "tracking": {"mlflow": "off"},
        **sections,
    }
    rows = zsd_ray.run(parse_config(RunConfig, tree), local=True).table.to_pylist()
    return sorted(rows, key=lambda row: str(row["image_id"]))


def main() -> None:
    parser = argparse.ArgumentParser(description="1,000 classes, by the paper's rule and by ours")
    parser.add_argument("--images", type=int, default=100, metavar="N")
    parser.add_argument("--output", default="runs/thousand-classes", metavar="FOLDER")
    parser.add_argument("--profile", metavar="FILE", help="of this model, for the t-test's run")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    paper = run(
        "paper",
        options.output,
        options.images,
        method={"weighting": "heuristic", "timesteps": "uniform"},
        pruning={"rule": "clark-jaini", "max_scores": 300},
    )
    # The pilot is smaller than the default one, which is meant for thousands of images.
    ours = run("default", options.output, options.images, method={"pilot": PILOT})
    chosen = {row["image_id"] for row in ours}  # an earlier, longer run may lie there
    paper = [row for row in paper if row["image_id"] in chosen]
    known = {"profile": options.profile} if options.profile else {"pilot": PILOT}
    frugal = run(
        "t-test-heuristic",
        options.output,
        options.images,
        method={"weighting": "heuristic", "timesteps": "importance", **known},
        pruning={"rule": "t-test", "max_draws": 300, "growth": 1.1},
    )
    found: dict[str, Any] = {"images": options.images, "classes": N_CLASSES}
    for name, rows in (("paper", paper), ("default", ours), ("t-test", frugal)):
        found |= _figures(name, rows)
    for name, rows in (("default", ours), ("t-test", frugal)):
        predicted = {row["image_id"]: row["prediction"] for row in paper}
        same = sum(row["prediction"] == predicted[row["image_id"]] for row in rows)
        found |= {
            f"{name}_same_decisions": same,
            f"{name}_interval": list(wilson(same, len(rows))),
        }
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name.replace('_', ' '):32}{value}")


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
