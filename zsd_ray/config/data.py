"""The data section: the images to classify, and the layout of their files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)

from zsd_ray.config.readers import DATASETS, KEYS_OF_DATASETS, READERS, keys_of
from zsd_ray.records.redaction import redact
from zsd_ray.settings.section import SAVED, WHOLE, Count, Place, Section

_OF_ALL = ("source", "compatible", "corruption", "limit")
_NAMED = "data sets by name"


def _or_a_file(source: Any, known: ValidatorFunctionWrapHandler) -> Any:
    """Accept a file that describes a data set as a source, beside the catalogue's names."""
    return source if isinstance(source, str) and source.endswith(".yaml") else known(source)


if TYPE_CHECKING:
    Source = str
else:
    Source = Annotated[Literal[(*READERS, *DATASETS)], WrapValidator(_or_a_file)]


class CorruptionConfig(Section):
    """The corruption of every picture before the model sees it; strength 5 is the strongest."""

    kind: Literal["gaussian-noise", "gaussian-blur", "jpeg", "brightness", "contrast"]
    strength: Annotated[int, Field(ge=1, le=5)]


class DataConfig(Section):
    """The images to classify. `limit` takes a deterministic, nested subset of them.

    `layout` names the layout of the files of a data set of the catalogue; null: it is detected.
    With `caption_column` each image has captions of its own to choose among, and `label_column`
    the number of the right one. `group_column` names shares of the images, the worst of which is
    reported. `task` is the question of a source that has several. `compatible` names the program
    whose reading of pictures is used; null: our own. A key that does not apply to the source is
    refused, except in a configuration saved by an earlier version.
    """

    chooses: ClassVar[str | None] = "source"

    source: Source = "digits"
    path: Place | None = None
    layout: str | None = None
    split: Literal["train", "test"] = "test"
    image_column: str = "image"
    label_column: str | None = "label"
    caption_column: str | None = None
    group_column: str | None = None
    task: str | None = None
    compatible: Literal["torchvision"] | None = None
    corruption: CorruptionConfig | None = None
    limit: Count | None = None

    @property
    def is_named(self) -> bool:
        """Whether the source is a data set of the catalogue, or of a file like those of it."""
        return self.source not in READERS

    @property
    def ignored(self) -> tuple[str, ...]:
        """Return the keys that do not apply to this source, whatever their values."""
        said = (*keys_of(self.source), *_OF_ALL)
        return tuple(key for key in type(self).model_fields if key not in said)

    @model_serializer(mode="wrap")
    def _without_ignored(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Leave out keys that do not apply, such as a split of a source without splits."""
        tree: dict[str, Any] = handler(self)
        if self.compatible is None:  # as earlier versions, which had no such key, wrote it
            tree.pop("compatible", None)
        if (info.context or {}).get(WHOLE):
            return tree
        return {key: value for key, value in tree.items() if key not in self.ignored}

    @model_validator(mode="after")
    def _keys_fit_source(self, info: ValidationInfo) -> Self:
        if "path" in keys_of(self.source) and not self.path:
            raise ValueError(f"source {self.source} needs a path; set data.path")
        for key in () if (info.context or {}).get(SAVED) else self.ignored:
            unset = type(self).model_fields[key].default is None and getattr(self, key) is None
            if key in self.model_fields_set and not unset:
                raise ValueError(
                    f"{key} says nothing of source {self.source}; remove it (it is for "
                    f"{_takers(key)})"
                )
        return self


def _takers(key: str) -> str:
    """Return the sources that take a key."""
    sources = [source for source, reader in READERS.items() if key in reader.keys]
    return ", ".join([*sources, _NAMED] if key in KEYS_OF_DATASETS else sources)


def refuse_output_among(data: DataConfig, output: str) -> None:
    """Raise ValueError if an output would lie among the files that a source reads.

    A folder of classes would get another class, and one of Parquet more rows.
    """
    if data.source not in ("folder", "parquet") or data.path is None:
        return
    inner, outer = (_whole(path) for path in (output, data.path))
    if inner == outer or inner.startswith(outer.rstrip("/") + "/"):
        raise ValueError(
            f"output.path {redact(output)} lies in data.path {redact(data.path)}, whose files and "
            "folders are all taken for data; choose an output.path elsewhere"
        )


def _whole(path: str) -> str:
    if "://" in path:
        return path.rstrip("/")
    return os.path.realpath(os.path.expanduser(path))
