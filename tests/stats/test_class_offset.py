"""Class offsets: cross-fitted, shrunk, and against a plain loop."""

import numpy as np
import pytest

from zsd_ray.stats.class_offset import (
    LEAST_IMAGES,
    ClassOffset,
    class_deviations,
    draw_scale,
)


def made_up(m=40, k=5, bias=(0.8, 0, 0, 0, -0.8), noise=1.0, seed=0):
    """Deviations of M images, of which each class is as often the true one."""
    rng = np.random.default_rng(seed)
    apart = rng.normal(size=(m, k)) * noise + np.asarray(bias)
    apart[np.arange(m), np.arange(m) % k] -= 2.0
    return apart - apart.mean(axis=1, keepdims=True)


def offset(deviations):
    return ClassOffset(tuple(f"i{n:03d}" for n in range(len(deviations))), deviations)


def plain(others):
    """The offset of an image, of the deviations of all others, in a few lines."""
    mean = others.mean(axis=0)
    noise = (others.var(axis=0, ddof=1) / len(others)).mean()
    variance = mean.var(ddof=1)
    return max(0.0, 1 - noise / variance) * mean


def test_each_image_gets_the_offset_of_the_others():
    deviations = made_up()
    found = offset(deviations)
    for row in (0, 7, 39):
        others = np.delete(deviations, row, axis=0)
        np.testing.assert_allclose(found.of(f"i{row:03d}"), plain(others), rtol=1e-10)
    np.testing.assert_allclose(found.of("elsewhere"), plain(deviations), rtol=1e-10)


def test_an_images_own_scores_never_enter_its_offset():
    deviations = made_up()
    before = offset(deviations).of("i003")
    deviations[3] = [4.0, -4.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(offset(deviations).of("i003"), before, rtol=1e-9)
    assert not np.allclose(offset(deviations).of("i004"), before)


def test_noise_alone_is_shrunk_away():
    shrinkages = [
        offset(made_up(m=20, bias=[0] * 5, noise=3.0, seed=seed)).shrinkage for seed in range(100)
    ]
    assert np.mean(np.asarray(shrinkages) == 0) > 0.3
    assert np.mean(shrinkages) < 0.35
    assert offset(made_up(m=400, bias=(2, 0, 0, 0, -2))).shrinkage > 0.97


def test_images_without_a_difference_have_no_offset():
    found = offset(np.zeros((LEAST_IMAGES, 3)))
    assert found.shrinkage == 0
    assert found.of("x").tolist() == [0, 0, 0]
    assert not found.significant.any()


def test_a_bias_is_found_and_removed():
    deviations = made_up(m=100)
    labels = np.arange(100) % 5
    found = offset(deviations)
    corrected = np.stack([row - found.of(f"i{n:03d}") for n, row in enumerate(deviations)])
    before, after = ((rows.argmin(axis=1) == labels).mean() for rows in (deviations, corrected))
    assert after > before + 0.05
    assert found.significant[[0, 4]].all()
    expected = np.array([0.8, 0, 0, 0, -0.8])
    assert (np.abs(found.mean - expected) < 4 * found.error).all()


def test_significance_errs_as_seldom_as_it_says():
    wrong = [
        offset(made_up(m=50, bias=[0] * 5, seed=seed)).significant.any() for seed in range(200)
    ]
    assert np.mean(wrong) <= 0.09  # 5 %, and four standard errors


def test_the_scale_is_the_noise_of_one_draw():
    rng = np.random.default_rng(1)
    common = rng.normal(size=(4000, 1)) * 50
    scores = common + rng.normal(size=(4000, 6)) * 3 + np.arange(6) * 10
    assert draw_scale(scores) == pytest.approx(3 * np.sqrt(5 / 6), rel=0.02)


def test_deviations_have_no_unit():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(30, 4))
    np.testing.assert_allclose(class_deviations(7 * scores), class_deviations(scores))
    np.testing.assert_allclose(class_deviations(scores + 3), class_deviations(scores), atol=1e-12)
    assert class_deviations(np.ones((10, 4))).tolist() == [0] * 4
