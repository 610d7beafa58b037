"""What docs/extending.md shows works: each example, in a package of its own, adds what it says."""

import csv
import json
import os
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from tests.support.doc_examples import ROOT
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.data.readers.digits import NAMES, Digits
from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`(\w+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
POINTS = tomllib.loads(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])["project"][
    "entry-points"
]
RUNS = {
    config["output"]["path"].removeprefix("runs/"): config
    for config in map(yaml.safe_load, re.findall(r"```yml\n(.*?)```", PAGE, re.DOTALL))
    if "output" in config
}


class Package:
    """A folder as pip leaves one, and processes that are told of it."""

    def __init__(self, folder):
        self.folder, self._site = folder, folder / "site"
        self._about = self._site / "examples-1.0.dist-info"
        self._about.mkdir(parents=True)
        about = "Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n"
        (self._about / "METADATA").write_text(about)
        for name, text in FILES.items():
            place = self._site if name.endswith(".py") else folder
            (place / name).write_text(text)
        self.register(POINTS)

    def register(self, groups):
        lines = [
            line
            for group, points in groups.items()
            for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
        ]
        (self._about / "entry_points.txt").write_text("\n".join(lines))

    def python(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self._site), str(ROOT)])},
            capture_output=True,
            text=True,
        )

    def cli(self, *arguments):
        return self.python("-m", "zsd_ray.cli", *arguments)

    def config(self, name, limit):
        """The page's configuration, of fewer images."""
        tree = {**RUNS[name], "tracking": {"mlflow": "off"}}
        tree["data"] = {**tree["data"], "limit": limit}
        (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        return f"{name}.yaml"

    def run(self, name, limit=3):
        """Its record and its decisions."""
        ended = self.cli("run", self.config(name, limit), "--local")
        assert ended.returncode == 0, ended.stderr
        return self.ended(name)

    def ended(self, name):
        output = self.folder / "runs" / name
        record = json.loads((output / "run.json").read_text())
        rows = Output(str(output)).read_table("decisions", None, len(NAMES)).to_pylist()
        assert record["status"] == "finished"
        assert all(row["error"] is None and row["prediction"] is not None for row in rows)
        assert len(rows) == record["n_images"]
        return record, rows


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


def write_images(folder, name_of):
    """Twenty digits as files; each one's path, and the name of its class."""
    digits, found = Digits("test"), []
    for index in range(20):
        name = NAMES[digits.records[index].label]
        path = folder / name_of(name) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        digits.read(index).save(path)
        found.append((str(path.relative_to(folder)), name))
    return found


def test_each_block_is_short_and_registered():
    assert len(FILES) == 7
    assert all(len(text.splitlines()) < 40 for text in FILES.values())
    blocks = re.findall(r"```python\n", PAGE)
    assert len(blocks) == sum(name.endswith(".py") for name in FILES)
    registered = {value.split(":")[0] for points in POINTS.values() for value in points.values()}
    assert {f"{module}.py" for module in registered} <= FILES.keys()


@pytest.mark.usefixtures("a_process")
def test_a_method(package):
    record, rows = package.run("one-step-l1")
    assert record["identity_parts"]["method"] == {"name": "one-step-l1", "level": 0.4}
    assert [row["n_draws"] for row in rows] == [8] * 3
    assert [row["n_evaluations"] for row in rows] == [8 * len(NAMES)] * 3
    assert record["totals"]["accuracy"] > 0.5
    listed = package.cli("models")
    assert "all seven, one-step-l1" in listed.stdout


@pytest.mark.usefixtures("a_process")
def test_a_rule(package):
    record, rows = package.run("margin", limit=12)
    keys = {"rule": "margin", "margin": 0.02, "first": 5, "draws": 60}
    assert record["identity_parts"]["pruning"] == keys
    for row in rows:
        best, second = np.sort(row["mean_scores"])[:2]
        assert 5 <= row["n_draws"] <= 60
        assert row["draws_per_class"] == [row["n_draws"]] * len(NAMES)
        assert row["n_evaluations"] == row["n_draws"] * len(NAMES)
        assert row["stop_reason"] == ("margin" if second - best >= 0.02 else "all-draws")
    assert "margin" in {row["stop_reason"] for row in rows}


def test_a_verdict_of_the_rule_does_not_depend_on_later_draws():
    names = {}
    exec(FILES["margin_rule.py"], names)  # noqa: S102 - the project's own page
    rule = names["MarginPruning"](rule="margin", margin=0.5, first=2, draws=9).make(3)
    scores = np.random.default_rng(0).normal(size=(9, 3))
    whole = rule.look(scores, 0)
    seen, verdict = 0, None
    while verdict is None or verdict.stop_reason is None:
        verdict = rule.look(scores[: rule.next_look(seen)], seen)
        seen = verdict.n_draws
    assert (verdict.n_draws, verdict.stop_reason) == (whole.n_draws, whole.stop_reason)
    assert rule.look(scores[:, :1], 0).stop_reason == "margin"


