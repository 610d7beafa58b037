"""The sizes of a small CLIP: a section of a training configuration."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from zsd_ray.spec.section import Count, Section


class ClipNetworkConfig(Section):
    """Two transformers and the width of the space that they share.

    A vision transformer takes patch_size x patch_size pixels as a token; the other one reads at
    most prompt_length tokens of a caption, its start and end among them.
    """

    image_size: Count = 32
    patch_size: Count = 4
    image_width: Count = 64
    image_layers: Count = 4
    image_heads: Count = 2
    text_width: Count = 64
    text_layers: Count = 2
    text_heads: Count = 2
    prompt_length: int = Field(16, ge=4)
    embedding_width: Count = 64

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        for whole, part in (
            ("image_size", "patch_size"),
            ("image_width", "image_heads"),
            ("text_width", "text_heads"),
        ):
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} {getattr(self, whole)} must be a multiple of {part} "
                    f"{getattr(self, part)}"
                )
        return self
