"""Runs whose images have captions of their own: each races among its captions alone."""

import numpy as np
import pytest

import zsd_ray
from tests.support.digit_runs import configure
from zsd_ray.analysis.rescore import rescore
from zsd_ray.data.open import open_dataset
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError

pytestmark = pytest.mark.usefixtures("a_plain_report")

DATA = {"source": "two-objects", "task": "shape", "limit": 6}
ALL = {"rule": "none", "draws": 4}
SHAPES = ["A cube.", "A sphere.", "A cylinder."]


def captioned(path, **sections):
    return configure(path, **{"data": DATA, "prompts": {}, "pruning": ALL, **sections})


def by_id(result):
    return {row["image_id"]: row for row in result.table.to_pylist()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("captioned") / "run"
    output = {"path": str(path), "raw_scores": True}
    return zsd_ray.run(captioned(path, output=output), local=True)


@pytest.mark.full
def test_scores_are_those_of_a_run_with_the_captions_as_classes(run, tmp_path):
    """The captioned run scores two of the three; draws, prompts and images are the same."""
    assert sorted(run.run.classes) == sorted(SHAPES)
    data = {"source": "two-objects", "limit": 6}
    prompts = {"classes": run.run.classes, "templates": ["{}"]}
    plain = by_id(
        zsd_ray.run(captioned(tmp_path / "plain", data=data, prompts=prompts), local=True)
    )
    for image_id, row in by_id(run).items():
        own = np.isfinite(row["mean_scores"])
        assert own.sum() == 2
        assert own[row["label"]]
        expected = np.array(plain[image_id]["mean_scores"])
        np.testing.assert_array_equal(np.array(row["mean_scores"])[own], expected[own])
        assert row["prediction"] == np.flatnonzero(own)[expected[own].argmin()]


def test_no_screen_is_said_to_have_chosen(run):
    assert all(row["n_candidates"] is None for row in by_id(run).values())
    assert "screened" not in run.metrics
    assert run.metrics["labelled"] == 6


def test_an_image_costs_its_own_captions(run):
    assert all(row["n_evaluations"] == 2 * 4 for row in by_id(run).values())
    assert run.metrics["evaluations_per_image"] == 8


def test_the_plan_counts_captions_and_not_all_classes(tmp_path):
    plan = make_plan(captioned(tmp_path / "run"))
    assert plan.race.n_racing == 2
    assert (plan.bounds.n_classes, plan.bounds.least, plan.bounds.most) == (3, 8, 8)


def test_the_error_budget_is_of_two_classes(tmp_path):
    """An anytime rule for two classes and not for the three of the data set decides sooner."""
    pruning = {"rule": "anytime", "alpha": 0.05, "indifference": None}
    rule = make_plan(captioned(tmp_path / "run", pruning=pruning)).scheduler()._rule
    assert rule.enough == pytest.approx(np.log(1 / 0.05))


def test_a_replay_races_the_same_captions(run):
    found = rescore(run.output, rule="halving", overrides=["pruning.max_draws=4"])
    assert (found.n_images, found.n_beyond) == (6, 0)
    again = rescore(run.output)
    assert again.n_agree == 6
    assert again.after.evaluations_per_image == 8


def test_another_choice_of_captions_is_another_run(tmp_path):
    one = make_plan(captioned(tmp_path / "run"))
    other = make_plan(captioned(tmp_path / "run", data={**DATA, "task": "shape|color"}))
    assert one.identity_parts["captions"] != other.identity_parts["captions"]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"prompts": {"classes": SHAPES}}, "prompts.classes has no use"),
        ({"screen": {"run": "runs/other", "top": 2}}, "screen has no use"),
    ],
)
def test_what_they_leave_no_room_for_is_refused(sections, message, tmp_path):
    with pytest.raises(UserError, match=message):
        make_plan(captioned(tmp_path / "run", **sections))


def test_a_label_is_one_of_the_captions(tmp_path):
    config = captioned(tmp_path / "run").data.model_copy(update={"limit": None})
    dataset = open_dataset(config)
    labels = np.array([record.label for record in dataset.records])
    assert (dataset.captions.choices == labels[:, None]).sum(axis=1).tolist() == [1] * len(labels)
