"""What a replay may change."""

import json

import pytest

from tests.support.digit_runs import PAPER
from zsd_ray.analysis.settings import changed
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.config.time_profile import TimeProfile
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

PROFILE = {
    "loss": "l2",
    "edges": [0, 0.5, 1],
    "sd": [0.1, 0.2],
    "signal": [1.0, 1.0],
    "informative": [0.02, 0.98],
    "weights": [1.0, 3.0],
    "fitted_on": {"run": "x", "identity": "y", "images": 1, "draws": 1, "evaluations": 1},
}
PRUNING = {"rule": "clark-jaini", "min_scores": 5, "max_scores": 50}


def config(**method):
    return parse_config(RunConfig, {"pruning": PRUNING, "method": {**PAPER, **method}})


def test_nothing_changes_where_nothing_is_asked():
    own = config(weighting="vdm", loss="l1")
    assert changed(own, None, None, [], Store()) == own


def test_a_key_of_the_rule_changes_alone_and_another_rule_has_its_own_defaults():
    own = config()
    found = changed(own, None, None, ["pruning.p_value=0.05"], Store()).pruning
    assert (found.min_scores, found.max_scores, found.p_value) == (5, 50, 0.05)
    assert changed(own, None, "clark-jaini", [], Store()) == own
    for rule, overrides in [("none", []), (None, ["pruning.rule=none"])]:
        found = changed(own, None, rule, [*overrides, "pruning.draws=7"], Store()).pruning
        assert (found.rule, found.draws) == ("none", 7)
    assert changed(own, None, None, ["pruning={rule: li}"], Store()).pruning.keep == [5, 1]


def test_the_weighting_changes_by_either_option():
    for weighting, overrides in [("simple", []), (None, ["method.weighting=simple"])]:
        found = changed(config(loss="l1"), weighting, None, overrides, Store())
        assert (found.method.weighting, found.method.loss) == ("simple", "l1")
        assert found.pruning == config().pruning


def test_a_fitted_weighting_takes_its_profile_from_a_file_or_the_run(tmp_path):
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(PROFILE))
    for name in ("standardised", "learned"):
        found = changed(config(), name, None, [f"method.profile={file}"], Store())
        assert found.method.fitted == TimeProfile.model_validate(PROFILE)
        assert changed(found, None, None, [], Store()) == found
        plain = changed(found, "simple", None, [], Store()).method
        assert (plain.fitted, plain.profile) == (None, None)
    # The run's own times go on depending on what was fitted for them.
    profile = TimeProfile.model_validate(PROFILE)
    timed = config(weighting="simple", timesteps="importance", fitted=profile)
    assert changed(timed, "vdm", None, [], Store()).method.fitted == timed.method.fitted


@pytest.mark.parametrize(
    ("weighting", "rule", "overrides", "words"),
    [
        ("simpel", None, [], "did you mean 'simple'"),
        (None, "lii", [], "allowed: 'clark-jaini'"),
        (None, None, ["pruning.p_value=2"], "p_value"),
        (None, "li", ["pruning.p_value=0.1"], "unknown key pruning.p_value"),
        (None, None, ["seed=3"], "came with 'seed'"),
        (None, None, ["model.dtype=float16"], "came with 'model'"),
        (None, None, ["method=simple"], "came with 'method'"),
        (None, None, ["method.loss=l1"], "method.loss is in the saved scores"),
        (None, None, ["method.t_range=[0.1, 0.9]"], "method.t_range is in the saved scores"),
        ("learned", None, [], "zsd-ray fit learned"),
        ("standardised", None, ["method.profile=/no/such.json"], "no profile at /no/such.json"),
    ],
)
def test_what_it_may_not_change_is_one_line(weighting, rule, overrides, words):
    with pytest.raises(UserError) as caught:
        changed(config(), weighting, rule, overrides, Store())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_baselines_scores_have_no_weighting():
    baseline = parse_config(RunConfig, {"method": {"name": "classifier"}})
    with pytest.raises(UserError, match="no weighting"):
        changed(baseline, "simple", None, [], Store())
    assert changed(baseline, None, "none", ["pruning.draws=1"], Store()).pruning.draws == 1
