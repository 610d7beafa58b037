"""The statistics of a model's errors by t, from `zsd-ray fit`; a run takes them as
`method.profile`."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zsd_ray.settings.section import Count, Section

Loss = Literal["l2", "l1"]


class FittedOn(Section):
    """The source of a profile.

    run, identity: its output, without passwords, and its hash.
    images, draws: their numbers; evaluations: their cost.
    share, salt: the choice of images of a labelled fit (analysis/fit_share.py); None: all.
    """

    run: str
    identity: str
    images: Count
    draws: Count
    evaluations: Count
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    salt: str | None = None


class TimeProfile(Section):
    """Statistics of the eps-errors by t, piecewise constant over buckets of t.

    edges: (B + 1,) of the buckets, ascending.
    sd: (B,) standard deviation, within a draw, of the eps-error over classes.
    signal: (B,) how far a draw separates other classes from the image's decision, in standard
        deviations; informative: the range of t, in whole buckets, in which the signal is strong.
    weights: (B,) of the eps-error, learned from labels; None: not learned.
    """

    loss: Loss
    edges: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    sd: tuple[Annotated[float, Field(gt=0)], ...]
    signal: tuple[Annotated[float, Field(ge=0)], ...]
    informative: tuple[float, float]
    weights: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    fitted_on: FittedOn

    @model_validator(mode="after")
    def _a_value_each_bucket(self) -> Self:
        n = len(self.edges) - 1
        if n < 1 or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("edges must be two or more numbers that rise")
        for name in ("sd", "signal", "weights"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise ValueError(f"{name} needs {n} values, one a bucket, but has {len(values)}")
        low, high = self.informative
        if not self.edges[0] <= low < high <= self.edges[-1]:
            raise ValueError(f"informative [{low:g}, {high:g}] is no range within the edges")
        if self.weights is not None and not any(self.weights):
            raise ValueError("weights are all 0")
        return self
