"""What README and docs show works: configurations, keys, commands, and what commands can be run."""

from __future__ import annotations

import argparse
import re
import runpy
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from tests.support.doc_examples import ROOT, Example, blocks, commands, inline, words
from zsd_ray.cli import entry, main
from zsd_ray.config import training as train_config
from zsd_ray.config.run import RunConfig, load_config, parse_config
from zsd_ray.config.training import load_training
from zsd_ray.data.labels.class_tree import parse_tree
from zsd_ray.records.errors import UserError
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.probes.probe_config import ProbeConfig
from zsd_ray.studies.sweeps.suite_config import SuiteConfig

TRAININGS = tuple(train_config._KINDS.values())
KINDS = (RunConfig, ProbeConfig, FidConfig, GenerateConfig, SuiteConfig, *TRAININGS)
READERS = {
    "probe": lambda path, sets: load_config(ProbeConfig, path, sets),
    "fid": lambda path, sets: load_config(FidConfig, path, sets),
    "generate": lambda path, sets: load_config(GenerateConfig, path, sets),
    "sweep": lambda path, sets: load_config(SuiteConfig, path, sets),
    "train": load_training,
    **dict.fromkeys(
        ("run", "plan", "check-model", "self-check"),
        lambda path, sets: load_config(RunConfig, path, sets),
    ),
}
"""By command, what reads its file."""


def ids(examples: list[Example]) -> list[str]:
    return [f"{example.where}-{example.text[:40]}" for example in examples]


# ---- configurations


def configurations() -> list[Example]:
    """Blocks of YAML; where a key comes twice, each line is an example of its own."""
    found = []
    for block in blocks("yaml"):
        lines = [line for line in block.text.splitlines() if re.match(r"\w+:\s*\{", line)]
        keys = [line.partition(":")[0] for line in lines]
        if len(set(keys)) < len(keys):
            found += [Example(block.where, line) for line in lines]
        else:
            found.append(block)
    sections = tuple(RunConfig.model_fields)
    for example in inline():
        match = re.fullmatch(r"(\w+): \{.*\}", example.text)
        if match and match[1] in sections and not re.search(r"\.\.\.|·", example.text):
            found.append(example)
    return found


@pytest.mark.parametrize("example", configurations(), ids=ids(configurations()))
def test_a_configuration_is_one(example: Example) -> None:
    tree = yaml.safe_load(re.sub(r"(?<=: )[A-Z](?=[,}])", "4", example.text))
    if example.text.startswith("# tree.yaml"):
        parse_tree(tree, ["cat", "dog", "bear", "car", "bus"])
    elif "models" in tree:
        parse_config(SuiteConfig, tree, example.where)
    else:
        parse_config(RunConfig, tree, example.where)


def keys_of(kind: Any) -> set[str]:
    """Every dotted key of a section, and of those below it."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        found = set()
        for name, field in kind.model_fields.items():
            below = {key for part in (field.annotation, *field.metadata) for key in keys_of(part)}
            found |= {name, *(f"{name}.{key}" for key in below)}
        return found
    return {key for part in get_args(kind) for key in keys_of(part)}


@cache
def known_keys() -> set[str]:
    return {key for kind in KINDS for key in keys_of(kind)}


SECTIONS = {name for kind in KINDS for name in kind.model_fields}
KEYS = [
    example
    for example in inline()
    if re.fullmatch(r"[a-z]+(\.[a-z_]+)+(: .*)?", example.text)
    and example.text.partition(".")[0] in SECTIONS
    and not re.search(r"\.(json|yaml|html|parquet|md|csv|py|txt)\b", example.text)
]


@pytest.mark.parametrize("example", KEYS, ids=ids(KEYS))
def test_a_key_is_one(example: Example) -> None:
    assert example.text.partition(":")[0] in known_keys()


# ---- commands

COMMANDS = commands()
PLACEHOLDERS = {"N": "4", "KIND": "learned", "OUTPUT": "runs/full"}
PLACES = ("configs/", "cluster/", "jobs/", "benchmarks/", "docs/")


def parse_command(example: Example) -> argparse.Namespace | None:
    """What a `zsd-ray` command says; None where a sentence only names it."""
    found = [PLACEHOLDERS.get(word, word) for word in words(example.text)[1:]]
    if found == ["--help"]:
        return None
    if example.inline and not re.search(r"[A-Z/]", example.text):
        parser = entry._parser()
        (group,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        assert found[0] in group.choices
        options = {word for word in found if word.startswith("-")}
        assert options <= set(group.choices[found[0]]._option_string_actions)
        return None
    return entry._parser().parse_args(found)


@pytest.mark.parametrize("example", COMMANDS, ids=ids(COMMANDS))
def test_a_command_is_one(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *rest = words(example.text)
    for word in rest:
        if word.startswith(PLACES) and not word.startswith("docs/figures"):
            assert (ROOT / word).exists(), f"there is no {word}"
    if program == "zsd-ray":
        parsed = parse_command(example)
        path = getattr(parsed, "config", "")
        if path.startswith("configs/"):
            READERS[rest[0]](ROOT / path, parsed.overrides or [])
    elif program == "make" and rest[0] != "a":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "python" and rest[0].startswith("jobs/"):
        given = submitted(rest, monkeypatch)
        parsed = entry._parser().parse_args(given)
        if parsed.config.startswith("configs/"):
            READERS[given[0]](ROOT / parsed.config, parsed.overrides)
    elif program == "python" and rest[0].startswith("benchmarks/"):
        parse_benchmark(rest, monkeypatch)
    else:
        assert (
            program in ("ray", "kubectl", "python", "make", "cluster/local.sh")
            or (ROOT / program).exists()
        )


def submitted(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a job's entrypoint asks of the command line."""
    given: list[list[str]] = []
    monkeypatch.setattr("zsd_ray.cli.main", lambda words: given.append(words) or 0)
    more = [] if "--config" in arguments else ["--config", "any.yaml"]
    monkeypatch.setattr(sys, "argv", [*arguments, *more])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    return given[0]


