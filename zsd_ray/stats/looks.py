"""After how many draws a rule looks."""

from __future__ import annotations

import math
from typing import NamedTuple


class Looks(NamedTuple):
    """Looks at whole blocks, each `growth` times as late as the last, or one block later.

    growth 1: after every block.
    """

    first: int
    block: int
    growth: float
    last: int

    def after(self, n_draws: int) -> int:
        """The next look after one at `n_draws` (0: none yet)."""
        if n_draws == 0:
            return min(self.first, self.last)
        blocks = max(n_draws // self.block + 1, math.ceil(n_draws * self.growth / self.block))
        return min(blocks * self.block, self.last)
