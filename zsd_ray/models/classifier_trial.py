"""A trial of a classifier when it is loaded, so that an error is reported once, and not for every
image of a run."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from zsd_ray.models.denoiser import Classifier
from zsd_ray.records.errors import UserError

_SHAPES = ((48, 64, 3), (64, 48, 3))


def try_classifier(model: Classifier, where: str) -> None:
    """Score two pictures for two classes.

    Args:
        where: the model's name in messages.

    Raises:
        UserError: the scores are not two rows of two finite numbers.
    """
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in _SHAPES]
    classes = model.trial_classes()
    inputs = [model.preprocess(picture) for picture in pictures]
    if inputs[0].shape != inputs[1].shape:
        raise UserError(
            f"{where} makes inputs of {_by(inputs[0])} and {_by(inputs[1])} of two pictures, and "
            "one shape is expected: its configuration is damaged; take another copy of the model"
        )
    scores = model.scores(torch.stack(inputs), classes)
    if tuple(scores.shape) != (2, len(classes)):
        raise UserError(
            f"{where} gives scores of {_by(scores)} for 2 pictures and {len(classes)} classes: its "
            "configuration is damaged, or of other weights; take another copy of the model"
        )
    if not scores.isfinite().all():
        raise UserError(
            f"{where} gives scores that are not finite ({scores.flatten().tolist()[:2]}): its "
            "configuration or its weights are damaged, or model.dtype is too narrow for it; take "
            "another copy of the model, or set model.dtype: float32"
        )


def _by(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
