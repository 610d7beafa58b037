import pytest

from zsd_ray.config.identity import hash_of, identity_parts
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.records.errors import UserError

FITTED = {
    "loss": "l2",
    "edges": [0.0, 0.5, 1.0],
    "sd": [1.0, 2.0],
    "signal": [0.5, 1.0],
    "informative": [0.5, 1.0],
    "fitted_on": {"run": "x", "identity": "y", "images": 1, "draws": 2, "evaluations": 3},
}
PAPER = {"weighting": "heuristic", "timesteps": "uniform", "t_range": [0.02, 0.98]}
FIT = {"weighting": "standardised", "timesteps": "uniform", "t_range": [0.02, 0.98]}
FIT_ON_FILE = FIT | {"profile": "p.json"}
FIT_INSIDE = FIT | {"fitted": FITTED}


def method(keys):
    return parse_config(RunConfig, {"method": keys}).method


def saved(keys):
    return parse_config(RunConfig, {"method": keys}, saved=True).method


def parts(keys):
    config = parse_config(RunConfig, {"method": keys}, saved=True)
    return identity_parts(config, ("a", "b"), (0, 1), "f")["method"]


def identity(keys):
    return hash_of(parts(keys))


def test_what_says_nothing_is_the_plain_error_where_the_signal_is():
    assert (method({}).weighting, method({}).timesteps) == ("split", "importance")
    assert (method({}).t_range, method({}).snr_range) == (None, (0.05, 10.0))
    assert not method({}).needs_profile


@pytest.mark.parametrize(
    ("keys", "t_range", "snr_range"),
    [
        ({"t_range": [0.1, 0.9]}, (0.1, 0.9), None),
        ({"snr_range": [0.1, 9]}, None, (0.1, 9)),
        ({"weighting": "heuristic"}, None, (0.05, 10.0)),
        ({"t_range": None, "snr_range": None}, None, (0.05, 10.0)),
    ],
)
def test_one_range_says_which_times_are_drawn(keys, t_range, snr_range):
    assert (method(keys).t_range, method(keys).snr_range) == (t_range, snr_range)
    again = method(method(keys).model_dump(mode="json"))
    assert again == method(keys)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"weighting": "learned"}, ["zsd-ray fit learned", "method.profile"]),
        (
            PAPER | {"profile": "p.json"},
            ["profile is for weighting standardised or learned", "remove it"],
        ),
        (FIT, ["weighting standardised needs a profile", "zsd-ray fit standardised RUN"]),
        ({"t_range": [0, 1], "snr_range": [1, 2]}, ["both say which times are drawn"]),
        ({"snr_range": [0, 2]}, ["method.snr_range", "needs 0 < low < high"]),
        ({"snr_range": [2, 1]}, ["needs 0 < low < high, but came [2.0, 1.0]"]),
        ({"t_range": "auto"}, ["t_range auto is no value any more", "snr_range"]),
        ({"pilot": {"images": 3}}, ["pilot is no key any more", "zsd-ray fit", "remove pilot"]),
        (FIT_INSIDE, ["fitted is what a run writes", "method.profile"]),
        (PAPER | {"grid_points": 5}, ["grid_points is for timesteps grid", "uniform"]),
        (PAPER | {"grid_stages": [5]}, ["grid_stages is for timesteps grid", "uniform"]),
        ({"timesteps": "stratfied"}, ["did you mean 'stratified'"]),
        ({"normaliser": "null"}, ["'none' or 'null-prompt'"]),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys, words):
    with pytest.raises(UserError) as caught:
        method(keys)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (FIT_ON_FILE | {"fitted": FITTED}, ["remove one"]),
        (FIT | {"fitted": {**FITTED, "sds": 1}}, ["unknown key method.fitted.sds", "'sd'"]),
        (FIT | {"fitted": FITTED, "loss": "l1"}, ["of loss l2, and loss is l1"]),
        ({"weighting": "learned", "fitted": FITTED}, ["holds no learned weights"]),
        (
            FIT | {"fitted": {**FITTED, "edges": [0.1, 0.5, 1.0]}},
            ["covers t in [0.1, 1]", "t_range is [0.02, 0.98]"],
        ),
        (PAPER | {"antithetic": True}, ["antithetic true is of an earlier version"]),
    ],
)
def test_a_saved_section_that_cannot_be_is_refused(keys, words):
    with pytest.raises(UserError) as caught:
        saved(keys)
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
    assert identity(PAPER | {"antithetic": False}) == identity(PAPER)


