"""The initial state of a scheduler, as a value from which the same one can be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from zsd_ray.records.cost import ONE_EACH, Cost
from zsd_ray.records.scores import Candidates, ImageRecord, ImageState
from zsd_ray.rules.rule import Pruning
from zsd_ray.scheduling.counters import Counters
from zsd_ray.scheduling.scheduler import Scheduler


@dataclass(frozen=True, eq=False)
class Beginning:
    """The arguments of a `Scheduler`, explained there, and its initial counters.

    pruning: the section that makes its rule, for n_racing classes.
    """

    records: Sequence[ImageRecord] | Mapping[int, ImageRecord]
    images: Sequence[int]
    pruning: Pruning
    n_racing: int
    n_classes: int
    cost: Cost = ONE_EACH
    traced: frozenset[int] = frozenset()
    keep_all_raw: bool = False
    states: Mapping[int, ImageState] = field(default_factory=dict)
    first_id: int = 0
    candidates: Callable[[int], Candidates | None] = lambda number: None
    classes_each: float | None = None
    offset: Callable[[str], NDArray[np.float64] | None] = lambda image_id: None
    counters: Counters = field(default_factory=Counters)

    def scheduler(self) -> Scheduler:
        """Return a new scheduler with this initial state."""
        scheduler = Scheduler(
            records=self.records,
            images=self.images,
            rule=self.pruning.make(self.n_racing),
            n_classes=self.n_classes,
            cost=self.cost,
            traced=self.traced,
            keep_all_raw=self.keep_all_raw,
            states=self.states,
            first_id=self.first_id,
            candidates=self.candidates,
            classes_each=self.classes_each,
            offset=self.offset,
        )
        scheduler.counters = replace(self.counters)
        return scheduler
