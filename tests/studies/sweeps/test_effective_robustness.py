"""Effective robustness on lines that are known, and its interval against simulated truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from zsd_ray.studies.sweeps.effective_robustness import (
    BaselineLine,
    Counted,
    Shifted,
    effective_robustness,
)

MANY = 10**9  # images: a share is as good as exact


def of(usual: float, shifted: float, n: int = MANY) -> Shifted:
    return Shifted(Counted(round(usual * n), n), Counted(round(shifted * n), n))


def on_line(usual: float, intercept: float, slope: float, n: int = MANY) -> Shifted:
    return of(usual, float(expit(intercept + slope * logit(usual))), n)


def test_a_line_is_found() -> None:
    line = BaselineLine.fit([on_line(a, -0.9, 1.2) for a in (0.5, 0.62, 0.7, 0.81)])
    assert (line.intercept, line.slope) == (
        pytest.approx(-0.9, abs=1e-6),
        pytest.approx(1.2, abs=1e-6),
    )
    assert line.expected([0.5, 0.75]) == pytest.approx(expit(-0.9 + 1.2 * logit([0.5, 0.75])))


def test_scattered_baselines_have_numpys_least_squares() -> None:
    rng = np.random.default_rng(3)
    models = [of(a, b) for a, b in rng.uniform(0.1, 0.9, (12, 2))]
    x, y = ([logit(m[i].correct / m[i].n) for m in models] for i in (0, 1))
    slope, intercept = np.polyfit(x, y, 1)
    line = BaselineLine.fit(models)
    assert (line.intercept, line.slope) == pytest.approx((intercept, slope))


def test_rho_is_what_lies_above_the_line() -> None:
    baselines = [on_line(a, -0.5, 1.0) for a in (0.4, 0.6, 0.8)]
    expected = float(expit(-0.5 + logit(0.7)))
    for above in (0.0, 0.1, -0.2):
        found = effective_robustness(of(0.7, expected + above), baselines)
        assert found.expected == pytest.approx(expected, abs=1e-6)
        assert found.rho.value == pytest.approx(above, abs=1e-6)
        assert found.rho.low == pytest.approx(above, abs=1e-3)
        assert found.rho.low < found.rho.high


def test_a_baseline_of_two_is_on_its_own_line() -> None:
    baselines = [of(0.5, 0.3, 1000), of(0.7, 0.6, 1000)]
    rho = effective_robustness(baselines[0], baselines).rho
    assert rho.value == pytest.approx(0.0, abs=1e-9)
    assert rho.low < 0 < rho.high


def test_all_right_and_all_wrong_are_finite_and_have_a_width() -> None:
    baselines = [Shifted(Counted(0, 50), Counted(0, 50)), Shifted(Counted(50, 50), Counted(50, 50))]
    line = BaselineLine.fit(baselines)
    assert (line.intercept, line.slope) == pytest.approx((0, 1))
    found = effective_robustness(Shifted(Counted(50, 50), Counted(0, 50)), baselines)
    assert found.rho.value == pytest.approx(-0.99)
    assert -1 <= found.rho.low < found.rho.high < 0


def test_the_interval_is_the_same_each_time_and_narrows_with_images() -> None:
    def interval(n: int, **keys: float) -> tuple[float, float]:
        baselines = [on_line(a, -0.5, 1.0, n) for a in (0.4, 0.6, 0.8)]
        rho = effective_robustness(of(0.7, 0.75, n), baselines, **keys).rho
        return rho.low, rho.high

    assert interval(500) == interval(500)
    assert interval(500) != interval(500, seed=1)
    (low, high), (far_low, far_high) = interval(50_000), interval(500)
    assert far_low < low < high < far_high
    (low, high) = interval(500, confidence=0.5)
    assert far_low < low < high < far_high


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("shares", "n"), [((0.7, 0.62), 400), ((0.97, 0.99), 100), ((0.3, 0.05), 60)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(
    shares: tuple[float, float], n: int
) -> None:
    """200 runs each: 95 % has a standard error of 1.5 % over them."""
    rng = np.random.default_rng(11)
    usual = np.array([0.45, 0.6, 0.75, 0.9])
    shifted = expit(-0.7 + 1.1 * logit(usual))
    rho = shares[1] - expit(-0.7 + 1.1 * logit(shares[0]))
    held = 0
    for _ in range(200):
        drawn = [
            Shifted(
                Counted(int(rng.binomial(500, a)), 500), Counted(int(rng.binomial(500, b)), 500)
            )
            for a, b in zip(usual, shifted, strict=True)
        ]
        model = Shifted(*(Counted(int(rng.binomial(n, share)), n) for share in shares))
        found = effective_robustness(model, drawn).rho
        held += found.low <= rho <= found.high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("baselines", "words"),
    [
        ([], "came 0 of 0"),
        ([of(0.5, 0.4)], "at least 2 baselines .* came 1 of 1"),
        ([of(0.5, 0.4), of(0.5, 0.3)], "came 2 of 1"),
        ([of(0.5, 0.4), Shifted(Counted(3, 2), Counted(1, 2))], "came 3 of 2"),
        ([of(0.5, 0.4), Shifted(Counted(1, 2), Counted(0, 0))], "came 0 of 0"),
    ],
)
def test_too_few_baselines_are_refused(baselines: list[Shifted], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        effective_robustness(of(0.5, 0.5), baselines)


def test_a_model_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match="came 0 of 0"):
        effective_robustness(Shifted(Counted(0, 0), Counted(0, 0)), [of(0.5, 0.4), of(0.6, 0.5)])
