"""The data section: which images are classified, and how they lie."""

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
    """A file of a data set that the catalogue does not have is a source, too."""
    return source if isinstance(source, str) and source.endswith(".yaml") else known(source)


if TYPE_CHECKING:
    Source = str
else:
    Source = Annotated[Literal[(*READERS, *DATASETS)], WrapValidator(_or_a_file)]


class CorruptionConfig(Section):
    """What is done to every picture before the model sees it; 5 is the strongest."""

    kind: Literal["gaussian-noise", "gaussian-blur", "jpeg", "brightness", "contrast"]
    strength: Annotated[int, Field(ge=1, le=5)]


class DataConfig(Section):
    """Which images are classified. `limit` takes a deterministic, nested subset of them.

    `layout` says how the files of a data set of the catalogue lie; null: as they are found to.
    With `caption_column` each image has captions of its own to choose among, and `label_column`
    the number of the right one. `group_column` names shares of the images, the worst of which is
    reported. `task` is the question of a source that has several. `compatible`
    says whose reading of pictures is taken; null: our own. A key that says nothing of the source
    is refused, but in what an earlier version has saved.
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
        """The keys that say nothing of this source, whatever they hold."""
        said = (*keys_of(self.source), *_OF_ALL)
        return tuple(key for key in type(self).model_fields if key not in said)

    @model_serializer(mode="wrap")
    def _without_ignored(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """Nobody chose, say, a split that the source does not have, so none is recorded."""
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
    """The sources that take a key."""
    sources = [source for source, reader in READERS.items() if key in reader.keys]
    return ", ".join([*sources, _NAMED] if key in KEYS_OF_DATASETS else sources)


def refuse_output_among(data: DataConfig, output: str) -> None:
    """Raise ValueError where an output would lie among the files that a source takes for its own.

    A folder of classes would have another class, and one of Parquet more rows.
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
