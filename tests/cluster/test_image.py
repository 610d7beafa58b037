"""cluster/Dockerfile copies what exists, keeps the pins, and does not run as root."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def instructions() -> list[list[str]]:
    text = (ROOT / "cluster" / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if line.strip()]


def _copied(instructions: list[list[str]]) -> list[str]:
    return [source for name, *words in instructions if name == "COPY" for source in words[:-1]]


def test_what_is_copied_exists_and_reaches_the_build(instructions):
    sources = _copied(instructions)
    assert {"zsd_ray", "jobs", "configs", "constraints.txt"} <= set(sources)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    first, *rules = [line for line in lines if not line.startswith("#")]
    assert first == "*"  # nothing but what is let in
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert let_in == set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source


def test_everything_is_installed_at_the_constraints(instructions):
    installs = [words for words in instructions if words[0] == "RUN" and "install" in words]
    installs = [words for words in installs if "pip" in words]
    assert len(installs) == 2
    dependencies, project = installs
    assert dependencies[dependencies.index("--constraint") + 1] == "constraints.txt"
    assert "--no-deps" in project  # so that nothing else comes with it
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    for word in dependencies:  # what the constraints do not pin is pinned here, and only that
        name, separator, _ = word.partition("==")
        if separator:
            assert name not in pins, f"{name} is pinned twice"
    for name in ("ray", "torch", "boto3"):
        assert name in pins


def test_the_python_is_one_that_the_project_supports(instructions):
    [base] = [words[1] for words in instructions if words[0] == "FROM"]
    version = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", base)
    assert version
    assert f'requires-python = ">={version[1]}"' in (ROOT / "pyproject.toml").read_text()


def test_it_does_not_run_as_root_and_names_its_home(instructions):
    assert instructions[-1] == ["USER", "ray"]
    settings = [word for words in instructions if words[0] == "ENV" for word in words[1:]]
    assert "HOME=/home/ray" in settings  # the cluster launcher reads it from the image
    folders = [words[1] for words in instructions if words[0] == "WORKDIR"]
    assert folders == ["/opt/zsd_ray"]  # what the manifests and the launcher's files name
