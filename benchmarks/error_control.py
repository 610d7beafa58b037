"""How often a rule removes the best class, against what it promises.

    python benchmarks/error_control.py [--images N] [--quick] [--json]

Scores are simulated: each class's is normal about its mean, and which of the classes is best is
known. An image counts as an error when its best class is removed, whatever is decided later. Ties
are the hardest case: the best class is then one of several with the same mean.

    noise      what the paired differences are like
    normal     independent, a standard deviation of its own for each class (log-normal, 0.37)
    images     the same, and another scale for each image (log-normal, 0.4)
    heavy      Student's t with 3 degrees of freedom
    varying    normal, the standard deviation rising twelvefold over ten strata of t, each
               visited once in every block of ten draws, in random order

    "anytime, alpha 0.1, class offset" has a bias of each class in its scores, which an offset takes
    out that was measured on 32 other images; the best class is the one after that.

    means      two: two classes tie, the others are 1.4 standard deviations worse
               gap: as two, but the second is 0.1 worse
               all: all classes tie
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.rules.rule import Rule
from zsd_ray.stats.class_offset import SCALE_DRAWS, ClassOffset, class_deviations, draw_scale
from zsd_ray.stats.intervals import wilson

N_CLASSES, N_DRAWS = 10, 300
_SD = np.sqrt(0.5)  # of a score, so that a difference has 1
MEANS = {
    "two": np.array([0.0, 0.0] + [1.4] * (N_CLASSES - 2)),
    "gap": np.array([0.0, 0.1] + [1.4] * (N_CLASSES - 2)),
    "all": np.zeros(N_CLASSES),
}
NOISES = ("normal", "images", "heavy", "varying")
_ANYTIME = {"max_draws": N_DRAWS, "growth": 1.0, "indifference": None}  # the most looks
OFFSET_RULE = "anytime, alpha 0.1, class offset"
OFFSET_IMAGES, OFFSET_DRAWS, BIAS_SD = 32, 40, 0.5
RULES: dict[str, tuple[dict[str, object], float | None]] = {
    "clark-jaini, p 0.002": ({"rule": "clark-jaini", "max_scores": N_DRAWS}, None),
    "t-test, p 0.002": ({"rule": "t-test", "max_draws": N_DRAWS}, None),
    "t-test, p 0.002, growth 1.3": ({"rule": "t-test", "max_draws": N_DRAWS, "growth": 1.3}, None),
    "halving": ({"rule": "halving", "max_draws": N_DRAWS}, None),
    "li 5,1": ({"rule": "li", "keep": [5, 1], "draws": [50, N_DRAWS]}, None),
    "anytime, plain variances": (
        {"rule": "anytime", "alpha": 0.05, **_ANYTIME, "moderated": False},
        0.05,
    ),
    "anytime": ({"rule": "anytime", "alpha": 0.05, **_ANYTIME}, 0.05),
    "anytime, alpha 0.1": ({"rule": "anytime", "alpha": 0.1, **_ANYTIME}, 0.1),
    OFFSET_RULE: ({"rule": "anytime", "alpha": 0.1, **_ANYTIME, "min_draws": SCALE_DRAWS}, 0.1),
}


def scores(kind: str, means: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Scores of one image, (N_DRAWS, N_CLASSES)."""
    shape = (N_DRAWS, N_CLASSES)
    noise = rng.standard_normal(shape)
    if kind == "heavy":
        noise = rng.standard_t(3, shape) / np.sqrt(3)
    if kind == "images":
        noise *= np.exp(rng.normal(0, 0.4))
    if kind == "varying":
        strata = np.concatenate([rng.permutation(10) for _ in range(N_DRAWS // 10)])
        levels = np.exp(np.linspace(-1.5, 1.0, 10))
        noise *= (levels / np.sqrt((levels**2).mean()))[strata, None]
    if kind != "heavy":
        noise *= np.exp(rng.normal(0, 0.37, N_CLASSES))
    table: NDArray[np.float64] = means + _SD * noise
    return table


def with_offset(
    kind: str, means: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], int]:
    """Scores of one image less a class offset, and its best class then."""
    bias = rng.normal(0, BIAS_SD, N_CLASSES)
    others = []
    for number in range(OFFSET_IMAGES):
        own = np.full(N_CLASSES, 1.4)
        own[number % N_CLASSES] = 0.0
        others.append(class_deviations(scores(kind, own + bias, rng)[:OFFSET_DRAWS]))
    ids = tuple(f"{number:02d}" for number in range(OFFSET_IMAGES))
    offset = ClassOffset(ids, np.stack(others)).of("another")
    table = scores(kind, means + bias, rng)
    ahead = draw_scale(table[:SCALE_DRAWS]) * offset
    return table - ahead, int((means + bias - ahead).argmin())


def race(rule: Rule, table: NDArray[np.float64], best: int = 0) -> tuple[bool, int]:
    """Whether the best class was removed, and the evaluations spent (until then)."""
    alive = np.arange(N_CLASSES)
    given = np.zeros(N_CLASSES, dtype=int)
    seen = 0
    while True:
        end = rule.next_look(seen)
        given[alive] = end
        verdict = rule.look(table[:end, alive], seen)
        seen = verdict.n_draws
        alive = alive[verdict.keep]
        if best not in alive or verdict.stop_reason is not None:
            return best not in alive, int(given.sum())


def rows(n_images: int, seed: int, quick: bool) -> Iterator[dict[str, Any]]:
    noises = NOISES if not quick else NOISES[:1]
    cases = [(rule, noise, means) for rule in RULES for noise in noises for means in MEANS]
    for name, noise, means in track(cases, console=Console(stderr=True), disable=not _tty()):
        tree, promised = RULES[name]
        rule = parse_config(RunConfig, {"pruning": tree}).pruning.make(N_CLASSES)
        rng = np.random.default_rng(seed)  # the same images for every rule
        if name == OFFSET_RULE:
            races = [race(rule, *with_offset(noise, MEANS[means], rng)) for _ in range(n_images)]
        else:
            races = [race(rule, scores(noise, MEANS[means], rng)) for _ in range(n_images)]
        wrong = sum(removed for removed, _ in races)
        yield {
            "rule": name,
            "noise": noise,
            "means": means,
            "promised": promised,
            "removed": wrong / n_images,
            "interval": list(wilson(wrong, n_images)),
            "evaluations": float(np.mean([spent for _, spent in races])),
        }


def _tty() -> bool:
    return sys.stderr.isatty()


def main() -> None:
    parser = argparse.ArgumentParser(description="realised against promised error rates")
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="simulated a case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="1 image a case, normal noise only")
    parser.add_argument("--json", action="store_true", help="a list of rows")
    options = parser.parse_args()
    if options.quick:
        options.images = 1
    found = list(rows(options.images, options.seed, options.quick))
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{options.images} simulated images a cell, {N_CLASSES} classes, {N_DRAWS} draws at most")
    print(f"{'rule':30}{'noise':10}{'means':7}{'promised':>9}{'removed':>9}  95 % interval")
    for row in found:
        promised = "-" if row["promised"] is None else f"{row['promised']:.3f}"
        low, high = row["interval"]
        print(
            f"{row['rule']:30}{row['noise']:10}{row['means']:7}{promised:>9}"
            f"{row['removed']:>9.4f}  [{low:.4f}, {high:.4f}]"
        )


if __name__ == "__main__":
    main()
