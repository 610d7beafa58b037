"""One process's part of a training: reads the images, builds the model, runs the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

import numpy as np
import torch

from zsd_ray.config.identity import hash_of
from zsd_ray.config.training import (
    CaptionedTraining,
    ClassifierTraining,
    TextToImageTraining,
    TrainConfig,
)
from zsd_ray.data.captioned.captions import DescribedDataset
from zsd_ray.data.dataset import ImageDataset, choose_subset
from zsd_ray.data.labels.label_names import check_text_order
from zsd_ray.data.labels.spelling import check_spelling
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.transforms import to_square
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.output import Output
from zsd_ray.settings.section import WHOLE
from zsd_ray.storage.store import Store
from zsd_ray.training.batches import Epochs, TrainingImages
from zsd_ray.training.loop import Loop
from zsd_ray.training.news import News
from zsd_ray.training.ranks import Ranks
from zsd_ray.training.task import Task
from zsd_ray.training.training_state import Checkpoint

_TASKS = {
    "text-to-image": "zsd_ray.training.text_to_image:TextToImageTask",
    "ddpm": "zsd_ray.training.ddpm_task:DdpmTask",
    "classifier": "zsd_ray.training.classifier:ClassifierTask",
    "contrastive": "zsd_ray.training.contrastive:ContrastiveTask",
}


def check(config: TrainConfig, store: Store) -> str:
    """Check everything that can be checked before anything starts or is written.

    Returns:
        The training's identity.

    Raises:
        UserError: the first problem, in one line.
    """
    dataset = open_dataset(config.data, store)
    rows = choose_subset(dataset.records, config.data.limit)
    _labels(config, dataset, rows)
    if isinstance(config, ClassifierTraining):
        from zsd_ray.models.untrained import new_classifier

        new_classifier.check(config)
    if not isinstance(config, TextToImageTraining):
        epochs = Epochs(config.seed, len(rows), config.optimiser.batch_size)
        if len(rows) // epochs.steps < config.cluster.workers:
            raise UserError(
                f"{len(rows)} images in {epochs.steps} steps an epoch leave none for some of "
                f"{config.cluster.workers} workers; lower cluster.workers"
            )
    found = identity(config, dataset, rows)
    output = Output(config.output.path, store)
    output.prepare()
    Checkpoint(output, found).read()
    return found


def train_here(
    config: TrainConfig,
    on_news: Callable[[News], None],
    ranks: Ranks = Ranks(),  # noqa: B008 - it is frozen
    device: torch.device | None = None,
    store: Store | None = None,
) -> None:
    """Train as one of `ranks`, or alone, in this process; resumes from the last checkpoint.

    Args:
        device: None for the GPU where there is one.
        store: for all files; None: as the storage section says.

    Raises:
        UserError: an image cannot be read, or the architecture does not take its arguments.
        RunBrokenError: the loss is not finite.
        StoreError: the store of the data or of the output does not answer.
    """
    store = store or Store(config.storage)
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = open_dataset(config.data, store)
    rows = choose_subset(dataset.records, config.data.limit)
    task = make_task(config, read_images(config, dataset, rows), device)
    checkpoint = Checkpoint(Output(config.output.path, store), identity(config, dataset, rows))
    Loop(config, task, checkpoint, ranks, device, on_news).run()


def make_task(config: TrainConfig, images: TrainingImages, device: torch.device) -> Task:
    """Return the task of the model that `config` describes, with random weights, on the device."""
    module, _, name = _TASKS[config.kind].partition(":")
    return cast(Task, getattr(import_module(module), name)(config, images, device))


def read_images(config: TrainConfig, dataset: ImageDataset, rows: Sequence[int]) -> TrainingImages:
    """Read these images of a data set, with their labels if the model is conditioned on them."""
    labels = _labels(config, dataset, rows)
    pixels = np.empty((len(rows), config.image_size, config.image_size, 3), dtype=np.uint8)
    for place, row in enumerate(rows):
        try:
            pixels[place] = to_square(dataset.read(row), config.image_size)
        except ImageError as error:
            raise UserError(
                f"{redact(dataset.records[row].source)} cannot be learned from ({error}); remove it"
            ) from error
    return TrainingImages(
        torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
        None if labels is None else torch.tensor(labels),
        config.augment,
        captions(config, dataset, rows),
    )


def captions(
    config: TrainConfig, dataset: ImageDataset, rows: Sequence[int]
) -> list[Sequence[str]] | None:
    """Return each image's true captions if the model is conditioned on them; raises UserError."""
    if not isinstance(config, CaptionedTraining) or config.captions.names is not None:
        return None
    if not isinstance(dataset, DescribedDataset):
        raise UserError(
            f"data.source {config.data.source} brings no captions of its own; set captions.names "
            "and captions.templates"
        )
    return [dataset.true_captions(row) for row in rows]


def identity(config: TrainConfig, dataset: ImageDataset, rows: Sequence[int]) -> str:
    """Return a hash of all that changes a weight: images by their ids, labels and captions."""
    unsaid = {"output", "tracking", "cluster", "storage", "samples"}
    objective = getattr(config, "objective", None)
    if objective != "flow":
        unsaid.add("flow_times")
    if objective == "epsilon":
        unsaid.add("objective")  # trainings of earlier versions can be resumed
    tree = config.model_dump(mode="json", exclude=unsaid, context={WHOLE: True})
    records = (dataset.records[row] for row in rows)
    tree["images"] = [[record.image_id, record.label] for record in records]
    own = captions(config, dataset, rows)
    if own is not None:
        tree["captions"]["of_images"] = own
    return hash_of(tree)


def _labels(config: TrainConfig, dataset: ImageDataset, rows: Sequence[int]) -> list[int] | None:
    """Return each image's label; None for a model that is not conditioned on labels."""
    if isinstance(config, CaptionedTraining):
        if config.captions.names is None:
            return None
        key, names = "captions.names", [own[0] for own in config.captions.names]
    elif config.classes is not None:
        key, names = "classes", config.classes
    else:
        return None
    labels = [dataset.records[row].label for row in rows]
    odd = next((label for label in labels if label is None or not 0 <= label < len(names)), 0)
    if odd != 0:
        said = "no label" if odd is None else f"label {odd}"
        raise UserError(
            f"{key} has {len(names)} classes, and some image has {said}; give one entry for each "
            "class of the data, in label order"
        )
    if dataset.label_names is not None and len(dataset.label_names) == len(names):
        check_spelling(names, dataset.label_names, key)
        check_text_order(dataset.label_names, names, key)
    return [label for label in labels if label is not None]