def test_keys_that_are_gone_stay_in_the_identity_of_a_rule_that_had_them():
    of_rule = {"rule": "anytime", "min_draws": 4}
    config = parse_config(RunConfig, {"pruning": of_rule})
    parts = identity_parts(config, ("a", "b"), (0, 1), "f")["pruning"]
    assert (parts["block"], parts["sampling"]) == (1, "all")
    was = {"pruning": of_rule | {"block": 1, "sampling": "all"}}
    assert parse_config(RunConfig, was, saved=True) == config
    for key, value in (("block", 5), ("sampling", "top-two")):
        with pytest.raises(UserError, match=f"{key} {value} is of an earlier version"):
            parse_config(RunConfig, {"pruning": of_rule | {key: value}}, saved=True)
        with pytest.raises(UserError, match=f"unknown key pruning.{key}"):
            parse_config(RunConfig, {"pruning": of_rule | {key: value}})


def test_outputs_of_baselines_of_earlier_versions_stay_good():
    assert parts({"name": "classifier"}) == {
        "name": "classifier",
        "weighting": "standardised",
        "loss": "l2",
        "timesteps": "stratified",
        "t_range": "auto",
    }


@pytest.mark.parametrize(
    "keys",
    [
        PAPER | {"normaliser": "null-prompt"},
        PAPER | {"timesteps": "grid", "grid_points": 5},
        PAPER | {"timesteps": "grid", "grid_points": 6},
        PAPER | {"timesteps": "grid", "grid_points": 6, "grid_stages": [2, 6]},
        {"weighting": "heuristic", "timesteps": "uniform"},
        {"weighting": "heuristic", "timesteps": "uniform", "snr_range": [0.1, 20]},
        FIT_ON_FILE,
        FIT_INSIDE,
        FIT | {"fitted": {**FITTED, "sd": [1.0, 3.0]}},
    ],
)
def test_keys_that_change_numbers_change_the_identity(keys):
    others = [
        PAPER,
        PAPER | {"timesteps": "grid"},
        PAPER | {"timesteps": "stratified"},
        FIT_INSIDE,
    ]
    assert all(identity(keys) != identity(other) for other in others if other != keys)


OLD = {
    "name": "diffusion-classifier",
    "weighting": "standardised",
    "timesteps": "stratified",
    "pilot": {"images": 32, "draws": 40},
}


@pytest.mark.parametrize(
    ("keys", "t_range"),
    [
        ({"fitted": FITTED, "t_range": "auto"}, (0.5, 1.0)),
        ({"fitted": FITTED, "t_range": [0.5, 0.9]}, (0.5, 0.9)),
        ({"weighting": "simple", "t_range": [0.02, 0.98]}, (0.02, 0.98)),
    ],
)
def test_what_an_earlier_version_saved_is_read(keys, t_range):
    """It fitted weights and times to a pilot of its own, and saved what it found."""
    tree = {"method": {**OLD, **keys}}
    read = parse_config(RunConfig, tree, saved=True).method
    assert (read.t_range, read.snr_range) == (t_range, None)
    with pytest.raises(UserError, match="no key any more"):
        parse_config(RunConfig, tree)


def test_a_profile_counts_by_its_values():
    on = {**FITTED["fitted_on"], "run": "elsewhere", "images": 9}
    moved = identity(FIT | {"fitted": {**FITTED, "fitted_on": on}})
    assert moved == identity(FIT | {"fitted": FITTED})
