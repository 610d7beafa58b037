"""Replays of real runs, against real runs under the other settings."""

import json
import math

import pytest

from tests.analysis.conftest import LIMIT, PRUNING
from tests.support.digit_runs import PAPER, configure
from zsd_ray.analysis.fit_share import in_share
from zsd_ray.analysis.rescore import BEYOND, rescore
from zsd_ray.analysis.weighting_fit import fit_from_run
from zsd_ray.evaluation.evaluate import run
from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.results.rows.schema import DECISIONS

WORKED = {"n_spent", "worker", "seconds"}  # what workers did, not what was decided
CLARK_JAINI = [f"pruning.{key}={value}" for key, value in PRUNING.items() if key != "rule"]


def decided(path):
    """What was decided, image by image, to the last bit (nan included)."""
    rows = Output(path).read_table("decisions").to_pylist()
    assert len(rows) == LIMIT
    kept = [name for name in DECISIONS.names if name not in WORKED]
    return {row["image_id"]: repr([row[name] for name in kept]) for row in rows}


@pytest.mark.parametrize("kind", ["full_run", "pruned_run", "staged_run", "default_run"])
def test_its_own_settings_give_its_own_decisions(kind, request, tmp_path):
    path = request.getfixturevalue(kind)
    found = rescore(path, output=str(tmp_path / "again"))
    assert decided(found.output) == decided(path)
    assert (found.n_agree, found.n_beyond, found.n_errors) == (LIMIT, 0, 0)
    assert found.before == found.same == found.after
    assert found.accuracy_least == found.accuracy_most == found.after.accuracy


def test_a_full_run_gives_the_decisions_of_a_pruned_one(full_run, pruned_run, tmp_path):
    found = rescore(
        full_run, rule="clark-jaini", overrides=CLARK_JAINI, output=str(tmp_path / "again")
    )
    assert decided(found.output) == decided(pruned_run)
    assert found.before.evaluations_per_image == 400
    assert 60 < found.after.evaluations_per_image < 200


def test_a_full_run_gives_the_decisions_under_another_weighting_and_rule(
    full_run, staged_run, tmp_path
):
    found = rescore(
        full_run,
        weighting="simple",
        rule="li",
        overrides=["pruning.keep=[3, 1]", "pruning.draws=[8, 25]"],
        output=str(tmp_path / "again"),
    )
    assert decided(found.output) == decided(staged_run)
    assert found.weighting == ("heuristic", "simple")
    assert found.pruning[1].items() >= {"rule": "li", "keep": [3, 1], "draws": [8, 25]}.items()


@pytest.mark.full
def test_a_screened_run_is_replayed_on_its_candidates(full_run, tmp_path):
    path = str(tmp_path / "screened")
    config = configure(
        path,
        data={"limit": LIMIT},
        pruning=PRUNING,
        screen={"run": full_run, "top": 3, "audit": 0},
        output={"path": path, "raw_scores": True},
    )
    run(config, local=True)
    found = rescore(path, output=str(tmp_path / "again"))
    assert decided(found.output) == decided(path)
    # The screen's own evaluations are part of the cost, before and after.
    assert found.after.evaluations_per_image == found.before.evaluations_per_image > 400
    wider = rescore(path, rule="none", overrides=["pruning.draws=6"])
    assert wider.after.evaluations_per_image == 400 + 3 * 6


@pytest.mark.full
def test_templates_and_a_normaliser_cost_what_they_cost(tmp_path):
    path = str(tmp_path / "normalised")
    config = configure(
        path,
        data={"limit": LIMIT},
        prompts={"templates": ["the digit {}", "a photo of a {}"]},
        pruning={"rule": "none", "draws": 2},
        method={**PAPER, "normaliser": "null-prompt"},
        output={"path": path, "raw_scores": True},
    )
    run(config, local=True)
    found = rescore(path, output=str(tmp_path / "again"))
    assert decided(found.output) == decided(path)
    assert rescore(path, overrides=["pruning.draws=1"]).after.evaluations_per_image == 2 * 10 + 1


