"""Weights of saved draws, against those that the draws were made with."""

import numpy as np
import pyarrow as pa
import pytest

from zsd_ray.analysis.reweight import reweighted
from zsd_ray.analysis.saved_scores import SavedScores
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.time_profile import TimeProfile
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule
from zsd_ray.diffusion.time_density import TimeDensity
from zsd_ray.diffusion.weighting import weights
from zsd_ray.records.errors import UserError
from zsd_ray.results.rows.schema import SCORES

CHAIN = DiscreteSchedule.from_betas(np.linspace(1e-4, 0.02, 1000))
PROFILE = TimeProfile.model_validate(
    {
        "loss": "l2",
        "edges": [0, 0.3, 1],
        "sd": [0.1, 0.2],
        "signal": [1.0, 1.0],
        "informative": [0.0, 1.0],
        "weights": [0.0, 3.0],
        "fitted_on": {"run": "x", "identity": "y", "images": 1, "draws": 1, "evaluations": 1},
    }
)


def method(weighting, **keys):
    fitted = PROFILE if weighting in ("standardised", "learned") else keys.pop("fitted", None)
    return DiffusionClassifierMethod(weighting=weighting, fitted=fitted, **keys)


def saved(schedule, own, correction=None, n=4000):
    """Draws at random times as a run with `own` saves them; with a correction for their density."""
    t = schedule.snap(np.random.default_rng(0).uniform(0.02, 0.98, n))
    alpha, sigma = schedule.alpha_sigma(t)
    weight = weights(schedule, t, own) * (1.0 if correction is None else correction(t))
    columns = {"t": t, "alpha": alpha, "sigma": sigma, "weight": weight}
    rows = [
        {name: column[i] for name, column in columns.items()}
        | {"image_id": f"image-{i % 8}", "draw": i // 8, "classes": [0], "eps_error": [1.0]}
        for i in range(n)
    ]
    return SavedScores.of(pa.Table.from_pylist(rows, schema=SCORES), 1)


@pytest.mark.few(4)
@pytest.mark.parametrize("schedule", [CHAIN, FlowSchedule(1000.0)])
@pytest.mark.parametrize("was", ["simple", "heuristic", "standardised"])
@pytest.mark.parametrize("now", ["simple", "heuristic", "vdm", "standardised", "learned"])
def test_the_weights_are_those_of_a_run_under_the_other_weighting(schedule, was, now):
    scores = saved(schedule, method(was))
    found = reweighted(scores, method(was), method(now))
    expected = weights(schedule, scores.t, method(now))
    if now == "vdm":  # a slope between saved points
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    else:
        assert np.array_equal(found, expected)


def test_the_correction_for_the_density_of_times_stays():
    density = TimeDensity(np.array([0.0, 0.4, 1.0]), np.array([0.7, 0.3]))
    own, other = (
        method(name, timesteps="importance", fitted=PROFILE) for name in ("vdm", "simple")
    )
    scores = saved(CHAIN, own, density.correction)
    found = reweighted(scores, own, other)
    np.testing.assert_allclose(found, density.correction(scores.t), rtol=1e-3)
    assert np.array_equal(reweighted(scores, own, own), scores.weight)


def test_a_density_behind_weights_of_zero_is_not_known():
    own = method("learned", timesteps="importance")
    scores = saved(CHAIN, own)
    with pytest.raises(UserError, match=r"the run's own weighting \(learned\) is 0"):
        reweighted(scores, own, method("simple", timesteps="importance", fitted=PROFILE))


def test_one_time_has_no_slope():
    scores = saved(CHAIN, method("simple"), n=1)
    with pytest.raises(UserError, match="vdm does not follow from the saved draws"):
        reweighted(scores, method("simple"), method("vdm"))
