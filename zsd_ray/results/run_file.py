"""OUTPUT/run.json: the record of a run: configuration, provenance and totals."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from zsd_ray.records.errors import DamagedFile
from zsd_ray.results.record_file import Status, read_record

_ADVICE = "mend or remove it, or choose another output.path"
_NO_COUNT = 2**63


@dataclass(frozen=True)
class RunFile:
    """The record of one run.

    config: the resolved configuration, as plain values.
    identity: hash of everything that changes a number; identity_parts: the hashed values.
    classes: the class names in class order.
    totals: images, errors, n_evaluations, n_spent, n_rows, seconds, and the metrics.
    """

    status: Status
    config: dict[str, Any]
    identity: str
    identity_parts: dict[str, Any]
    classes: list[str]
    versions: dict[str, str]
    seed: int
    n_images: int
    n_done: int = 0
    started: str = ""
    ended: str | None = None
    totals: dict[str, Any] = field(default_factory=dict)
    mlflow_run_id: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: bytes | str, shown: str = "run.json") -> Self:
        """Parse a record; keys of a newer version are ignored.

        Raises:
            UserError: it is no record of a run; `shown` is its name in the message.
        """
        found = read_record(cls, text, shown, _ADVICE)
        if (why := found._doubt()) is not None:
            raise DamagedFile(shown, why, _ADVICE)
        return found

    def part(self, name: str, shown: str) -> dict[str, Any]:
        """Return one section of identity_parts, such as `model`; raises UserError if invalid."""
        found = self.identity_parts.get(name)
        if not isinstance(found, dict):
            raise DamagedFile(shown, f"identity_parts.{name} is no object", _ADVICE)
        return found

    def _doubt(self) -> str | None:
        """Return why these values, of the right types, cannot be a run's; None if they can."""
        if not self.classes:
            return "classes is empty"
        if min(self.n_images, self.n_done) < 0:
            return "n_images or n_done is below 0"
        for name in ("started", "ended"):
            stamp = getattr(self, name)
            try:
                if stamp and datetime.fromisoformat(stamp).tzinfo is None:
                    return f"{name} {stamp!r} has no time zone"
            except ValueError:
                return f"{name} {stamp!r} is no time"
        for name, value in self.totals.items():
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                return f"totals.{name} is no number"
            if isinstance(value, int) and abs(value) >= _NO_COUNT:
                return f"totals.{name} is too large for a count"
        if not isinstance(self.identity_parts.get("data", {}), dict):
            return "identity_parts.data is no object"
        return None
