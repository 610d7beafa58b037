"""docs/reference/training.md names every key of every kind of training."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from zsd_ray.config.training import (
    ClassifierTraining,
    ContrastiveTraining,
    DdpmTraining,
    TextToImageTraining,
)

TEXT = Path("docs/reference/training.md").read_text(encoding="utf-8")
ELSEWHERE = ("data", "storage", "tracking")
"""Sections that configuration.md explains."""


def keys(kind):
    found = set()
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and name not in ELSEWHERE:
            found |= {f"{name}.{key}" for key in inner.model_fields}
        else:
            found.add(name)
    return found


def documented(heading):
    """The keys in the table under a heading."""
    part = TEXT.split(f"## Keys of {heading}\n")[1].split("\n## ")[0]
    rows = [row.split("|")[1] for row in part.splitlines() if row.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([\w.]+)`", row)}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("ddpm", DdpmTraining),
        ("text-to-image", TextToImageTraining),
        ("classifier", ClassifierTraining),
        ("contrastive", ContrastiveTraining),
    ],
)
def test_every_key_is_documented(heading, kind):
    assert documented("every kind") | documented(heading) == keys(kind)
