import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.checkpoints import read_checkpoints
from zsd_ray.records.errors import UserError
from zsd_ray.records.scores import Decision, RawDraw
from zsd_ray.results.output import Output, part_name
from zsd_ray.results.rows.schema import DECISIONS, SCORES, decisions_table
from zsd_ray.results.run_file import RunFile
from zsd_ray.results.totals import run_metrics
from zsd_ray.stats.class_accuracy import class_accuracy


def decision(i, label=1, prediction=1, traced=False, error=None):
    raw = tuple(RawDraw(d, 0.5, 0.8, 0.6, 1.5, (0, 1), (0.25 + i, 0.75)) for d in range(2))
    return Decision(
        image_id=f"image-{i}",
        source="memory",
        label=label,
        prediction=None if error else prediction,
        top5=(1, 0),
        mean_scores=(0.5, 0.25),
        draws_per_class=(2, 2),
        n_draws=2,
        n_evaluations=4,
        n_spent=5,
        stop_reason="error" if error else "one-class-left",
        error=error,
        worker="w",
        seconds=0.5,
        raw=raw,
        traced=traced,
    )


@pytest.fixture(params=["local", "memory"])
def output(request, tmp_path):
    path = str(tmp_path / "run") if request.param == "local" else f"memory://{tmp_path.name}/run"
    output = Output(path)
    output.prepare()
    return output


def test_rows_come_back_as_they_were(output):
    output.write_decisions(
        [decision(0), decision(1, label=None)], raw_scores=True, part=part_name()
    )
    output.write_decisions([decision(2, traced=True)], raw_scores=True, part=part_name())
    table = output.read_table("decisions")
    assert table.schema == DECISIONS
    rows = {row["image_id"]: row for row in table.to_pylist()}
    assert sorted(rows) == ["image-0", "image-1", "image-2"]
    assert rows["image-0"]["correct"] is True
    assert rows["image-1"]["correct"] is None
    assert rows["image-0"]["mean_scores"] == [0.5, 0.25]
    scores = output.read_table("scores")
    assert scores.schema == SCORES
    assert scores.num_rows == 6
    row = scores.to_pylist()[0]
    assert (row["draw"], row["weight"], row["classes"]) == (0, 1.5, [0, 1])
    assert row["eps_error"] == [np.float32(0.25), 0.75]
    assert set(output.read_table("traces")["image_id"].to_pylist()) == {"image-2"}


def test_without_raw_scores_only_traces_are_written(output):
    output.write_decisions(
        [decision(0), decision(1, traced=True)], raw_scores=False, part=part_name()
    )
    assert output.read_table("scores").num_rows == 0
    assert output.read_table("traces").num_rows == 2


def test_columns_that_an_earlier_version_did_not_write_are_null(tmp_path):
    output = Output(str(tmp_path))
    output.write_decisions([decision(0)], raw_scores=False, part="part-1.parquet")
    path = tmp_path / "decisions" / "part-1.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["gaps", "worker"]), path)
    output.write_decisions([decision(1)], raw_scores=False, part="part-2.parquet")
    table = output.read_table("decisions")
    assert table.schema == DECISIONS
    assert table["worker"].to_pylist() == [None, "w"]
    assert output.read_table("decisions", ["worker", "n_draws"]).to_pylist() == [
        {"worker": None, "n_draws": 2},
        {"worker": "w", "n_draws": 2},
    ]


def test_nothing_written_reads_as_an_empty_table(output):
    assert output.read_table("decisions").num_rows == 0
    assert output.read_table("decisions", ["image_id"]).column_names == ["image_id"]
    assert output.read_run() is None


def test_run_json_round_trip(output):
    run = RunFile("running", {"seed": 0}, "abc", {}, ["é", "b"], {"python": "3"}, 0, 10)
    output.write_run(run)
    assert output.read_run() == run


def test_a_foreign_run_json_is_a_user_error(output):
    output.write_bytes("run.json", b'{"other": 1}')
    with pytest.raises(UserError, match=r"run\.json is damaged \(.* choose another output\.path"):
        output.read_run()


def test_half_written_files_are_never_seen_and_cleaned_up(tmp_path):
    output = Output(str(tmp_path / "run"))
    output.prepare()
    output.write_decisions([decision(0)], raw_scores=False, part=part_name())
    leftover = tmp_path / "run" / "decisions" / ".part-x.parquet.tmp"
    leftover.write_bytes(b"PAR1 cut short")
    assert output.read_table("decisions").num_rows == 1
    output.prepare()
    assert leftover.exists()  # it may be another driver's, which has just begun
    of_yesterday(leftover)
    output.prepare()
    assert not leftover.exists()
    assert not list((tmp_path / "run").glob(".*"))


def of_yesterday(path):
    os.utime(path, (path.stat().st_mtime - 86400,) * 2)


def test_parts_are_ordinary_parquet(tmp_path):
    output = Output(str(tmp_path))
    output.write_decisions([decision(0)], raw_scores=False, part=part_name())
    (part,) = (tmp_path / "decisions").iterdir()
    assert pq.read_table(part).column_names == DECISIONS.names


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_user_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        Output(str(tmp_path / "run")).prepare()


