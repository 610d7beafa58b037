"""Sampling images from noise: the `sampler` section."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from zsd_ray.settings.section import Count, Section


class SamplerConfig(Section):
    """The sampler of images: `ddim`, `ddpm`, or the name of a class of diffusers' schedulers.

    `eta` is DDIM's: 0 is deterministic, 1 is DDPM with these steps.
    """

    chooses: ClassVar[str | None] = "name"

    name: str = "ddim"
    steps: Count = 50
    eta: float = Field(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _eta_is_ddims(self) -> Self:
        if self.name != "ddim" and "eta" in self.model_fields_set:
            raise ValueError(f"eta is of name ddim, and name is {self.name}; remove eta")
        return self

    @property
    def own(self) -> bool:
        """Whether the sampler is one of ours, and not the library's."""
        return self.name in ("ddim", "ddpm")

    @property
    def noisiness(self) -> float:
        """Return eta of our samplers."""
        return 1.0 if self.name == "ddpm" else self.eta
