"""From the data section of a configuration to the data set."""

from __future__ import annotations

from importlib import import_module

from zsd_ray.config.data import DataConfig, keys_of
from zsd_ray.data.catalogue import open_named
from zsd_ray.data.dataset import ImageDataset
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.corruption import CorruptedDataset
from zsd_ray.data.pictures.torchvision_pictures import TorchvisionDataset
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

# Source: its reader, called with the keys of the data section that the source takes, in order; its
# path as a Location.
_READERS = {
    "digits": "zsd_ray.data.readers.digits:Digits",
    "folder": "zsd_ray.data.readers.folder:FolderDataset",
    "parquet": "zsd_ray.data.captioned.captioned_parquet:open_parquet",
    "webdataset": "zsd_ray.data.readers.webdataset_reader:WebDataset",
    "clevr-binding": "zsd_ray.data.captioned.clevr:ClevrBinding",
    "two-objects": "zsd_ray.data.captioned.two_objects:open_two_objects",
    "winoground": "zsd_ray.data.captioned.winoground:Winoground",
}


def open_dataset(config: DataConfig, store: Store | None = None) -> ImageDataset:
    """List the images that `config` names.

    Args:
        store: how they are reached; None: as a plain `Store()` says.

    Raises:
        UserError: one line on what is wrong with the path or the files.
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
    module, _, name = _READERS[config.source].partition(":")
    reader = getattr(import_module(module), name)
    values = (location if key == "path" else getattr(config, key) for key in keys_of(config.source))
    dataset: ImageDataset = reader(*values)
    return dataset