class _ParsedError(Exception):
    pass


def parse_benchmark(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Go as far as a program's options."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser) -> None:
        parse(parser)
        raise _ParsedError

    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [PLACEHOLDERS.get(word, word) for word in arguments])
    before = set(sys.modules)
    with pytest.raises(_ParsedError):
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
    for name in set(sys.modules) - before:
        if (ROOT / "benchmarks" / f"{name}.py").exists():
            del sys.modules[name]


def test_a_word_of_a_command_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above fail where they should."""
    for text in ("zsd-ray run configs/digits.yaml --limits 3", "zsd-ray runs configs/digits.yaml"):
        with pytest.raises(SystemExit):
            test_a_command_is_one(Example("here", text), monkeypatch)
    with pytest.raises(AssertionError):
        test_a_command_is_one(Example("here", "zsd-ray run configs/none.yaml"), monkeypatch)
    with pytest.raises(UserError):
        test_a_command_is_one(
            Example("here", "zsd-ray run configs/digits.yaml --set model.size=3"), monkeypatch
        )
    with pytest.raises(UserError):
        test_a_configuration_is_one(Example("here", "prunning: {rule: none}"))
    with pytest.raises(AssertionError):
        test_a_key_is_one(Example("here", "output.flush_second"))


# ---- pages and links

LINK = re.compile(r"\[[^\]\n]*\]\(([^()\s]+)\)")
LINKED = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "zsd_ray" / "assets").rglob("*.md")),
]


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them of their text."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}


def broken(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", LINKED, ids=[str(page.relative_to(ROOT)) for page in LINKED])
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`\n[one](#a-b) [two](page.md#c) [three](none.md) [four](https://x.org)")
    assert broken(page) == ["page.md#c", "none.md"]


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    listed = [
        (index.parent / link).resolve() for link in LINK.findall(prose(index)) if "://" not in link
    ]
    pages = {page for page in (ROOT / "docs").rglob("*.md") if page != index}
    assert {page for page in listed if page.suffix == ".md"} >= pages


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


# ---- what runs here

RUN = ["--local", "--limit=1", "--set=tracking.mlflow=off"]
TINY: dict[str, list[str]] = {
    "zsd-ray datasets": [],
    "zsd-ray run configs/digits.yaml --local --limit 20": [
        *RUN, "--set=pruning={rule: none, draws: 3}", "--set=output.raw_scores=true",
        "--set=output.path=runs/full",
    ],
    "zsd-ray rescore runs/full --weighting simple --rule clark-jaini --set pruning.max_scores=60": [
        "--set=pruning.min_scores=2", "--set=pruning.max_scores=3",
    ],
    "zsd-ray compare runs/full runs/pruned runs/one-draw --html compare.html": [],
    "zsd-ray status OUTPUT": [],
    "zsd-ray run configs/methods/noise-denoise.yaml": [*RUN, "--set=method.steps=2"],
    "zsd-ray train configs/training/ddpm-digits.yaml": [
        "--local", "--set=epochs=1", "--set=data.limit=32", "--set=network.channels=[8, 8, 8]",
        "--set=samples.images=0", "--set=tracking.mlflow=off",
    ],
}  # fmt: skip
"""Commands of the docs that need no cluster, GPU or foreign data, and what makes each tiny. Their
options come after those of the docs, and count."""


def test_commands_of_the_docs_run(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("docs")
    monkeypatch.chdir(folder)
    (folder / "configs").symlink_to(ROOT / "configs")
    shown = {" ".join(words(example.text)) for example in COMMANDS}
    for command, more in TINY.items():
        assert command in shown, f"the docs do not show {command} any more"
        given = [PLACEHOLDERS.get(word, word) for word in words(command)[1:]]
        if given[0] == "compare":
            for name in ("pruned", "one-draw"):
                shutil.copytree("runs/full", f"runs/{name}")
        assert main([*given, *more]) == 0, f"{command}: {capsys.readouterr().err}"
        assert capsys.readouterr().out, command
    assert "<svg" in (folder / "compare.html").read_text()
