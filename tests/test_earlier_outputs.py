"""An output that an earlier version wrote is resumed as if that version had gone on with it.

tests/assets/earlier_output was written on 2026-11-30, at 417dc56, by an interrupted run of the
configuration below; expected.json is what that version came to when the run was resumed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import zsd_ray
from zsd_ray.config.run import RunConfig, parse_config

pytestmark = pytest.mark.usefixtures("a_plain_report")

EARLIER = Path(__file__).parent / "assets" / "earlier_output"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    shutil.copytree(EARLIER, path, ignore=shutil.ignore_patterns("expected.json"))
    return path


def config(output: Path) -> RunConfig:
    return parse_config(
        RunConfig,
        {
            "data": {"limit": 5},
            "cluster": {"batch_size": 16},
            "pruning": {"max_draws": 60, "indifference": 0.1},
            "output": {"path": str(output), "raw_scores": True},
            "tracking": {"mlflow": "off"},
            "seed": 3,
        },
    )


def test_an_output_of_an_earlier_version_is_resumed_to_the_last_bit(output: Path) -> None:
    expected = json.loads((EARLIER / "expected.json").read_text())
    kept = {path.name for path in (output / "decisions").iterdir()}
    states = (EARLIER / "checkpoints" / "0.parquet").stat().st_size
    assert states > 0
    result = zsd_ray.run(config(output), local=True)
    rows = result.table.select(list(expected[0])).to_pylist()
    assert sorted(rows, key=lambda row: row["image_id"]) == expected
    assert kept < {path.name for path in (output / "decisions").iterdir()}
    assert result.run.status == "finished"


@pytest.mark.full
def test_a_finished_output_of_an_earlier_version_stays_as_it_is(output: Path) -> None:
    zsd_ray.run(config(output), local=True)
    parts = sorted((output / "decisions").iterdir())
    result = zsd_ray.run(config(output), local=True)
    assert result.nothing_to_do
    assert sorted((output / "decisions").iterdir()) == parts
