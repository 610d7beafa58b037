"""What benchmarks/fuzz.py does to the product: a hostile input of each kind, and commands on it.

A kind makes its good files once, in a folder that it is given, then damages a copy for each input.
The damages are those of tests/hostile/, which the tests use one by one.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the hostile inputs and the tiny models are the tests'

from tests.hostile import (  # noqa: E402
    archives,
    command_lines,
    configs,
    model_folders,
    outputs,
    parquet,
    pictures,
)
from tests.support.digit_runs import PAPER  # noqa: E402
from tests.support.images import write_folder  # noqa: E402
from tests.support.tars import write_tar  # noqa: E402
from tests.support.tiny_models import BUILDERS, CLASSIFIER_BUILDERS  # noqa: E402
from tests.support.tiny_models.custom import custom  # noqa: E402

Arguments: TypeAlias = list[str]
Keys: TypeAlias = dict[str, object]
_NO_WAITING = ["--set", "storage.retry_seconds=0"]
_NETWORKS = ("s3://", "gs://", "http")


class Kind(Protocol):
    """A kind of input."""

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        """Write an input into an empty folder; return what was done to it, and a command.

        Without `rng` nothing is damaged: a command that fails then shows nothing by failing.
        """


def kinds(good: Path) -> dict[str, Kind]:
    """The kinds by name; `good` is an empty folder for what they damage copies of."""
    return {
        "config": Configs(),
        "arguments": CommandLines(good / "no-run"),
        "model": Models(good / "models"),
        "output": Outputs(good / "output"),
        "tar": Sets(good / "tars", "webdataset", _good_tar, archives.damage),
        "parquet": Sets(good / "parquet", "parquet", _good_parquet, parquet.damage),
        "picture": Sets(good / "pictures", "folder", _good_folder, _damage_picture),
    }


class Configs:
    """A mutated example of configs/, read by the command that it is for, which then only plans."""

    def __init__(self) -> None:
        texts = {path: path.read_text() for path in sorted((ROOT / "configs").rglob("*.yaml"))}
        self._runs = {
            path: text
            for path, text in texts.items()
            if not any(scheme in text for scheme in _NETWORKS)
            and "method" in (yaml.safe_load(text))
        }

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        path = rng.choice(list(self._runs)) if rng else next(iter(self._runs))
        file = folder / "run.yaml"
        text = configs.mutate(self._runs[path], rng) if rng else self._runs[path]
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        return path.name, ["plan", str(file), *_NO_WAITING]


class CommandLines:
    """Arguments of any command that writes nothing, in any order and with hostile values."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        config = str(ROOT / "configs" / "digits.yaml")
        return "", command_lines.make(rng, str(self._run), config) if rng else ["plan", config]


class Models:
    """A tiny model folder of a family, damaged, asked to classify one picture."""

    def __init__(self, good: Path) -> None:
        self._good = good
        self._images = write_folder(good / "images", n_each=1)
        families = BUILDERS | CLASSIFIER_BUILDERS
        # Not `custom`, whose files are the user's own code.
        keys = [key for key in families if key[0] != "custom"]
        self._builders = {"-".join(key): families[key] for key in keys}
        self._family = {"-".join(key): key[0] for key in keys}
        self._made: dict[str, tuple[Sequence[str], Keys]] = {}

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        name = rng.choice(list(self._builders)) if rng else next(iter(self._builders))
        if name not in self._made:
            self._made[name] = self._builders[name](self._good / name)
        prompts, keys = self._made[name]
        model = folder / "model"
        if (self._good / name).is_dir():
            shutil.copytree(self._good / name, model)
        else:
            shutil.copy(self._good / name, model)
        done = model_folders.damage(model, rng) if rng else "nothing"
        keys = {k: str(v).replace(str(self._good / name), str(model)) for k, v in keys.items()}
        family = self._family[name]
        section = {"path": str(model)} | keys | {"family": family, "device": "cpu"}
        classes = [prompt for prompt in prompts if prompt][:2]
        data: Keys = {"source": "folder", "path": str(self._images)}
        return f"{name}: {done}", _run(folder, section, data, classes)


