"""Progress messages of a training: small and picklable, since it may run in other processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Steps:
    """The steps made since the last message.

    done, total: steps of the stage, with those of earlier sessions.
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
    """A grid of samples that was written to the output, under `name`."""

    name: str
    png: bytes


News = Steps | Grid
