"""The numerical check: does the fast path decide like plain float32?

A few images are scored twice with the same draws: by the network in float32, every row by itself,
and as the run would (its dtype, compiled or not, shared parts of rows computed once).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.precision import N_CHECKED
from zsd_ray.config.run import ResolvedConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.models.rows import RowNetwork, plain_rows, row_network
from zsd_ray.records.errors import UserError
from zsd_ray.records.scores import ImageFailure, MicroBatch, WorkItem
from zsd_ray.scoring.make_scorer import Bind, denoiser_scorer

N_DRAWS, N_CLASSES = 20, 32


@dataclass(frozen=True)
class ModelCheck:
    """The difference between the two paths.

    relative_difference: the largest, over images, draws and classes, of the change of a paired
        difference (a class's score less the leader's, of one draw), over the largest such
        difference of its image. Rules decide by these differences, not by the scores.
    n_agree: images with the same class of least mean score.
    """

    relative_difference: float
    n_agree: int
    n_images: int

    @property
    def agreement(self) -> float:
        """The share of images with the same decision on both paths."""
        return self.n_agree / self.n_images


def check_numbers(
    config: ResolvedConfig,
    model: ResolvedModel,
    dataset: ImageDataset,
    prompts: list[str],
    images: list[int],
    on_image: Callable[[int], None] = lambda done: None,
) -> ModelCheck:
    """Score `images` on both paths: N_DRAWS draws for N_CLASSES classes, spread over all.

    Args:
        on_image: called with the number of finished passes, of 2 * len(images).

    Raises:
        UserError: the model is no denoiser, there is nothing to compare, or an image cannot be
            scored.
    """
    if config.method.of_classifier:
        raise UserError(f"model.family {config.model.family} has no fast path to check")
    if not config.method.weighted:
        raise UserError(
            "the fast path is checked by the diffusion classifier's errors, but came with "
            f"method.name {config.method.name}; leave out the method section"
        )
    n_templates = len(config.prompts.templates)
    n_classes = len(prompts) // n_templates
    if n_classes < 2:
        raise UserError("one class leaves nothing to compare; prompts.classes needs two")
    chosen = np.linspace(0, n_classes - 1, min(n_classes, N_CLASSES)).astype(int)
    prompts = [prompts[k * n_templates + i] for k in chosen for i in range(n_templates)]
    exact = config.model.model_copy(update={"dtype": "float32", "compile": False})
    plain = replace(model, config=exact)

    def plainly(
        denoiser: Denoiser, rows: Mapping[str, torch.Tensor], compile: bool | None
    ) -> RowNetwork:
        return plain_rows(denoiser, rows)

    binds: list[tuple[ResolvedModel, Bind]] = [(plain, plainly), (model, row_network)]
    passes: list[list[NDArray[np.float64]]] = []
    for each, bind in binds:
        before = len(images) * len(passes)
        scored = _scores(config, each, bind, dataset, prompts, images, before, on_image)
        passes.append(scored)
    return compare(*passes)


def demand(
    config: ResolvedConfig,
    model: ResolvedModel,
    dataset: ImageDataset,
    prompts: list[str],
    images: list[int],
) -> None:
    """Check `model.max_difference` for a run, if it is set.

    Raises:
        UserError: the fast path differs by more.
    """
    if config.model.max_difference is None:
        return
    refuse_difference(config, check_numbers(config, model, dataset, prompts, images[:N_CHECKED]))


def refuse_difference(config: ResolvedConfig, found: ModelCheck) -> None:
    """Raise UserError if the difference found exceeds `model.max_difference`."""
    limit = config.model.max_difference
    if limit is not None and not found.relative_difference <= limit:
        raise UserError(
            f"model.max_difference {limit:g}: in {config.model.dtype} paired differences change by "
            f"{found.relative_difference:.2g}, and {found.n_agree} of {found.n_images} images are "
            "decided as in float32; set model.dtype: float32, or allow more"
        )


def compare(exact: list[NDArray[np.float64]], fast: list[NDArray[np.float64]]) -> ModelCheck:
    """Compare scores (draws, classes) of each image."""
    largest, n_agree = 0.0, 0
    for one, other in zip(exact, fast, strict=True):
        leader = one.mean(axis=0).argmin()
        n_agree += int(other.mean(axis=0).argmin() == leader)
        paired, changed = (scores - scores[:, leader, None] for scores in (one, other))
        change, scale = np.abs(changed - paired).max(), np.abs(paired).max()
        largest = max(largest, float(change / scale if scale else np.inf if change else 0.0))
    return ModelCheck(largest, n_agree, len(exact))


def _scores(
    config: ResolvedConfig,
    model: ResolvedModel,
    bind: Bind,
    dataset: ImageDataset,
    prompts: list[str],
    images: list[int],
    before: int,
    on_image: Callable[[int], None],
) -> list[NDArray[np.float64]]:
    n_templates = len(config.prompts.templates)
    classes = tuple(range(len(prompts) // n_templates))
    # The normaliser shifts all classes equally.
    section = config.draw_method.model_copy(update={"normaliser": "none"})
    names = [""] * len(classes)
    templates = ["{}"] * n_templates  # only their number matters
    scorer = denoiser_scorer(
        cast(Denoiser, model.load()),
        section,
        config.size(len(classes)),
        dataset,
        model.encode_prompts(prompts),
        names,
        templates,
        config.seed,
        config.cluster.rows,
        model.config.compile,
        bind,
        store=model.store,
    )
    found = []
    for done, image in enumerate(images, 1):
        items = (WorkItem(image, 0, N_DRAWS, classes),)
        (answer,) = scorer.score(MicroBatch(done, items)).unpack(items)
        if isinstance(answer, ImageFailure):
            raise UserError(f"{dataset.records[image].source}: {answer.message}")
        found.append(answer.draws.scores(answer.errors))
        on_image(before + done)
    return found