class Outputs:
    """A finished run, damaged, then asked or resumed."""

    def __init__(self, good: Path) -> None:
        self._good = good

    def _make(self) -> None:
        from zsd_ray.cli import main

        tree = {
            "data": {"source": "digits", "limit": 12},
            "method": PAPER,
            "pruning": {"rule": "none", "draws": 6},
            "output": {"path": str(self._good), "raw_scores": True},
            "tracking": {"mlflow": "off"},
        }
        file = self._good.with_suffix(".yaml")
        file.write_text(yaml.safe_dump(tree))
        assert main(["run", str(file), "--local"]) == 0

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        if not self._good.exists():
            self._make()
        output = folder / "output"
        shutil.copytree(self._good, output)
        done = outputs.damage(output, rng) if rng else "nothing"
        commands = [["status"], ["rescore"], ["compare", str(self._good)], ["calibrate"]]
        commands += [["fit", "learned"], ["fit", "standardised"], ["pairs"], ["shape-bias"]]
        resume = ["run", str(self._good.with_suffix(".yaml")), "--local"]
        commands += [[*resume, "--set", "output.path="]] * 4
        command = rng.choice(commands) if rng else commands[-1]
        if command[0] == "run":
            return done, [*command[:-1], f"output.path={output}"]
        return done, [*command, str(output)]


class Sets:
    """A small data set of some source, damaged, classified by a small model."""

    def __init__(
        self,
        good: Path,
        source: str,
        write: Callable[[Path], Path],
        damage: Callable[[Path, random.Random], str],
    ) -> None:
        self._good, self._source, self._damage = good, source, damage
        self._name = write(good / "set").relative_to(good)
        self._labels, self._model = custom(good / "model", "Told")

    def __call__(self, folder: Path, rng: random.Random | None) -> tuple[str, Arguments]:
        copied = folder / "set"
        shutil.copytree(self._good / "set", copied)
        path = folder / self._name
        done = self._damage(path, rng) if rng else "nothing"
        model = {"family": "custom", "device": "cpu", **self._model}
        data: Keys = {"source": self._source, "path": str(path)}
        return done, _run(folder, model, data, ["label 0", "label 1"])


def _run(folder: Path, model: Keys, data: Keys, classes: list[str]) -> Arguments:
    """The command that runs a model on data with two draws, in this process."""
    tree = {
        "model": model,
        "data": data | {"limit": 4},
        "prompts": {"classes": classes, "templates": ["{}"]},
        "pruning": {"rule": "none", "draws": 2},
        "output": {"path": str(folder / "output")},
        "tracking": {"mlflow": "off"},
    }
    if model["family"] not in ("clip", "timm", "probe"):
        tree["method"] = dict(PAPER)
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(tree))
    return ["run", str(file), "--local", *_NO_WAITING]


def _good_folder(folder: Path) -> Path:
    write_folder(folder, n_each=2)
    return folder


def _good_tar(folder: Path) -> Path:
    pngs = sorted(write_folder(folder.parent / "files", n_each=3).rglob("*.png"))
    files = []
    for number, png in enumerate(pngs):
        files.append((f"{number:03}.png", png.read_bytes()))
        files.append((f"{number:03}.cls", str(number % 2).encode()))
    write_tar(folder / "a.tar", files)
    return folder / "a.tar"


def _good_parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    pngs = sorted(write_folder(folder.parent / "files", n_each=3).rglob("*.png"))
    images = [{"bytes": png.read_bytes(), "path": png.name} for png in pngs]
    table = pa.table({"image": images, "label": [n % 2 for n in range(len(pngs))]})
    pq.write_table(table, folder / "a.parquet", row_group_size=2)
    return folder / "a.parquet"


def _damage_picture(folder: Path, rng: random.Random) -> str:
    """Put another picture in the place of one: of some format and mode, in most cases damaged."""
    path = rng.choice(sorted(folder.rglob("*.png")))
    name, data = rng.choice(sorted(pictures.everything().items()))
    is_damaged = rng.random() < 0.7
    path.write_bytes(pictures.damage(data, rng) if is_damaged else data)
    return f"{name}, {'damaged' if is_damaged else 'as it is'}"
