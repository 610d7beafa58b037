"""The table of methods: adding one is a section in this room, a file in methods/, and a line here;
from outside of the package it is one file (docs/extending.md)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Discriminator, Tag

from zsd_ray.config.algorithms import ALGORITHMS, AlgorithmMethod
from zsd_ray.config.classifier_method import ClassifierMethod, DiffusionClassifierMethod
from zsd_ray.config.method_section import Method
from zsd_ray.settings.added import added, refuse_taken

_GROUP = "zsd_ray.methods"
_OWN: tuple[type[Method], ...] = (
    DiffusionClassifierMethod,
    ClassifierMethod,
    *ALGORITHMS.values(),
)
_ADDED: tuple[type[AlgorithmMethod], ...] = (
    *added(_GROUP, AlgorithmMethod),  # type: ignore[type-abstract]
)


def _name(section: type[Method]) -> str:
    return str(section.model_fields["name"].default)


refuse_taken(_GROUP, [*map(_name, _OWN)], [*map(_name, _ADDED)])
METHODS: Mapping[str, type[Method]] = {_name(section): section for section in (*_OWN, *_ADDED)}
ADDED_METHODS: Mapping[str, type[AlgorithmMethod]] = {_name(section): section for section in _ADDED}
"""Those of other packages."""
_DEFAULT = "diffusion-classifier"


def _tag(value: Any) -> str | None:
    """Return the name of a value's section; without a name it is the diffusion classifier's."""
    if isinstance(value, Mapping):
        name = value.get("name", _DEFAULT)
        return name if isinstance(name, str) else str(name)
    return getattr(value, "name", _DEFAULT)


if TYPE_CHECKING:
    MethodConfig = Method
else:
    MethodConfig = Annotated[
        reduce(or_, (Annotated[method, Tag(name)] for name, method in METHODS.items())),
        Discriminator(_tag),
    ]
