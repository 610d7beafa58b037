"""A training checkpoint: one file that is whole or not there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zsd_ray.spec.errors import UserError


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run under `path`, bound to its configuration by `identity`."""

    path: Path
    identity: str

    def read(self) -> dict[str, Any] | None:
        """Return the saved state, or None where there is none.

        Raises:
            UserError: the file belongs to another configuration.
        """
        if not self.path.is_file():
            return None
        state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        if state.pop("identity") != self.identity:
            raise UserError(
                f"{self.path} belongs to another training configuration; set output.path to a "
                "new folder, or delete this one to start over"
            )
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Replace the saved state; a crash while writing leaves the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save({**state, "identity": self.identity}, temporary)
        os.replace(temporary, self.path)
