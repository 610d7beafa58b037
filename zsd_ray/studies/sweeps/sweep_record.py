"""A sweep's record and its table of numbers: OUTPUT/sweep.json and OUTPUT/table.csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zsd_ray.results.output import Output
from zsd_ray.results.record_file import Status
from zsd_ray.studies.sweeps.suite_config import CellResult

_CELL = ("model", "dataset", "task", "method", "template")


@dataclass(frozen=True)
class SweepRecord:
    """The results of a sweep so far.

    status: "incomplete" where cells are not whole.
    config: of the suite, as plain values.
    """

    title: str
    status: Status
    config: dict[str, Any]
    started: str
    cells: tuple[CellResult, ...]
    ended: str | None = None
    mlflow_run_id: str | None = None

    @property
    def n_whole(self) -> int:
        return sum(cell.status == "finished" for cell in self.cells)

    def is_as(self, before: Mapping[str, Any]) -> bool:
        """Whether the earlier sweep whose record is `before` came to its end with just this."""
        plain = self._plain()
        ended = before.get("status") in ("finished", "incomplete") and before.get("ended")
        return bool(ended) and all(plain[key] == before.get(key) for key in ("config", "cells"))

    def _plain(self) -> dict[str, Any]:
        return asdict(self) | {"cells": [_plain(cell) for cell in self.cells]}

    def write(self, output: Output) -> None:
        plain = self._plain()
        text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
        output.write_bytes("sweep.json", text.encode())
        output.write_bytes("table.csv", table_csv(self.cells).encode())


def table_csv(cells: Sequence[CellResult]) -> str:
    """Return one line per cell, with all its values."""
    rows = [_plain(cell) for cell in cells]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plain(result: CellResult) -> dict[str, Any]:
    cell, corruption = result.cell, result.cell.corruption
    names = {name: getattr(cell, name) for name in _CELL}
    if cell.together:
        names["template"] = "all"
    damage = {
        "corruption": None if corruption is None else corruption.kind,
        "strength": None if corruption is None else corruption.strength,
    }
    values = {key: value for key, value in vars(result).items() if key != "cell"}
    return names | damage | values
