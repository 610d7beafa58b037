"""Scores a micro-batch on a classifier, which gives an image's scores for all classes at once.

One evaluation is one (image, class) score; a class has draw 0 alone. Where the packer cut an image
between classes, the forward of its first part serves the others.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.models.denoiser import Classifier, Conditioning
from zsd_ray.records.scores import ImageFailure, ItemScores, WorkItem
from zsd_ray.scoring.micro_batch_scorer import MicroBatchScorer

_CACHE_BYTES = 16 << 20

_DRAW = (0.0, 1.0, 0.0, 1.0)
"""t, alpha, sigma and weight: no noise, and the score as it is."""


_Part = tuple[int, WorkItem]
"""A position in the micro-batch, and the item there."""


class ClassifierScorer(MicroBatchScorer[_Part]):
    """A classifier bound to a data set and its classes; keeps the scores of the last images.

    Args:
        conditioning: n_classes * n_templates rows in each array, class-major.
        n_images: of every forward; the last one is padded, so that the network sees one shape and
            an image's numbers do not depend on what is scored beside it. Halved where memory runs
            out.
    """

    def __init__(
        self,
        classifier: Classifier,
        dataset: ImageDataset,
        conditioning: Conditioning,
        n_templates: int,
        n_images: int,
    ) -> None:
        super().__init__(dataset)
        self._classifier = classifier
        on_device = {
            name: torch.from_numpy(rows.copy()).to(classifier.device)
            for name, rows in conditioning.items()
        }
        with torch.inference_mode():
            self._classes = classifier.classes(on_device, n_templates)
        self._n_images = n_images
        self._inputs: dict[int, torch.Tensor] = {}  # of the images that a forward awaits
        n_classes = len(self._classes)
        self.batch_size = n_images * n_classes  # micro-batches then hold whole images
        self._cache: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._cache_size = max(1, _CACHE_BYTES // (4 * n_classes))

    def _remembers(self, image: int) -> bool:
        return image in self._cache

    def _prepare(self, position: int, item: WorkItem) -> _Part:
        image = item.image
        if image not in self._cache and image not in self._inputs:
            picture = to_rgb(self._picture(image))
            self._inputs[image] = self._classifier.preprocess(picture)
        return position, item

    def _score_parts(self, parts: list[_Part]) -> tuple[dict[int, ItemScores | ImageFailure], int]:
        images = {item.image for _, item in parts}
        known = {image: self._cache[image] for image in images if image in self._cache}
        new = list(self._inputs)
        n_images = 0
        while new:
            some, rest = new[: self._n_images], new[self._n_images :]
            padding = some[-1:] * (self._n_images - len(some))
            inputs = torch.stack([self._inputs[image] for image in some + padding])
            try:
                scores = self._classifier.scores(inputs.to(self._classifier.device), self._classes)
            except torch.OutOfMemoryError:
                if self._n_images == 1:
                    raise
                self._halve()
                continue
            known |= dict(zip(some, scores[: len(some)].cpu().numpy(), strict=True))
            n_images += self._n_images
            new = rest
        self._inputs.clear()
        self._remember(known)
        answers = {position: _answer(item, known[item.image]) for position, item in parts}
        return answers, n_images * len(self._classes)

    def _halve(self) -> None:
        self._n_images //= 2
        self.batch_size = self._n_images * len(self._classes)
        warnings.warn(
            f"out of memory: a worker goes on with batches of {self._n_images} images", stacklevel=3
        )
        torch.cuda.empty_cache()

    def _remember(self, known: dict[int, NDArray[np.float32]]) -> None:
        for image, scores in known.items():
            self._cache[image] = scores
            self._cache.move_to_end(image)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _answer(item: WorkItem, scores_K: NDArray[np.float32]) -> ItemScores | ImageFailure:
    wanted = scores_K[list(item.classes)]
    if not np.isfinite(wanted).all():
        return ImageFailure("the model's scores are not finite; try model.dtype: float32")
    return ItemScores(np.tile(wanted, (item.n_draws, 1)), np.tile(_DRAW, (item.n_draws, 1)))
