"""The lines and the page of a calibration."""

from __future__ import annotations

import numpy as np
import pytest

from zsd_ray.stats.reliability import Bin, Measured
from zsd_ray.studies.calibration.calibration_file import Calibration, MethodCalibration
from zsd_ray.studies.calibration.calibration_page import (
    calibration_lines,
    reliability,
    render_calibration,
)

BINS = [Bin(4, 0.45, 1, 0.25, 0.05, 0.70), Bin(60, 0.97, 60, 1.0, 0.94, 1.0)]


def method(parameters, brier=None, nll=None) -> MethodCalibration:
    return MethodCalibration(
        parameters=parameters,
        confidence=0.912,
        ece=Measured(0.051, 0.0, 0.083),
        ece_equal_mass=Measured(0.06, 0.01, 0.09),
        ece_by_chance=0.044,
        brier_right=Measured(0.12, 0.1, 0.14),
        nll_right=Measured(0.3, 0.25, 0.35),
        brier=brier,
        nll=nll,
        bins=BINS,
    )


@pytest.fixture
def found() -> Calibration:
    scores = Measured(0.2, 0.15, 0.25), Measured(0.4, 0.3, 0.5)
    return Calibration(
        run="runs/<b>digits</b>",
        split=0.5,
        n_fit=1200,
        n_test=64,
        accuracy=Measured(0.953, 0.871, 0.984),
        methods={
            "posterior": method({"temperature": 0.000352, "left_out": 0.02}, *scores),
            "platt": method({"intercept": 13.8, "slope": -2.78}),
        },
    )


def test_lines_hold_a_column_a_method(found: Calibration) -> None:
    lines = calibration_lines(found, ["posterior", "platt"]).splitlines()
    assert lines[2] == "tested on  64 others, accuracy 95.3% [87.1%, 98.4%]"
    assert "temperature 0.000352, left out 0.02" in lines[3]
    assert "slope -2.78" in lines[4]
    table = {line[:22].strip(): line[22:].split("  ") for line in lines[7:]}
    assert [cell.strip() for cell in table["ECE"] if cell.strip()] == ["5.1% [0.0%, 8.3%]"] * 2
    assert table["NLL, all classes"][-1].strip() == "-"
    assert "0.400 [0.300, 0.500]" in "".join(table["NLL, all classes"])


def test_lines_of_one_method(found: Calibration) -> None:
    text = calibration_lines(found, ["platt"])
    assert "posterior" not in text
    assert "slope" in text


def test_the_page_shows_every_method_and_escapes(found: Calibration) -> None:
    page = render_calibration(found)
    assert page.count("<svg") == 2
    assert "<b>digits" not in page
    assert "&lt;b&gt;digits&lt;/b&gt;" in page
    assert "1,200 labelled images" in page
    assert '<td class="number">4.4%</td>' in page
    assert "Fitted: intercept 13.8, slope -2.78." in page


def test_the_diagram_holds_the_bins() -> None:
    axes, below = reliability(BINS).axes
    points, _, (bars,) = axes.containers[0]
    assert points.get_xdata() == pytest.approx([0.45, 0.97])
    assert points.get_ydata() == pytest.approx([0.25, 1.0])
    for segment, each in zip(bars.get_segments(), BINS, strict=True):
        assert segment[:, 1] == pytest.approx([each.accuracy_low, each.accuracy_high])
    (counts,) = below.collections
    assert [segment[1][1] for segment in counts.get_segments()] == [4, 60]
    assert np.array_equal(axes.lines[0].get_xdata(), axes.lines[0].get_ydata())
