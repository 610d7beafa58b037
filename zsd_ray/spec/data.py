"""The data section: which images are classified, and how they lie."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from zsd_ray.spec.section import Count, Section

Reader = Literal[
    "digits", "folder", "parquet", "webdataset", "clevr-binding", "two-objects", "winoground"
]
"""Sources that are ways of reading."""

NamedSet = Literal[
    "cifar10",
    "cifar100",
    "stl10",
    "mnist",
    "svhn",
    "dtd",
    "pcam",
    "eurosat",
    "stanford-cars",
    "imagenet",
    "imagenet-v2",
    "imagenet-a",
    "imagenet-r",
    "imagenet-sketch",
    "objectnet",
    "caltech101",
    "oxford-pets",
    "flowers102",
    "food101",
    "fgvc-aircraft",
    "cue-conflict",
]
"""Sources that are data sets of the catalogue (`zsd-ray datasets`)."""

WITHOUT_PATH = ("digits", "two-objects")
"""Sources that need no files."""

WITH_TASKS = ("clevr-binding", "two-objects")
"""Sources that can ask several questions."""


class CorruptionConfig(Section):
    """What is done to every picture before the model sees it; 5 is the strongest."""

    kind: Literal["gaussian-noise", "gaussian-blur", "jpeg", "brightness", "contrast"]
    strength: Annotated[int, Field(ge=1, le=5)]


class DataConfig(Section):
    """Which images are classified. `limit` takes a deterministic, nested subset of them.

    `layout` says how the files of a data set of the catalogue lie; null: as they are found to.
    With `caption_column` each image has captions of its own to choose among, and `label_column`
    the number of the right one. `task` is the question of a source that has several.
    """

    source: Reader | NamedSet = "digits"
    path: str | None = None
    layout: str | None = None
    split: Literal["train", "test"] = "test"
    image_column: str = "image"
    label_column: str | None = "label"
    caption_column: str | None = None
    task: str | None = None
    corruption: CorruptionConfig | None = None
    limit: Count | None = None

    @property
    def is_named(self) -> bool:
        """Whether the source is a data set of the catalogue."""
        return self.source in get_args(NamedSet)

    @model_validator(mode="after")
    def _path_fits_source(self) -> Self:
        if self.source in WITHOUT_PATH and self.path is not None:
            raise ValueError(f"source {self.source} needs no files and takes no path; remove path")
        if self.source not in WITHOUT_PATH and not self.path:
            raise ValueError(f"source {self.source} needs a path; set data.path")
        if self.layout is not None and not self.is_named:
            raise ValueError(f"source {self.source} has one layout; remove layout")
        if self.task is not None and self.source not in WITH_TASKS:
            raise ValueError(f"source {self.source} asks one question; remove task")
        if self.caption_column is not None and self.source != "parquet":
            raise ValueError(f"source {self.source} takes no caption_column; remove it")
        return self
