"""Class-conditional models: which of the model's own labels each class name means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError, some

_COUNTS = ("num_class_embeds", "num_embeds_ada_norm")


def label_numbers(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    """The label of each name, (N,) int64.

    A name is one of `model.labels`, or one of the synonyms of model_index.json's `id2label`
    (ImageNet: "tench, Tinca tinca"), or the label's number.

    Raises:
        UserError: the model has no such labels.
    """
    n_labels = _count(folder)
    known = _known(folder, config)
    if config.labels is not None and len(config.labels) > n_labels:
        raise UserError(f"model.labels has {len(config.labels)} names for {n_labels} labels")
    unknown = [name for name in names if name.strip().lower() not in known]
    unknown = [name for name in unknown if not (name.isdecimal() and int(name) < n_labels)]
    if unknown:
        raise UserError(
            f"this model has {n_labels} labels, and none for {some(unknown)}: name its labels (or "
            "their numbers, or set model.labels) in prompts.classes; prompts.templates is ['{}']"
        )
    numbers = [known.get(name.strip().lower(), -1) for name in names]
    numbers = [n if n >= 0 else int(name) for n, name in zip(numbers, names, strict=True)]
    return np.asarray(numbers, dtype=np.int64)


def _count(folder: Path) -> int:
    for part in ("transformer", "unet"):
        path = folder / part / "config.json"
        if path.is_file():
            network = json.loads(path.read_text(encoding="utf-8"))
            for key in _COUNTS:
                if network.get(key):
                    return int(network[key])
    raise UserError(
        f"model.path {folder} holds an unconditional model: it cannot tell classes apart"
    )


def _known(folder: Path, config: ModelConfig) -> dict[str, int]:
    if config.labels is not None:
        return {name.strip().lower(): number for number, name in enumerate(config.labels)}
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    return {
        synonym.strip().lower(): int(number)
        for number, synonyms in (index.get("id2label") or {}).items()
        for synonym in str(synonyms).split(",")
    }
