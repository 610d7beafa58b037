"""Supervised and contrastive baselines, which score an image for all classes at once.

One evaluation is one (image, class) score; a class has only draw 0. If the packer cut an image
between classes, the forward of its first part serves the others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.classifier_method import ClassifierMethod
from zsd_ray.methods.method import BoundBaseline, Method, Unit, UnitScores
from zsd_ray.records.draw_table import Draws

_CACHE_BYTES = 16 << 20


class Baseline(Method):
    """A baseline as a method; caches the scores of the last images.

    Every forward has the same number of images; the last one is padded, so that the network sees
    one shape and an image's numbers do not depend on the other images.
    """

    takes_pixels = False

    def __init__(self, bound: BoundBaseline, config: ClassifierMethod) -> None:
        self._bound = bound
        self._cache: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._cache_size = max(1, _CACHE_BYTES // (4 * len(bound.classes)))

    def score(self, units: Sequence[Unit]) -> list[UnitScores]:
        inputs = {unit.sample.image_id: unit.sample.x_0 for unit in units}
        known = {image: self._cache[image] for image in inputs if image in self._cache}
        new = [image for image in inputs if image not in known]
        rows = self._bound.rows
        for start in range(0, len(new), rows):
            some = new[start : start + rows]
            padded = some + some[-1:] * (rows - len(some))
            batch = torch.stack([inputs[image] for image in padded])
            classifier = self._bound.classifier
            scores = classifier.scores(batch.to(classifier.device), self._bound.classes)
            known |= dict(zip(some, scores[: len(some)].cpu().numpy(), strict=True))
        self._remember(known)
        paid = set(new)  # by the first unit of each image
        found = []
        for unit in units:
            image, n = unit.sample.image_id, len(unit.draws)
            errors = np.tile(known[image][list(unit.classes)], (n, 1))
            n_evaluations = len(known[image]) if image in paid else 0
            paid.discard(image)
            found.append(UnitScores(errors, _no_noise(n), n_evaluations))
        return found

    def _remember(self, known: dict[str, NDArray[np.float32]]) -> None:
        for image, scores in known.items():
            self._cache[image] = scores
            self._cache.move_to_end(image)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _no_noise(n: int) -> Draws:
    """Return draws without noise and with weight 1."""
    return Draws(np.tile((0.0, 1.0, 0.0, 1.0), (n, 1)))
