"""Which process of a scheduler may write: numbered, because clocks go back and differ."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """The number of one process among the successive processes of a scheduler.

    epoch: above that of the process before it. token: random, so that two processes with the same
    epoch can be distinguished, and so can the micro-batches that each gave out.
    """

    epoch: int
    token: int

    @property
    def first_id(self) -> int:
        """Return the first id of its micro-batches; below 2^63, with room for 2^32 of them."""
        return self.token << 32


class Epochs:
    """The last claim on each shard; a restarted sink accepts the highest claim it receives."""

    def __init__(self) -> None:
        self._last: dict[int, Claim] = {}

    def last(self, shard: int) -> int:
        """Return the epoch of the last claim on a shard; 0: none."""
        return self._last[shard].epoch if shard in self._last else 0

    def open(self, shard: int, claim: Claim) -> bool:
        """Accept a claim and refuse those before it from now on; False: its epoch is too low."""
        if claim.epoch <= self.last(shard) and self._last[shard] != claim:
            return False
        self._last[shard] = claim
        return True

    def allows(self, shard: int, claim: Claim) -> bool:
        """Return whether no later process has taken over from that of this claim."""
        return self.open(shard, claim)
