"""The defaults that docs give are those that the code has."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from zsd_ray.config.algorithms import AlgorithmMethod
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.config.training import (
    ClassifierTraining,
    ContrastiveTraining,
    DdpmTraining,
    TextToImageTraining,
)
from zsd_ray.stats.time_fit import SHARE
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
TRAININGS = {
    "Keys of every kind": DdpmTraining,
    "Keys of ddpm": DdpmTraining,
    "Keys of text-to-image": TextToImageTraining,
    "Keys of classifier": ClassifierTraining,
    "Keys of contrastive": ContrastiveTraining,
}
# By document: the section whose keys its tables have, and how many defaults are compared at least.
DOCUMENTS: dict[str, tuple[type[BaseModel] | dict[str, type[BaseModel]], int]] = {
    "configuration": (RunConfig, 50),
    "fid": (FidConfig, 8),
    "generate": (GenerateConfig, 6),
    "probes": (ProbeConfig, 10),
    "training": (TRAININGS, 60),
}
VALUE = r"(`[^`]*`|null|true|false|-?[\d.]+|required)"
"""One in a cell; a cell of other words says what no key holds."""


def rows(name: str) -> Iterator[tuple[str, list[str]]]:
    """The rows of a document's tables, each with the heading above it."""
    heading = ""
    for line in (DOCS / f"{name}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if line.startswith("| `"):
            yield heading, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def key_rows(name: str) -> Iterator[tuple[str, list[str], str]]:
    """Heading, keys and the cell with their defaults, of tables of keys."""
    for heading, cells in rows(name):
        keys = re.findall(r"`([a-z_.0-9]+)`\*?", cells[0])
        if re.fullmatch(r"(`[a-z_.0-9]+`\*?(, )?)+", cells[0]) and "rules" not in heading:
            yield heading, keys, cells[1]


def values(cell: str, n: int) -> list[Any]:
    """The values of a cell for n keys: one of each, or one for all; none of a cell of words."""
    if not re.fullmatch(rf"{VALUE}(, {VALUE})*", cell):
        return []
    found = [read(part.strip("`")) for part in re.findall(VALUE, cell)]
    return found * n if len(found) == 1 else found


def read(text: str) -> Any:
    """As YAML, and 1e-3 as the number that it becomes."""
    value = yaml.safe_load(text)
    return float(value) if isinstance(value, str) and re.fullmatch(r"\de-?\d", value) else value


def default_of(section: type[BaseModel], path: str) -> Any:
    """The default of a key, as plain values; "required" where there is none."""
    name, _, rest = path.partition(".")
    field = section.model_fields[name]
    value = "required" if field.is_required() else field.get_default(call_default_factory=True)
    if not rest:
        return plain(value)
    if isinstance(value, BaseModel) and rest.partition(".")[0] in type(value).model_fields:
        for part in rest.split("."):
            value = getattr(value, part)
        return plain(value)
    inner = [s for s in sections(field.annotation) if rest.partition(".")[0] in s.model_fields]
    return default_of(inner[0], rest)


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from sections(inner)


def plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_of_keys(name: str) -> None:
    section, at_least = DOCUMENTS[name]
    n_compared = 0
    for heading, keys, cell in key_rows(name):
        of = section.get(heading) if isinstance(section, dict) else section
        if of is None or (name == "configuration" and heading != "Configuration"):
            continue
        said = values(cell, len(keys))
        if not said:
            continue
        for key, value in zip(keys, said, strict=True):
            assert shortened(key, default_of(of, key)) == value, f"docs/reference/{name}.md, {key}"
            n_compared += 1
    assert n_compared >= at_least


def shortened(key: str, value: Any) -> Any:
    """As a user may write it: a number of workers alone, a model by its path."""
    if key == "cluster.workers" and isinstance(value, dict):
        return value["min"] if value["min"] == value["max"] else value
    if key in ("model", "extractor.model") and isinstance(value, dict):
        return value["path"]
    if key == "output" and isinstance(value, dict):
        return {"path": value["path"]}
    return value


def settings(cell: str) -> dict[str, Any]:
    """What the code spans `key: value` of a cell say."""
    return {key: read(text) for key, text in re.findall(r"`([a-z_]+): ([^`]+)`", cell)}


def test_the_keys_of_pruning_rules() -> None:
    n_compared = 0
    of_tests = {}
    for heading, cells in rows("configuration"):
        if heading != "Pruning rules":
            continue
        name = cells[0].strip("`")
        if name in ("min_draws", "max_draws", "growth", "moderated"):
            of_tests[name] = yaml.safe_load(cells[1].partition(";")[0].strip("`"))
            continue
        for key, value in settings(cells[1]).items():
            rule = parse_config(RunConfig, {"pruning": {"rule": name}}).pruning
            assert plain(getattr(rule, key)) == value, (name, key)
            n_compared += 1
    assert n_compared >= 12
    assert len(of_tests) == 4
    for name in ("anytime", "t-test"):
        rule = parse_config(RunConfig, {"pruning": {"rule": name}}).pruning
        others = {"growth": 1} if name == "t-test" else {}
        for key, value in (of_tests | others).items():
            assert getattr(rule, key) == value, (name, key)


def test_the_keys_of_algorithms() -> None:
    n_compared = 0
    for heading, cells in rows("methods"):
        name, said = cells[0].strip("`"), settings(cells[1])
        if heading == "Keys" or said:
            method = parse_config(RunConfig, {"method": {"name": name}}).method
            assert isinstance(method, AlgorithmMethod)
            for key, value in said.items():
                if not isinstance(value, dict):
                    assert plain(getattr(method, key)) == value, (name, key)
                    n_compared += 1
    assert n_compared >= 25


def test_the_share_of_the_strongest_signal() -> None:
    (said,) = re.findall(
        r"strongest signal in which it is at least ([\d.]+) of that",
        (DOCS / "configuration.md").read_text(encoding="utf-8"),
    )
    assert float(said) == SHARE
