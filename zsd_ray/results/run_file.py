"""OUTPUT/run.json: what ran, on what, and how far it came."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Status = Literal["running", "finished", "incomplete", "interrupted", "failed"]


@dataclass(frozen=True)
class RunFile:
    """The record of one run.

    config: the resolved configuration, as plain values.
    identity: hash of everything that changes a number; identity_parts: what was hashed.
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
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))
