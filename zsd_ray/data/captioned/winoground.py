"""Winoground's layout: two images and two captions per example (Thrush et al. 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from zsd_ray.data.captioned.captions import CaptionTable
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import UserError, some
from zsd_ray.settings.documents import is_utf8, parse_json_object

_KEYS = ("id", "image_0", "image_1", "caption_0", "caption_1")


class Winoground:
    """A folder with examples.jsonl and images/, as the data set's repository has them.

    A line of examples.jsonl is an example: `id`; `image_0` and `image_1`, names of files in images/
    without their .png; `caption_0` and `caption_1`, which say the same words in another order. Both
    images choose between both captions; their ids are ID/0 and ID/1.

    Raises:
        UserError: no such file, a line that is not an example, or a missing image.
    """

    label_names = None

    def __init__(self, path: str | Location) -> None:
        self._location = Location.of(path)
        shown = self._location.shown
        with self._location.user_errors(f"examples.jsonl of data.path {shown}"):
            content = self._location.read_bytes(self._location.join("examples.jsonl")).decode()
            files = set(self._location.files())
        examples = list(_examples(content, f"{shown}/examples.jsonl"))
        self._names = [
            f"images/{example[f'image_{place}']}.png" for example in examples for place in (0, 1)
        ]
        missing = [name for name in self._names if name not in files]
        if missing:
            raise UserError(
                f"data.path {shown} lacks {len(missing)} of the {len(self._names)} images that "
                f"examples.jsonl names ({some(missing)}); unpack images.zip there"
            )
        captions = [(example["caption_0"], example["caption_1"]) for example in examples]
        self.captions = CaptionTable.of(own for own in captions for _ in own)
        self.records = RecordTable(
            [f"{example['id']}/{place}" for example in examples for place in (0, 1)],
            [f"{shown}/{name}" for name in self._names],
            self.captions.labels(text for own in captions for text in own),
        )

    def read(self, index: int) -> Image.Image:
        source = self.records[index].source
        with self._location.image_errors(source):
            data = self._location.read_bytes(self._location.join(self._names[index]))
        return decode(data, source)


def _examples(content: str, file: str) -> Iterator[Mapping[str, Any]]:
    seen = set()
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        example = parse_json_object(line, f"{file}, line {number}")
        if not all(isinstance(example.get(key), str | int) for key in _KEYS):
            raise UserError(
                f"{file}, line {number}: an example is an object with {', '.join(_KEYS)}, each of "
                "them text or a number"
            )
        example = {key: str(example[key]) for key in _KEYS}
        odd = next((key for key, text in example.items() if not is_utf8(text)), None)
        if odd is not None:
            raise UserError(f"{file}, line {number}: its {odd} {example[odd]!a:.80} is no text")
        if example["id"] in seen:
            raise UserError(f"{file}, line {number}: id {example['id']} is there twice")
        if example["caption_0"] == example["caption_1"]:
            raise UserError(f"{file}, line {number}: its captions are the same; they must differ")
        seen.add(example["id"])
        yield example
