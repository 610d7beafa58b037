"""Shape or texture: what decides where the two cues of an image contradict each other.

Geirhos et al. 2019 (ICLR), section 2 and figure 4: of the decisions for either cue, the share that
go to shape. Images whose shape and texture are of one class contradict nothing and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.reliability import Measured


@dataclass(frozen=True)
class CueDecisions:
    """Decisions on conflicts, counted, and shares with their Wilson 95 % intervals.

    n: conflicts; shape, texture: decided for that cue, the rest for neither.
    shape_accuracy, texture_accuracy: of all n; None where n is 0.
    shape_bias: shape / (shape + texture); None where no decision is for a cue.
    """

    n: int
    shape: int
    texture: int
    shape_accuracy: Measured | None
    texture_accuracy: Measured | None
    shape_bias: Measured | None

    @classmethod
    def of(cls, n: int, shape: int, texture: int) -> Self:
        """Make it from the counts."""
        return cls(
            n, shape, texture, _share(shape, n), _share(texture, n), _share(shape, shape + texture)
        )


@dataclass(frozen=True)
class ShapeBias:
    """All conflicts together, and those of each shape's class by its name, in alphabetic order."""

    overall: CueDecisions
    of_class: dict[str, CueDecisions]


@dataclass(frozen=True)
class Observer:
    """Who decided, and for which cue.

    n_people: how many are pooled here; None of one model.
    each_person: the shape bias of each of them who decided for a cue, ascending.
    """

    name: str
    bias: ShapeBias
    n_people: int | None = None
    each_person: tuple[float, ...] = ()


def shape_bias(shapes: Sequence[str], textures: Sequence[str], answers: Sequence[str]) -> ShapeBias:
    """Count decisions.

    Args:
        shapes, textures, answers: class names, (N,) each. An answer that is neither cue, such as
            another class or none at all, is a decision for neither.

    Raises:
        ValueError: they are not equally many.
    """
    if not len(shapes) == len(textures) == len(answers):
        raise ValueError(
            "needs a shape, a texture and an answer an image, but came "
            f"{len(shapes)}, {len(textures)} and {len(answers)}"
        )
    shape, texture, answer = (np.asarray(names, dtype=str) for names in (shapes, textures, answers))
    conflict = shape != texture
    names, of_shape = np.unique(shape[conflict], return_inverse=True)
    kinds = conflict, conflict & (answer == shape), conflict & (answer == texture)
    counts = [np.bincount(of_shape[kind[conflict]], minlength=len(names)) for kind in kinds]
    each = np.stack(counts, axis=1).tolist()
    return ShapeBias(
        CueDecisions.of(*(int(count.sum()) for count in counts)),
        {str(name): CueDecisions.of(*row) for name, row in zip(names, each, strict=True)},
    )


def _share(successes: int, trials: int) -> Measured | None:
    return Measured(successes / trials, *wilson(successes, trials)) if trials else None
