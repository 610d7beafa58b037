"""A run that finds its output damaged, its data corrected, or nothing left to do."""

import contextlib
import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.hostile import outputs
from zsd_ray.data.record_table import RecordTable
from zsd_ray.evaluation import local
from zsd_ray.evaluation.evaluate import run_plan
from zsd_ray.evaluation.session import WallTime
from zsd_ray.planning.inputs import Inputs
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import RunBrokenError, StoreError
from zsd_ray.reports import html
from zsd_ray.results import local_file
from zsd_ray.results.output import Output, part_name
from zsd_ray.scheduling.counters import Counters
from zsd_ray.storage.store import Store

INPUTS = Inputs(Store())  # the digits are listed once, and the model is hashed once


@pytest.fixture
def decides(monkeypatch):
    """In place of a model: every image is decided as its label says. The numbers of each call."""
    calls = []

    def run_local(plan, update):
        plan.scheduler()  # reads what the output holds, as any
        calls.append(list(plan.todo))
        rows = [outputs.decision(plan, number) for number in plan.todo]
        plan.output.write_decisions(rows, raw_scores=True, part=part_name())
        update(Counters(decided=len(rows), n_scored=1, n_rows=1), 1)

    monkeypatch.setattr(local, "run_local", run_local)
    monkeypatch.setattr(html, "render_report", lambda run, *rest: f"<p>{run.status}</p>")
    return calls


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    outputs.good_output(folder)
    return folder


def again(folder, inputs=None, **sections):
    said = []
    plan = make_plan(outputs.config(folder, **sections), inputs or INPUTS)
    return run_plan(plan, True, None, said.append), said


DONE_AGAIN = {"decisions": 5, "scores": 5, "traces": 5, "checkpoints": 1}
"""Images that are decided: the one that was open, and those of the damaged part."""

FEW = {"truncated", "flipped", "a_folder"}
"""Of what may happen to any file; decisions have all of it."""

PARTS = [
    (file, name)
    for file, name in outputs.CASES
    if file.startswith("decisions")
    or (file.endswith(".parquet") and name in FEW)
    or (file.startswith(("scores", "checkpoints")) and name not in outputs.ANY)
]


@pytest.mark.few(4)
@pytest.mark.parametrize(("file", "name"), PARTS)
def test_a_damaged_part_is_named_set_aside_and_decided_again(file, name, good, tmp_path, decides):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    outputs.OF_FILE[file][name](folder / file)
    damaged = (folder / file).read_bytes() if (folder / file).is_file() else None
    result, said = again(folder)
    (line,) = said
    assert line.startswith(f"{folder}/{file} is damaged (")
    assert f"it is now {Path(file).name}.damaged, and" in line
    assert "\n" not in line
    aside = folder / f"{file}.damaged"
    assert aside.is_dir() if damaged is None else aside.read_bytes() == damaged
    assert len(decides[0]) == DONE_AGAIN[file.partition("/")[0]]
    assert (result.run.status, result.run.n_done) == ("finished", outputs.N_IMAGES)
    assert result.metrics["accuracy"] == 1.0
    assert again(folder)[1] == []
    assert len(decides) == 1


def test_what_is_good_is_kept(good, tmp_path, decides):
    shutil.copytree(good, tmp_path / "run")
    result, said = again(tmp_path / "run")
    assert (said, len(decides[0])) == ([], 1)
    assert not list((tmp_path / "run").rglob("*.damaged"))
    assert result.metrics["images"] == outputs.N_IMAGES


def test_two_damaged_files_of_one_name_are_both_kept(good, tmp_path, decides):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    for content in (b"first", b"second"):
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "0.parquet").write_bytes(content)
        again(folder)
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["0.parquet.damaged", "0.parquet.damaged-2"]


def test_raw_draws_of_a_killed_writer_go_when_the_run_has_ended(good, tmp_path, decides):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    for name in ("scores", "traces"):
        shutil.copy(folder / name / outputs.PARTS[0], folder / name / "part-lost.parquet")
    _, said = again(folder)
    assert said == []
    assert not list(folder.rglob("part-lost*"))
    names = {path.name for path in (folder / "decisions").iterdir()}
    assert {path.name for path in (folder / "scores").iterdir()} == names


# ---- the data has changed


class OtherData(Inputs):
    """The digits with some labels corrected and some images removed."""

    def __init__(self, labels=None, without=()):
        super().__init__(Store())
        self.labels = labels or {}
        self.without = without

    def dataset(self, config):
        found = INPUTS.dataset(config)
        kept = [r for r in found.records if r.image_id not in self.without]
        labels = [self.labels.get(r.image_id, r.label) for r in kept]
        columns = ([r.image_id for r in kept], [r.source for r in kept], labels)
        return Changed(found, RecordTable(*columns))

    def fingerprint(self, config):
        return INPUTS.fingerprint(config)


class Changed:
    def __init__(self, found, records):
        self.records, self.label_names, self._found = records, found.label_names, found

    def read(self, number):
        return self._found.read(number)


@pytest.fixture
def finished(good, tmp_path, decides):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    again(folder)
    return folder


def rows_of(folder, name="decisions"):
    rows = [
        row for part in (folder / name).glob("*.parquet") for row in pq.read_table(part).to_pylist()
    ]
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: row for row in rows}


