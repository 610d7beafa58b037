"""The numerical gate: what it compares, and what it refuses."""

import numpy as np
import pytest

import zsd_ray
from tests.support.digit_runs import PAPER
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.evaluation.check_model import check_model
from zsd_ray.models import unet_rows
from zsd_ray.records.errors import UserError
from zsd_ray.scoring import model_check
from zsd_ray.scoring.model_check import ModelCheck, compare

pytestmark = pytest.mark.usefixtures("a_plain_report")


def configure(path, limit=4, **model):
    tree = {
        "model": {"device": "cpu", **model},
        "data": {"limit": limit},
        "cluster": {"workers": 1},
        "method": PAPER,
        "pruning": {"rule": "none", "draws": 2},
        "output": {"path": str(path)},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(RunConfig, tree)


def test_scores_that_move_together_change_no_decision():
    rng = np.random.default_rng(0)
    exact = [rng.normal(size=(20, 5)) for _ in range(3)]
    moved = [scores + rng.normal(size=(20, 1)) for scores in exact]  # the same for all classes
    found = compare(exact, moved)
    assert found.relative_difference < 1e-12
    assert (found.n_agree, found.n_images, found.agreement) == (3, 3, 1.0)


def test_the_largest_change_counts_and_so_does_a_decision_that_turns():
    exact = [np.array([[0.0, 1.0], [0.0, 2.0]])]
    moved = compare(exact, [np.array([[0.0, 1.0], [0.1, 2.0]])])
    assert (moved.relative_difference, moved.n_agree) == (pytest.approx(0.05), 1)
    turned = compare(exact, [np.array([[0.0, 1.0], [0.0, -2.0]])])
    assert (turned.relative_difference, turned.n_agree) == (pytest.approx(2.0), 0)


def test_scores_without_differences_are_compared_too():
    same = [np.ones((2, 3))]
    assert compare(same, [np.full((2, 3), 3.0)]).relative_difference == 0
    assert compare(same, [np.array([[1.0, 2.0, 1.0]] * 2)]).relative_difference == np.inf


def test_many_classes_are_sampled(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(model_check, "N_CLASSES", 3)
    scores = model_check._scores

    def remember(config, model, bind, dataset, prompts, *rest):
        asked.append(prompts)
        return scores(config, model, bind, dataset, prompts, *rest)

    monkeypatch.setattr(model_check, "_scores", remember)
    check_model(configure(tmp_path), 1)
    assert asked == [[f"a photo of a {n}." for n in ("zero", "four", "nine")]] * 2


@pytest.mark.full
def test_float32_differs_in_the_last_bits_and_bfloat16_a_little(tmp_path):
    passes = []
    exact = check_model(configure(tmp_path), 3, lambda done, total: passes.append((done, total)))
    assert exact.relative_difference < 1e-4
    assert exact.n_agree == exact.n_images == 3
    assert passes == [(n, 6) for n in range(1, 7)]
    half = check_model(configure(tmp_path, dtype="bfloat16"), 3)
    assert 1e-4 < half.relative_difference < 0.1
    assert half.n_agree == 3


def test_it_sees_a_fast_path_that_is_wrong(tmp_path, monkeypatch):
    first = unet_rows._first_attention
    monkeypatch.setattr(
        unet_rows, "_first_attention", lambda attention, x, *rest: first(attention, x, *rest) + 0.1
    )
    assert check_model(configure(tmp_path), 2).relative_difference > 0.001


def test_a_run_can_demand_it(tmp_path):
    demand(tmp_path, local=True)


def test_a_run_on_ray_can_demand_it(local_ray, tmp_path):
    demand(tmp_path, local=False)


def demand(tmp_path, local):
    config = configure(tmp_path, 1, dtype="bfloat16", max_difference=1e-6)
    with pytest.raises(
        UserError, match=r"max_difference 1e-06: in bfloat16 paired differences change"
    ):
        zsd_ray.run(config, local=local)
    result = zsd_ray.run(configure(tmp_path, 1, dtype="bfloat16", max_difference=0.2), local=local)
    assert result.run.status == "finished"


def test_no_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="--images must be at least 1"):
        check_model(configure(tmp_path), 0)


def test_the_gate_checks_a_few_images_of_the_run(tmp_path, monkeypatch):
    asked = []

    def check(config, model, dataset, prompts, images):
        asked.append(images)
        return ModelCheck(0.0, len(images), len(images))

    monkeypatch.setattr(model_check, "check_numbers", check)
    zsd_ray.run(configure(tmp_path, max_difference=0.1), local=True)
    assert [len(images) for images in asked] == [4]
