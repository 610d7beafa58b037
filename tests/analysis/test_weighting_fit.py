"""A fit to a real run's scores, against plain loops over its Parquet rows."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsd_ray.analysis.fit_share import SALT, in_share
from zsd_ray.analysis.rescore import rescore
from zsd_ray.analysis.saved_run import SavedRun, open_run
from zsd_ray.analysis.weighting_fit import N_BUCKETS, _Images, _standardised, fit_from_run
from zsd_ray.records.errors import UserError
from zsd_ray.results.profile_file import read_profile
from zsd_ray.stats.intervals import wilson
from zsd_ray.storage.store import Store


def rows_of(path, name):
    return pq.read_table(f"{path}/{name}").to_pylist()


def bucket(t):
    return min(int((t - 0.02) / 0.96 * N_BUCKETS), N_BUCKETS - 1)


def plain_sd(path):
    squares, freedom = np.zeros(N_BUCKETS), np.zeros(N_BUCKETS)
    complete = {}  # classes that an image started with
    for row in rows_of(path, "scores"):
        complete[row["image_id"]] = max(complete.get(row["image_id"], 0), len(row["classes"]))
    for row in rows_of(path, "scores"):
        errors = np.asarray(row["eps_error"], dtype=float)
        if len(errors) == complete[row["image_id"]]:
            squares[bucket(row["t"])] += ((errors - errors.mean()) ** 2).sum()
            freedom[bucket(row["t"])] += len(errors) - 1
    with np.errstate(invalid="ignore"):
        return np.sqrt(squares / freedom)


@pytest.mark.few(1)
@pytest.mark.parametrize("run", ["full_run", "pruned_run"])
def test_the_sd_is_that_of_the_draws_that_all_classes_had(request, run):
    path = request.getfixturevalue(run)
    profile = _standardised(_Images(open_run(path)))
    np.testing.assert_allclose(profile.edges, np.linspace(0.02, 0.98, N_BUCKETS + 1))
    expected = plain_sd(path)
    seen = np.isfinite(expected)
    assert seen.sum() >= 15
    np.testing.assert_allclose(np.asarray(profile.sd)[seen], expected[seen], rtol=1e-5)
    assert profile.weights is None


def test_a_standardised_fit_takes_all_images_and_says_what_it_is_from(full_run, tmp_path):
    file = str(tmp_path / "s.json")
    found = fit_from_run(full_run, "standardised", file)
    assert read_profile(file, Store()) == found.profile
    decisions = rows_of(full_run, "decisions")
    record = json.loads(Path(full_run, "run.json").read_text())
    on = found.profile.fitted_on
    assert (on.run, on.identity) == (full_run, record["identity"])
    assert (found.images, found.draws) == (on.images, on.draws) == (12, 12 * 40)
    assert on.evaluations == sum(row["n_spent"] for row in decisions)
    assert (found.share, found.salt) == (None, None)
    assert found.before.images == found.after.images == 12
    assert found.before.value == np.mean([row["correct"] for row in decisions])


def test_a_learned_fit_takes_the_labels_of_its_share_alone(full_run, tmp_path):
    found = fit_from_run(full_run, "learned", str(tmp_path / "l.json"), 0.4)
    decisions = rows_of(full_run, "decisions")
    fitted = [row["image_id"] for row in decisions if in_share(row["image_id"], 0.4)]
    assert 0 < len(fitted) < 12
    assert (found.images, found.draws) == (len(fitted), 40 * len(fitted))
    assert (found.share, found.salt) == (0.4, SALT)
    assert found.before.images == found.after.images == 12 - len(fitted)
    assert found.profile.sd == _standardised(_Images(open_run(full_run))).sd
    tested = [row for row in decisions if row["image_id"] not in fitted]
    right = sum(row["correct"] for row in tested)
    assert found.before.value == right / len(tested)
    assert (found.before.low, found.before.high) == wilson(right, len(tested))

    weights = np.asarray(found.profile.weights)
    right = 0
    for decision in tested:
        total = np.zeros(10)
        for row in rows_of(full_run, "scores"):
            if row["image_id"] == decision["image_id"]:
                total += weights[bucket(row["t"])] * np.asarray(row["eps_error"])
        right += int(total.argmin()) == decision["label"]
    assert found.after.value == right / len(tested)


@pytest.mark.few(1)
@pytest.mark.parametrize("weighting", ["standardised", "learned"])
@pytest.mark.parametrize("run", ["full_run", "pruned_run", "staged_run", "default_run"])
def test_a_fit_and_a_replay_with_its_file_say_the_same(request, run, weighting, tmp_path):
    path, file = request.getfixturevalue(run), str(tmp_path / "fitted #2.json")
    fitted = fit_from_run(path, weighting, file)
    again = rescore(path, weighting, overrides=[f"method.profile={file}"])
    for own, other in ((fitted.before, again.same), (fitted.after, again.after)):
        if own is None:  # every image wants draws that were not saved
            assert other.labelled == 0
            continue
        assert (own.images, own.value) == (other.labelled, other.accuracy)
        assert (own.low, own.high) == (other.accuracy_low, other.accuracy_high)
    assert fitted.n_beyond == again.n_beyond
    assert fitted.after is not None or fitted.n_beyond > 0


def test_labels_that_teach_nothing_are_said(full_run, monkeypatch):
    monkeypatch.setattr(
        "zsd_ray.analysis.weighting_fit.learned_weights", lambda *_: np.zeros(N_BUCKETS)
    )
    with pytest.raises(UserError, match="say nothing about their labels"):
        fit_from_run(full_run, "learned")


def test_a_run_without_labels_can_be_standardised_and_not_learned_from(
    full_run, tmp_path, monkeypatch
):
    read = SavedRun.read

    def unlabelled(self, name, columns=None):
        table = read(self, name, columns)
        if name == "decisions":
            for column, kind in (("label", pa.int32()), ("correct", pa.bool_())):
                index = table.schema.get_field_index(column)
                table = table.set_column(index, column, pa.nulls(len(table), kind))
        return table

    monkeypatch.setattr(SavedRun, "read", unlabelled)
    found = fit_from_run(full_run, "standardised", str(tmp_path / "s.json"))
    assert (found.images, found.before, found.after) == (12, None, None)
    with pytest.raises(UserError, match="learned weights need labels"):
        fit_from_run(full_run, "learned")


def test_without_a_place_the_file_lies_with_the_run(full_run, monkeypatch):
    written = []
    monkeypatch.setattr(
        "zsd_ray.analysis.weighting_fit.write_profile", lambda path, *_: written.append(path)
    )
    assert fit_from_run(full_run, "learned").path == f"{full_run}/learned.json"
    assert written == [f"{full_run}/learned.json"]


def test_shares_are_nested_and_of_the_right_size():
    ids = [f"image-{i}" for i in range(4000)]
    smaller, larger = ([i for i in ids if in_share(i, share)] for share in (0.3, 0.5))
    assert set(smaller) < set(larger)
    assert len(smaller) == pytest.approx(1200, abs=100)
    assert len(larger) == pytest.approx(2000, abs=100)
    other = [i for i in ids if in_share(i, 0.5, salt="another")]
    assert len(set(other) & set(larger)) == pytest.approx(1000, abs=120)


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0])
def test_a_share_that_leaves_nothing_is_refused(full_run, share):
    with pytest.raises(UserError, match="between 0 and 1"):
        fit_from_run(full_run, "learned", None, share)


def test_what_kept_no_raw_scores_is_refused(full_run, tmp_path):
    (tmp_path / "run.json").write_text(Path(full_run, "run.json").read_text())
    with pytest.raises(UserError, match="no raw scores"):
        fit_from_run(str(tmp_path), "standardised")