def test_corrected_labels_are_those_of_the_rows(finished, decides):
    before = rows_of(finished)
    one, two, three = sorted(before)[:3]
    other = (before[one]["label"] + 1) % 10
    data = OtherData({one: other, two: None})
    result, said = again(finished, inputs=data)
    (line,) = said
    assert "the data has other labels for 2 images in" in line
    assert "the predictions stay" in line
    after = rows_of(finished)
    assert (after[one]["label"], after[one]["correct"]) == (other, False)
    assert (after[two]["label"], after[two]["correct"]) == (None, None)
    same = {"label", "correct"}
    for image_id, row in after.items():
        assert {k: v for k, v in row.items() if k not in same} == {
            k: v for k, v in before[image_id].items() if k not in same
        }
    assert after[three] == before[three]
    n = outputs.N_IMAGES
    assert (result.metrics["labelled"], result.metrics["correct"]) == (n - 1, n - 2)
    record = json.loads((finished / "run.json").read_text())
    assert record["totals"]["correct"] == n - 2
    assert len(decides) == 1  # no image was decided again
    assert again(finished, inputs=data)[1] == []
    back, said = again(finished)
    assert "other labels for 2 images" in said[0]
    assert rows_of(finished) == before
    assert back.metrics["correct"] == n


def test_images_that_are_gone_do_not_count_and_come_back(finished, decides):
    before = rows_of(finished)
    gone = sorted(before)[2:4]
    data = OtherData(without=gone)
    result, said = again(finished, inputs=data)
    assert any("no longer has 2 images" in line and "removed/" in line for line in said)
    assert set(rows_of(finished, "removed")) == set(gone)
    assert set(rows_of(finished)) | set(gone) >= set(before)
    assert not set(rows_of(finished)) & set(gone)
    assert result.metrics["images"] == result.run.n_images == len(rows_of(finished))
    counted = len(decides)
    result, said = again(finished)
    assert any("the data has 2 images again" in line for line in said)
    assert len(decides) == counted
    assert not list((finished / "removed").iterdir())
    assert set(rows_of(finished)) >= set(before)


# ---- nothing to do


def test_a_finished_run_given_again_stays_as_it_was(finished, decides, monkeypatch):
    before = (finished / "run.json").read_bytes()
    (finished / "report.html").unlink()
    monkeypatch.setattr(time, "monotonic", lambda: time.perf_counter() + 1e6)
    result, said = again(finished)
    assert (result.nothing_to_do, said, len(decides)) == (True, [], 1)
    assert (finished / "run.json").read_bytes() == before
    assert (finished / "report.html").exists()
    assert result.metrics["images"] == outputs.N_IMAGES


def test_corrected_labels_move_no_time(finished):
    before = json.loads((finished / "run.json").read_text())
    one = sorted(rows_of(finished))[0]
    result, _ = again(finished, inputs=OtherData({one: None}))
    for name in ("seconds", "startup_seconds"):
        assert result.metrics[name] == before["totals"][name]
    assert (result.run.started, result.run.ended) == (before["started"], before["ended"])


def test_seconds_are_those_since_the_command_began(good, tmp_path, decides):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    plan = make_plan(outputs.config(folder), INPUTS)
    wall = WallTime(began=time.monotonic() - 50)
    with wall.stage():
        wall.stages += 20
    result = run_plan(plan, True, None, print, wall)
    totals = result.metrics
    assert 57 <= totals["seconds"] < 157  # 7 of the session before, 50 before this call
    assert 30 <= totals["startup_seconds"] < totals["seconds"] - 7
    assert 20 <= totals["stage_seconds"] < 21
    assert totals["evaluations_per_second"] < 1


# ---- a full disk


@pytest.fixture
def full(monkeypatch, decides):
    """A disk that is full from the first image on: nothing new can be written."""

    def run_local(plan, update):
        plan.scheduler()

        def write_whole(path, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(local_file, "write_whole", write_whole)
        rows = [outputs.decision(plan, number) for number in plan.todo]
        plan.output.write_decisions(rows, raw_scores=True, part=part_name())

    monkeypatch.setattr(local, "run_local", run_local)
    return run_local


def test_a_full_disk_is_one_line_and_the_record_says_failed(good, tmp_path, full):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)
    said = []
    plan = make_plan(outputs.config(folder), INPUTS)
    with pytest.raises(StoreError) as caught:
        run_plan(plan, True, None, said.append)
    assert "cannot be written (No space left on device)" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert [line.partition(":")[0] for line in said] == ["the end of this work is not written down"]
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["n_done"]) == ("failed", outputs.N_IMAGES - 1)
    assert record["totals"]["images"] == outputs.N_IMAGES - 1


def test_what_broke_a_run_is_said_and_not_what_followed(good, tmp_path, full, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(good, folder)

    def breaks(plan, update):
        with contextlib.suppress(StoreError):
            full(plan, update)
        raise RunBrokenError("rows cannot be written: No space left on device")

    monkeypatch.setattr(local, "run_local", breaks)
    with pytest.raises(RunBrokenError, match="rows cannot be written"):
        run_plan(make_plan(outputs.config(folder), INPUTS), True, None, print)


# ---- two drivers


def test_drivers_that_prepare_in_the_same_second_leave_each_other_alone(tmp_path):
    """Each writes and prepares as fast as it can; nothing of the other's is taken away."""
    output = Output(str(tmp_path / "run"))

    def drive(driver):
        for n in range(30):
            output.prepare()
            output.write_bytes("run.json", b"{}" * 100)
            output.write_bytes(f"scores/{driver}-{n}.parquet", b"draws")

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(drive, driver) for driver in range(4)]:
            future.result()
    assert len(list((tmp_path / "run" / "scores").iterdir())) == 4 * 30
    assert not list((tmp_path / "run").rglob(".*"))
