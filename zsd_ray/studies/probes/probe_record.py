"""OUTPUT/probe.json: the settings and results of a probe run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.results.record_file import Status, read_record

_NAME = "probe.json"


@dataclass(frozen=True)
class ProbeRecord:
    """The record of a probe run.

    config: the resolved configuration; identity: hash of what changes a number of a checkpoint's
    rows, identity_parts: what was hashed.
    checkpoints: fingerprint of each, by name.
    errors: those of the images that were left out, by `split/image id`.
    best: the row of each kind of probe that the held-out images choose; saved: that of the model
        in OUTPUT/probe.
    """

    status: Status
    config: dict[str, Any]
    identity: str
    identity_parts: dict[str, Any]
    checkpoints: dict[str, str]
    versions: dict[str, str]
    started: str
    ended: str | None = None
    seconds: float = 0.0
    n_cells: int = 0
    errors: dict[str, str] = field(default_factory=dict)
    best: dict[str, dict[str, Any]] = field(default_factory=dict)
    saved: dict[str, Any] | None = None
    mlflow_run_id: str | None = None

    @classmethod
    def read(cls, output: Output) -> Self | None:
        """Return the record of an output, or None where there is none; raises UserError."""
        try:
            content = output.read_bytes(_NAME)
        except UserError:
            raise
        except Exception as error:  # each filesystem has errors of its own
            what = f"{output.shown(_NAME)} cannot be read"
            raise output.store.user_error(what, error, output.path) from error
        if content is None:
            return None
        return read_record(cls, content, output.shown(_NAME), "choose another output.path")

    def write(self, output: Output) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        output.write_bytes(_NAME, text.encode())
