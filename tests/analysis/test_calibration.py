"""`calibrate`: on real and made-up rows, what it writes, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.digit_runs import configure
from tests.support.labelled_scores import LabelledScores
from zsd_ray.analysis.fit_share import in_share
from zsd_ray.config.run import RunConfig
from zsd_ray.evaluation.evaluate import run
from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.results.run_file import RunFile
from zsd_ray.rules.clark_jaini import ClarkJaini
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.calibration.calibrating import calibrate

N, K = 120, 6


@pytest.fixture(scope="module")
def decisions():
    images = LabelledScores.draw((N, 40, K), temperature=0.3, noise=1.0)
    return images.decisions(ClarkJaini(3, 40, 2e-3))


def write(path, decisions, n_classes=K) -> str:
    output = Output(str(path))
    output.prepare()
    output.write_decisions(decisions, raw_scores=False, part="part-0.parquet")
    output.write_run(
        RunFile(
            status="finished",
            config=RunConfig().model_dump(mode="json"),
            identity="0",
            identity_parts={},
            classes=[f"class {k}" for k in range(n_classes)],
            versions={},
            seed=0,
            n_images=len(decisions),
        )
    )
    return str(path)


def saved(path) -> list[dict]:
    return pq.read_table(f"{path}/probabilities.parquet").to_pylist()


def test_a_real_run(tmp_path: Path) -> None:
    method = {"weighting": "simple", "timesteps": "uniform", "t_range": [0.85, 0.98]}
    pruning = {"rule": "clark-jaini", "min_scores": 4, "max_scores": 10, "p_value": 0.05}
    config = configure(tmp_path, data={"limit": 40}, method=method, pruning=pruning)
    result = run(config, local=True)
    found = calibrate(str(tmp_path))
    rows = {row["image_id"]: row for row in result.table.to_pylist()}
    assert found.n_fit + found.n_test == 40
    n_usual = 0
    for row in saved(tmp_path):
        decided = rows[row["image_id"]]
        assert row["part"] == ("fit" if in_share(row["image_id"], 0.5) else "test")
        assert row["prediction"] == decided["prediction"]
        assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-5)
        if min(decided["gaps"]) >= 0:
            n_usual += 1
            assert np.argmax(row["probabilities"]) == row["prediction"]
    assert n_usual > 30
    assert (tmp_path / "calibration.html").read_text().count("<svg") == 3


def test_figures_are_of_the_tested_images(tmp_path: Path, decisions) -> None:
    found = calibrate(write(tmp_path, decisions), split=0.6)
    by_id = {decision.image_id: decision for decision in decisions}
    rows = saved(tmp_path)
    assert [row["image_id"] for row in rows] == sorted(by_id)
    tested = [row for row in rows if row["part"] == "test"]
    assert [row["image_id"] for row in tested] == [i for i in sorted(by_id) if not in_share(i, 0.6)]
    right = np.array([by_id[row["image_id"]].correct for row in tested])
    assert (found.n_fit, found.n_test) == (N - len(tested), len(tested))
    assert found.accuracy.value == right.mean()
    assert (found.accuracy.low, found.accuracy.high) == wilson(int(right.sum()), len(tested))
    labels = [by_id[row["image_id"]].label for row in tested]
    p = np.array([row["probabilities"] for row in tested])
    at_label = p[np.arange(len(p)), labels]
    posterior = found.methods["posterior"]
    assert posterior.nll is not None
    assert posterior.brier is not None
    assert posterior.nll.value == pytest.approx(-np.log(at_label).mean(), rel=1e-4)
    onehot = np.eye(K)[labels]
    assert posterior.brier.value == pytest.approx(((p - onehot) ** 2).sum(axis=1).mean(), rel=1e-4)
    predicted = p[np.arange(len(p)), [row["prediction"] for row in tested]]
    for name, method in found.methods.items():
        confidence = np.array([row[f"confidence_{name}"] for row in tested])
        if name == "posterior":
            assert confidence == pytest.approx(predicted, abs=1e-6)
        assert method.confidence == pytest.approx(confidence.mean())
        assert method.brier_right.value == pytest.approx(((confidence - right) ** 2).mean())
        log_loss = -np.log(np.where(right, confidence, 1 - confidence)).mean()
        assert method.nll_right.value == pytest.approx(log_loss)
        assert sum(each.n for each in method.bins) == len(tested)
        assert sum(each.correct for each in method.bins) == right.sum()
        bins = sum(abs(each.correct - each.n * each.confidence) for each in method.bins)
        assert method.ece.value == pytest.approx(bins / len(tested))
    assert found.methods["platt"].nll is None


def test_labels_of_tested_images_change_no_fit(tmp_path: Path, decisions) -> None:
    changed = [
        row if in_share(row.image_id, 0.5) else replace(row, label=(row.label + 1) % K)
        for row in decisions
    ]
    one = calibrate(write(tmp_path / "one", decisions))
    other = calibrate(write(tmp_path / "other", changed))
    for name, method in one.methods.items():
        assert other.methods[name].parameters == method.parameters
    assert other.accuracy.value < one.accuracy.value


def test_the_order_of_rows_changes_nothing(tmp_path: Path, decisions) -> None:
    one = calibrate(write(tmp_path / "one", decisions))
    other = calibrate(write(tmp_path / "other", decisions[::-1]))
    assert other == replace(one, run=other.run)


def test_the_file_holds_what_was_found(tmp_path: Path, decisions) -> None:
    path = write(tmp_path, decisions)
    found = calibrate(path)
    tree = json.loads((tmp_path / "calibration.json").read_text())
    assert tree["run"] == path
    assert tree["methods"]["posterior"]["parameters"] == found.methods["posterior"].parameters
    assert tree["methods"]["platt"]["brier"] is None
    assert tree["methods"]["temperature"]["ece"]["value"] == found.methods["temperature"].ece.value


def test_all_right(tmp_path: Path, decisions) -> None:
    right = [replace(row, label=row.prediction) for row in decisions]
    found = calibrate(write(tmp_path, right))
    assert found.accuracy.value == 1
    for name in ("posterior", "platt"):
        assert 0.9 < found.methods[name].confidence < 1
        assert found.methods[name].nll_right.value < 0.1
    assert found.methods["temperature"].confidence < 0.9  # means over different draws


def test_all_wrong(tmp_path: Path, decisions) -> None:
    wrong = [replace(row, label=(row.prediction + 1) % K) for row in decisions]
    found = calibrate(write(tmp_path, wrong))
    assert found.accuracy.value == 0
    assert found.methods["platt"].confidence < 0.1
    assert found.methods["posterior"].confidence < 0.5


def test_unlabelled_and_failed_images_get_what_they_can(tmp_path: Path, decisions) -> None:
    rows = [replace(row, label=None) for row in decisions[:30]] + decisions[30:]
    rows[30] = replace(decisions[30], prediction=None, gaps=(), error="truncated")
    found = calibrate(write(tmp_path, rows))
    assert found.n_fit + found.n_test == N - 31
    made = saved(tmp_path)
    assert len(made) == N - 1
    assert sum(row["part"] is None for row in made) == 30
    assert all(0 < row["confidence_posterior"] < 1 for row in made)


def test_screened_classes_share_what_the_screen_lost(tmp_path: Path, decisions) -> None:
    def screened(row):
        """Two classes had no draws: the worst ones, and of every tenth image the label."""
        order = sorted(range(K), key=lambda k: (k != row.prediction, -row.mean_scores[k]))
        out = order[1:3]
        if int(row.image_id[-1]) == 0 and row.label != row.prediction:
            out[0] = row.label

        def without(values, blank):
            return tuple(blank if k in out else value for k, value in enumerate(values))

        return replace(
            row,
            mean_scores=without(row.mean_scores, np.nan),
            gaps=without(row.gaps, np.nan),
            gap_errors=without(row.gap_errors, np.nan),
            draws_per_class=without(row.draws_per_class, 0),
        )

    rows = [screened(row) for row in decisions]
    lost = [row.label is not None and row.draws_per_class[row.label] == 0 for row in rows]
    fit = [in_share(row.image_id, 0.5) for row in rows]
    found = calibrate(write(tmp_path, rows))
    share = (sum(a and b for a, b in zip(lost, fit, strict=True)) + 1) / (sum(fit) + 2)
    assert found.methods["posterior"].parameters["left_out"] == pytest.approx(share)
    for row, made in zip(rows, saved(tmp_path), strict=True):
        p, draws = np.array(made["probabilities"]), np.array(row.draws_per_class)
        assert p[draws == 0] == pytest.approx([share / 2] * 2)
        assert sum(made["probabilities"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.full
def test_a_baseline_with_one_draw(tmp_path: Path) -> None:
    from zsd_ray.rules.every_draw import EveryDraw

    images = LabelledScores.draw((60, 1, K), temperature=0.3, noise=0.0)
    found = calibrate(write(tmp_path, images.decisions(EveryDraw(1))))
    posterior, temperature = found.methods["posterior"], found.methods["temperature"]
    assert posterior.nll is not None
    assert temperature.nll is not None
    assert posterior.nll.value == pytest.approx(temperature.nll.value, abs=1e-3)
    assert found.methods["platt"].parameters["slope"] == 0


@pytest.mark.parametrize("split", [0.0, 1.0, -0.2, 1.5])
def test_a_split_that_is_no_share_is_refused(tmp_path: Path, split: float) -> None:
    with pytest.raises(UserError, match="--split takes a number between 0 and 1, but came"):
        calibrate(str(tmp_path), split)


def test_a_place_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run at"):
        calibrate(str(tmp_path))


def test_few_labelled_images_are_refused(tmp_path: Path, decisions) -> None:
    rows = decisions[:19] + [replace(row, label=None) for row in decisions[19:]]
    with pytest.raises(UserError, match=r"has 19 labelled images with a prediction.*at least 20"):
        calibrate(write(tmp_path, rows))
    assert not (tmp_path / "calibration.json").exists()


def test_a_split_that_leaves_a_part_nothing_is_refused(tmp_path: Path, decisions) -> None:
    with pytest.raises(
        UserError, match=r"--split 0\.001 leaves 0 labelled images to fit on and 120"
    ):
        calibrate(write(tmp_path, decisions), 0.001)


def test_one_class_is_refused(tmp_path: Path, decisions) -> None:
    lists = {"mean_scores": (0.5,), "draws_per_class": (4,), "gaps": (0.0,), "gap_errors": (0.0,)}
    row = replace(decisions[0], label=0, prediction=0, top5=(0,), **lists)
    with pytest.raises(UserError, match="has 1 class; probabilities need at least 2"):
        calibrate(write(tmp_path, [row], n_classes=1))


def test_rows_of_an_earlier_version_are_refused(tmp_path: Path, decisions) -> None:
    path = write(tmp_path, decisions)
    part = next((tmp_path / "decisions").iterdir())
    pq.write_table(pq.read_table(part).drop_columns(["gaps", "gap_errors"]), part)
    with pytest.raises(UserError, match=r"earlier version, which kept no gaps.*--fresh"):
        calibrate(path)


def test_many_images_to_fit_on_are_cut_by_hash(tmp_path: Path, decisions, monkeypatch) -> None:
    monkeypatch.setattr("zsd_ray.studies.calibration.calibrating._MAX_FIT", 20)
    found = calibrate(write(tmp_path, decisions))
    parts = [row["part"] for row in saved(tmp_path)]
    assert found.n_fit == parts.count("fit") == 20
    assert found.n_test == sum(not in_share(row.image_id, 0.5) for row in decisions)
    assert parts.count(None) == N - 20 - found.n_test
    positions = [i for i, part in enumerate(parts) if part == "fit"]
    assert positions[-1] > N / 2  # not the first ones by name, which may be of one class


@pytest.mark.full
def test_blocks_of_images_are_as_one(tmp_path: Path, decisions, monkeypatch) -> None:
    whole = calibrate(write(tmp_path / "whole", decisions))
    monkeypatch.setattr("zsd_ray.studies.calibration.calibrating._BLOCK", 7 * K)
    cut = calibrate(write(tmp_path / "cut", decisions))
    assert_close(asdict(cut), asdict(replace(whole, run=cut.run)))
    assert_close(saved(tmp_path / "cut"), saved(tmp_path / "whole"))


def assert_close(found, expected) -> None:
    """Alike but for last bits: how numpy adds up depends on the machine and on the length."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-9, nan_ok=True)
    else:
        assert np.array_equal(found, expected)