@pytest.mark.usefixtures("a_process")
def test_a_family(package):
    digits = load_digits()
    images = (digits.images / 8 - 1).astype(np.float32)[:, None]
    means = {name: images[digits.target == number].mean(0) for number, name in enumerate(NAMES)}
    save_file(means, package.folder / "means.safetensors")
    record, rows = package.run("gaussian", limit=20)
    assert record["identity_parts"]["model"]["family"] == "gaussian"
    assert [row["n_draws"] for row in rows] == [10] * 20
    assert record["totals"]["accuracy"] > 0.7
    assert "a Gaussian around the mean image of each class" in package.cli("models").stdout
    save_file({"zero": means["zero"]}, package.folder / "means.safetensors")
    refused = package.cli("run", "gaussian.yaml", "--local", "--set=output.path=runs/other")
    assert refused.returncode == 2
    assert "has no mean image of eight, five" in refused.stderr


@pytest.mark.usefixtures("a_process")
def test_a_data_set_of_a_file(package):
    write_images(package.folder / "images", lambda name: f"d{NAMES.index(name)}")
    record, rows = package.run("my-digits", limit=4)
    assert record["identity_parts"]["data"]["source"] == "my_digits.yaml"
    assert record["classes"] == list(NAMES)
    assert record["identity_parts"]["prompts"]["templates"] == ["a photo of the digit {}."]
    assert all(row["image_id"].startswith(f"d{row['label']}/") for row in rows)


@pytest.mark.usefixtures("a_process")
def test_a_reader(package):
    listed = write_images(package.folder, lambda name: "files")
    with (package.folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *listed])
    record, rows = package.run("csv", limit=4)
    assert record["identity_parts"]["data"]["source"] == "csv"
    found = {row["image_id"]: record["classes"][row["label"]] for row in rows}
    assert found.items() <= dict(listed).items()


@pytest.mark.usefixtures("a_process")
def test_a_layout_of_a_data_set(package):
    """Readers and functions that read layouts are apart: a package may add both."""
    write_images(package.folder / "images", lambda name: f"d{NAMES.index(name)}")
    layout = "from zsd_ray.data.layouts.class_folders import read\ndef mine(*a, **b):\n"
    (package.folder / "site" / "my_layout.py").write_text(layout + "    return read(*a, **b)\n")
    package.register({**POINTS, "zsd_ray.layouts": {"mine": "my_layout:mine"}})
    spec = FILES["my_digits.yaml"].replace("zsd_ray.data.layouts.class_folders:read", "mine")
    (package.folder / "my_digits.yaml").write_text(spec)
    name = package.config("my-digits", limit=4)
    planned = package.cli("plan", name)
    assert planned.returncode == 0, planned.stderr
    (package.folder / "my_digits.yaml").write_text(spec.replace("mine", "others"))
    refused = package.cli("plan", name)
    assert refused.returncode == 2
    assert "'others' is no entry point of zsd_ray.layouts; installed are: mine" in refused.stderr


@pytest.mark.usefixtures("a_process")
def test_a_study(package):
    ended = package.python("site/accuracy_by_draws.py", package.config("by-draws", limit=6))
    assert ended.returncode == 0, ended.stderr
    assert "6 images, 0 without a prediction" in ended.stdout
    record, _ = package.ended("by-draws")
    with (package.folder / "accuracy_by_draws.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["draws"]) for row in rows] == list(range(1, 17))
    assert float(rows[-1]["accuracy"]) == pytest.approx(record["totals"]["accuracy"])


TAKEN = {
    "zsd_ray.families": {"flux": "gaussian_family:FAMILY"},
    "zsd_ray.readers": {"cifar10": "csv_images:READER"},
    "zsd_ray.methods": {"noise-denoise": "taken:Mine"},
    "zsd_ray.rules": {"halving": "taken:Mine"},
}
IMPOSTORS = {
    "zsd_ray.methods": "from zsd_ray.config.algorithms import NoiseDenoiseMethod as Mine\n",
    "zsd_ray.rules": "from zsd_ray.rules.halving import HalvingPruning as Mine\n",
}


@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("group", TAKEN)
def test_a_name_that_is_taken_is_refused(package, group):
    (name,) = TAKEN[group]
    (package.folder / "site" / "taken.py").write_text(IMPOSTORS.get(group, ""))
    package.register({group: TAKEN[group]})
    refused = package.cli("models")
    assert refused.returncode != 0
    assert f"a package adds {name} under the entry points of {group}" in refused.stderr


@pytest.mark.usefixtures("a_process")
@pytest.mark.parametrize("module", ["one_step_l1", "margin_rule", "gaussian_family", "csv_images"])
def test_each_module_can_be_imported_first(package, module):
    """As by a package's own tests, and by a worker that unpickles."""
    ended = package.python("-c", f"import {module}; import zsd_ray.config.run")
    assert ended.returncode == 0, ended.stderr


def test_what_nobody_adds_is_refused():
    with pytest.raises(UserError, match="gaussian"):
        parse_config(ModelConfig, {"family": "gaussian"})
    with pytest.raises(UserError, match="one-step-l1"):
        parse_config(RunConfig, {"method": {"name": "one-step-l1"}})
    with pytest.raises(UserError, match="margin"):
        parse_config(RunConfig, {"pruning": {"rule": "margin"}})
