"""Tables and figures of robustness hold the numbers of their rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from zsd_ray.reports import figures
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.sweeps.robustness_panels import (
    accuracy_by_strength,
    corruption_table,
    ood_against_id,
    shift_table,
)
from zsd_ray.studies.sweeps.robustness_rows import CorruptedAccuracy, ShiftedAccuracy


def damaged(name: str, kind: str | None, strength: int, value: float, dataset: str = "mnist"):
    return CorruptedAccuracy(
        name, dataset, kind, strength, value, value - 0.04, value + 0.03, chance=0.1
    )


ROWS = [
    damaged("a", None, 0, 0.9),
    damaged("a", "jpeg", 5, 0.5),
    damaged("a", "jpeg", 1, 0.8),
    damaged("a", "contrast", 1, 0.85),
    damaged("b", "jpeg", 1, 0.6),
]


def test_the_table_has_a_column_a_strength() -> None:
    header, *rows = corruption_table(ROWS)
    assert header == ("data set", "model", "corruption", "clean", *"12345", "mean")
    assert rows[0] == (
        "mnist", "a", "jpeg", "90.0 [86.0, 93.0]", "80.0 [76.0, 83.0]", "-", "-", "-",
        "50.0 [46.0, 53.0]", "65.0",
    )  # fmt: skip
    assert rows[1][2:5] == ("contrast", "90.0 [86.0, 93.0]", "85.0 [81.0, 88.0]")
    assert rows[2] == ("mnist", "b", "jpeg", "-", "60.0 [56.0, 63.0]", *"----", "60.0")


def test_a_curve_starts_at_the_clean_pictures_in_every_panel() -> None:
    jpeg, contrast = (axes for axes in accuracy_by_strength(ROWS).axes if axes.get_visible())
    assert jpeg.get_title(loc="left") == "mnist, jpeg"
    assert contrast.get_title(loc="left") == "mnist, contrast"
    a, b, chance = jpeg.lines
    assert (list(a.get_xdata()), list(a.get_ydata())) == ([0, 1, 5], [0.9, 0.8, 0.5])
    assert (list(b.get_xdata()), list(b.get_ydata())) == ([1], [0.6])
    assert a.get_color() != b.get_color()
    assert set(chance.get_ydata()) == {0.1}
    band = jpeg.collections[0].get_paths()[0].vertices
    assert {(0.0, 0.86), (0.0, 0.93), (5.0, 0.46), (5.0, 0.53)} <= {
        (x, round(y, 6)) for x, y in band
    }
    assert list(contrast.lines[0].get_xdata()) == [0, 1]


def test_data_sets_have_rows_of_panels_of_their_own() -> None:
    other = [replace(row, dataset="digits", value=row.value / 2) for row in ROWS]
    shown = [axes for axes in accuracy_by_strength([*ROWS, *other]).axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [
        "mnist, jpeg", "mnist, contrast", "digits, jpeg", "digits, contrast",
    ]  # fmt: skip
    assert list(shown[2].lines[0].get_ydata()) == [0.45, 0.4, 0.25]


def test_five_kinds_wrap_and_empty_panels_are_hidden() -> None:
    kinds = ["gaussian-noise", "gaussian-blur", "jpeg", "brightness", "contrast"]
    figure = accuracy_by_strength([damaged("a", kind, 1, 0.5) for kind in kinds])
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False]


def shifted(name: str, usual: float, ood: float, n: int = 1000, **keys) -> ShiftedAccuracy:
    return ShiftedAccuracy(name, "v2", round(usual * n), n, round(ood * n), n, **keys)


def baseline(name: str, usual: float) -> ShiftedAccuracy:
    return shifted(name, usual, float(expit(-0.5 + logit(usual))), 10**6, is_baseline=True)


SHIFTED = [baseline("r1", 0.5), shifted("sd", 0.6, 0.7), baseline("r2", 0.8)]


def test_the_table_has_what_is_beyond_the_line() -> None:
    header, model, *baselines = shift_table(SHIFTED)
    assert header[-1] == "effective robustness"
    assert model[:2] == ("v2", "sd")
    assert model[2] == "60.0 [{:.1f}, {:.1f}]".format(*(100 * x for x in wilson(600, 1000)))
    expected = 100 * expit(-0.5 + logit(0.6))
    assert model[4] == f"{expected:.1f}"
    assert model[5].startswith(f"+{70 - expected:.1f} [+")
    assert [row[1] for row in baselines] == ["r1 (baseline)", "r2 (baseline)"]
    assert all(row[5].lstrip("+-") == "0.0" for row in baselines)


def test_without_two_baselines_nothing_is_expected() -> None:
    for rows in (SHIFTED[:2], SHIFTED[1:2], [*SHIFTED[:2], replace(SHIFTED[0], name="r3")]):
        assert all(row[4:] == ("-", "-") for row in shift_table(rows)[1:])
        (axes,) = ood_against_id(rows).axes
        assert len([line for line in axes.lines if hasattr(line, "get_slope")]) == 1


def test_points_lie_at_their_logits() -> None:
    (axes,) = ood_against_id(SHIFTED).axes
    first, model, second = (container[0] for container in axes.containers)
    assert (model.get_xdata()[0], model.get_ydata()[0]) == pytest.approx((logit(0.6), logit(0.7)))
    assert first.get_xdata()[0] == pytest.approx(0.0)
    assert second.get_xdata()[0] == pytest.approx(logit(0.8))
    across = axes.containers[1][2][0].get_segments()[0]
    assert expit(across[:, 0]) == pytest.approx(wilson(600, 1000))
    equal, line = axes.lines[-2:]
    assert (equal.get_xy1(), equal.get_slope()) == ((0, 0), 1)
    assert line.get_xy1()[1] == pytest.approx(-0.5, abs=1e-4)
    assert line.get_slope() == pytest.approx(1, abs=1e-4)
    for low, high, points in (
        (*axes.get_xlim(), [0, logit(0.6), logit(0.8)]),
        (*axes.get_ylim(), [logit(0.7), -0.5]),
    ):
        assert all(low < point < high for point in points)


def test_ticks_are_round_accuracies_however_near_or_far() -> None:
    for usual in ((0.001, 0.9995), (0.612, 0.634), (0.0, 1.0)):
        rows = [shifted("a", usual[0], usual[0], 4000), shifted("b", usual[1], usual[1], 4000)]
        figure = ood_against_id(rows)
        (axes,) = figure.axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert 2 <= len(ticks) <= 8
        shares = 100 * expit(ticks)
        assert shares == pytest.approx(np.round(shares, 1))
        figures.svg(figure, "f", "d")


def test_names_are_shown_as_they_stand() -> None:
    rows = [replace(row, name="$x_{ <b>") if not row.is_baseline else row for row in SHIFTED]
    for figure in (ood_against_id(rows), accuracy_by_strength([replace(ROWS[1], name="$x_{ <b>")])):
        drawn = figures.svg(figure, "f", "d")
        assert "$x_{ &lt;b&gt;" in drawn
