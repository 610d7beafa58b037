"""A sweep on a cluster: one Ray for all of its cells, and the table of one process."""

import pytest

from tests.support.digit_runs import PAPER
from zsd_ray.config.run import parse_config
from zsd_ray.studies.sweeps.suite_config import SuiteConfig
from zsd_ray.studies.sweeps.sweeping import sweep

pytestmark = pytest.mark.usefixtures("a_plain_report")


def suite_of(path):
    tree = {
        "title": "On a cluster",
        "run": {"method": PAPER, "cluster": {"workers": 1}, "data": {"limit": 6}},
        "models": {"digits": {}},
        "datasets": {
            "digits": {"prompts": {"templates": ["a photo of the digit {}."]}},
            "scenes": {"data": {"source": "two-objects", "task": "shape"}},
        },
        "methods": {"fixed": {"pruning": {"rule": "none", "draws": 4}}},
        "output": {"path": str(path)},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(SuiteConfig, tree)


def test_a_cluster_fills_the_table_as_one_process_does(tmp_path, local_ray):
    here = sweep(suite_of(tmp_path / "here"), local=True)
    there = sweep(suite_of(tmp_path / "there"))
    assert there.record.status == "finished"
    for mine, other in zip(here.record.cells, there.record.cells, strict=True):
        assert (mine.correct, mine.images) == (other.correct, other.images)
        assert mine.evaluations_per_image == other.evaluations_per_image
    assert local_ray.is_initialized()  # it was there before, and stays
