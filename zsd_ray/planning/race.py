"""The inputs of each image's race that are known only after the stages before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zsd_ray.planning.candidates import CandidateTable
from zsd_ray.stats.class_offset import ClassOffset


@dataclass(frozen=True)
class Race:
    """The races of a run's images.

    n_racing: most classes in an image's race without a screen: all, or its own captions.
    candidates: the classes in each image's race; None: all, or a stage has yet to choose them.
    screen_evaluations: per image, if the screen is another model's.
    offset: subtracted from the scores; None: no offset, or a stage has yet to measure it.
    """

    n_racing: int
    candidates: CandidateTable | None = None
    screen_evaluations: float | None = None
    offset: ClassOffset | None = None

    def of_images(self, numbers: Sequence[int]) -> dict[str, Any]:
        """Return the arguments of a scheduler of these images."""
        found: dict[str, Any] = {} if self.offset is None else {"offset": self.offset.of}
        if self.candidates is not None:
            mean = float(self.candidates.counts(numbers).mean())
            found |= {"candidates": self.candidates.of, "classes_each": mean}
        return found
