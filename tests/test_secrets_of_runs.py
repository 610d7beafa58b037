"""Nothing that a run prints, writes or tells MLflow has the passwords that it was given."""

import json
import logging
import warnings

import fsspec
import pytest
import yaml

from tests.support.images import write_folder
from zsd_ray.cli import main
from zsd_ray.cli.terminal import quieten

PIECES = ("hunter2", "S1GNATURE")


@pytest.fixture
def images(tmp_path):
    """Two classes of images, one of them damaged, at a place that asks for a password."""
    write_folder(tmp_path / "here", n_each=2, bad=["cat/1.png"])
    fs = fsspec.filesystem("memory")
    fs.put(str(tmp_path / "here"), "/me:hunter2@host/data", recursive=True)
    yield "memory://me:hunter2@host/data"
    fs.rm("/me:hunter2@host", recursive=True)


def test_what_libraries_log_is_shown_without_secrets(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging, "lastResort", logging.StreamHandler())
    with warnings.catch_warnings():
        quieten()
    record = logging.makeLogRecord({"msg": "retrying %s", "args": ("s3://me:hunter2@b/x",)})
    assert logging.lastResort.format(record) == "retrying s3://***@b/x"


@pytest.mark.filterwarnings("ignore")
def test_no_secret_of_a_run_is_anywhere(images, tmp_path, capfd):
    uri = f"sqlite:///{tmp_path}/mlflow.db?password=hunter2&sig=S1GNATURE"
    tree = {
        "data": {"source": "folder", "path": images},
        "prompts": {"classes": ["a cat", "a dog"]},
        "pruning": {"rule": "none", "draws": 2},
        "storage": {"endpoint": "https://me:hunter2@127.0.0.1:1/x?X-Amz-Signature=S1GNATURE"},
        "tracking": {"mlflow": uri},
        "output": {"path": str(tmp_path / "run")},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    command = ["run", str(tmp_path / "run.yaml"), "--local"]
    assert main(command) == 3
    assert main(["status", str(tmp_path / "run"), "--json"]) == 0
    other = f"--set=data.path={images}?sig=S1GNATURE"
    assert main([*command, other]) == 2
    assert main([*command, "--set=output.path=nosuch://me:hunter2@host/x"]) == 2
    said = capfd.readouterr()
    told = {"stdout": said.out, "stderr": said.err}
    for file in [*tmp_path.glob("run/**/*"), *tmp_path.glob("ml*/**/*"), tmp_path / "mlflow.db"]:
        if file.is_file():
            told[str(file.relative_to(tmp_path))] = file.read_bytes().decode("latin-1")
    assert {"mlflow.db", "run/run.json", "run/report.html", "run/progress.json"} <= told.keys()
    found = [(name, piece) for name, text in told.items() for piece in PIECES if piece in text]
    assert found == []
    record = json.loads(told["run/run.json"])
    assert record["config"]["data"]["path"] == "memory://***@host/data"
    assert record["config"]["storage"]["endpoint"] == "https://***@127.0.0.1:1/x?***"
    assert f"sqlite:///{tmp_path}/mlflow.db?*** experiment" in said.out
