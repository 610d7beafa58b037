"""The table of pruning rules: adding one is a file beside this one, and a line here."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from zsd_ray.rules.anytime import AnytimePruning
from zsd_ray.rules.clark_jaini import ClarkJainiPruning
from zsd_ray.rules.every_draw import NoPruning
from zsd_ray.rules.halving import HalvingPruning
from zsd_ray.rules.li_stages import LiPruning
from zsd_ray.rules.paired_t import PairedTPruning
from zsd_ray.rules.rule import Pruning
from zsd_ray.rules.vote import VotePruning
from zsd_ray.settings.added import added

PRUNINGS: tuple[type[Pruning], ...] = (
    ClarkJainiPruning,
    LiPruning,
    HalvingPruning,
    PairedTPruning,
    AnytimePruning,
    VotePruning,
    NoPruning,
    *added("zsd_ray.rules", Pruning),  # type: ignore[type-abstract]
)

if TYPE_CHECKING:
    PruningConfig = Pruning
else:
    PruningConfig = Annotated[reduce(or_, PRUNINGS), Field(discriminator="rule")]
