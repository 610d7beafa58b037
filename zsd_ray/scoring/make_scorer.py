"""A planned run's method, bound to its model and its classes: the scorer of a worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal, cast

import torch

from zsd_ray.config.method_section import Method as MethodSection
from zsd_ray.config.run import UNMEASURED, ResolvedConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.methods.diffusion_classifier import DiffusionClassifier
from zsd_ray.methods.method import Bound, BoundBaseline, method_class
from zsd_ray.models.denoiser import Classifier, Conditioning, Denoiser, PromptEncoder
from zsd_ray.models.registry import ResolvedModel
from zsd_ray.models.rows import RowNetwork, plain_rows, row_network, wrapper
from zsd_ray.records.cost import RunSize
from zsd_ray.scoring.batch_size import measured_rows
from zsd_ray.scoring.scorer import Scorer
from zsd_ray.storage.store import Store

Bind = Callable[[Denoiser, Mapping[str, torch.Tensor], bool | None], RowNetwork]
"""Makes a denoiser a network over rows, compiled (None: where there is CUDA) or not."""


def make_scorer(
    config: ResolvedConfig,
    size: RunSize,
    files: ResolvedModel,
    model: Denoiser | Classifier,
    dataset: ImageDataset,
    conditioning: Conditioning,
    names: Sequence[str],
) -> Scorer:
    """Return the scorer of a planned run's method.

    Args:
        files: of the model, on this machine; model: loaded from them.
    """
    section, rows = config.method, config.cluster.batch_size
    if section.of_classifier:
        classifier = cast(Classifier, model)
        bound = bind_baseline(classifier, conditioning, names, size, config.cluster.rows)
        return Scorer(bound, section, size, dataset)
    return denoiser_scorer(
        cast(Denoiser, model),
        section,
        size,
        dataset,
        conditioning,
        names,
        config.prompts.templates,
        config.seed,
        rows,
        config.model.compile,
        prompt_encoder=cache(files.load_prompt_encoder),
        store=files.store,
        gpu_share=min(1.0, config.cluster.gpus_per_worker or 1.0),
    )


def bind_baseline(
    classifier: Classifier,
    conditioning: Conditioning,
    names: Sequence[str],
    size: RunSize,
    rows: int,
) -> BoundBaseline:
    """Return a baseline with the rows of its classes.

    Args:
        conditioning: n_classes * n_templates rows in each array, class-major.
    """
    with torch.inference_mode():
        classes = classifier.classes(_on_device(conditioning, classifier.device), size.n_templates)
    return BoundBaseline(classifier, classes, names, rows)


def denoiser_scorer(
    denoiser: Denoiser,
    section: MethodSection,
    size: RunSize,
    dataset: ImageDataset,
    conditioning: Conditioning,
    names: Sequence[str],
    templates: Sequence[str],
    seed: int,
    rows: int | Literal["auto"],
    compile: bool | None,
    bind: Bind | None = None,
    prompt_encoder: Callable[[], PromptEncoder] | None = None,
    store: Store | None = None,
    gpu_share: float = 1.0,
) -> Scorer:
    """Return the scorer of a method over a denoiser.

    Args:
        conditioning: n_classes * n_templates rows in each array, class-major; one more, last, of
            the empty prompt, where the method uses it.
        rows: of every forward; the last one is padded, so that the network sees one shape and a
            row's numbers do not depend on the other rows. "auto": measured, where rows
            share their draws.
        bind: None: as the method wants it: the shared part of a draw's rows is computed once, or
            each row has its own x.
        gpu_share: this worker's share of its GPU, for measuring.
    """
    on_device = _on_device(conditioning, denoiser.device)
    shares = method_class(section).shares_draws
    chosen = bind or (row_network if shares else _each_row)
    measure = rows == "auto" and shares
    bound = Bound(
        denoiser=denoiser,
        conditioning=on_device,
        names=names,
        templates=templates,
        # Measured uncompiled: compiling takes minutes for each size.
        network=chosen(denoiser, on_device, False if measure else compile),
        rows=UNMEASURED if rows == "auto" else rows,
        seed=seed,
        prompt_encoder=prompt_encoder or _no_encoder,
        store=store or Store(),
    )
    if measure:
        method: DiffusionClassifier = method_class(section)(bound, section)
        found = measured_rows(method, denoiser, gpu_share)
        bound = replace(bound, rows=found, network=chosen(denoiser, on_device, compile))
    return Scorer(bound, section, size, dataset, lambda: chosen(denoiser, on_device, False))


def _no_encoder() -> PromptEncoder:
    raise AssertionError("no method of this scorer keeps what encodes prompts")


def _each_row(
    denoiser: Denoiser, rows: Mapping[str, torch.Tensor], compile: bool | None
) -> RowNetwork:
    """Bind a denoiser whose rows each have their own x, so nothing is shared."""
    return plain_rows(denoiser, rows, wrapper(denoiser, compile))


def _on_device(conditioning: Conditioning, device: torch.device) -> dict[str, torch.Tensor]:
    # A copy: an object store gives read-only memory, and torch needs its own.
    return {name: torch.from_numpy(rows.copy()).to(device) for name, rows in conditioning.items()}
