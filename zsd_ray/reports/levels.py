"""Which noise levels of a noise-denoise-vote run separate classes, from its saved draws.

Startsev & Singh, figure 11, over images. Shapes: N images, L levels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from zsd_ray.reports.figures import BLUE, ORANGE, style
from zsd_ray.stats.intervals import half_width, wilson


@dataclass(frozen=True, eq=False)
class LevelDistances:
    """Distances by level. t: (L,). own, rival: (N, L), mean distance of the true and the nearest
    other class."""

    t: NDArray[np.float64]
    own: NDArray[np.float64]
    rival: NDArray[np.float64]


def level_distances(draws: pa.Table, labelled: pa.Table) -> LevelDistances | None:
    """Return those of labelled images with saved draws at every level; None if fewer than two.

    Args:
        draws: rows of OUTPUT/scores or OUTPUT/traces; labelled: of decisions with a label.
    """
    labels = dict(zip(*(labelled[name].to_pylist() for name in ("image_id", "label")), strict=True))
    # A run that was killed may have saved an image's draws twice; they are the same draws.
    rows = {(row["image_id"], row["draw"]): row for row in draws.to_pylist()}.values()
    scores: dict[str, dict[float, list[NDArray[np.float64]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    places = {}
    for row in rows:
        image_id = row["image_id"]
        if labels.get(image_id) in row["classes"] and len(row["classes"]) > 1:
            places[image_id] = row["classes"].index(labels[image_id])
            scores[image_id][row["t"]].append(row["weight"] * np.asarray(row["eps_error"]))
    t = sorted({level for of_image in scores.values() for level in of_image})
    own, rival = [], []
    for image_id, of_image in scores.items():
        if len(of_image) == len(t):
            means = np.array([np.mean(of_image[level], axis=0) for level in t])
            own.append(means[:, places[image_id]])
            rival.append(np.delete(means, places[image_id], axis=1).min(axis=1))
    return LevelDistances(np.array(t), np.array(own), np.array(rival)) if len(own) > 1 else None


@style
def by_level(found: LevelDistances) -> Figure:
    """Plot both distances against t with Student's 95% interval, and how often the own is less."""
    figure = Figure(figsize=(6.2, 5.6))
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for values, colour, name in (
        (found.own, ORANGE, "true class"),
        (found.rival, BLUE, "nearest other class"),
    ):
        mean, half = values.mean(axis=0), half_width(values.T)
        axes.fill_between(found.t, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
        axes.plot(found.t, mean, "o-", color=colour, markersize=4, label=name)
    axes.set_ylabel("distance")
    axes.set_ylim(bottom=0)
    n = len(found.own)
    wins = (found.own < found.rival).sum(axis=0)
    share = wins / n
    reach = np.abs(np.array([wilson(int(k), n) for k in wins]).T - share)
    below.errorbar(found.t, share, yerr=reach, fmt="o-", color=BLUE, markersize=4, elinewidth=1.4)
    below.set_ylim(-0.04, 1.04)
    below.yaxis.set_major_formatter("{x:.0%}")
    below.set_ylabel("true class nearest")
    below.set_xlabel("noise level t (0: the image, 1: noise alone)")
    figure.legend(loc="outside upper right", ncols=2)
    return figure
