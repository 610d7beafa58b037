"""The schedule of a rule's looks."""

from __future__ import annotations

import math
from typing import NamedTuple


class Looks(NamedTuple):
    """Looks, each after `growth` times the draws of the last, at least one draw later.

    growth 1: after every draw.
    """

    first: int
    growth: float
    last: int

    def after(self, n_draws: int) -> int:
        """Return the draws of the next look after one at `n_draws` (0: none yet)."""
        if n_draws == 0:
            return min(self.first, self.last)
        return min(max(n_draws + 1, math.ceil(n_draws * self.growth)), self.last)
