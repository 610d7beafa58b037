"""The figures hold the numbers of the rows they are made from."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from zsd_ray.records.scores import Decision, RawDraw
from zsd_ray.reports import figures
from zsd_ray.reports.columns import running_means
from zsd_ray.results.rows.schema import scores_table
from zsd_ray.stats.intervals import wilson

HOSTILE = [
    "$x_{",
    "$\\alpha$ $_{$",
    "<b>bold</b>",
    "a\nb\x07",
    '&amp; "q" \'',
    "猫 $\\frac",
    'id="x" #0072b2',
]


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 - our own
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def test_per_class_shows_shares_with_wilson_bars() -> None:
    figure = figures.per_class([10, 0, 4, 20], [9, 0, 1, 20], ["a", "b", "c", "d"])
    (axes,) = figure.axes
    container = axes.containers[0]
    points, _, (bars,) = container
    assert points.get_xdata() == pytest.approx([1.0, 0.9, 0.25])
    for segment, (k, n) in zip(bars.get_segments(), [(20, 20), (9, 10), (1, 4)], strict=True):
        assert segment[:, 0] == pytest.approx(wilson(k, n), abs=1e-12)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["d  (n=20)", "a  (n=10)", "c  (n=4)"]
    assert axes.lines[0].get_xdata() == pytest.approx([30 / 34, 30 / 34])


def test_many_classes_show_the_best_and_the_worst() -> None:
    counts = np.full(1000, 1000)
    figure = figures.per_class(counts, np.arange(1000), [f"class {k}" for k in range(1000)])
    (axes,) = figure.axes
    names = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
    assert names == [f"class {k}" for k in [*range(999, 979, -1), *range(19, -1, -1)]]
    assert axes.containers[0][0].get_xdata()[-1] == 0


def test_confusion_normalises_rows_and_prints_counts() -> None:
    matrix = np.array([[3, 1, 0], [0, 0, 0], [0, 2, 6]])
    (axes,) = figures.confusion(matrix, ["a", "b", "c"]).axes
    shares = np.asarray(axes.images[0].get_array())[..., 3]
    assert shares == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 0], [0, 0.25, 0.75]]))
    printed = {text.get_position(): text.get_text() for text in axes.texts}
    assert printed == {(0, 0): "3", (1, 0): "1", (1, 2): "2", (2, 2): "6"}


def test_confusion_of_many_classes_prints_no_counts() -> None:
    (axes,) = figures.confusion(np.eye(16, dtype=np.int64), [str(k) for k in range(16)]).axes
    assert not axes.texts


@pytest.mark.parametrize(("high", "scale"), [(900, "linear"), (5000, "log")])
def test_evaluations_histogram(high: int, scale: str) -> None:
    values = [10, 20, 20, 30, high]
    (axes,) = figures.evaluations(values).axes
    assert axes.get_xscale() == scale
    assert sum(bar.get_height() for bar in axes.patches) == 5
    median, mean = (line.get_xdata()[0] for line in axes.lines)
    assert (median, mean) == (20, np.mean(values))


def test_evaluations_that_are_all_equal() -> None:
    (axes,) = figures.evaluations([200, 200, 200]).axes
    assert [bar.get_height() for bar in axes.patches] == [3]


def test_surviving_classes_mean_and_band() -> None:
    rows = [[40, 20, 30, 40], [20, 20, 20, 60]]
    (axes,) = figures.surviving(rows, [False, False]).axes
    (mean,) = axes.lines
    assert mean.get_drawstyle() == "steps-post"
    assert dict(zip(*mean.get_data(), strict=True)) == {0: 4, 20: 2, 30: 1.5, 40: 1.5, 60: 1.5}
    band = axes.collections[0].get_paths()[0].vertices
    at_start = band[band[:, 0] == 0][:, 1]
    assert (at_start.min(), at_start.max()) == (4, 4)
    at_end = band[band[:, 0] == 60][:, 1]
    assert (at_end.min(), at_end.max()) == pytest.approx(np.percentile([2, 1], [10, 90]))


def test_classes_that_a_screen_left_out_were_never_left() -> None:
    rows = [[0, 20, 30, 0], [0, 0, 20, 60], [0, 0, 0, 0]]  # the last had one candidate
    (axes,) = figures.surviving(rows, [True] * 3).axes
    left = dict(zip(*axes.lines[0].get_data(), strict=True))
    assert left == pytest.approx({0: 5 / 3, 20: 1, 30: 1, 60: 1})
    assert axes.get_ylim()[1] < 2.5


@pytest.mark.parametrize("most", [60, 2000])
def test_draws_of_classes_in_the_race_alone_set_the_scale(most: int) -> None:
    (axes,) = figures.surviving([[0, 0, 40, most]], [True]).axes
    assert axes.get_xlim() == (20 if most > 100 else 0, most)


def test_images_without_any_draw_make_a_figure() -> None:
    (axes,) = figures.surviving([[0, 0, 0]], [True]).axes
    assert set(axes.lines[0].get_ydata()) == {1}


def test_surviving_with_many_classes_and_draws_uses_log_axes() -> None:
    rng = np.random.default_rng(0)
    rows = [rng.integers(20, 2000, 1000) for _ in range(5)]
    (axes,) = figures.surviving(rows, [True] * 5).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.lines[0].get_xdata()) <= 302


def three_classes() -> Any:
    """Class 2 falls after 2 draws; class 1, the true one, stays to the end and loses to 0."""
    raw = [
        RawDraw(i, 0.5, 0.7, 0.7, weight, classes, errors)
        for i, (weight, classes, errors) in enumerate(
            [
                (1.0, (0, 1, 2), (1.0, 2.0, 4.0)),
                (0.5, (0, 1, 2), (2.0, 2.0, 8.0)),
                (2.0, (0, 1), (1.0, 1.5)),
            ]
        )
    ]
    return scores_table([Decision("i", "s", 1, 0, raw=tuple(raw))])


def test_running_means_weight_the_errors() -> None:
    expected = [[1, 2, 4], [1, 1.5, 4], [4 / 3, 2, np.nan]]
    assert running_means(three_classes()) == pytest.approx(np.array(expected), nan_ok=True)


def test_running_means_ignore_order_and_repeated_rows() -> None:
    table = three_classes()
    mixed = table.take([2, 0, 1, 1, 0])
    assert running_means(mixed) == pytest.approx(running_means(table), nan_ok=True)


def test_elimination_trace_is_relative_to_the_prediction() -> None:
    (axes,) = figures.elimination_trace(three_classes(), ["a", "b", "c"], 1, 0).axes
    predicted, true = axes.lines
    assert predicted.get_ydata() == pytest.approx([0, 0, 0])
    assert true.get_ydata() == pytest.approx([1, 0.5, 2 / 3])
    assert (to_hex(predicted.get_color()), to_hex(true.get_color())) == (
        figures.BLUE,
        figures.ORANGE,
    )
    lines, dots = axes.collections
    (other,) = lines.get_segments()
    assert other == pytest.approx(np.array([[1, 3], [2, 3]]))
    assert np.asarray(dots.get_offsets()) == pytest.approx(np.array([[2, 3]]))
    names = {text.get_text() for text in axes.texts}
    assert names == {"a (predicted)", "b (true)", "c"}


@pytest.mark.parametrize("label", [0, 3, 9])
def test_a_true_class_that_a_screen_left_out_has_no_line(label: int) -> None:
    raw = [RawDraw(i, 0.5, 0.7, 0.7, 1.0, (1, 4), (1.0, 2.0)) for i in range(3)]
    table = scores_table([Decision("i", "s", label, 1, raw=tuple(raw))])
    names = list("abcdefghij")
    (axes,) = figures.elimination_trace(table, names, label, 1).axes
    assert len(axes.lines) == 1
    assert {text.get_text() for text in axes.texts} == {"b (predicted)", "e"}
    assert np.isfinite(axes.get_ylim()).all()


def test_elimination_trace_of_a_right_prediction_names_it_once() -> None:
    (axes,) = figures.elimination_trace(three_classes(), ["a", "b", "c"], 0, 0).axes
    assert len(axes.lines) == 1
    assert {text.get_text() for text in axes.texts} == {"a (true, predicted)", "b", "c"}


def test_names_at_line_ends_do_not_overlap(simulated: Any) -> None:
    row = simulated.rows[0]
    table = scores_table([row])
    figure = figures.elimination_trace(table, simulated.run.classes, row.label, row.prediction)
    heights = sorted(text.xyann[1] for text in figure.axes[0].texts)
    assert len(heights) == 5
    assert min(np.diff(heights)) > 0.07
    assert 0 <= heights[0] <= heights[-1] <= 1


def all_figures(classes: list[str]) -> list[Callable[[], Figure]]:
    n = len(classes)
    return [
        lambda: figures.per_class(np.full(n, 5), np.arange(n) % 5, classes),
        lambda: figures.confusion(np.eye(n, dtype=np.int64), classes),
        lambda: figures.elimination_trace(three_classes(), classes, 1, 0),
    ]


@pytest.mark.parametrize("which", range(3))
def test_hostile_class_names_are_shown_literally(which: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = figures.svg(all_figures(HOSTILE)[which](), "f", '<&">')
    shown = "\n".join(texts(svg))
    for name in HOSTILE[: 3 if which == 2 else None]:
        assert " ".join(name.replace("\x07", " ").split())[:22] in shown
    assert "<b>" not in svg


def test_svg_follows_the_page_and_keeps_its_ids_apart() -> None:
    def draw(name: str) -> str:
        return figures.svg(figures.evaluations([1, 2, 3]), name, "what it shows")

    one, two = draw("one"), draw("two")
    assert draw("one") == one  # the same rows give the same page
    assert one.startswith("<svg viewBox=")
    assert 'aria-label="what it shows"' in one
    assert "var(--blue)" in one
    assert figures.BLUE not in one
    assert "http" not in one

    def ids(svg: str) -> set[str]:
        return {e.get("id") or "" for e in ET.fromstring(svg).iter()} - {""}  # noqa: S314

    assert ids(one)
    assert not ids(one) & ids(two)
    for element in ET.fromstring(one).iter():  # noqa: S314
        reference = element.get("href", "")
        assert not reference or reference[1:] in ids(one)


def test_a_thousand_lines_become_a_bitmap(simulate: Callable[..., Any]) -> None:
    many = simulate(1, tuple(str(k) for k in range(1000)), max_scores=60)
    row = many.rows[0]
    figure = figures.elimination_trace(many.draws, many.run.classes, row.label, row.prediction)
    assert len(figure.axes[0].collections[0].get_segments()) >= 998
    assert len(figures.svg(figure, "f", "")) < 600_000
