"""The state of a training: one safetensors file in its output, written atomically."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from safetensors.torch import load, save

from zsd_ray.records.errors import DamagedFile, UserError
from zsd_ray.results.output import Output
from zsd_ray.settings.documents import is_lfs_pointer, parse_json_object

_NAME = "training.safetensors"


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on, which is `step` of stage number `stage`."""

    stage: int
    step: int
    tensors: Mapping[str, torch.Tensor]

    def under(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return the tensors whose names begin with a prefix, by the rest of their names."""
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
            UserError: it belongs to another configuration, or is damaged.
            StoreError: the store does not answer.
        """
        content = self.output.read_bytes(_NAME)
        if content is None:
            return None
        with self.understood():
            said = _metadata(content)
            tensors, stage, step = load(content), int(said["stage"]), int(said["step"])
            other = said["identity"] != self.identity
        if other:
            raise UserError(
                f"{self.output.shown(_NAME)} belongs to another training configuration, or to "
                "other images; set output.path to a new folder, or delete this one to start over"
            )
        return State(stage, step, tensors)

    @contextmanager
    def understood(self) -> Iterator[None]:
        """Name the file if its content is damaged, or lacks tensors of the networks.

        Raises:
            UserError: it is damaged or belongs to other networks.
        """
        try:
            yield
        except Exception as error:  # the libraries' own; the content is in memory
            advice = "rename it to start over, or set output.path to a new folder"
            raise DamagedFile.of(error, self.output.shown(_NAME), advice) from error

    def write(self, state: State) -> None:
        """Replace the saved state; a crash while writing leaves the old one."""
        # Copies: tied weights share their memory, which the format refuses.
        tensors = {name: t.detach().cpu().clone().contiguous() for name, t in state.tensors.items()}
        said = {"identity": self.identity, "stage": str(state.stage), "step": str(state.step)}
        self.output.write_bytes(_NAME, save(tensors, said))


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata of the header, which the library reads only from files."""
    size = int.from_bytes(content[:8], "little")
    if is_lfs_pointer(content):
        raise ValueError("a git-LFS pointer, not the file itself")
    if size > len(content):
        raise ValueError("it ends within its header")
    found: dict[str, str] = parse_json_object(content[8 : 8 + size], "its header")["__metadata__"]
    return found
