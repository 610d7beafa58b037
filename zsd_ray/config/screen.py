"""The choice of candidate classes for each image: the `screen` section."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from zsd_ray.settings.section import Count, Section


class ScreenConfig(Section):
    """Keeps the `top` best classes of a finished run over the same images and classes, or of a
    tree.

    `run` is that run's output. `tree` is a YAML file of named groups: at each of its levels the
    groups are classes of a run of their own, and the members of the `top` best are kept. An `audit`
    share of the images is also scored with all classes.
    """

    run: str | None = None
    tree: str | None = None
    top: Count
    audit: Annotated[float, Field(ge=0, le=1)] = 0.02

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.run is None) == (self.tree is None):
            came = "neither" if self.run is None else "both"
            raise ValueError(
                "takes run (the output of a finished run) or tree (a YAML file of groups of "
                f"classes), but came with {came}"
            )
        return self
