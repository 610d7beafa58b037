"""Questions to a damaged output end in one line that names the file."""

import json
import os

import numpy as np
import pytest
import torch

from tests.hostile import outputs
from zsd_ray.cli import main
from zsd_ray.config.identity import hash_of
from zsd_ray.config.pooling import Cell
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import DamagedFile, UserError
from zsd_ray.results.heartbeat import read_heartbeat
from zsd_ray.results.image_parts import ImageParts
from zsd_ray.results.output import Output
from zsd_ray.results.rows.checkpoint import Checkpoint
from zsd_ray.storage.store import Store
from zsd_ray.studies.fid.fid_file import FidEntry, RealStatistics, read_entries, write_entry
from zsd_ray.studies.fid.moments import Moments
from zsd_ray.studies.generation.image_set_plan import _previous
from zsd_ray.studies.probes.feature_parts import FeatureParts
from zsd_ray.studies.probes.probe_fit import FitPiece, rows_written
from zsd_ray.studies.probes.probe_plan import Checkpoint as ModelState
from zsd_ray.studies.probes.probe_record import ProbeRecord
from zsd_ray.studies.probes.probe_rows import PROBES
from zsd_ray.studies.sweeps.sweeping import _before
from zsd_ray.training.training_state import Checkpoint as TrainingState
from zsd_ray.training.training_state import State


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    outputs.good_output(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    """A copy by links: what is damaged is written anew."""
    for path in good.rglob("*"):
        if path.is_file():
            place = tmp_path / "run" / path.relative_to(good)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return tmp_path / "run"


def test_a_good_output_answers(folder):
    commands = ("status", "calibrate", "rescore", "fit standardised", "fit learned")
    assert [main([*command.split(), str(folder)]) for command in commands] == [0] * 5


COMMANDS = {
    "decisions": ["calibrate", "fit standardised", "rescore"],
    "scores": ["rescore", "fit learned"],
    "run.json": ["status", "compare", "shape-bias", "pairs"],
}


@pytest.mark.few(4)
@pytest.mark.parametrize(("file", "name"), [
    (file, name)
    for file, name in outputs.CASES
    if file.partition("/")[0] in COMMANDS and (name not in outputs.ANY or "decisions" in file)
])  # fmt: skip
def test_a_question_to_a_damaged_output_is_one_line(file, name, folder, capsys):
    outputs.OF_FILE[file][name](folder / file)
    capsys.readouterr()
    named = 0
    for command in COMMANDS[file.partition("/")[0]]:
        words = [*command.split(), str(folder)]
        code = main([*words, str(folder)] if command == "compare" else words)
        (line,) = capsys.readouterr().err.strip().splitlines() or [""]
        named += file in line
        assert (code, "\n" in line) in ((0, False), (2, False)), line
    assert named or name == "config_a_text"  # `status` needs no configuration


@pytest.mark.parametrize("name", sorted(outputs.OF_FILE["progress.json"]))
def test_a_heartbeat_that_cannot_be_understood_is_as_good_as_none(name, folder, capsys):
    outputs.OF_FILE["progress.json"][name](folder / "progress.json")
    assert read_heartbeat(str(folder), Store()) is None
    assert main(["status", str(folder)]) == 0
    assert "interrupted" in capsys.readouterr().out


def test_images_whose_draws_are_gone_are_beyond_a_replay(folder, capsys):
    (folder / "scores" / outputs.PARTS[1]).unlink()
    capsys.readouterr()
    assert main(["rescore", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_beyond"], found["after"]["images"]) == (outputs.N_IMAGES - 5, 4)


def test_records_of_a_newer_version_can_be_looked_at(folder, capsys):
    for name in ("run.json", "progress.json"):
        tree = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(tree | {"colour": {"of": ["the", "sky"]}}))
    assert main(["status", str(folder)]) == 0
    assert read_heartbeat(str(folder), Store()) is not None


# ---- the records and parts of other commands


ENTRY = FidEntry("one", {}, 2, 2, 3, 1.0, None, None, None, 0.1, None, 2, 1, 0.5)


def write_features(output):
    features = {Cell(0.5, "mid", "mean"): np.ones((2, 3), np.float32)}
    FeatureParts(output, "c").write("train", 0, [0, 1], [1, 0], features, {"x": "truncated"})


def read_features(output):
    store = FeatureParts(output, "c")
    store.errors("train", [0])
    return store.read("train", [0], Cell(0.5, "mid", "mean"))


def real(output):
    moments = Moments(4, np.zeros(3), np.eye(3))
    RealStatistics(moments, np.zeros((2, 3), np.float32)).write(output, "id")


def probes(output):
    ProbeRecord("finished", {}, "i", {}, {}, {}, "2026-11-30T00:00:00+00:00").write(output)


def training(output):
    TrainingState(output, "identity").write(State(0, 3, {"x": torch.ones(4)}))


def generated(output):
    record = {"identity": hash_of({"seed": 0}), "identity_parts": {"seed": 0}}
    output.write_bytes("generate.json", json.dumps(record, indent=2).encode())


def same_images(output):
    _previous(output)
    return True


ROW = dict.fromkeys(PROBES.names, 1) | dict.fromkeys(
    ("checkpoint", "block", "pooling", "probe", "setting"), "x"
)
PIECE = FitPiece(ModelState("m", None, "print"), (Cell(0.5, "mid", "mean"),))


def fits(output):
    rows = [ROW | {"converged": True}]
    output.write_bytes(PIECE.name, json.dumps(rows, indent=2).encode())


def sweep(output):
    record = {"title": "t", "started": "now", "mlflow_run_id": None}
    output.write_bytes("sweep.json", json.dumps(record, indent=2).encode())


RECORDS = {
    "training.safetensors": (training, lambda out: TrainingState(out, "identity").read()),
    "generate.json": (generated, same_images),
    "sweep.json": (sweep, _before),
    PIECE.name: (fits, lambda out: rows_written(out, [PIECE])),
    "fid.json": (lambda output: write_entry(output, ENTRY), read_entries),
    "probe.json": (probes, ProbeRecord.read),
    "real/id.safetensors": (real, lambda output: RealStatistics.read(output, "id")),
    "features/c/train/00000.safetensors": (write_features, read_features),
    "images/part-000000.parquet": (
        lambda output: ImageParts(output, ()).write(0, [np.zeros((4, 4), np.uint8)] * 2, [0, 1]),
        lambda output: ImageParts(output, ()).read(0),
    ),
}
HARMLESS = {("fid.json", "flipped")}
"""Another letter in a text."""


@pytest.mark.few(4)
@pytest.mark.parametrize("name", sorted(outputs.ANY))
@pytest.mark.parametrize("file", sorted(RECORDS))
def test_a_damaged_record_is_named(file, name, tmp_path):
    output = Output(str(tmp_path))
    write, read = RECORDS[file]
    write(output)
    assert read(output) is not None
    outputs.ANY[name](tmp_path / file)
    if (file, name) in HARMLESS:
        read(output)
        return
    with pytest.raises(UserError) as caught:
        read(output)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ['{"sets": 3}', '{"sets": [1]}', "{}", "[]", "null", "{"])
def test_fid_json_of_other_things_is_named(tmp_path, text):
    (tmp_path / "fid.json").write_text(text)
    with pytest.raises(UserError, match=r"fid\.json"):
        read_entries(Output(str(tmp_path)))


# ---- stores that cannot rename


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_setting_aside_keeps_the_content(kind, tmp_path):
    output = Output(str(tmp_path) if kind == "local" else f"memory://{tmp_path.name}/run")
    for content in (b"one", b"two"):
        output.write_bytes("scores/a.parquet", content)
        name = output.set_aside("scores/a.parquet", "damaged")
        assert name is not None
        assert output.read_bytes(name) == content
        assert output.part_names("scores") == []
    assert name == "scores/a.parquet.damaged-2"
    assert output.set_aside("scores/a.parquet", "damaged") is None


def test_a_checkpoint_tells_whose_it_is(folder):
    content = (folder / "checkpoints" / "0.parquet").read_bytes()
    with pytest.raises(DamagedFile, match=r"0\.parquet is damaged \(it is of another run\)"):
        Checkpoint.read(content, "0.parquet", "another", outputs.N_CLASSES)


# ---- what is no file


NO_FILES = {
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", sorted(NO_FILES))
@pytest.mark.parametrize(("file", "command"), [
    ("run.json", ["status"]),
    ("decisions/part-a.parquet", ["calibrate"]),
    ("scores/part-a.parquet", ["rescore"]),
])  # fmt: skip
def test_what_is_no_file_is_named_and_not_waited_for(file, command, kind, folder, capsys):
    (folder / file).unlink()
    NO_FILES[kind](folder / file)
    assert main([*command, str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert file in line
    assert "sets it aside" in line or file == "run.json"


@pytest.mark.parametrize("name", ["decisions", "scores", "traces", "checkpoints"])
def test_a_file_where_parts_go_is_refused_before_anything_is_scored(name, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(UserError, match=rf"{name} is no folder"):
        Output(str(tmp_path)).prepare()


@pytest.mark.parametrize(
    "name",
    ["run.json", "progress.json", "report.html", "probes.parquet", "table.csv", "table.md",
     "training.safetensors", "fid.json", "grid.png", "calibration.html"],
)  # fmt: skip
def test_a_folder_where_a_file_goes_is_refused_before_anything_is_scored(name, tmp_path):
    output = Output(str(tmp_path))
    (tmp_path / name).mkdir()
    for write in (output.prepare, lambda: output.write_bytes(name, b"x")):
        with pytest.raises(UserError, match=rf"{name} is a folder, .*; move it away, or choose"):
            write()
    (tmp_path / name).rmdir()
    output.prepare()


@pytest.mark.parametrize("name", ["calibration.html", "probabilities.parquet", "learned.json"])
def test_a_folder_where_an_answer_goes_ends_its_command_in_one_line(name, folder, capsys):
    (folder / name).mkdir()
    command = ["fit", "learned"] if name == "learned.json" else ["calibrate"]
    assert main([*command, str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"{name} is a folder" in line
    assert "run the same command again" not in line


def test_a_run_whose_report_is_a_folder_scores_nothing(tmp_path, capsys):
    (tmp_path / "run" / "report.html").mkdir(parents=True)
    (tmp_path / "run.yaml").write_text("tracking: {mlflow: 'off'}\n")
    out = f"--set=output.path={tmp_path / 'run'}"
    assert main(["run", str(tmp_path / "run.yaml"), out, "--limit=1", "--local"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "report.html is a folder" in line
    assert not (tmp_path / "run" / "run.json").exists()


# ---- parts that another driver sets aside in between


@pytest.fixture
def vanishing(folder, monkeypatch):
    """A folder whose listings name a part more than there is, first of all."""
    listed = Output.part_names
    monkeypatch.setattr(
        Output,
        "part_names",
        lambda self, name: (
            ["a-gone.parquet", *listed(self, name)] if name != "checkpoints" else listed(self, name)
        ),
    )
    return folder


@pytest.mark.parametrize("name", ["decisions", "scores", "traces"])
def test_a_part_that_disappears_between_listing_and_reading_is_passed_by(name, vanishing):
    assert len(Output(str(vanishing)).read_table(name)) > outputs.N_IMAGES - 2


def test_a_plan_passes_by_a_part_that_disappears(vanishing):
    plan = make_plan(outputs.config(vanishing))
    assert len(plan.todo) == 1
    assert plan.repairs.damage == ()


@pytest.mark.parametrize("command", ["calibrate", "rescore", "fit learned"])
def test_a_question_passes_by_a_part_that_disappears(command, vanishing):
    assert main([*command.split(), str(vanishing)]) == 0


# ---- what a record says of its images


@pytest.mark.parametrize("most", [-1, 0, True, outputs.N_CLASSES + 1, 10**30, "2", None, 1.5])
def test_captions_that_no_image_can_have_are_damage(most, folder, capsys):
    record = json.loads((folder / "run.json").read_text())
    record["identity_parts"]["captions"] = {"most": most, "choices": "x"}
    (folder / "run.json").write_text(json.dumps(record))
    assert main(["rescore", str(folder)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"run.json is damaged: identity_parts.captions.most is {most!r}, and 1 to 10" in line


@pytest.mark.parametrize(
    "changes",
    [
        {"n_done": 40, "n_images": 7, "totals": {}},
        {"n_images": 7, "totals": {"images": 40}},
        {"n_images": 0, "totals": {"images": 40}},
    ],
)
def test_more_rows_than_images_are_said_by_status(changes, folder, capsys):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | changes))
    capsys.readouterr()
    assert main(["status", str(folder)]) == 0
    told = capsys.readouterr().out
    assert f"40 rows for {changes['n_images']} images: its record is damaged, or another" in told
