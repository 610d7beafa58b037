"""Opening the data set of the data section of a configuration."""

from __future__ import annotations

from importlib import import_module

from zsd_ray.config.data import DataConfig
from zsd_ray.config.readers import READERS
from zsd_ray.data.catalogue import open_named
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.corruption import CorruptedDataset
from zsd_ray.data.pictures.torchvision_pictures import TorchvisionDataset
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store


def open_dataset(config: DataConfig, store: Store | None = None) -> ImageDataset:
    """List the images that `config` names.

    Args:
        store: how they are reached; None: by a plain `Store()`.

    Raises:
        UserError: one line on the error in the path or the files.
    """
    location = None if config.path is None else Location(config.path, store)
    dataset = open_named(config, location) if config.is_named else _read(config, location)
    if not dataset.records:
        at = "" if location is None else f" at data.path {location.shown}"
        raise UserError(f"data.source {config.source} holds no images{at}; choose another place")
    if config.compatible is not None:
        dataset = TorchvisionDataset(dataset)
    if config.corruption is not None:
        dataset = CorruptedDataset(dataset, config.corruption)
    return dataset


def _read(config: DataConfig, location: Location | None) -> ImageDataset:
    reader = READERS[config.source]
    module, _, name = reader.opens.partition(":")
    values = (location if key == "path" else getattr(config, key) for key in reader.keys)
    opened: ImageDataset = getattr(import_module(module), name)(*values)
    return opened
