"""The interface of pruning rules, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsd_ray.spec.pruning import (
    ClarkJainiPruning,
    HalvingPruning,
    LiPruning,
    NoPruning,
    PairedTPruning,
    PruningConfig,
    VotePruning,
)


@dataclass(frozen=True)
class Verdict:
    """What a look at the scores decided.

    n_draws: the draws that it saw.
    keep: (K,) bool, which classes stay; at least one does.
    stop_reason: why the image is decided now, or None to draw on.
    ranking: (K,) which class is first, second, ... where that is no matter of mean scores; only of
        a look that stops and keeps all.
    """

    n_draws: int
    keep: NDArray[np.bool_]
    stop_reason: str | None
    ranking: NDArray[np.intp] | None = None


class Rule(Protocol):
    """Successive elimination of one image's classes. Stateless: one object serves all images."""

    max_draws: int
    """No image is given more draws than this."""

    def next_look(self, n_draws: int) -> int:
        """Return after how many draws to look next; the last look was at `n_draws` (0: none)."""

    def look(self, scores_NK: NDArray[np.float64], seen: int) -> Verdict:
        """Look at K surviving classes, lower is better, paired by draw.

        The last look was at `seen` draws; N is at least next_look(seen). Where there are draws for
        several looks, they are taken in order up to the first that removes a class or stops, or
        else the last; the result must not depend on the draws behind the look that it is about.
        """


def not_before(config: PruningConfig, n_draws: int) -> PruningConfig:
    """The same section with its first look after `n_draws` or more.

    Raises:
        ValueError: it looks or ends before, as its own keys say.
    """
    update: dict[str, int] = {}
    match config:
        case ClarkJainiPruning():
            first, update = config.min_scores, {"min_scores": n_draws}
        case LiPruning():
            first = config.draws[0]
        case NoPruning() | VotePruning():
            first = config.draws
        case HalvingPruning():
            first, update = config.min_draws, {"min_draws": n_draws}
        case _:
            first, update = config.min_draws, {"min_draws": n_draws}
    if first >= n_draws:
        return config
    if not update or max(update.values()) > config.most_draws:
        raise ValueError(f"needs {n_draws} draws of every class, and pruning ends or looks before")
    return config.model_copy(update=update)


def make_rule(config: PruningConfig, n_classes: int) -> Rule:
    """Build the rule that the configuration names, for images with so many classes in the race."""
    rule = _plain_rule(config, n_classes)
    if isinstance(config, NoPruning | VotePruning) or config.indifference is None:
        return rule
    from zsd_ray.stats.indifference import WithIndifference

    return WithIndifference(rule, config.indifference, n_classes)


def _plain_rule(config: PruningConfig, n_classes: int) -> Rule:
    # Here and not above: each rule's module imports this one for the interface.
    from zsd_ray.stats.anytime import Anytime
    from zsd_ray.stats.clark_jaini import ClarkJaini
    from zsd_ray.stats.every_draw import EveryDraw
    from zsd_ray.stats.halving import SuccessiveHalving
    from zsd_ray.stats.li_stages import LiStages
    from zsd_ray.stats.looks import Looks
    from zsd_ray.stats.paired_t import PairedT
    from zsd_ray.stats.vote import Vote

    match config:
        case ClarkJainiPruning():
            return ClarkJaini(config.min_scores, config.max_scores, config.p_value)
        case LiPruning():
            return LiStages(tuple(config.keep), tuple(config.draws))
        case HalvingPruning():
            return SuccessiveHalving(config.min_draws, config.growth, config.keep, config.max_draws)
        case NoPruning():
            return EveryDraw(config.draws)
        case VotePruning():
            return Vote(config.levels, config.draws)
    looks = Looks(config.min_draws, config.growth, config.max_draws)
    if isinstance(config, PairedTPruning):
        return PairedT(config.p_value, looks, config.moderated)
    return Anytime(n_classes, config.alpha, config.scale, looks, config.moderated)
