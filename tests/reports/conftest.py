"""A run made by simulating elimination: shared noise, near classes, a paired t-test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import RunConfig
from zsd_ray.records.scores import Decision, RawDraw
from zsd_ray.results.rows.schema import decisions_table, scores_table
from zsd_ray.results.run_file import RunFile
from zsd_ray.rules.clark_jaini import ClarkJainiPruning

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MIN_SCORES = 20
CRITICAL_T = 2.9


@dataclass
class Simulated:
    run: RunFile
    rows: list[Decision]
    pictures: dict[str, Image.Image]

    @property
    def decisions(self) -> pa.Table:
        return decisions_table(self.rows)

    @property
    def draws(self) -> pa.Table:
        return scores_table(self.rows)


def eliminate(
    rng: np.random.Generator, means: np.ndarray, max_scores: int
) -> tuple[np.ndarray, np.ndarray, int, list[RawDraw]]:
    """Draws and mean score of each class, the winner, and the raw draws, of one image."""
    n_classes = len(means)
    t = rng.uniform(0.02, 0.98, max_scores)
    weight = np.exp(-7 * t)
    hardness = (1.02 - t) * rng.lognormal(0, 0.25, max_scores)
    noise = rng.normal(0, 0.05, (max_scores, n_classes))
    errors = hardness[:, None] * (means + noise)
    scores = weight[:, None] * errors
    alive = np.arange(n_classes)
    given = np.zeros(n_classes, dtype=int)
    raw: list[RawDraw] = []
    for d in range(1, max_scores + 1):
        given[alive] = d
        raw.append(
            RawDraw(
                draw=d - 1,
                t=t[d - 1],
                alpha=float(np.sqrt(1 - t[d - 1])),
                sigma=float(np.sqrt(t[d - 1])),
                weight=weight[d - 1],
                classes=tuple(alive.tolist()),
                eps_error=tuple(errors[d - 1, alive].tolist()),
            )
        )
        if d < MIN_SCORES:
            continue
        best = alive[scores[:d, alive].mean(axis=0).argmin()]
        paired = scores[:d, alive] - scores[:d, [best]]
        spread = paired.std(axis=0, ddof=1) / np.sqrt(d) + 1e-12
        alive = alive[paired.mean(axis=0) / spread < CRITICAL_T]
        if alive.size == 1:
            break
    mean_scores = np.array([scores[:n, k].mean() for k, n in enumerate(given)])
    left = alive[mean_scores[alive].argmin()]
    return given, mean_scores, int(left), raw


def simulate_run(
    n_images: int = 120,
    classes: tuple[str, ...] = DIGITS,
    n_traces: int = 12,
    n_errors: int = 0,
    max_scores: int = 400,
    labelled: bool = True,
    seed: int = 0,
) -> Simulated:
    """A finished run. The last `n_errors` of its images could not be read."""
    rng = np.random.default_rng(seed)
    n_classes = len(classes)
    # Classes lie on a plane: an image is near its own class and a few others are close to it.
    places = rng.normal(0, 2.5, (n_classes, 2))
    digits = load_digits()
    rows, pictures = [], {}
    for i in range(n_images):
        label = int(rng.integers(n_classes))
        image_id = f"digits/{i:04d}"
        row = Decision(
            image_id,
            f"sklearn.datasets.load_digits()[{i}]",
            label if labelled else None,
            None,
            worker=f"worker-{i % 2}",
        )
        if i >= n_images - n_errors:
            rows.append(replace(row, error=f"{row.source}: truncated after {i} bytes"))
            continue
        here = places[label] + rng.normal(0, 0.45, 2)
        means = 0.3 + 0.02 * np.hypot(*(places - here).T)
        given, mean_scores, winner, raw = eliminate(rng, means, max_scores)
        n_evaluations = int(given.sum())
        n_draws = int(given.max())
        rows.append(
            replace(
                row,
                prediction=winner,
                top5=(winner, *(int(k) for k in np.argsort(mean_scores) if k != winner))[:5],
                mean_scores=tuple(mean_scores.tolist()),
                draws_per_class=tuple(given.tolist()),
                n_draws=n_draws,
                n_evaluations=n_evaluations,
                n_spent=n_evaluations + int(rng.integers(0, 3 * n_classes)),
                stop_reason="max-scores" if n_draws == max_scores else "one-class-left",
                seconds=n_evaluations / 900,
                raw=tuple(raw) if i < n_traces else (),
            )
        )
        like = rng.choice(np.flatnonzero(digits.target == label % 10))
        pictures[image_id] = Image.fromarray((digits.images[like] * 15.9).astype(np.uint8))
    n_spent = sum(row.n_spent for row in rows)
    run = RunFile(
        status="incomplete" if n_errors else "finished",
        config=RunConfig(
            method=DiffusionClassifierMethod(weighting="heuristic", timesteps="uniform"),
            pruning=ClarkJainiPruning(),
        ).model_dump(mode="json"),
        identity="9f2c4b1d7e60a835",
        identity_parts={"model": "builtin:digits", "images": "sha256:1b7c", "seed": seed},
        classes=list(classes),
        versions={"zsd_ray": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "ray": "2.60.0"},
        seed=seed,
        n_images=n_images,
        n_done=n_images,
        started="2026-03-01T10:12:44+00:00",
        ended="2026-03-01T10:14:31+00:00",
        totals={
            "images": n_images,
            "errors": n_errors,
            "n_evaluations": sum(row.n_evaluations for row in rows),
            "n_spent": n_spent,
            "n_rows": int(n_spent * 1.04),
            "seconds": 107.3,
            "evaluations_per_second": n_spent / 107.3,
        },
    )
    return Simulated(run, rows, pictures)


@pytest.fixture
def simulate() -> Callable[..., Simulated]:
    return simulate_run


@pytest.fixture(scope="session")
def simulated() -> Simulated:
    return simulate_run()
