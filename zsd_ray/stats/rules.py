"""The interface of pruning rules, and the table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zsd_ray.spec.pruning import ClarkJainiPruning, LiPruning, NoPruning


@dataclass(frozen=True)
class Verdict:
    """What a look at the scores decided.

    n_draws: the draws that it saw.
    keep: (K,) bool, which classes stay; at least one does.
    stop_reason: why the image is decided now, or None to draw on.
    """

    n_draws: int
    keep: NDArray[np.bool_]
    stop_reason: str | None


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


def make_rule(config: ClarkJainiPruning | LiPruning | NoPruning) -> Rule:
    """Build the rule that the configuration names."""
    # Here and not above: each rule's module imports this one for the interface.
    from zsd_ray.stats.clark_jaini import ClarkJaini
    from zsd_ray.stats.every_draw import EveryDraw
    from zsd_ray.stats.li_stages import LiStages

    match config:
        case ClarkJainiPruning():
            return ClarkJaini(config.min_scores, config.max_scores, config.p_value)
        case LiPruning():
            return LiStages(tuple(config.keep), tuple(config.draws))
        case NoPruning():
            return EveryDraw(config.draws)
