"""From the data section of a configuration to the data set."""

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


def open_dataset(config: DataConfig) -> ImageDataset:
    """List the images that `config` names.

    Raises:
        UserError: one line on what is wrong with the path or the files.
    """
    dataset = open_named(config) if config.is_named else _read(config)
    if not dataset.records:
        at = "" if config.path is None else f" at data.path {Location(config.path).shown}"
        raise UserError(f"data.source {config.source} holds no images{at}; choose another place")
    if config.compatible is not None:
        dataset = TorchvisionDataset(dataset)
    if config.corruption is not None:
        dataset = CorruptedDataset(dataset, config.corruption)
    return dataset


def _read(config: DataConfig) -> ImageDataset:
    reader = READERS[config.source]
    module, _, name = reader.opens.partition(":")
    opened: ImageDataset = getattr(import_module(module), name)(
        *(getattr(config, key) for key in reader.keys)
    )
    return opened
