"""What a test starts, told by the fixtures that it asks for, and held to them."""

from __future__ import annotations

import subprocess
import sys
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

MARKERS = {
    "local_ray": "cluster",
    "private_ray": "cluster",
    "a_cluster": "cluster",
    "running_s3": "services",
    "mlflow_server": "services",
    "a_process": "process",
}
"""Of a fixture, the marker of the tests that ask for it."""

_ORDER = ("cluster", "services", "process")
_RAY = ("gcs_server", "raylet")
_ROOT = Path(__file__).parents[2]
_OURS = tuple(str(_ROOT / name) for name in ("tests", "benchmarks"))


def mark(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, and put the files that start most first.

    Clusters and servers are for the full profile, but where a test is marked `quick`. Their tests
    wait, and the others fill that: so their files come first.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        kinds = {MARKERS[name] for name in getattr(item, "fixturenames", ()) if name in MARKERS}
        for kind in kinds:
            item.add_marker(kind)
        if kinds & {"cluster", "services"} and not item.get_closest_marker("quick"):
            item.add_marker("full")
        rank = min((_ORDER.index(kind) for kind in kinds), default=len(_ORDER))
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    _leave_few(items)
    items.sort(key=lambda item: ranks[item.path])


def _leave_few(items: list[pytest.Item]) -> None:
    """Of a test that is marked `few(n)`, n sets of parameters, spread evenly, are quick."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("few"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for sets in tests.values():
        few = sets[0].get_closest_marker("few")
        assert few is not None
        (n,) = few.args
        quick = {place * len(sets) // n for place in range(n)}
        for place, item in enumerate(sets):
            if place not in quick:
                item.add_marker("full")


class Watch:
    """Programs that a test starts without asking for them: they would be in no marker's tests.

    Only of the test's own calls, and of Ray: what the package itself calls, such as git, is no
    matter of a test.
    """

    def __init__(self) -> None:
        self._item: pytest.Item | None = None
        start = subprocess.Popen.__init__

        @wraps(start)
        def watched(popen: Any, args: Any, *others: Any, **named: Any) -> None:
            self._check(args)
            start(popen, args, *others, **named)

        subprocess.Popen.__init__ = watched  # type: ignore[method-assign]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self._item = item
        try:
            return (yield)
        finally:
            self._item = None

    def _check(self, args: Any) -> None:
        if self._item is None:
            return
        kinds = {kind for kind in _ORDER if self._item.get_closest_marker(kind)}
        program = Path(str(args if isinstance(args, str) else next(iter(args)))).name
        if program in _RAY:
            if "cluster" not in kinds:
                pytest.fail("Ray is started: ask for local_ray or private_ray")
        elif not kinds and _caller().startswith(_OURS):
            pytest.fail(f"{program} is started: ask for a_process")


def _caller() -> str:
    """The file that called subprocess."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename in (__file__, subprocess.__file__):
        frame = frame.f_back
    return frame.f_code.co_filename
