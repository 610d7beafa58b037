"""Probes from a configuration to rows, a report and a saved probe: here and on Ray alike."""

import json

import pyarrow.parquet as pq
import pytest

from tests.support.images import write_folder
from tests.support.tiny_models import ddpm
from zsd_ray import RunConfig, run
from zsd_ray.cli import main
from zsd_ray.config.run import parse_config
from zsd_ray.records.errors import UserError
from zsd_ray.studies.probes import probing
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.probes.probing import probe

N_TRAIN, N_TEST = 300, 60


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two states of a model: of one, the second and third block are wider."""
    folder = tmp_path_factory.mktemp("train") / "checkpoints"
    ddpm(folder / "epoch-0002", num_class_embeds=None)
    ddpm(folder / "epoch-0010", num_class_embeds=None, block_out_channels=(8, 24))
    return folder


def config(states, output, **sections):
    tree = {
        "model": {"family": "ddpm", "path": str(states / "epoch-0002"), "device": "cpu"},
        "checkpoints": str(states),
        "data": {"train": {"limit": N_TRAIN}, "test": {"limit": N_TEST}},
        "timesteps": [0, 0.2],
        "blocks": ["down.1", "mid"],
        "pooling": ["mean", {"grid": 2}],
        "probes": {"linear": {"l2": [1, 100]}, "knn": {"k": [1, 5]}},
        "top_k": 3,
        "tracking": {"mlflow": "off"},
        "output": {"path": str(output)},
        **sections,
    }
    return parse_config(ProbeConfig, tree)


@pytest.fixture(scope="module")
def finished(checkpoints, tmp_path_factory):
    output = tmp_path_factory.mktemp("probes") / "here"
    return output, probe(config(checkpoints, output), local=True)


def contents(output):
    """Features and fits, byte by byte."""
    files = (path for path in output.glob("f*/**/*") if path.is_file())
    return {str(file.relative_to(output)): file.read_bytes() for file in files}


def test_there_is_a_row_for_every_cell_and_probe(finished):
    output, result = finished
    rows = pq.read_table(output / "probes.parquet").to_pylist()
    assert rows == result.rows
    places = [
        (r["epoch"], r["t"], r["block"], r["pooling"], r["probe"], r["setting"]) for r in rows
    ]
    linear = {place[:5] for place in places if place[4] == "linear"}
    assert linear == {
        (epoch, t, block, pooling, "linear")
        for epoch in (2, 10)
        for t in (0.0, 0.2)
        for block in ("down.1", "mid")
        for pooling in ("mean", "grid-2")
    }
    assert len(places) == len(set(places)) == 3 * len(linear)
    assert {r["setting"] for r in rows if r["probe"] == "knn"} == {"k=1 cosine", "k=5 cosine"}
    for row in rows:
        width = 16 if row["epoch"] == 2 else 24
        assert row["n_features"] == width * (4 if row["pooling"] == "grid-2" else 1)
        assert (row["n_train"], row["n_test"], row["converged"]) == (N_TRAIN, N_TEST, True)
        assert 0 <= row["low"] <= row["top1"] <= row["high"] <= 1
        assert row["top1"] <= row["top_k"] <= 1
        # A random network tells digits apart, and a tenth of them would be chance.
    assert max(row["top1"] for row in rows) > 0.5


def test_the_record_names_the_best_by_the_held_out_images(finished):
    output, result = finished
    record = json.loads((output / "probe.json").read_text())
    assert record["status"] == "finished"
    assert record["n_cells"] == 16
    assert list(record["checkpoints"]) == ["epoch-0002", "epoch-0010"]
    for kind, best in record["best"].items():
        mine = [row for row in result.rows if row["probe"] == kind]
        assert best["validation"] == max(row["validation"] for row in mine)
    assert record["saved"] == record["best"]["linear"]


def test_the_saved_probe_is_a_model_that_runs_like_any_other(finished, tmp_path):
    output, result = finished
    done = run(
        RunConfig(
            model={"family": "probe", "path": str(output / "probe"), "device": "cpu"},
            data={"limit": N_TEST},
            output={"path": str(tmp_path / "run")},
            tracking={"mlflow": "off"},
        ),
        local=True,
    )
    saved = result.record.saved
    assert done.metrics["images"] == N_TEST
    assert done.metrics["accuracy"] == pytest.approx(saved["top1"])
    assert done.metrics["correct"] == round(saved["top1"] * N_TEST)


def test_ray_gives_the_same_numbers(finished, checkpoints, tmp_path, local_ray):
    output, result = finished
    one = [str(checkpoints / "epoch-0010")]
    other = probe(config(checkpoints, tmp_path / "ray", checkpoints=one))
    assert other.rows == [row for row in result.rows if row["epoch"] == 10]
    mine, here = contents(tmp_path / "ray"), contents(output)
    assert len(mine) == 3 + 4 + 8  # parts of features, rows of fits, weights
    assert all(content == here[name] for name, content in mine.items())


@pytest.mark.parametrize("stage", ["features", "fits"])
def test_an_interrupted_run_goes_on(finished, checkpoints, tmp_path, stage):
    output, result = finished

    def interrupt(at, done, total):
        if (at, done) == (stage, 2):
            raise KeyboardInterrupt

    place = tmp_path / "probes"
    one = config(checkpoints, place, checkpoints=[str(checkpoints / "epoch-0010")])
    with pytest.raises(KeyboardInterrupt):
        probe(one, local=True, on_stage=interrupt)
    assert json.loads((place / "probe.json").read_text())["status"] == "interrupted"
    before = {path: path.stat().st_mtime_ns for path in place.glob("f*/**/*.*")}
    assert len(before) == (2 if stage == "features" else 3 + 2 + 4)
    again = probe(one, local=True)
    assert again.rows == [row for row in result.rows if row["epoch"] == 10]
    here = contents(output)
    assert all(content == here[name] for name, content in contents(place).items())
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was done twice


def test_a_checkpoint_more_goes_on_and_another_seed_is_refused(finished, checkpoints, tmp_path):
    _, result = finished
    one = config(checkpoints, tmp_path / "out", checkpoints=[str(checkpoints / "epoch-0002")])
    first = probe(one, local=True)
    assert first.rows == [row for row in result.rows if row["epoch"] == 2]
    assert probe(config(checkpoints, tmp_path / "out"), local=True).rows == result.rows
    with pytest.raises(UserError, match=r"belongs to other probes .*seed was 0, now 1"):
        probe(config(checkpoints, tmp_path / "out", seed=1), local=True)


def test_a_finished_run_given_again_keeps_its_times(finished, checkpoints, monkeypatch):
    output, result = finished
    started = []
    monkeypatch.setattr("zsd_ray.results.job.start_tracker", lambda *_, **__: started.append(True))
    wanted = config(checkpoints, output, tracking={"mlflow": f"sqlite:///{output}/m.db"})
    monkeypatch.setattr(probing, "now", lambda: "later")
    again = probe(wanted, local=True)
    assert started == []
    assert (again.record.ended, again.record.seconds) == (
        result.record.ended,
        result.record.seconds,
    )


def test_what_is_saved_may_be_named(finished, checkpoints):
    output, result = finished
    wanted = {"checkpoint": "epoch-0010", "t": 0.2, "block": "mid", "pooling": "mean"}
    again = probe(config(checkpoints, output, save=wanted), local=True)
    assert {key: again.record.saved[key] for key in wanted} == wanted
    assert again.rows == result.rows


def test_an_image_that_cannot_be_read_is_left_out_and_said(checkpoints, tmp_path, capsys):
    train = write_folder(tmp_path / "train", 12, bad=["cat/3.png"])
    test = write_folder(tmp_path / "test", 4)
    path = tmp_path / "probe.yaml"
    tree = config(
        checkpoints,
        tmp_path / "out",
        checkpoints=None,
        timesteps=[0],
        data={
            "train": {"source": "folder", "path": str(train)},
            "test": {"source": "folder", "path": str(test)},
        },
    )
    path.write_text(tree.model_dump_json())
    assert main(["probe", str(path), "--local", "--json"]) == 3
    told = capsys.readouterr()
    assert "1 images were left out (train/cat/3.png: " in told.err
    found = json.loads(told.out)
    assert found["status"] == "incomplete"
    assert {row["n_train"] for row in found["rows"]} == {23}
    assert main(["probe", str(path), "--local"]) == 3
    shown = capsys.readouterr().out
    assert "the best of 4 cells by the held-out training images" in shown
    assert f"{tmp_path}/out/probes.parquet" in shown
    assert "Probes of" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"train": {"split": "test"}, "test": {}}}, "share 500 images"),
        ({"checkpoints": "away"}, "there is no folder like away/epoch-"),
        ({"checkpoints": "a*/epoch-1"}, "only the last part of a path may be a pattern"),
        ({"blocks": ["mid", "up.7"]}, "has no up.7; it has down.0, down.1, mid, up.0, up.1"),
        ({"save": {"block": "up.1"}}, "save.block: the network of"),
        ({"checkpoints": []}, "checkpoints is an empty list"),
        ({"prompt": "two"}, "is unconditional and takes none"),
        ({"model": {"family": "timm", "path": "resnet50"}}, "cannot show what its blocks make"),
        ({"save": {"checkpoint": "epoch-1"}}, "save.checkpoint epoch-1 is none of these: epoch-"),
        ({"data": {"train": {"limit": 5}}}, "probes need 2 classes and one held out"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_starts(
    checkpoints, tmp_path, sections, message
):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        probe(config(checkpoints, tmp_path / "out", **sections), local=True)
    assert not (tmp_path / "out").exists()


def test_classes_must_be_the_same(checkpoints, tmp_path):
    data = {
        name: {"source": "folder", "path": str(write_folder(tmp_path / name, 8, classes))}
        for name, classes in (("train", ("cat", "dog")), ("test", ("cat", "fox")))
    }
    with pytest.raises(UserError, match=r"data\.train and data\.test have different classes"):
        probe(config(checkpoints, tmp_path / "out", data=data), local=True)
