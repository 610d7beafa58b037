"""A method made as a scorer makes it."""

from __future__ import annotations

from typing import Any

from zsd_ray.config.method_section import Method as MethodSection
from zsd_ray.methods.method import Bound, method_class


def made(bound: Bound, section: MethodSection) -> Any:
    return method_class(section)(bound, section)
