import pytest

from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.identity import hash_of, identity_parts
from zsd_ray.spec.method import TimeProfile

FITTED = {
    "loss": "l2",
    "edges": [0.0, 0.5, 1.0],
    "sd": [1.0, 2.0],
    "signal": [0.5, 1.0],
    "informative": [0.5, 1.0],
    "fitted_on": {"run": "x", "identity": "y", "images": 1, "draws": 2, "evaluations": 3},
}
PAPER = {"weighting": "heuristic", "timesteps": "uniform"}
FULL = {"t_range": [0.02, 0.98]}
PILOTED = {"weighting": "standardised", "timesteps": "uniform", **FULL}


def method(keys):
    return parse_config(RunConfig, {"method": keys}).method


def parts(keys):
    config = parse_config(RunConfig, {"method": keys})
    return identity_parts(config, ("a", "b"), (0, 1), "f")["method"]


def identity(keys):
    return hash_of(parts(keys))


@pytest.mark.parametrize(
    ("keys", "takes"),
    [
        ({}, True),
        (PAPER, False),
        (PAPER | {"t_range": "auto"}, True),
        ({"name": "classifier"}, False),
        ({"weighting": "simple", "timesteps": "stratified"}, False),
        (PILOTED, True),
        (PAPER | {"timesteps": "importance"}, True),
        (PILOTED | {"profile": "p.json"}, False),
        (PILOTED | {"fitted": FITTED}, False),
    ],
)
def test_a_pilot_is_taken_where_nothing_else_tells_how_errors_spread(keys, takes):
    assert method(keys).takes_pilot == takes


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"weighting": "learned"}, ["zsd-ray fit learned", "method.profile"]),
        (
            PAPER | {"profile": "p.json"},
            ["profile is for weighting standardised or learned", "remove it"],
        ),
        (PILOTED | {"profile": "p.json", "fitted": FITTED}, ["remove one"]),
        (FULL | {"snr_range": [1, 2]}, ["t_range and snr_range both say which times are drawn"]),
        ({"snr_range": [0, 2]}, ["method.snr_range", "needs 0 < low < high"]),
        ({"snr_range": [2, 1]}, ["needs 0 < low < high, but came [2.0, 1.0]"]),
        (PAPER | {"antithetic": True}, ["share a t in pairs", "stratified", "came with uniform"]),
        (PAPER | {"grid_points": 5}, ["grid_points is for timesteps grid", "uniform"]),
        (PAPER | {"grid_stages": [5]}, ["grid_stages is for timesteps grid", "uniform"]),
        ({"timesteps": "stratfied"}, ["did you mean 'stratified'"]),
        ({"normaliser": "null"}, ["'none' or 'null-prompt'"]),
        ({"pilot": {"image": 3}}, ["unknown key method.pilot.image", "'images'"]),
        ({"pilot": {"draws": 0}}, ["method.pilot.draws", "came 0"]),
        (PILOTED | {"fitted": {**FITTED, "sds": 1}}, ["unknown key method.fitted.sds", "'sd'"]),
        (PILOTED | {"fitted": FITTED, "loss": "l1"}, ["of loss l2, and loss is l1"]),
        ({"weighting": "learned", "fitted": FITTED}, ["holds no learned weights"]),
        (
            PILOTED | {"fitted": {**FITTED, "edges": [0.1, 0.5, 1.0]}},
            ["covers t in [0.1, 1]", "t_range is [0.02, 0.98]"],
        ),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, words):
    with pytest.raises(UserError) as caught:
        method(keys)
    for word in words:
        assert word in str(caught.value)


def test_keys_without_effect_do_not_change_the_identity():
    """Outputs of the version before them stay good."""
    assert parts(PAPER) == {
        "name": "diffusion-classifier",
        "weighting": "heuristic",
        "loss": "l2",
        "timesteps": "uniform",
        "t_range": [0.02, 0.98],
    }
    assert identity(PAPER | {"pilot": {"images": 5}, "antithetic": False}) == identity(PAPER)


@pytest.mark.parametrize(
    "keys",
    [
        PAPER | {"timesteps": "stratified", "antithetic": True},
        PAPER | {"normaliser": "null-prompt"},
        PAPER | {"timesteps": "grid", "grid_points": 5},
        PAPER | {"timesteps": "grid", "grid_points": 6},
        PAPER | {"timesteps": "grid", "grid_points": 6, "grid_stages": [2, 6]},
        PAPER | {"t_range": "auto"},
        PILOTED,
        PILOTED | {"pilot": {"images": 5}},
        PILOTED | {"fitted": FITTED},
        PILOTED | {"fitted": {**FITTED, "sd": [1.0, 3.0]}},
    ],
)
def test_keys_that_change_numbers_change_the_identity(keys):
    others = [
        PAPER,
        PAPER | {"timesteps": "grid"},
        PAPER | {"timesteps": "stratified"},
        PILOTED,
        PILOTED | {"fitted": FITTED},
    ]
    assert all(identity(keys) != identity(other) for other in others if other != keys)


def test_an_automatic_range_is_what_the_profile_finds_informative():
    profile = TimeProfile.model_validate(FITTED)
    assert method({}).t_range == "auto"
    assert method({}).with_profile(profile).t_range == (0.5, 1.0)
    assert method({"t_range": [0.1, 0.9]}).with_profile(profile).t_range == (0.1, 0.9)
    assert method({"weighting": "simple"}).t_range == (0.02, 0.98)


def test_a_window_of_ratios_takes_the_place_of_a_range_of_t():
    found = method({"snr_range": [0.1, 9]})
    assert (found.t_range, found.snr_range) == (None, (0.1, 9.0))
    assert method(found.model_dump(mode="json")) == found
    assert found.for_pilot().snr_range == (0.1, 9.0)
    assert not method({"weighting": "simple", "snr_range": [0.1, 9]}).takes_profile


def test_a_pilot_measures_all_times():
    pilot = method({"antithetic": True, "normaliser": "null-prompt"}).for_pilot()
    assert not pilot.takes_profile
    assert (pilot.t_range, pilot.weighting, pilot.timesteps) == (
        (0.02, 0.98),
        "simple",
        "stratified",
    )
    assert method({"t_range": [0.1, 0.9]}).for_pilot().t_range == (0.1, 0.9)


def test_a_profile_counts_by_its_values():
    on = {**FITTED["fitted_on"], "run": "elsewhere", "images": 9}
    moved = identity(PILOTED | {"fitted": {**FITTED, "fitted_on": on}, "pilot": {"images": 5}})
    assert moved == identity(PILOTED | {"fitted": FITTED})
