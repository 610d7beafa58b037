"""Lists of prompt templates that have a name of their own."""

from __future__ import annotations

_SLOT = "{}"


def openai_imagenet() -> list[str]:
    """The 80 templates of OpenAI's evaluation of CLIP on ImageNet (Radford et al. 2021)."""
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import open_clip

    return [template(_SLOT) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]


NAMED = {"openai": openai_imagenet}
"""prompts.templates, where it is a word -> what gives the list."""
