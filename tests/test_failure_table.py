"""The failure table in docs/ARCHITECTURE.md names tests for each of its lines, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def lines() -> list[tuple[str, list[str]]]:
    """What fails, and the tests that the line names, of each line of the table."""
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("\n## Failure\n")[2].partition("\n## ")[0]
    rows = [row.strip("|").split("|") for row in table.splitlines() if row.startswith("|")]
    return [(cells[0].strip(), re.findall(r"`([\w/]+\.py::\w+)`", cells[-1])) for cells in rows[2:]]


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_table_is_found() -> None:
    assert len(lines()) > 20


@pytest.mark.parametrize(("fails", "tests"), lines())
def test_a_failure_names_tests_that_exist(fails: str, tests: list[str]) -> None:
    assert tests, f"no test holds the line {fails!r}"
    for test in tests:
        file, _, name = test.partition("::")
        assert name in names_in(file), test
