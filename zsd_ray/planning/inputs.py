"""Inputs that several plans share: data sets and models."""

from __future__ import annotations

from collections.abc import Iterable

from zsd_ray.config.data import DataConfig
from zsd_ray.config.run import ModelConfig
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.models.registry import ResolvedModel, resolve_model
from zsd_ray.storage.store import Store


class Inputs:
    """Lists a data set once, and finds and hashes a model once, for as long as it lives.

    For a sweep, whose cells are many pairs of few models and data sets: listing ImageNet or
    hashing a model in an object store takes minutes.
    """

    def __init__(self, store: Store, models: Iterable[ResolvedModel] = ()) -> None:
        self._store = store
        self._datasets: dict[str, ImageDataset] = {}
        self._models = {_key(model.config): model for model in models}

    def dataset(self, config: DataConfig) -> ImageDataset:
        """Open a data set, like `open_dataset`, once; raises UserError."""
        key = config.model_dump_json(exclude={"limit"})
        if key not in self._datasets:
            self._datasets[key] = open_dataset(config, self._store)
        return self._datasets[key]

    def model(self, config: ModelConfig) -> ResolvedModel:
        """Resolve a model, like `resolve_model`, once; raises UserError."""
        key = _key(config)
        if key not in self._models:
            self._models[key] = resolve_model(config, self._store)
        return self._models[key]


def _key(config: ModelConfig) -> str:
    return config.model_dump_json()
