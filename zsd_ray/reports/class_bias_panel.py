"""The report's panel on class bias: predicted against true class shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zsd_ray.reports.figures import BLUE, MAX_CLASS_ROWS, MUTED, ORANGE, shortened, style
from zsd_ray.results.offset_file import OffsetRecord
from zsd_ray.stats.class_bias import ClassBias

_NAMED = 5  # classes in a sentence


@style
def figure(bias: ClassBias, classes: Sequence[str], offset: OffsetRecord | None) -> Figure:
    """Draw one row per class: its share of labels and of predictions, and its offset if there is
    one.

    Above 40 classes only the 20 most over-predicted and the 20 most under-predicted.
    """
    order = np.argsort(-bias.excess, kind="stable")
    order = order[(bias.labels + bias.predictions)[order] > 0]
    half = MAX_CLASS_ROWS // 2
    if len(order) > MAX_CLASS_ROWS:
        order = np.concatenate([order[:half], order[-half:]])
    rows = np.arange(len(order))
    drawn = Figure(figsize=(6.2 if offset is None else 8.4, 1.2 + 0.25 * (len(rows) + 1)))
    panels = drawn.subplots(1, 1 if offset is None else 2, sharey=True, squeeze=False)[0]
    axes = panels[0]
    labels, predictions = bias.labels[order] / bias.n, bias.predictions[order] / bias.n
    colours = [ORANGE if bias.significant[k] else BLUE for k in order]
    axes.hlines(rows, labels, predictions, colors=colours, linewidth=1.6)
    axes.scatter(labels, rows, s=30, facecolors="none", edgecolors=MUTED, label="labels", zorder=3)
    axes.scatter(predictions, rows, s=30, c=colours, label="predictions", zorder=3)
    axes.set_yticks(rows, [shortened(classes[k]) for k in order])
    axes.set_ylim(len(rows) - 0.3, -0.7)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of images")
    drawn.legend(loc="outside upper left", ncols=2, fontsize=9)
    if offset is not None:
        mean, error = np.asarray(offset.offset)[order], np.asarray(offset.error)[order]
        panels[1].axvline(0, color=MUTED, linewidth=1)
        panels[1].errorbar(mean, rows, xerr=1.96 * error, fmt="o", color=BLUE, markersize=5)
        panels[1].set_xlabel("offset, sd of one draw")
    for panel in panels:
        panel.grid(axis="y", visible=False)
        panel.tick_params(axis="y", length=0)
    return drawn


def sentence(bias: ClassBias, classes: Sequence[str], offset: OffsetRecord | None) -> str:
    """Describe the figure, and which of the differences are significant."""
    parts = ["Each class's share of the labels (ring) and of the predictions (dot)."]
    often = [k for k in np.argsort(-bias.excess) if bias.significant[k] and bias.excess[k] > 0]
    rarely = [k for k in np.argsort(bias.excess) if bias.significant[k] and bias.excess[k] < 0]
    for found, how in ((often, "too often"), (rarely, "too rarely")):
        if found:
            parts.append(f"Predicted {how}, and by no chance: {_names(found, classes)}.")
    if not often and not rarely:
        parts.append("No class is predicted too often or too rarely beyond chance (5%, together).")
    if offset is not None:
        taken = f"{offset.shrinkage:.0%} of it is taken out of the scores of each image"
        n = sum(offset.significant)
        parts.append(
            f"Right, the offset of each class with its 95% interval, from {offset.images:,} images "
            f"of this set without their labels ({offset.evaluations:,} evaluations); {taken}, its "
            f"own left out. Beyond chance are {n} of {len(classes):,} classes."
        )
    return " ".join(parts)


def _names(found: Sequence[int], classes: Sequence[str]) -> str:
    more = len(found) - _NAMED
    named = ", ".join(classes[k] for k in found[:_NAMED])
    return f"{named} and {more:,} more" if more > 0 else named
