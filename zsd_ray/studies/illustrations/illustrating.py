"""Illustrations of a few images of a run by its model: chosen from its rows, and computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, zip_longest
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from zsd_ray.config.algorithms import CrossAttentionMethod
from zsd_ray.config.method_section import Capability
from zsd_ray.config.run import RunConfig
from zsd_ray.data.dataset import ImageDataset, spread
from zsd_ray.data.labels.classes import fill_templates
from zsd_ray.data.open import open_dataset
from zsd_ray.methods import pictures
from zsd_ray.methods.cross_attention import class_maps
from zsd_ray.methods.method import Bound, Sample
from zsd_ray.models.denoiser import Conditioning, Denoiser, PromptEncoder
from zsd_ray.models.latents import to_picture
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.models.rows import plain_rows
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.scoring.samples import Samples, encoder
from zsd_ray.storage.store import Store
from zsd_ray.studies.illustrations.illustration_file import (
    Illustrations,
    ImagePictures,
    PairPictures,
    Settings,
)

COLUMNS = ["image_id", "source", "label", "prediction", "mean_scores", "draws_per_class"]
"""Of the decisions, what `choose` reads."""

N_CLASSES = 6
N_BETWEEN = 7
SETTINGS = Settings(
    level=0.98,
    steps=50,
    levels=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    level_steps=10,
    noises=8,
    orders=CrossAttentionMethod.draws,
)

_ROWS = 16  # of a forward: every GPU that held a run's batches holds these, each with its own x
_ATTENTION: tuple[Capability, ...] = ("prompts", "attention", "tokens")
_PARTS = 3  # of an image, at which progress is reported

OnPart = Callable[[int, int], None]
"""Called with how many of all parts are done."""


@dataclass(frozen=True)
class Chosen:
    """An image to look at. classes: its own, the prediction, and the next of the run's ranking."""

    image_id: str
    source: str
    label: int | None
    prediction: int
    classes: tuple[int, ...]


def choose(decisions: pa.Table, n_images: int) -> list[Chosen]:
    """At most n_images of those with a prediction: one that is right, one wrong, one without a
    label, and so on in turn, each kind in an order that depends on image ids alone.

    Args:
        decisions: rows of OUTPUT/decisions with COLUMNS, in any order.
    """
    numbers = np.flatnonzero(pc.is_valid(decisions["prediction"]).to_numpy()).tolist()
    ids, labels = decisions["image_id"].to_pylist(), decisions["label"].to_pylist()
    predictions = decisions["prediction"].to_pylist()
    kinds: dict[str, list[int]] = {"right": [], "wrong": [], "unlabelled": []}
    for number in sorted(numbers, key=lambda number: spread(ids[number])):
        right = labels[number] == predictions[number]
        kinds["unlabelled" if labels[number] is None else "right" if right else "wrong"].append(
            number
        )
    in_turn = [n for turn in zip_longest(*kinds.values()) for n in turn if n is not None]
    rows = decisions.take(pa.array(in_turn[:n_images], pa.int64()))
    return [_chosen(row) for row in rows.to_pylist()]


def _chosen(row: dict[str, Any]) -> Chosen:
    label, prediction = row["label"], row["prediction"]
    # As the run ranks them: those that lasted longest first, then by their mean score.
    means, draws = np.array(row["mean_scores"]), np.array(row["draws_per_class"])
    ranking = np.lexsort((means, -draws)).tolist()
    own = [] if label is None or label < 0 else [label]
    classes = tuple(dict.fromkeys([*own, prediction, *ranking]))[:N_CLASSES]
    return Chosen(row["image_id"], row["source"], label, prediction, classes)


def illustrate(
    config: RunConfig,
    model: ResolvedModel,
    names: Sequence[str],
    chosen: Sequence[Chosen],
    settings: Settings,
    run: str,
    store: Store,
    on_part: OnPart = lambda done, total: None,
) -> Illustrations:
    """Load the model of a run, and compute illustrations of some images.

    Args:
        config, model, names: of the run, and of its classes.
        run: what to call it.
        store: how the model and the images are reached.

    Raises:
        UserError: the model is not a denoiser, or an image is missing or cannot be read.
    """
    if config.method.of_classifier:
        raise UserError(
            f"model.family {config.model.family} scores an image at once and denoises nothing, so "
            "there is nothing to show; illustrate a run of a diffusion model"
        )
    studio = _Studio(config, model, names, chosen, settings, store)
    total = _PARTS * len(chosen) + max(0, len(chosen) - 1)
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_part(done, total)

    with torch.no_grad():
        images = [studio.image(each, count) for each in chosen]
        pairs = []
        for first, last in pairwise(range(len(chosen))):
            if studio.can("decode"):
                pairs.append(studio.pair(first, last))
            count()
    return Illustrations(
        run=run,
        model=redact(config.model.path),
        seed=config.seed,
        settings=settings,
        images=images,
        pairs=pairs,
        left_out=list(studio.left_out),
    )


