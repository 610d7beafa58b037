"""The sink actor: writes the schedulers' rows and checkpoints in turn, and keeps nothing."""

from __future__ import annotations

import ray

from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.results.rows.row_buffer import Part
from zsd_ray.runtime.epochs import Claim, Epochs


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class Sink:
    """Writes the output's parts and checkpoints, in its own process so that no answer waits.

    Each call names the scheduler process that it is from (its claim): once a new one has opened
    its shard, calls of its dead predecessor are refused. A part has one name, so writing it twice
    does no harm.
    """

    def __init__(self, output: Output, raw_scores: bool) -> None:
        self._output = output
        self._raw_scores = raw_scores
        self._epochs = Epochs()

    def last(self, shard: int) -> int:
        """Return the epoch of the last process that opened a shard."""
        return self._epochs.last(shard)

    def open(self, shard: int, claim: Claim) -> bool:
        """Accept calls of this scheduler process and refuse those before it; False: its epoch is
        taken by another process."""
        return self._epochs.open(shard, claim)

    def write(self, shard: int, claim: Claim, part: Part) -> None:
        """Write rows; raises OSError if the output does not accept them."""
        self._check(shard, claim)
        self._output.write_decisions(part.decisions, self._raw_scores, part.name)

    def checkpoint(self, shard: int, claim: Claim, content: bytes) -> None:
        """Replace a shard's checkpoint; raises OSError if the output does not accept it."""
        self._check(shard, claim)
        self._output.write_checkpoint(shard, content)

    def _check(self, shard: int, claim: Claim) -> None:
        if not self._epochs.allows(shard, claim):
            raise UserError("another process of this scheduler has taken over")
