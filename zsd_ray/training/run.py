"""One training run: from a configuration to a pipeline folder that every method loads."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from zsd_ray.data.base import choose_subset
from zsd_ray.data.open import open_dataset
from zsd_ray.data.transforms import to_model_range, to_square
from zsd_ray.models import tiny_stable_diffusion
from zsd_ray.results.tracking import TrackedRun, Tracker, tracking_uri
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.identity import hash_of, resolved
from zsd_ray.spec.records import ImageRecord
from zsd_ray.spec.train_config import TrainConfig
from zsd_ray.training.batches import Captions, TrainingImages
from zsd_ray.training.checkpoint import Checkpoint
from zsd_ray.training.text_to_image import OnStep, Trainer

_LOG_EVERY = 20


@dataclass(frozen=True)
class TrainResult:
    """Where the model lies, how long this session took, and where MLflow has its curves."""

    model: str
    seconds: float
    tracked: TrackedRun | None


def train(
    config: TrainConfig, on_step: OnStep, on_warning: Callable[[str], None] = print
) -> TrainResult:
    """Train the model that `config` describes, or go on with an interrupted training of it.

    Raises:
        UserError: bad input; nothing was started.
    """
    output = Path(config.output.path)
    if "://" in config.output.path:
        raise UserError(f"output.path {config.output.path}: training writes to local folders only")
    dataset = open_dataset(config.data)
    chosen = choose_subset(dataset.records, config.data.limit)
    labels = _labels([dataset.records[i] for i in chosen], len(config.captions.names))
    checkpoint = Checkpoint(output / "checkpoint.pt", _identity(config))
    checkpoint.read()  # refused now, not after MLflow has a run
    texts, of_class = Captions.texts(config.captions)
    components = tiny_stable_diffusion.build(config.network, texts, config.seed)
    tokens = components.tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=config.network.prompt_length,
        return_tensors="pt",
    ).input_ids
    size = config.network.image_size
    pixels = np.stack([to_square(dataset.read(i), size) for i in chosen])
    tracker = _tracker(config, on_warning)
    done = 0

    def step(stage: str, n_done: int, steps: int, loss: float) -> None:
        nonlocal done
        done += 1
        if tracker is not None and (n_done % _LOG_EVERY == 0 or n_done == steps):
            tracker.log({f"{stage}_loss": loss}, step=n_done)
        on_step(stage, n_done, steps, loss)

    start = time.monotonic()
    status: Literal["FINISHED", "FAILED", "KILLED"] = "FAILED"
    try:
        Trainer(
            config=config,
            components=components,
            images=TrainingImages(
                torch.from_numpy(to_model_range(pixels)), torch.tensor(labels), config.augment
            ),
            captions=Captions(tokens, tuple(map(tuple, of_class)), config.captions.dropout),
            checkpoint=checkpoint,
            on_step=step,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        ).run()
        components.save(output / "model", torch.float16)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        seconds = time.monotonic() - start
        tracked = None
        if tracker is not None:
            tracked = tracker.close({"seconds": seconds, "steps": done}, {}, status)
    return TrainResult(str(output / "model"), seconds, tracked)


def _labels(records: Sequence[ImageRecord], n_classes: int) -> list[int]:
    labels = [record.label for record in records]
    if any(label is None or not 0 <= label < n_classes for label in labels):
        raise UserError(
            f"captions.names has {n_classes} classes, and some image has no label among them; give "
            "one list of names for each class of the data, in label order"
        )
    return [label for label in labels if label is not None]


def _identity(config: TrainConfig) -> str:
    tree = resolved(config)
    del tree["output"], tree["tracking"]
    return hash_of(tree)


def _tracker(config: TrainConfig, on_warning: Callable[[str], None]) -> Tracker | None:
    uri = tracking_uri(config.tracking.mlflow, config.output.path)
    if uri is None:
        return None
    params = {name: str(value) for name, value in resolved(config).items()}
    name = Path(config.output.path).name
    return Tracker(uri, config.tracking.experiment, name, params, {}, on_warning)
