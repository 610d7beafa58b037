"""From scenes and captions to scores: whole runs of the built-in model, in one process."""

import json

import pyarrow.dataset as ds
import pytest
from PIL import Image

from tests.support.digit_runs import PAPER
from zsd_ray.cli import main
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.captioned.two_objects import TwoObjectsTask
from zsd_ray.evaluation.evaluate import run

ALL_DRAWS = {"rule": "none", "draws": 3}


def configure(path, data, **sections):
    tree = {
        "data": data,
        "method": PAPER,
        "pruning": ALL_DRAWS,
        "output": {"path": str(path)},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(RunConfig, {**tree, **sections})


def decisions(path):
    return ds.dataset(f"{path}/decisions").to_table().to_pylist()


def test_a_binding_task_is_a_choice_of_two_prompts(tmp_path):
    data = {"source": "two-objects", "task": "shape", "limit": 6}
    done = run(configure(tmp_path / "run", data), local=True).run
    assert done.status == "finished"
    dataset = TwoObjectsTask("test", "shape")
    numbers = {record.image_id: i for i, record in enumerate(dataset.records)}
    rows = decisions(tmp_path / "run")
    assert len(rows) == 6
    for row in rows:
        own = dataset.captions.choices[numbers[row["image_id"]]].tolist()
        scored = [k for k, n in enumerate(row["draws_per_class"]) if n]
        assert scored == sorted(own)
        assert row["prediction"] in own
        assert row["label"] == dataset.records[numbers[row["image_id"]]].label
        assert row["n_evaluations"] == 2 * 3


@pytest.fixture
def winoground(tmp_path):
    """Two examples: of plain pictures, and of halves."""
    (tmp_path / "pairs" / "images").mkdir(parents=True)
    lines = []
    for number in range(2):
        for place in (0, 1):
            picture = Image.new("L", (16, 16), 40 + 100 * place)
            picture.paste(250, (0, 0, 8, 8 + 8 * number))
            picture.save(tmp_path / "pairs" / "images" / f"{number}-{place}.png")
        texts = {"caption_0": f"one {number} two", "caption_1": f"two {number} one"}
        images = {"image_0": f"{number}-0", "image_1": f"{number}-1"}
        lines.append(json.dumps({"id": number, **images, **texts}))
    (tmp_path / "pairs" / "examples.jsonl").write_text("\n".join(lines))
    return {"source": "winoground", "path": str(tmp_path / "pairs")}


def test_pairs_are_scored_from_the_decisions_of_a_run(winoground, tmp_path, capsys):
    path = str(tmp_path / "run")
    config = configure(path, winoground, method={**PAPER, "normaliser": "null-prompt"})
    assert run(config, local=True).run.status == "finished"
    rows = {row["image_id"]: row for row in decisions(path)}
    assert rows.keys() == {"0/0", "0/1", "1/0", "1/1"}
    text = image = 0
    for number in (0, 1):
        columns = [rows[f"{number}/{place}"]["label"] for place in (0, 1)]
        (a, b), (c, d) = (
            [rows[f"{number}/{place}"]["mean_scores"][k] for k in columns] for place in (0, 1)
        )
        text += a < b and d < c
        image += a < c and d < b
    capsys.readouterr()
    assert main(["pairs", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["doubt"] is None
    assert found["scores"]["examples"] == 2
    assert (found["scores"]["text"]["right"], found["scores"]["image"]["right"]) == (text, image)
