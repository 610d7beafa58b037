"""OUTPUT/features/CHECKPOINT: the features of all images, in parts of some hundred images.

A part is one safetensors file, whole or not there: `image` and `label` (n,) int64, and an (n, D)
float32 array for each cell, of which a reader fetches those that it wants.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.pooling import Cell
from zsd_ray.records.errors import DamagedFile, StoreError, UserError
from zsd_ray.records.redaction import redact
from zsd_ray.results.output import Output
from zsd_ray.settings.documents import parse_json_object
from zsd_ray.storage.filesystem import list_folder
from zsd_ray.storage.store import Store

_DTYPES = {"F32": "<f4", "I64": "<i8"}
_TOLD = "part"
_LONGEST_HEADER = 100_000_000  # what the format allows
_PART = re.compile(r"\d+\.safetensors")


@dataclass(frozen=True)
class FeatureParts:
    """The features of one checkpoint.

    Args:
        checkpoint: names its folder; by its content, so that a model that changed starts anew.
    """

    output: Output
    checkpoint: str

    def write(
        self,
        split: str,
        part: int,
        images: Sequence[int],
        labels: Sequence[int],
        features: Mapping[Cell, NDArray[np.float32]],
        errors: Mapping[str, str],
    ) -> None:
        """Write a part.

        Args:
            images, labels: numbers of the images whose features these are, (n,), and their labels.
            features: (n, D) by cell.
            errors: what is wrong with the other images of this part, by image id.
        """
        from safetensors.numpy import save

        arrays = {cell.key: np.ascontiguousarray(of) for cell, of in features.items()}
        arrays["image"] = np.asarray(images, dtype=np.int64)
        arrays["label"] = np.asarray(labels, dtype=np.int64)
        # The order of arrays in a header is not that of the network. One text: several would come
        # in any order, and a part should be the same byte by byte whoever wrote it.
        told = {"cells": list(features), "errors": dict(errors)}
        self.output.write_bytes(self._name(split, part), save(arrays, {_TOLD: json.dumps(told)}))

    def written(self, split: str) -> set[int]:
        """The numbers of the parts that are there."""
        folder = self.output.location(f"features/{self.checkpoint}/{split}")
        fs, root = self.output.store.open(folder)
        found = self.output.store.ask(folder, lambda: list_folder(fs, root))
        names = (path.rsplit("/", 1)[-1] for path in found)
        # What a killed writer left begins with a dot.
        return {int(name.partition(".")[0]) for name in names if _PART.fullmatch(name)}

    def cells(self, split: str, part: int = 0) -> list[Cell]:
        """The cells of a part, in the network's order; none where no image could be read."""
        told = self._part(split, part).told
        return list(told["cells"])

    def errors(self, split: str, parts: Iterable[int]) -> dict[str, str]:
        """Return the errors of images, by image id."""
        found: dict[str, str] = {}
        for part in parts:
            found |= self._part(split, part).told["errors"]
        return found

    def read(
        self, split: str, parts: Iterable[int], cell: Cell
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The images (N,), their labels (N,) and their features (N, D) of one cell."""
        wanted = ("image", "label", cell.key)
        rows = []
        for part in parts:
            file = self._part(split, part)
            if cell.key in file.arrays:
                rows.append([file.array(name) for name in wanted])
        if not rows:
            raise UserError(f"data.{split}: none of its images gives features; see probe.json")
        images, labels, features = zip(*rows, strict=True)
        return np.concatenate(images), np.concatenate(labels), np.concatenate(features)

    def _part(self, split: str, part: int) -> _Part:
        return _Part(self.output.location(self._name(split, part)), self.output.store)

    def _name(self, split: str, part: int) -> str:
        return f"features/{self.checkpoint}/{split}/{part:05d}.safetensors"


class _Part:
    """One file: its header (safetensors: 8 bytes of length, JSON), and its arrays by range."""

    def __init__(self, path: str, store: Store) -> None:
        self._path = path
        self._store = store
        self._fs, self._root = store.open(path)
        with self._damages():
            head = self._read(0, 8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or not 0 < length <= _LONGEST_HEADER:
                raise ValueError("its header has no length")
            self.arrays = parse_json_object(self._read(8, 8 + length), "its header")
            told = self.arrays.pop("__metadata__")[_TOLD]
            self.told = parse_json_object(told, "its metadata")
            self.told["cells"] = [Cell(*cell) for cell in self.told["cells"]]
            self.told["errors"] = {str(k): str(v) for k, v in self.told["errors"].items()}
            self._start = 8 + length

    def array(self, name: str) -> NDArray[Any]:
        with self._damages():
            about = self.arrays[name]
            first, last = (self._start + offset for offset in about["data_offsets"])
            content = self._read(first, last)
            return np.frombuffer(content, _DTYPES[about["dtype"]]).reshape(about["shape"])

    @contextmanager
    def _damages(self) -> Iterator[None]:
        """Whatever does not fit together is the file's fault, unless its store is away."""
        try:
            yield
        except (StoreError, DamagedFile):
            raise
        except Exception as error:  # of many kinds, by what was where
            advice = "rename or remove it, and its features are made again"
            raise DamagedFile.of(error, redact(self._path), advice) from error

    def _read(self, first: int, last: int) -> bytes:
        read = partial(self._fs.cat_file, self._root, start=first, end=last)
        return bytes(self._store.ask(self._path, read))
