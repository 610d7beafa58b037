"""Which process of a scheduler may write: counted, because clocks go back and differ."""

from __future__ import annotations

from typing import NamedTuple


class Claim(NamedTuple):
    """A process's place among those of one scheduler.

    epoch: above that of the process before it. token: drawn at random, so that two processes which
    counted alike are told apart, and so are the micro-batches that each gave out.
    """

    epoch: int
    token: int

    @property
    def first_id(self) -> int:
        """Of its micro-batches; below 2^63, with room for 2^32 of them."""
        return self.token << 32


class Epochs:
    """The last claim on each shard. One that starts again takes the highest that speaks to it."""

    def __init__(self) -> None:
        self._last: dict[int, Claim] = {}

    def last(self, shard: int) -> int:
        """The epoch of the last claim; 0: none."""
        return self._last[shard].epoch if shard in self._last else 0

    def open(self, shard: int, claim: Claim) -> bool:
        """Take a claim, and no more calls by those before it; False: count further."""
        if claim.epoch <= self.last(shard) and self._last[shard] != claim:
            return False
        self._last[shard] = claim
        return True

    def allows(self, shard: int, claim: Claim) -> bool:
        """Whether nobody has taken over from the process of this claim."""
        return self.open(shard, claim)
