"""The tables, the figure and the page of shape biases."""

from __future__ import annotations

import numpy as np
import pytest

from zsd_ray.reports.series import series
from zsd_ray.studies.cue_conflict.shape_bias_counts import CueDecisions, Observer, ShapeBias
from zsd_ray.studies.cue_conflict.shape_bias_page import (
    bias_by_class,
    class_table,
    render_shape_bias,
    shape_bias_lines,
)

RUN = Observer(
    "<b>run</b>",
    ShapeBias(
        CueDecisions.of(10, 6, 2),
        {"bear": CueDecisions.of(6, 2, 2), "cat": CueDecisions.of(4, 4, 0)},
    ),
)
PEOPLE = Observer(
    "people",
    ShapeBias(
        CueDecisions.of(200, 170, 10),
        {"bear": CueDecisions.of(100, 95, 0), "oven": CueDecisions.of(100, 75, 10)},
    ),
    n_people=2,
    each_person=(0.9, 0.98),
)
SILENT = Observer("silent", ShapeBias(CueDecisions.of(4, 0, 0), {"cat": CueDecisions.of(4, 0, 0)}))


def test_the_tables_are_aligned_and_say_it_all() -> None:
    lines = shape_bias_lines([RUN, PEOPLE], 0, 0).split("\n")
    assert lines[1].split("  ")[0] == "<b>run</b>"
    assert "75.0% [40.9%, 92.9%]" in lines[1]
    assert "200" in lines[2]
    assert lines[0].index("shape bias") == lines[1].index("75.0%")
    # By the bias of the people; what they did not see comes last.
    assert [line.split()[0] for line in lines[5:8]] == ["bear", "oven", "cat"]
    assert lines[6].split()[1] == "-"
    assert "people are 2, whose own biases are between 90.0% and 98.0%" in lines[-1]


def test_what_must_be_known_is_said() -> None:
    lines = shape_bias_lines([RUN, SILENT], 3, 1_200).split("\n")
    assert lines[-2] == "3 images of the run could not be classified and are left out"
    assert lines[-1] == "1,200 images of the run are not decided yet"
    assert lines[2].endswith("-")
    assert "people" not in "\n".join(lines)


def test_alone_a_run_sorts_the_classes_itself() -> None:
    assert [row[0] for row in class_table([RUN])[1:]] == ["cat", "bear"]


def test_the_figure_holds_the_biases() -> None:
    axes, beside = bias_by_class([RUN, PEOPLE]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bear", "oven", "cat"]
    runs, people = axes.containers
    for container, expected in ((runs, [0.5, np.nan, 1.0]), (people, [1.0, 75 / 85, np.nan])):
        points, _, (bars,) = container
        assert points.get_xdata() == pytest.approx(expected, nan_ok=True)
        assert len(bars.get_segments()) == 3
    low, high = runs[2][0].get_segments()[0][:, 0]
    found = RUN.bias.of_class["bear"].shape_bias
    assert (low, high) == pytest.approx((found.low, found.high))
    lines = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in lines] == [0.75, 170 / 180]
    widths = [bar.get_width() for bar in beside.containers[0]]
    assert widths == pytest.approx([4 / 6, np.nan, 1.0], nan_ok=True)
    # Above each other in a row, so that no marker hides another.
    assert runs[0].get_ydata()[0] < people[0].get_ydata()[0]


def test_the_page_shows_all_and_escapes() -> None:
    page = render_shape_bias("runs/<x>", [RUN, PEOPLE, SILENT], 1, 0)
    assert page.count("<svg") == 1
    assert "<b>run" not in page
    assert "runs/&lt;x&gt;" in page
    assert page.count("<tr>") == 1 + 3 + 1 + 3


def test_without_any_decision_for_a_cue_the_page_has_no_figure() -> None:
    page = render_shape_bias("run", [SILENT], 0, 0)
    assert "<svg" not in page
    assert "silent" in page


def test_series_differ() -> None:
    assert len({series(number) for number in range(42)}) == 42
