"""The table of pruning rules: adding one is a file beside this one, and a line here; from
outside of the package it is one file (docs/extending.md)."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import Field

from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.halving import HalvingPruning
from zsd_ray.rules.li_stages import LiPruning
from zsd_ray.rules.paired_t import PairedTPruning
from zsd_ray.rules.rule import Pruning
from zsd_ray.rules.vote import VotePruning
from zsd_ray.settings.added import added, refuse_taken

_GROUP = "zsd_ray.rules"
_OWN: tuple[type[Pruning], ...] = (
    ClarkJainiPruning,
    LiPruning,
    HalvingPruning,
    PairedTPruning,
    AnytimePruning,
    VotePruning,
    NoPruning,
)
_ADDED: tuple[type[Pruning], ...] = (
    *added(_GROUP, Pruning),  # type: ignore[type-abstract]
)


def _name(section: type[Pruning]) -> str:
    return "".join(get_args(section.model_fields["rule"].annotation))


refuse_taken(_GROUP, [*map(_name, _OWN)], [*map(_name, _ADDED)])
PRUNINGS = (*_OWN, *_ADDED)

if TYPE_CHECKING:
    PruningConfig = Pruning
else:
    PruningConfig = Annotated[reduce(or_, PRUNINGS), Field(discriminator="rule")]
