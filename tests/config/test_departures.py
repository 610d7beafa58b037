"""What is said of a run beside the name of its preset."""

import pytest

from zsd_ray.config.identity import resolved
from zsd_ray.config.run import RunConfig, departures_of, parse_config
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.reports.lines import preset_row


def tree(**sections):
    return resolved(with_defaults(parse_config(RunConfig, sections)))


@pytest.mark.parametrize(
    "preset", ["default", "clark-jaini", "li", "li-cifar10", "li-pets", "li-imagenet"]
)
def test_a_preset_alone_is_itself(preset):
    assert departures_of(tree(preset=preset)) == []
    assert preset_row(tree(preset=preset)) == [("preset", preset)]


def test_li_follows_the_data(tmp_path):
    data = {"source": "imagenet", "path": str(tmp_path)}
    assert departures_of(tree(preset="li", data=data)) == []


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"method": {"weighting": "vdm"}}, ["method.weighting vdm"]),
        ({"method": {"t_range": [0.1, 0.9]}}, ["method.t_range [0.1, 0.9]"]),
        ({"method": {"snr_range": [0.1, 9]}}, ["method.snr_range [0.1, 9.0]"]),
        ({"pruning": {"indifference": None}}, ["pruning.indifference null"]),
        ({"pruning": {"rule": "none", "draws": 7}}, ["pruning.rule none"]),
        (
            {"preset": "clark-jaini", "pruning": {"p_value": 0.01}},
            ["pruning.p_value 0.01"],
        ),
        (
            {"preset": "li-pets", "method": {"timesteps": "stratified"}},
            ["method.timesteps stratified"],
        ),
    ],
)
def test_what_is_otherwise_is_said(sections, expected):
    assert departures_of(tree(**sections)) == expected
    ((name, text),) = preset_row(tree(**sections))
    assert name == "preset"
    assert text.endswith(f", but with {', '.join(expected)}")


def test_a_baseline_and_a_run_of_an_earlier_version_have_no_preset():
    assert preset_row(tree(method={"name": "classifier"}, model={"family": "clip"})) == []
    old = tree()
    del old["preset"]
    assert preset_row(old) == []
