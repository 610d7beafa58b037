"""`zsd-ray illustrate` as users meet it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tests.support.images import write_folder
from zsd_ray.cli import main
from zsd_ray.studies.illustrations import illustrating as engine

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A run of a tiny model over three pictures."""
    folder = tmp_path_factory.mktemp("illustrate")
    config = {
        "model": {"path": str(tiny_model)},
        "data": {"source": "folder", "path": str(write_folder(folder / "data", 1, CLASSES))},
        "prompts": {"templates": ["a {}."]},  # a tiny text encoder holds few tokens
        "method": {"weighting": "heuristic", "timesteps": "uniform"},
        "pruning": {"rule": "none", "draws": 2},
        "output": {"path": str(folder / "run")},
        "tracking": {"mlflow": "off"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", str(folder / "run.yaml"), "--local"]) == 0
    return folder / "run"


def refused(capsys, *arguments):
    assert main(["illustrate", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("zsd-ray: error: ")
    return line


@pytest.mark.full
def test_a_page_and_arrays_that_are_the_same_each_time(run, capsys, monkeypatch):
    few = replace(engine.SETTINGS, steps=4, levels=[0.3, 0.6], level_steps=2, noises=3, orders=1)
    monkeypatch.setattr(engine, "SETTINGS", few)
    capsys.readouterr()
    assert main(["illustrate", str(run)]) == 0
    out = capsys.readouterr().out
    for words in ("image 1", "image 2", "(predicted)", f"{run}/illustrations.html"):
        assert words in out
    assert "left out" not in out
    assert (run / "illustrations.html").read_text().count("<svg") == 7
    files = {path.name: path.read_bytes() for path in (run / "illustrations").iterdir()}
    assert sorted(files) == ["illustrations.json", "image-1.npz", "image-2.npz", "pair-1.npz"]
    with np.load(run / "illustrations" / "image-1.npz") as arrays:
        assert arrays["exchanged"].shape == (3, 3, 16, 16, 3)
        assert arrays["distances"].shape == (3, 2, 3)
    assert main(["illustrate", str(run), "--images=1", "--json"]) == 0
    index = json.loads(capsys.readouterr().out)
    assert index == json.loads((run / "illustrations" / "illustrations.json").read_text())
    assert index["images"] == json.loads(files["illustrations.json"])["images"][:1]
    assert (run / "illustrations" / "image-1.npz").read_bytes() == files["image-1.npz"]


def test_bad_input_is_one_line_and_exit_code_2(run, capsys, tmp_path):
    capsys.readouterr()
    assert "there is no run at" in refused(capsys, f"{tmp_path}/x")
    assert "at least 1, but came 0" in refused(capsys, str(run), "--images=0")
    assert "storage.KEY=VALUE here" in refused(capsys, str(run), "--set=seed=1")
    record = json.loads((run / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert "no image with a prediction yet" in refused(capsys, str(tmp_path))
    (tmp_path / "decisions").symlink_to(run / "decisions")
    record["identity_parts"]["model"]["fingerprint"] = "another"
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert "is not what" in refused(capsys, str(tmp_path))
    assert not (tmp_path / "illustrations").exists()


def test_the_options_are_these(capsys):
    """A frozen list: an option is a promise."""
    with pytest.raises(SystemExit):
        main(["illustrate", "--help"])
    words = capsys.readouterr().out.replace("[", " ").replace("]", " ").split()
    options = {word.strip(",") for word in words if word.startswith("--")}
    assert options == {"--help", "--images", "--set", "--json"}
