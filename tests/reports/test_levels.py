"""Distances by noise level, from saved draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from zsd_ray.records.scores import Decision, RawDraw
from zsd_ray.reports.html import render_report
from zsd_ray.reports.levels import by_level, level_distances
from zsd_ray.results.rows.schema import decisions_table, scores_table
from zsd_ray.stats.intervals import wilson

T = [0.8, 0.2]


def decided(image_id, label, errors, classes=(0, 1, 2)):
    """errors: (n, k), of draws at the levels of T in turn; the weight is 2."""
    raw = tuple(
        RawDraw(i, T[i % 2], 0.5, 0.5, 2.0, classes, tuple(row)) for i, row in enumerate(errors)
    )
    first = classes[0]
    return Decision(image_id, "memory", label, first, (first,), draws_per_class=(4, 4, 4), raw=raw)


ROWS = [
    decided("a", 1, [[5, 1, 6], [2, 3, 4], [5, 3, 6], [2, 3, 4]]),
    decided("b", 2, [[8, 8, 4], [3, 2, 1], [6, 8, 4], [3, 2, 1]]),
    decided("unlabelled", None, [[1, 1, 1], [1, 1, 1]]),
    decided("one level", 0, [[1, 1, 1]]),
    decided("screened out", 0, [[1, 1], [1, 1]], classes=(1, 2)),
]


def found(rows):
    labelled = decisions_table([row for row in rows if row.label is not None])
    twice = replace(rows[0], raw=rows[0].raw[:1])
    return level_distances(scores_table([*rows, twice]), labelled)


def test_distances_are_means_over_draws_of_a_level() -> None:
    levels = found(ROWS)
    assert levels.t.tolist() == [0.2, 0.8]
    assert levels.own.tolist() == [[6, 4], [2, 8]]
    assert levels.rival.tolist() == [[4, 10], [4, 14]]
    assert found(ROWS[:1]) is None
    assert found(ROWS[2:]) is None


def test_the_figure_holds_them() -> None:
    levels = found(ROWS)
    axes, below = by_level(levels).axes
    own, rival = axes.lines
    assert own.get_ydata() == pytest.approx([4, 6])
    assert rival.get_ydata() == pytest.approx([4, 12])
    reach = student.ppf(0.975, 1) * np.std([4, 8], ddof=1) / np.sqrt(2)
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(6 + reach)
    points, _, (bars,) = below.containers[0]
    assert points.get_ydata() == pytest.approx([0.5, 1.0])
    for segment, wins in zip(bars.get_segments(), (1, 2), strict=True):
        assert segment[:, 1] == pytest.approx(wilson(wins, 2))


def test_the_report_of_a_vote_has_it(simulated) -> None:
    decisions, draws = decisions_table(ROWS), scores_table(ROWS)
    vote = {**simulated.run.config, "method": {"name": "noise-denoise-vote", "levels": T}}
    page = render_report(replace(simulated.run, config=vote), decisions, draws, {})
    assert "mean of 2 images with" in page
    page = render_report(simulated.run, decisions, draws, {})
    assert "Distance against noise level" not in page
