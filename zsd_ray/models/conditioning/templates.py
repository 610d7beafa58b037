"""The prompt templates and class names of open_clip."""

from __future__ import annotations

from typing import Any

_SLOT = "{}"


def openai_imagenet() -> list[str]:
    """Return the 80 templates of OpenAI's evaluation of CLIP on ImageNet (Radford et al. 2021)."""
    return [template(_SLOT) for template in _open_clip().OPENAI_IMAGENET_TEMPLATES]


def imagenet_names() -> list[str]:
    """Return CLIP's names of ImageNet's 1,000 classes, in the order of their label numbers."""
    return list(_open_clip().IMAGENET_CLASSNAMES)


def _open_clip() -> Any:
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import open_clip

    return open_clip


NAMED = {"openai": openai_imagenet}
"""prompts.templates, where it is a word -> what gives the list."""
