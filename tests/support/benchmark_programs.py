"""The programs in benchmarks/, and running one in this process as `python` would."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = {path.stem: path for path in sorted(BENCHMARKS.glob("*.py"))}
PROGRAMS = [name for name, path in MODULES.items() if "__main__" in path.read_text("utf-8")]
ON_RAY = "scheduler_throughput"
"""It has actors of its own, so that its --quick needs a Ray too."""


@pytest.fixture
def benchmarks(monkeypatch):
    """What `python benchmarks/X.py` changes in its process is undone."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    for name in MODULES:
        sys.modules.pop(name, None)


def run_quick(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a program with --quick; one that does not have it ends with 2."""
    path = MODULES[program]
    monkeypatch.setattr(sys, "argv", [str(path), "--quick"])
    code = None
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        code = end.code
    assert not code, f"{program} --quick ended with {code}"
