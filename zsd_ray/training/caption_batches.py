"""Captions of images: a random template with a random name of its class, or its own captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from zsd_ray.config.training import TrueCaptionConfig
from zsd_ray.training.batches import Generators, TrainingImages, uniform


@dataclass(frozen=True)
class Captions:
    """Every caption of every image.

    texts: all distinct captions, the empty one first.
    of_image: the numbers of each image's true captions.
    shown: numbers of the captions of the sample grid.
    dropout: the share of images that are conditioned on the empty caption.
    """

    texts: Sequence[str]
    of_image: Sequence[Sequence[int]]
    shown: Sequence[int]
    dropout: float

    @classmethod
    def of(
        cls, config: TrueCaptionConfig, images: TrainingImages, n_shown: int, dropout: float = 0.0
    ) -> Captions:
        """Return the captions of the classes, or of the images themselves."""
        if config.names is None or config.templates is None:
            assert images.captions is not None
            texts, of_image = _number(images.captions)
            firsts = [numbers[0] for numbers in of_image[:n_shown]]
        else:
            filled = [
                [template.format(name) for name in names for template in config.templates]
                for names in config.names
            ]
            texts, of_class = _number(filled)
            assert images.labels_N is not None
            of_image = [of_class[label] for label in images.labels_N.tolist()]
            firsts = [numbers[0] for numbers in of_class]
        return cls(texts, of_image, firsts, dropout)

    def sample(self, rows_B: torch.Tensor, rngs: Generators) -> torch.Tensor:
        """Return one caption's number for each image; the empty caption at the dropout's rate."""
        choice = uniform(rngs)
        dropped = uniform(rngs) < self.dropout
        numbers = [
            self.of_image[row][int(c * len(self.of_image[row]))]
            for row, c in zip(rows_B.tolist(), choice.tolist(), strict=True)
        ]
        return torch.where(dropped, 0, torch.tensor(numbers))


def _number(captions: Sequence[Sequence[str]]) -> tuple[list[str], list[tuple[int, ...]]]:
    """Return the distinct texts after the empty one, and each row as numbers of them."""
    number_of = {"": 0}
    rows = [
        tuple(number_of.setdefault(text, len(number_of)) for text in texts) for texts in captions
    ]
    return list(number_of), rows
