"""Accuracy against evaluations, for every rule, placing of timesteps and weighting.

    zsd-ray run configs/pools/digits.yaml
    python benchmarks/efficiency.py runs/pool-digits ... [--json] [--figure FILE.svg]
    python benchmarks/efficiency.py --quick

Each run is a pool: every class of every image has every draw, and settings are replayed from it
without the model, by the code that decides in a run. What is fitted (weightings, times) is fitted
to half of the images; all figures are of the other half. Agreement is with the decision of all
draws of the pool under the same weighting. A pool is finite: no rule gets more draws than it has.
The pool's draws are stratified in blocks of ten, and score_pool.py says how others are made of it.
--quick measures a part of the table, and without a RUN that of a small pool of made-up scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from made_up_pool import write_pool
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from score_pool import TIMESTEPS, Pool

from zsd_ray.analysis.replay import replay
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.reports.figures import log_axis, style
from zsd_ray.stats.intervals import wilson

WEIGHTINGS = ("heuristic", "simple", "vdm", "standardised", "learned", "split, default range")
DEFAULT = "anytime, indifferent 0.2", "importance", "split, default range"
"""What RunConfig() does; tests/test_benchmarks.py holds the two together."""


PAPERS = "uniform", "heuristic"


def rules(n_draws: int) -> dict[str, dict[str, Any]]:
    """By name, the pruning section; `n_draws` are the most that there are."""
    anytime = {"rule": "anytime", "max_draws": n_draws, "indifference": None}
    t_test = {"rule": "t-test", "max_draws": n_draws}
    return {
        "clark-jaini": {"rule": "clark-jaini", "max_scores": n_draws, "min_scores": 20},
        "li 5,1": {"rule": "li", "keep": [5, 1], "draws": [min(50, n_draws // 2), n_draws]},
        "halving": {"rule": "halving", "min_draws": 4, "max_draws": n_draws},
        "t-test": t_test,
        "t-test, growth 1.3": {**t_test, "growth": 1.3},
        "anytime": anytime,
        "anytime, plain variances": {**anytime, "moderated": False},
        "anytime, indifferent 0.2": {**anytime, "indifference": 0.2},
        "anytime, indifferent 0.3": {**anytime, "indifference": 0.3},
        "anytime, indifferent 0.4": {**anytime, "indifference": 0.4},
        "every draw": {"rule": "none", "draws": n_draws},
    }


@dataclass(frozen=True)
class Setting:
    rule: str
    timesteps: str
    weighting: str


def measure(pool: Pool, setting: Setting) -> dict[str, Any]:
    """One row of the table."""
    weighting, _, ranged = setting.weighting.partition(", ")
    images = pool.reported
    table = pool.replayable(weighting, setting.timesteps, images, bool(ranged))
    n_draws = min(len(draws) for draws in table.draws)
    n_draws -= n_draws % 10
    section = rules(n_draws)[setting.rule]
    rule = parse_config(RunConfig, {"pruning": section}).pruning.make(pool.n_classes)
    predictions, spent = [], []
    for errors, draws in zip(table.errors, table.draws, strict=True):
        outcome = replay(rule, errors[:n_draws], draws[:n_draws])
        assert outcome is not None, "a pool has every score"
        predictions.append(outcome.ranking[0])
        spent.append(outcome.n_scores)
    full = pool.replayable(weighting, "stratified", images, bool(ranged))
    decided = [
        int(draws.scores(errors).mean(axis=0).argmin())
        for errors, draws in zip(full.errors, full.draws, strict=True)
    ]
    labels = pool.labels[images]
    correct = int((np.asarray(predictions) == labels).sum())
    return {
        "pool": pool.name,
        "rule": setting.rule,
        "timesteps": setting.timesteps,
        "weighting": setting.weighting,
        "evaluations_per_image": round(float(np.mean(spent)), 1),
        "accuracy": correct / len(labels),
        "interval": list(wilson(correct, len(labels))),
        "agreement": float((np.asarray(predictions) == np.asarray(decided)).mean()),
        "images": len(labels),
        "draws": n_draws,
        "default": (setting.rule, setting.timesteps, setting.weighting) == DEFAULT,
    }


def rows(pools: list[Pool], quick: bool) -> Iterator[dict[str, Any]]:
    shown = WEIGHTINGS if not quick else ("heuristic", "standardised", "split, default range")
    times = TIMESTEPS if not quick else ("uniform", "importance")
    cases = [
        (pool, Setting(rule, timesteps, weighting))
        for pool in pools
        for weighting in shown
        for timesteps in times
        for rule in rules(400)
    ]
    console = Console(stderr=True)
    for pool, setting in track(cases, console=console, disable=not sys.stderr.isatty()):
        yield measure(pool, setting)


def _family(row: dict[str, Any]) -> str:
    return str(row["rule"]).split()[0].rstrip(",")


@style
def figure(found: list[dict[str, Any]]) -> Figure:
    """Accuracy against evaluations: a panel a pool, a colour a rule, filled or hollow a setting."""
    names = list(dict.fromkeys(row["pool"] for row in found))
    families = {
        "clark-jaini": "#0072b2",
        "li": "#009e73",
        "halving": "#cc79a7",
        "t-test": "#e69f00",
    }
    families |= {"anytime": "#d55e00", "every": "#5f6b7a"}
    drawn = Figure(figsize=(5.4 * len(names), 4.2))
    for panel, name in enumerate(names):
        axes = drawn.add_subplot(1, len(names), panel + 1)
        for family, colour in families.items():
            mine = [row for row in found if row["pool"] == name and _family(row) == family]
            for setting, fill in ((PAPERS, "none"), (DEFAULT[1:], colour)):
                part = [row for row in mine if (row["timesteps"], row["weighting"]) == setting]
                x = [row["evaluations_per_image"] for row in part]
                y = [row["accuracy"] for row in part]
                label = family if fill != "none" else None
                axes.scatter(x, y, s=34, facecolors=fill, edgecolors=colour, label=label)
        chosen = next(row for row in found if row["pool"] == name and row["default"])
        low, high = chosen["interval"]
        centre = chosen["accuracy"]
        axes.errorbar(
            [chosen["evaluations_per_image"]],
            [centre],
            yerr=[[centre - low], [high - centre]],
            fmt="D",
            color="#1c2127",
            capsize=3,
            label="default, 95 %",
        )
        log_axis(axes, "x")
        axes.set_xlabel("evaluations per image")
        axes.set_ylabel("accuracy")
        axes.set_title(f"{name}, {chosen['images']} images")
        if panel == 0:
            axes.legend(loc="lower right", fontsize=8)
    drawn.supxlabel(
        "filled: times by importance in the default range, split; hollow: uniform, heuristic",
        fontsize=9,
    )
    return drawn


def lines(found: list[dict[str, Any]]) -> Iterator[str]:
    yield (
        f"{'pool':10}{'rule':27}{'timesteps':20}{'weighting':26}{'evaluations':>11}{'accuracy':>10}"
        + ("  95 % interval   agreement")
    )
    for row in found:
        low, high = row["interval"]
        yield (
            f"{row['pool']:10}{row['rule']:27}{row['timesteps']:20}{row['weighting']:26}"
            f"{row['evaluations_per_image']:>11,.1f}{row['accuracy']:>10.1%}"
            f"  [{low:.1%}, {high:.1%}]{row['agreement']:>10.1%}"
            + ("  default" if row["default"] else "")
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="accuracy against evaluations, from saved scores")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="outputs of configs/pools/*.yaml")
    parser.add_argument("--json", action="store_true", help="a list of rows")
    parser.add_argument("--figure", metavar="FILE", help="where to draw them (.svg, .png)")
    parser.add_argument("--quick", action="store_true", help="a part of the table")
    options = parser.parse_args()
    if not options.runs and not options.quick:
        parser.error("give the outputs of pools, or --quick")
    pools = [Pool(path) for path in options.runs]
    if not pools:
        with tempfile.TemporaryDirectory() as folder:
            pools = [Pool(write_pool(f"{folder}/pool-made-up"))]
    found = list(rows(pools, options.quick))
    if options.figure:
        Path(options.figure).parent.mkdir(parents=True, exist_ok=True)
        figure(found).savefig(options.figure, dpi=150)
    print(json.dumps(found, indent=1) if options.json else "\n".join(lines(found)))


if __name__ == "__main__":
    main()
