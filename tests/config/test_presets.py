"""Settings by name: what the papers have, what goes before them, and where the name is said."""

import numpy as np
import pytest

from zsd_ray.config.identity import identity_parts, settings
from zsd_ray.config.presets import settings_of
from zsd_ray.config.run import RunConfig, load_config, parse_config
from zsd_ray.diffusion.draws import times
from zsd_ray.diffusion.schedule import DiscreteSchedule
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.errors import UserError

LI = {
    # The authors' published commands: --to_keep, --n_samples, --loss (l2 where none is given).
    "li-food": ([20, 10, 5, 1], [20, 50, 100, 500], "l2"),
    "li-cifar10": ([5, 1], [50, 500], "l1"),
    "li-aircraft": ([20, 10, 5, 1], [20, 50, 100, 500], "l2"),
    "li-pets": ([5, 1], [25, 250], "l1"),
    "li-flowers": ([20, 10, 5, 1], [20, 50, 100, 500], "l1"),
    "li-stl10": ([5, 1], [100, 500], "l1"),
    "li-imagenet": ([500, 50, 10, 1], [50, 100, 500, 1000], "l2"),
}


def config(**tree):
    return parse_config(RunConfig, tree)


@pytest.mark.parametrize("name", LI)
def test_li_et_al_s_settings_are_those_of_their_commands(name):
    keep, draws, loss = LI[name]
    found = with_defaults(config(preset=name))
    assert (found.pruning.rule, found.pruning.keep, found.pruning.draws) == ("li", keep, draws)
    assert (found.method.weighting, found.method.loss) == ("simple", loss)
    assert found.method.t_range == (0.0, 1.0)
    assert found.method.grid_stages == draws


@pytest.mark.parametrize("name", LI)
def test_each_stage_s_steps_are_evenly_spaced_and_centred_as_theirs(name):
    """Their t_to_eval is range(start, T, interval) with interval = T // max(n_samples) and start =
    interval // 2; a stage takes every len(t_to_eval) // n-th of it from half of that on."""
    method = with_defaults(config(preset=name)).method
    draws = LI[name][1]
    n_steps, most = 1000, draws[-1]
    interval = n_steps // most
    all_steps = list(range(interval // 2, n_steps, interval))[:most]
    schedule = DiscreteSchedule.from_betas(np.linspace(1e-4, 0.02, n_steps))
    t = times(
        0,
        "image",
        range(most),
        method.timesteps,
        method.t_range,
        grid_points=method.grid_points,
        grid_stages=method.grid_stages,
    )
    ours = schedule.steps(t).tolist()
    if most == n_steps:  # theirs are 0, 1, ..., 999, ours the same
        assert all_steps[0] == 0
    assert sorted(ours) == all_steps
    done: set[int] = set()
    for n in draws:
        each = len(all_steps) // n
        theirs = set(all_steps[each // 2 :: each][:n])
        if done <= theirs:  # where stages nest, they are the very same steps
            assert set(ours[:n]) == theirs
        gaps = np.diff(sorted(ours[:n]))
        assert abs(np.mean(ours[:n]) - n_steps / 2) <= n_steps / n / 2 + interval
        assert gaps.max() <= 2 * n_steps / n
        done |= theirs


def test_clark_and_jaini_s():
    found = config(preset="clark-jaini")
    assert (found.method.weighting, found.method.timesteps) == ("heuristic", "uniform")
    assert found.method.t_range == (0.02, 0.98)
    rule = found.pruning
    assert (rule.rule, rule.min_scores, rule.max_scores) == ("clark-jaini", 20, 2000)
    assert (rule.p_value, rule.indifference) == (2e-3, None)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits", "li-cifar10"),
        ("cifar10", "li-cifar10"),
        ("oxford-pets", "li-pets"),
        ("imagenet", "li-imagenet"),
        ("imagenet-a", "li-imagenet"),
    ],
)
def test_li_takes_the_stages_of_the_runs_own_data(source, name):
    assert settings_of("li", {"source": source}) is settings_of(name, None)


def test_the_default_says_nothing():
    assert config(preset="default").method == config().method
    assert config(preset="default").pruning == config().pruning


def test_what_is_written_goes_before_the_preset():
    found = config(preset="clark-jaini", method={"weighting": "simple"}, pruning={"p_value": 0.01})
    assert (found.method.weighting, found.method.timesteps) == ("simple", "uniform")
    assert (found.pruning.rule, found.pruning.p_value) == ("clark-jaini", 0.01)
    other = config(preset="clark-jaini", pruning={"rule": "none", "draws": 7})
    assert (other.pruning.rule, other.pruning.draws) == ("none", 7)
    window = config(preset="li", method={"snr_range": [0.1, 10]})
    assert (window.method.t_range, window.method.snr_range) == (None, (0.1, 10))


def test_what_goes_before_it_is_said(tmp_path):
    file = tmp_path / "run.yaml"
    of_method = "name: diffusion-classifier, weighting: simple, timesteps: uniform"
    file.write_text(f"preset: clark-jaini\nmethod: {{{of_method}}}\n")
    with pytest.warns(UserWarning, match="preset clark-jaini, but with method.weighting simple$"):
        load_config(RunConfig, file)


def test_the_name_is_a_setting_and_no_part_of_the_identity():
    named = config(preset="clark-jaini")
    assert settings(named)["preset"] == "clark-jaini"
    tree = named.model_dump(mode="json") | {"preset": "default"}
    both = (named, parse_config(RunConfig, tree))
    parts = [identity_parts(each, ("a", "b"), None, "f") for each in both]
    assert parts[0] == parts[1]
    assert "preset" not in parts[0]


def test_a_baseline_is_told_of_the_preset_and_not_of_its_keys():
    with pytest.raises(UserError, match=r"preset clark-jaini is for diffusion models, .* is clip"):
        with_defaults(config(preset="clark-jaini", model={"family": "clip"}))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"preset": "clark"}, "did you mean 'clark-jaini'"),
        ({"preset": "li", "method": {"name": "ddim-knn"}}, "is for method.name diffusion-class"),
    ],
)
def test_other_names_and_methods_are_refused(tree, said):
    with pytest.raises(UserError, match=said):
        config(**tree)