class _Studio:
    """A model, the prompts of all classes that are shown, and the images.

    left_out: a line for each part that cannot be shown, as keys.
    """

    def __init__(
        self,
        config: RunConfig,
        model: ResolvedModel,
        names: Sequence[str],
        chosen: Sequence[Chosen],
        settings: Settings,
        store: Store,
    ) -> None:
        self._store = store
        self._config = config
        self._model = model
        self._names = names
        self._chosen = chosen
        self._settings = settings
        self._abilities = model.family.abilities
        self._dataset = open_dataset(config.data, store)
        self._numbers = _numbers(self._dataset, chosen)
        self._denoiser = cast(Denoiser, model.load())
        self._samples = Samples(encoder(self._denoiser, with_pixels=True))
        self._template = config.prompts.templates[0]
        self._shown = sorted({k for each in chosen for k in each.classes})
        prompts = fill_templates([names[k] for k in self._shown], [self._template])
        self._conditioning: Conditioning = model.encode_prompts(prompts)
        self.left_out = dict.fromkeys(self._missing())

    def can(self, *abilities: Capability) -> bool:
        return set(abilities) <= set(self._abilities)

    def _missing(self) -> Iterator[str]:
        family = self._config.model.family
        if not self.can("decode"):
            yield (
                "encoding under one class and decoding under another, and the arc between two "
                f"images: models of family {family} lack the ability decode"
            )
        if not self.can(*_ATTENTION):
            missing = ", ".join(each for each in _ATTENTION if each not in self._abilities)
            yield f"attention: models of family {family} lack the ability {missing}"
        if len(self._chosen) < 2:
            yield "the arc between two images: there is one image"

    def image(self, chosen: Chosen, count: Callable[[], None]) -> ImagePictures:
        """Return all parts of one image; `count` is called after each of them."""
        settings, bound, sample = self._settings, self._bound(chosen.classes), self._sample(chosen)
        found = ImagePictures(
            image_id=chosen.image_id,
            source=redact(chosen.source),
            label=chosen.label,
            prediction=chosen.prediction,
            classes=chosen.classes,
            names=tuple(bound.names),
            picture=to_picture(sample.pixels[None])[0],
            distances=pictures.distances(
                bound, sample, settings.levels, settings.level_steps, settings.noises
            ),
        )
        count()
        if self.can("decode"):
            x = pictures.exchange(bound, sample.x_0, settings.level, settings.steps)
            shown = pictures.decoded(bound, x.flatten(0, 1))
            differences = (x - sample.x_0).square().mean(dim=(2, 3, 4))
            found = replace(
                found,
                exchanged=shown.reshape(*x.shape[:2], *shown.shape[1:]),
                differences=differences.cpu().numpy(),
            )
        count()
        if self.can(*_ATTENTION):
            try:
                found = replace(found, attention=self._attention(bound, sample))
            except UserError as error:
                self.left_out[f"attention: {error}"] = None
        count()
        return found

    def pair(self, first: int, last: int) -> PairPictures:
        """The arc between two of the images, under the class of each."""
        ends = [self._chosen[first], self._chosen[last]]
        classes = tuple(dict.fromkeys(each.classes[0] for each in ends))
        bound, settings = self._bound(classes), self._settings
        x_0 = torch.stack([self._sample(each).x_0 for each in ends])
        x = pictures.between(bound, x_0, settings.level, settings.steps, N_BETWEEN)
        shown = pictures.decoded(bound, x.flatten(0, 1))
        shown = shown.reshape(*x.shape[:2], *shown.shape[1:])
        return PairPictures(first, last, classes, tuple(bound.names), shown)

    def _attention(self, bound: Bound, sample: Sample) -> NDArray[np.float32]:
        """(K, h, w): the mean over orders of the classes in a prompt."""
        method = self._config.method
        config = method if isinstance(method, CrossAttentionMethod) else CrossAttentionMethod()
        maps = [
            class_maps(bound, config, sample.x_0, sample.image_id, draw)
            for draw in range(self._settings.orders)
        ]
        return torch.stack(maps).mean(dim=0).cpu().numpy()

    def _bound(self, classes: Sequence[int]) -> Bound:
        """The model among these classes alone."""
        rows = [self._shown.index(k) for k in classes]
        device = self._denoiser.device
        conditioning = {
            name: torch.from_numpy(array[rows]).to(device)
            for name, array in self._conditioning.items()
        }
        return Bound(
            denoiser=self._denoiser,
            conditioning=conditioning,
            names=[self._names[k] for k in classes],
            templates=[self._template],
            # A few thousand evaluations do not pay for compiling.
            network=plain_rows(self._denoiser, conditioning),
            rows=_ROWS,
            seed=self._config.seed,
            prompt_encoder=lambda: self._prompt_encoder,
            store=self._store,
        )

    @cached_property
    def _prompt_encoder(self) -> PromptEncoder:
        return self._model.load_prompt_encoder()

    def _sample(self, chosen: Chosen) -> Sample:
        try:
            number = self._numbers[chosen.image_id]
            sample = self._samples.get(number, chosen.image_id, self._dataset.read)
        except ImageError as error:
            raise UserError(f"image {chosen.image_id} cannot be read any more: {error}") from error
        return replace(sample, pixels=sample.pixels.to(self._denoiser.device))


def _numbers(dataset: ImageDataset, chosen: Sequence[Chosen]) -> dict[str, int]:
    ids = [each.image_id for each in chosen]
    numbers = dict(zip(ids, dataset.records.numbers_of(ids).tolist(), strict=True))
    gone = [image_id for image_id, number in numbers.items() if number < 0]
    if gone:
        raise UserError(f"the run's data no longer hold image {gone[0]}")
    return numbers
