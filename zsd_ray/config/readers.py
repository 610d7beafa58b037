"""The table of readers, and the names of the data sets of the catalogue.

Adding a reader is a file in data/readers/ and a line here, or an entry point of `zsd_ray.readers`;
adding a data set is one YAML file in assets/datasets/, or anywhere else (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zsd_ray.config.reader import Reader
from zsd_ray.settings.added import added_objects, refuse_taken

_IN_PARQUET = ("path", "image_column", "label_column", "caption_column", "group_column")

_OWN: Mapping[str, Reader] = {
    "digits": Reader("zsd_ray.data.readers.digits:Digits", ("split",)),
    "folder": Reader("zsd_ray.data.readers.folder:FolderDataset"),
    "parquet": Reader("zsd_ray.data.captioned.captioned_parquet:open_parquet", _IN_PARQUET),
    "webdataset": Reader(
        "zsd_ray.data.readers.webdataset_reader:WebDataset", ("path", "label_column")
    ),
    "clevr-binding": Reader("zsd_ray.data.captioned.clevr:ClevrBinding", ("path", "task")),
    "two-objects": Reader("zsd_ray.data.captioned.two_objects:open_two_objects", ("split", "task")),
    "winoground": Reader("zsd_ray.data.captioned.winoground:Winoground"),
}

CATALOGUE = Path(__file__).parents[1] / "assets" / "datasets"
DATASETS = tuple(sorted(path.stem for path in CATALOGUE.glob("*.yaml")))

_GROUP = "zsd_ray.readers"
_ADDED = added_objects(_GROUP, Reader)
refuse_taken(_GROUP, {*_OWN, *DATASETS}, [*_ADDED])
READERS: Mapping[str, Reader] = {**_OWN, **_ADDED}
KEYS_OF_DATASETS = ("path", "layout", "split", "image_column", "label_column")


def keys_of(source: str) -> tuple[str, ...]:
    """Return the keys of the data section that the reader of a source takes, in order."""
    return READERS[source].keys if source in READERS else KEYS_OF_DATASETS
