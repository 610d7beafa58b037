"""ImageNet's 1,000 prompts and photographs of it, through a tiny random model, end to end."""

from pathlib import Path

import pytest

import zsd_ray
from zsd_ray.config.run import parse_config

SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "imagenet-samples"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no ImageNet photographs beside the checkout")
@pytest.mark.filterwarnings("ignore:prompts are cut")
@pytest.mark.filterwarnings("ignore:prompts.classes gives the text missile, sunglasses")
def test_a_thousand_classes_end_to_end(tiny_model, tmp_path):
    tree = {
        "model": {"path": str(tiny_model)},
        "data": {"source": "imagenet", "path": str(SAMPLES), "limit": 2},
        "method": {"weighting": "heuristic", "timesteps": "uniform"},
        "pruning": {"rule": "li", "keep": [10, 1], "draws": [1, 4]},
        "cluster": {"batch_size": 250},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    result = zsd_ray.run(parse_config(zsd_ray.RunConfig, tree), local=True)
    assert len(result.run.classes) == 1000
    assert result.run.config["prompts"]["templates"] == ["A bad photo of a {}."]
    rows = result.table.to_pylist()
    assert [row["error"] for row in rows] == [None, None]
    for row in rows:
        assert row["n_evaluations"] == 1000 + 3 * 10
        assert sorted(set(row["draws_per_class"])) == [1, 4]
        wnid = row["image_id"].partition("/")[0]
        assert wnid in row["source"]
        assert row["prediction"] in row["top5"]
    assert (Path(result.output) / "report.html").is_file()
