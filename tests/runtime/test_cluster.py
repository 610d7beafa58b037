"""Which Ray a run takes."""

import json
import os
import subprocess
import sys

import pytest
import yaml

pytestmark = pytest.mark.end_to_end


def test_without_an_address_ray_is_private_whatever_the_environment_names(tmp_path):
    tree = {
        "data": {"limit": 2},
        "pruning": {"rule": "none", "draws": 2},
        "cluster": {"workers": 1},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    done = subprocess.run(
        [sys.executable, "-m", "zsd_ray.cli", "run", str(tmp_path / "run.yaml")],
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"
