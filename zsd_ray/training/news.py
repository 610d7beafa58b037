"""What a training says while it goes on: small, and picklable, for it may happen elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Steps:
    """Steps that were made since the last of these.

    done, total: of the stage, with those of earlier sessions.
    losses: of each new step, over the whole batch; n_images: images of these steps.
    """

    stage: str
    done: int
    total: int
    epoch: int | None
    losses: tuple[float, ...]
    n_images: int


@dataclass(frozen=True)
class Grid:
    """A grid of samples that now lies in the output, under `name`."""

    name: str
    png: bytes


News = Steps | Grid