def test_images_whose_labels_the_weights_were_fitted_to_are_left_out(full_run, tmp_path):
    file = str(tmp_path / "learned.json")
    fitted = fit_from_run(full_run, "learned", file)
    found = rescore(
        full_run, "learned", overrides=[f"method.profile={file}"], output=str(tmp_path / "again")
    )
    assert 0 < found.n_left_out == fitted.images < LIMIT
    assert found.n_images == found.before.images == found.after.images == LIMIT - fitted.images
    ids = Output(found.output).read_table("decisions")["image_id"].to_pylist()
    assert len(ids) == found.n_images
    assert not any(in_share(image_id, fitted.share) for image_id in ids)
    # Without labels there is nothing to leave out.
    standard = rescore(full_run, "standardised", overrides=[f"method.profile={file}"])
    assert (standard.n_left_out, standard.n_images) == (0, LIMIT)


def test_scores_that_were_not_saved_are_counted_and_bound_the_accuracy(pruned_run, tmp_path):
    looser_but_later = ["pruning.p_value=0.05", "pruning.min_scores=7"]
    found = rescore(pruned_run, overrides=looser_but_later, output=str(tmp_path / "again"))
    rows = Output(found.output).read_table("decisions").to_pylist()
    beyond = [row for row in rows if row["stop_reason"] == BEYOND]
    assert 0 < found.n_beyond == len(beyond) < LIMIT
    assert all(row["prediction"] is None and "not saved" in row["error"] for row in beyond)
    assert found.after.images == found.same.images == LIMIT - found.n_beyond
    assert found.before.images == LIMIT
    assert found.accuracy_least == pytest.approx(found.after.correct / LIMIT)
    assert found.accuracy_most == pytest.approx((found.after.correct + found.n_beyond) / LIMIT)
    record = Output(found.output).read_run()
    assert (record.status, record.n_done) == ("incomplete", LIMIT - found.n_beyond)
    assert found.after.evaluations_per_image < found.same.evaluations_per_image
    own = Output(pruned_run).read_table("decisions").to_pylist()
    early = {row["image_id"] for row in own if min(row["draws_per_class"]) < 7}
    assert {row["image_id"] for row in beyond} == early  # those that lost a class at 6 draws


def test_a_rule_that_wants_more_draws_than_there_are_decides_nothing(full_run):
    found = rescore(full_run, overrides=["pruning.draws=41"])
    assert (found.n_beyond, found.after.images, found.n_saved_draws) == (LIMIT, 0, 40)
    assert found.after.accuracy is None
    assert (found.accuracy_least, found.accuracy_most) == (0.0, 1.0)


def test_the_output_of_a_replay_is_no_run_to_go_on_with(full_run, tmp_path):
    again = str(tmp_path / "again")
    rescore(full_run, output=again)
    same = configure(again, data={"limit": LIMIT}, pruning={"rule": "none", "draws": 40})
    with pytest.raises(UserError, match=r"belongs to another run .*rescored was"):
        run(same, local=True)
    with pytest.raises(UserError, match="there is something at"):
        rescore(full_run, output=again)
    record = json.loads((tmp_path / "again" / "run.json").read_text())
    assert record["config"]["output"]["path"] == again
    assert record["totals"]["accuracy"] == 1.0
    assert math.isclose(record["totals"]["evaluations_per_image"], 400)


def test_a_run_without_raw_scores_is_refused(tmp_path):
    config = configure(tmp_path / "run", data={"limit": 1}, pruning={"rule": "none", "draws": 1})
    run(config, local=True)
    with pytest.raises(UserError, match=r"no raw scores; run it with output\.raw_scores: true"):
        rescore(str(tmp_path / "run"))
    with pytest.raises(UserError, match="there is no run at"):
        rescore(str(tmp_path / "nothing"))
