"""The base of all configuration sections, and their common value types."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from zsd_ray.settings.documents import is_utf8


def inside_unit_interval(t_range: tuple[float, float]) -> tuple[float, float]:
    """Return a range of t unchanged; raises ValueError if it is invalid."""
    low, high = t_range
    if not 0 <= low < high <= 1:
        raise ValueError(f"needs 0 <= low < high <= 1, but came [{low}, {high}]")
    return t_range


def of_ratios(snr_range: tuple[float, float]) -> tuple[float, float]:
    """Return a range of signal-to-noise ratios unchanged; raises ValueError if it is invalid."""
    low, high = snr_range
    if not 0 < low < high:
        raise ValueError(f"needs 0 < low < high, but came [{low}, {high}]")
    return snr_range


_LONGEST_NAME, _LONGEST_PATH = 255, 4096
"""Bytes, of Linux."""


def a_place(path: str) -> str:
    """Return a path or URL unchanged; raises ValueError if it names no place."""
    if not path.strip() or path.startswith("://"):
        raise ValueError(f"takes a file, a folder or a URL, but came {path!r}")
    if not is_utf8(path):
        raise ValueError(f"{path[:60]!a} is no text in UTF-8, and could not be written down")
    names = [] if "://" in path else [len(os.fsencode(name)) for name in path.split("/")]
    if max(names, default=0) > _LONGEST_NAME or sum(names) + len(names) > _LONGEST_PATH:
        raise ValueError(f"{path[:40]}... is longer than the path of any file")
    return path


def of_a_known_user(path: str) -> str:
    """Return a path unchanged; raises ValueError if it begins with the ~ of an unknown user."""
    if os.path.expanduser(path).startswith("~"):
        user = path.partition("/")[0]
        raise ValueError(
            f"{path} begins with {user}, and this machine knows no such user's folder; give the "
            f"whole path, or ./{user} for a folder of that name"
        )
    return path


def that_lasts(path: str) -> str:
    """Return a place unchanged; raises ValueError if data there is lost when a process ends."""
    if path.startswith("memory://"):
        raise ValueError(
            f"memory:// ends with this process; name a folder or a store, but came {path}"
        )
    return path


def _not_saved(check: Callable[[str], str]) -> AfterValidator:
    """Make a check of user input only; values saved by a run may be of another machine."""

    def checked(path: str, info: ValidationInfo) -> str:
        return path if (info.context or {}).get(SAVED) else check(path)

    return AfterValidator(checked)


Place = Annotated[str, AfterValidator(a_place), _not_saved(of_a_known_user)]
OutputPlace = Annotated[Place, _not_saved(that_lasts), AfterValidator(os.path.expanduser)]
"""With ~ as the user's folder, once for everything that is written there or beside it."""
TimeRange = Annotated[tuple[float, float], AfterValidator(inside_unit_interval)]
SnrRange = Annotated[tuple[float, float], AfterValidator(of_ratios)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")]

SAVED = "saved"
"""A key of pydantic's context of validation: a run has written these settings, set or not."""

WHOLE = "whole"
"""A key of pydantic's context of serialisation: with what says nothing, as identities have it."""


def _types_in(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation consists of."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:  # what else it holds is no type
        arguments = arguments[:1]
    if get_origin(annotation) is Literal:
        return
    yield from (each for part in arguments for each in _types_in(part))
    if not arguments:
        yield annotation


class Section(BaseModel):
    """Base of every section: frozen, and an unknown key is an error.

    Attributes:
        chooses: its key that decides which of the others apply.
        sections_of: the configuration that its plain mappings are sections of, if any.
    """

    chooses: ClassVar[str | None] = None
    sections_of: ClassVar[type[Section] | None] = None

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, tree: Any) -> Any:
        """Refuse true instead of a number: Python takes it for 1, and YAML reads `on` as true."""
        for key, value in tree.items() if isinstance(tree, Mapping) else ():
            parts = value if isinstance(value, list | tuple) else [value]
            odd = next((part for part in parts if isinstance(part, bool)), None)
            if odd is not None and key in cls.model_fields:
                types = set(_types_in(cls.model_fields[key].annotation))
                if types & {int, float} and not types & {bool, Any}:
                    raise ValueError(f"{key} takes a number, but came {str(odd).lower()}")
        return tree

    @classmethod
    def idle(cls, tree: Mapping[str, Any]) -> list[str]:
        """Return keys of a section's tree that do not apply to its choice, and are refused
        later."""
        return []
