"""The places in a network where features are taken, and their pooling to vectors."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from zsd_ray.settings.section import Count, Section

Time = Annotated[float, Field(ge=0, le=1)]


class Cell(NamedTuple):
    """One kind of features: the input's noise level, the block, and the pooling of its output."""

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
    """Return the name of a pooling in rows."""
    return f"grid-{pooling.grid}" if isinstance(pooling, GridPooling) else pooling
