"""The state of a training: one safetensors file in its output, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from safetensors.torch import load, save

from zsd_ray.results.output import Output
from zsd_ray.spec.errors import UserError

_NAME = "training.safetensors"


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on: it is `step` of stage number `stage`."""

    stage: int
    step: int
    tensors: Mapping[str, torch.Tensor]

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin so, by the rest of their names."""
        n = len(prefix)
        return {name[n:]: t for name, t in self.tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Checkpoint:
    """The state that lies in `output`, bound to a configuration by `identity`."""

    output: Output
    identity: str

    def read(self) -> State | None:
        """Return the saved state, on the CPU, or None where there is none.

        Raises:
            UserError: it belongs to another configuration.
            StoreError: the store does not answer.
        """
        content = self.output.read_bytes(_NAME)
        if content is None:
            return None
        said = _metadata(content)
        if said["identity"] != self.identity:
            raise UserError(
                f"{self.output.location(_NAME)} belongs to another training configuration, or to "
                "other images; set output.path to a new folder, or delete this one to start over"
            )
        return State(int(said["stage"]), int(said["step"]), load(content))

    def write(self, state: State) -> None:
        """Replace the saved state; a crash while writing leaves the old one."""
        # Copies: tied weights share their memory, which the format refuses.
        tensors = {name: t.detach().cpu().clone().contiguous() for name, t in state.tensors.items()}
        said = {"identity": self.identity, "stage": str(state.stage), "step": str(state.step)}
        self.output.write_bytes(_NAME, save(tensors, said))


def _metadata(content: bytes) -> dict[str, str]:
    """The header's own part; the library reads it from files alone."""
    size = int.from_bytes(content[:8], "little")
    found: dict[str, str] = json.loads(content[8 : 8 + size])["__metadata__"]
    return found
