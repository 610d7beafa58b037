"""Where features of a network are taken, and how they become vectors."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from zsd_ray.settings.section import Count, Section

Time = Annotated[float, Field(ge=0, le=1)]


class Cell(NamedTuple):
    """One place to look at: the input's noise, the block, and how its output is pooled."""

    t: float
    block: str
    pooling: str

    @property
    def key(self) -> str:
        return f"{self.t!r}/{self.block}/{self.pooling}"


class GridPooling(Section):
    """The means of n x n parts of a block's output, side by side."""

    grid: Count


Pooling = Literal["mean", "max"] | GridPooling


def pooling_name(pooling: Pooling) -> str:
    """What a pooling is called in rows."""
    return f"grid-{pooling.grid}" if isinstance(pooling, GridPooling) else pooling
