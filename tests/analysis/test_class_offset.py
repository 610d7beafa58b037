"""Class offsets of real runs: measured before a run, and replayed from saved scores."""

import numpy as np
import pyarrow.compute as pc
import pytest

from tests.analysis.conftest import LIMIT
from tests.support.digit_runs import MEANS, configure
from zsd_ray.analysis.offset_of_run import offset_of
from zsd_ray.analysis.rescore import rescore
from zsd_ray.analysis.saved_run import open_run
from zsd_ray.analysis.saved_scores import read_scores
from zsd_ray.evaluation.evaluate import run
from zsd_ray.records.errors import UserError
from zsd_ray.results.offset_file import read_offset
from zsd_ray.results.output import Output
from zsd_ray.stats.class_offset import class_deviations

OFFSET = {"images": 8, "draws": 12}


def with_offset(path, **sections):
    method = {"weighting": "simple", "class_offset": OFFSET}
    return configure(
        path,
        **MEANS,
        data={"limit": LIMIT},
        method=method,
        pruning={"max_draws": 40},
        output={"path": str(path), "raw_scores": True},
        **sections,
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("offset") / "run"
    return run(with_offset(path), local=True), str(path)


def test_the_deviations_are_those_of_each_images_own_scores(full_run):
    saved = open_run(full_run)
    scores = read_scores(saved)
    found = offset_of(saved, scores, saved.config.draw_method)
    assert found.ids == tuple(sorted(scores.image_ids))
    number = scores.image_ids.index(found.ids[3])
    weighted = scores.weight[scores.rows(number), None] * scores.errors_of(number)
    np.testing.assert_allclose(found.deviations[3], class_deviations(weighted), rtol=1e-12)


def test_a_run_measures_its_offset_first_and_decides_with_it(own):
    result, path = own
    record = read_offset(Output(path))
    assert (record.images, record.evaluations) == (8, 8 * 12 * 10)
    assert record.classes == tuple(result.run.classes)
    assert result.metrics["offset_evaluations"] == 960
    rows = result.table
    assert pc.min(rows["n_draws"]).as_py() >= 10  # none is looked at before its scale is known
    assert rows["uncorrected"].null_count == 0
    right = np.mean([r["label"] == r["uncorrected"] for r in rows.to_pylist()])
    assert result.metrics["uncorrected_accuracy"] == pytest.approx(right)
    stage = open_run(f"{path}/class-offset").record
    assert stage.totals["images"] == 8
    page = Output(path).read_bytes("report.html").decode()
    assert "without class offset" in page


def test_its_replay_decides_the_same(own, tmp_path):
    _, path = own
    found = rescore(path, output=str(tmp_path / "again"))
    assert found.n_agree == LIMIT
    before, after = (Output(p).read_table("decisions").to_pylist() for p in (path, found.output))
    for name in ("prediction", "uncorrected", "draws_per_class", "mean_scores"):
        assert repr([r[name] for r in before]) == repr([r[name] for r in after])


def test_a_finished_run_is_left_as_it_is(own):
    result, path = own
    again = run(with_offset(path), local=True)
    assert again.nothing_to_do
    assert again.table.equals(result.table)


def test_rescored_with_the_offset_of_all_other_images(full_run, tmp_path):
    plain = rescore(full_run)
    found = rescore(full_run, class_offset=True, output=str(tmp_path / "again"))
    effect = found.offset
    assert effect.images == LIMIT
    assert effect.without == plain.after
    assert found.after.accuracy - effect.without.accuracy == pytest.approx(effect.difference)
    rows = Output(found.output).read_table("decisions").to_pylist()
    saved = open_run(full_run)
    scores = read_scores(saved)
    offset = offset_of(saved, scores, saved.config.draw_method)
    for row in rows:
        number = scores.image_ids.index(row["image_id"])
        weighted = scores.weight[scores.rows(number), None] * scores.errors_of(number)
        scale = np.sqrt(
            (weighted - weighted.mean(axis=1, keepdims=True))[:10].var(axis=0, ddof=1).mean()
        )
        expected = weighted.mean(axis=0) - scale * offset.of(row["image_id"])
        assert row["prediction"] == expected.argmin()
        np.testing.assert_allclose(row["mean_scores"], expected, rtol=1e-9)


def test_what_has_too_few_full_scores_is_refused(pruned_run):
    with pytest.raises(UserError, match=r"needs 4; run it with pruning: \{rule: none\}"):
        rescore(pruned_run, class_offset=True)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"pruning": {"rule": "none", "draws": 5}}, "needs 10 draws of every class"),
        ({"screen": {"run": "somewhere", "top": 3}}, "does not go with a screen"),
    ],
)
def test_what_does_not_go_with_it_is_refused_before_anything_starts(tmp_path, sections, words):
    config = configure(tmp_path / "run", method={"class_offset": OFFSET}, **sections)
    with pytest.raises(UserError, match=words):
        run(config, local=True)
    assert not (tmp_path / "run").exists()