def test_a_file_in_the_way_is_a_user_error(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Output(str(tmp_path / "run")).prepare()


class FailingOnce(Output):
    """Fails to write the first decisions part, after its raw draws."""

    failures = 0

    def write_bytes(self, name, content):
        if name.startswith("decisions") and FailingOnce.failures == 0:
            FailingOnce.failures += 1
            raise OSError("disk full")
        super().write_bytes(name, content)


def test_a_part_that_could_not_be_written_is_written_next_time_and_only_once(tmp_path):
    output = FailingOnce(str(tmp_path))
    with pytest.raises(OSError, match="disk full"):
        output.write_decisions([decision(0)], raw_scores=True, part="part-1.parquet")
    assert output.read_table("decisions").num_rows == 0
    output.write_decisions([decision(0)], raw_scores=True, part="part-1.parquet")
    assert output.read_table("decisions").num_rows == 1
    assert output.read_table("scores").num_rows == 2


def test_raw_draws_without_their_decisions_are_not_read(tmp_path):
    output = Output(str(tmp_path))
    output.write_decisions([decision(0, traced=True)], raw_scores=True, part=part_name())
    output.write_decisions([decision(1, traced=True)], raw_scores=True, part=part_name())
    max((tmp_path / "decisions").iterdir()).unlink()  # killed before the second was written
    output.prepare()
    for name in ("decisions", "scores", "traces"):
        assert set(output.read_table(name)["image_id"].to_pylist()) == {"image-0"}


def test_an_image_has_one_decision(tmp_path):
    output = Output(str(tmp_path))
    for prediction in (0, 1):
        rows = [decision(0, prediction=prediction), decision(prediction + 1)]
        output.write_decisions(rows, raw_scores=False, part=part_name())
    table = output.read_table("decisions")
    assert table["image_id"].to_pylist() == ["image-0", "image-1", "image-2"]
    assert table["prediction"].to_pylist()[0] == 0


@pytest.mark.parametrize("reason", ["unreadable", "quarantined"])
def test_a_decision_counts_more_than_a_row_that_was_given_up(output, reason):
    given_up = replace(decision(0, error="the store was away"), stop_reason=reason)
    parts = [
        [given_up, replace(decision(1, error="likewise"), stop_reason=reason)],
        [decision(2), decision(0, prediction=1)],
        [given_up, decision(0, prediction=0), decision(1, error="truncated")],
        [replace(decision(3), stop_reason=reason), replace(decision(3), stop_reason=reason)],
    ]
    for rows in parts:
        output.write_decisions(rows, raw_scores=False, part=part_name())
    rows = {row["image_id"]: row for row in output.read_table("decisions").to_pylist()}
    assert rows["image-0"]["prediction"] == 1
    assert rows["image-1"]["error"] == "truncated"
    assert rows["image-3"]["stop_reason"] == reason
    ids = output.read_table("decisions", ["prediction", "image_id"])
    assert ids.column_names == ["prediction", "image_id"]
    assert ids["image_id"].to_pylist() == ["image-2", "image-0", "image-1", "image-3"]


def test_every_scheduler_has_one_checkpoint_that_it_replaces(output):
    assert read_checkpoints(output) == []
    output.remove_checkpoints()
    for shard, content in ((0, b"first"), (1, b"other"), (0, b"second")):
        output.write_checkpoint(shard, content)
    assert read_checkpoints(output) == [b"second", b"other"]
    output.remove_checkpoints()
    assert read_checkpoints(output) == []


def test_a_half_written_checkpoint_leaves_the_last_one(tmp_path, monkeypatch):
    output = Output(str(tmp_path))
    output.write_checkpoint(0, b"first")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *paths: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            output.write_checkpoint(0, b"second")
    assert read_checkpoints(output) == [b"first"]
    of_yesterday(next((tmp_path / "checkpoints").glob(".*")))
    output.prepare()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["0.parquet"]


@pytest.mark.parametrize("path", ["nosuchscheme://x", "FILE/run"])
def test_an_output_that_cannot_be_is_a_user_error(path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        Output(path.replace("FILE", f"{tmp_path}/file")).read_run()


def test_a_part_appears_under_its_name_only_when_it_is_whole(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def watch(source, target):
        seen.append((Path(target).exists(), Path(source).name.startswith(".")))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    Output(str(tmp_path)).write_decisions([decision(0)], raw_scores=False, part=part_name())
    assert seen == [(False, True)]


def test_metrics_leave_errors_and_unlabelled_images_out_of_the_accuracy():
    rows = [decision(0), decision(1, prediction=0), decision(2, label=None), decision(3, error="x")]
    metrics = run_metrics(decisions_table(rows))
    assert (metrics["images"], metrics["errors"], metrics["labelled"]) == (4, 1, 2)
    assert metrics["accuracy"] == 0.5
    assert metrics["accuracy_low"] < 0.5 < metrics["accuracy_high"]
    assert metrics["n_spent"] == 20


def test_class_accuracy_counts_each_class_with_images_once():
    right = [decision(i, label=4, prediction=4) for i in range(6)]
    wrong = [decision(6, label=1, prediction=4), decision(7, label=1, prediction=1)]
    others = [decision(8, label=None), decision(9, label=2, error="x")]
    metrics = run_metrics(decisions_table([*right, *wrong, *others]))
    assert metrics["labelled_classes"] == 2
    assert metrics["accuracy"] == 7 / 8
    assert metrics["class_accuracy"] == 0.75
    expected = class_accuracy([0, 2, 0, 0, 6], [0, 1, 0, 0, 6]).interval
    assert (metrics["class_accuracy_low"], metrics["class_accuracy_high"]) == expected


def test_metrics_of_nothing_are_none():
    metrics = run_metrics(DECISIONS.empty_table())
    assert metrics["accuracy"] is None
    assert metrics["class_accuracy"] is metrics["class_accuracy_low"] is None
    assert metrics["labelled_classes"] == 0
    assert metrics["evaluations_per_image"] is None
    assert metrics["n_evaluations"] == 0
