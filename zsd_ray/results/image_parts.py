"""OUTPUT/images/part-*.parquet: generated images, as `data: {source: parquet}` reads them.

image is struct<bytes, path>, PNG; label is a class number, null where images have no class; the
names of the classes stand beside it as Hugging Face's `datasets` writes them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.records.errors import DamagedFile
from zsd_ray.results.output import Output

FOLDER = "images"
_PART = re.compile(r"part-(\d+)\.parquet")

Picture = NDArray[np.uint8]
"""(S, S, 3), or (S, S) in grey."""


@dataclass(frozen=True)
class ImageParts:
    """The generated images of one output, with the names of their classes; none: no classes."""

    output: Output
    classes: tuple[str, ...]

    def done(self) -> set[int]:
        """Return the numbers of the existing parts; each is complete."""
        found = (_PART.fullmatch(name) for name in self.output.part_names(FOLDER))
        return {int(match[1]) for match in found if match}

    def write(self, part: int, pictures: Sequence[Picture], numbers: Sequence[int]) -> None:
        """Write one part: the pictures of these images of the set."""
        labels = [self.label(number) for number in numbers]
        named = [None if label is None else self.classes[label] for label in labels]
        images = [
            {"bytes": png(picture), "path": f"{number:08d}.png"}
            for picture, number in zip(pictures, numbers, strict=True)
        ]
        table = pa.table([images, labels, named], schema=self._schema())
        buffer = pa.BufferOutputStream()
        pq.write_table(
            table, buffer, compression="none", write_page_checksum=True
        )  # PNG is compressed
        self.output.write_bytes(f"{FOLDER}/{_name(part)}", buffer.getvalue().to_pybytes())

    def read(self, part: int) -> list[Picture]:
        """Return the pictures of one part, in order; raises DamagedFile."""
        name = f"{FOLDER}/{_name(part)}"
        content = self.output.read_bytes(name)
        try:
            if content is None:
                raise ValueError("it is gone")
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
            column = file.read(columns=["image"])["image"].to_pylist()
            return [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in column]
        except Exception as error:  # of pyarrow and of PIL; the content is in memory
            advice = "rename or remove it, and its images are made again"
            raise DamagedFile.of(error, self.output.shown(name), advice) from error

    def label(self, number: int) -> int | None:
        """Return the class of an image; classes take turns, so that each part has some of all."""
        return number % len(self.classes) if self.classes else None

    def _schema(self) -> pa.Schema:
        image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        label = {"names": list(self.classes), "_type": "ClassLabel"}
        features = {"image": {"_type": "Image"}, "label": label}
        return pa.schema(
            [("image", image), ("label", pa.int64()), ("class_name", pa.string())],
            metadata={"huggingface": json.dumps({"info": {"features": features}})},
        )


def png(picture: Picture) -> bytes:
    """Return the picture as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def _name(part: int) -> str:
    return f"part-{part:06d}.parquet"
