"""The list of data sets, as people and programs read it."""

import json
import re
from pathlib import Path

from zsd_ray.cli import main
from zsd_ray.config.readers import DATASETS
from zsd_ray.data.catalogue import spec_of


def test_every_set_has_a_line(capsys):
    assert main(["datasets"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "data.source",
        "images",
        "classes",
        "metric",
        "data.layout",
        "template",
    ]
    assert [line.split()[0] for line in lines] == list(DATASETS)
    svhn = next(line for line in lines if line.startswith("svhn"))
    assert "26,032" in svhn
    cells = [cell.strip() for cell in svhn.split("  ") if cell.strip()]
    assert cells[2:4] == ["10", "accuracy"]
    assert cells[4].split() == list(spec_of("svhn").layouts)
    assert cells[5] == 'a photo of the number: "{}".'


def test_the_list_for_programs(capsys):
    assert main(["datasets", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(DATASETS)
    assert found["cifar10"]["classes"] == list(spec_of("cifar10").classes)
    assert found["imagenet"]["classes"] == "imagenet"
    assert found["oxford-pets"]["metric"] == "mean-per-class"
    layouts = found["mnist"]["layouts"]
    assert layouts == {name: each.needs for name, each in spec_of("mnist").layouts.items()}


def test_the_documents_table_says_what_the_specs_say():
    page = Path(__file__).parents[2] / "docs" / "reference" / "datasets.md"
    text = page.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \|(.*) \|$", text.split("## Where files")[0], re.MULTILINE
    )
    expected = {}
    for name in DATASETS:
        spec = spec_of(name)
        cells = (spec.title, f"{spec.images:,}", f"{spec.n_classes:,}", spec.metric)
        expected[name] = " " + " | ".join((*cells, ", ".join(spec.layouts)))
    assert dict(rows) == expected
