"""Winoground's layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zsd_ray.config.data import DataConfig
from zsd_ray.data.captioned.winoground import Winoground
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError


def example(number: int, **other: Any) -> dict[str, Any]:
    return {
        "id": number, "image_0": f"ex_{number}_img_0", "image_1": f"ex_{number}_img_1",
        "caption_0": f"{number} things beside a thing",
        "caption_1": f"a thing beside {number} things",
        "tag": "Adjective-Age", "secondary_tag": "", "num_main_preds": 1, "collapsed_tag": "Object",
        **other,
    }  # fmt: skip


@pytest.fixture
def write(picture: Callable[..., Image.Image], tmp_path: Path) -> Callable[..., str]:
    def make(*examples: dict[str, Any]) -> str:
        (tmp_path / "images").mkdir(exist_ok=True)
        for each in examples:
            for place in (0, 1):
                seed = 2 * int(each["id"]) + place
                picture(seed).save(tmp_path / "images" / f"{each[f'image_{place}']}.png")
        lines = "".join(json.dumps(each) + "\n" for each in examples)
        (tmp_path / "examples.jsonl").write_text(lines)
        return str(tmp_path)

    return make


def test_two_images_choose_between_two_captions(
    write: Callable[..., str],
    picture: Callable[..., Image.Image],
    travel: Callable[[Any], Any],
) -> None:
    dataset = travel(Winoground(write(example(0), example(7))))
    assert [record.image_id for record in dataset.records] == ["0/0", "0/1", "7/0", "7/1"]
    assert dataset.captions.texts == (
        "0 things beside a thing",
        "a thing beside 0 things",
        "7 things beside a thing",
        "a thing beside 7 things",
    )
    assert dataset.captions.choices.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert [record.label for record in dataset.records] == [0, 1, 2, 3]
    for index, seed in enumerate((0, 1, 14, 15)):
        np.testing.assert_array_equal(np.asarray(dataset.read(index)), np.asarray(picture(seed)))


def test_a_caption_that_comes_back_is_one_class(write: Callable[..., str]) -> None:
    again = example(7, caption_1="0 things beside a thing")
    dataset = Winoground(write(example(0), again))
    assert dataset.captions.choices.tolist() == [[0, 1], [0, 1], [2, 0], [2, 0]]
    assert [record.label for record in dataset.records] == [0, 1, 2, 0]


def test_mistakes_are_told(write: Callable[..., str], tmp_path: Path) -> None:
    def refused(words: str) -> None:
        with pytest.raises(UserError, match=words):
            open_dataset(DataConfig(source="winoground", path=str(tmp_path)))

    refused(r"examples\.jsonl of data\.path")
    write(example(0), example(0))
    refused(r"examples\.jsonl, line 2: id 0 is there twice")
    write(example(0), example(1, caption_1="1 things beside a thing"))
    refused("line 2: its captions are the same")
    path = write(example(0), example(1))
    (tmp_path / "images" / "ex_1_img_0.png").unlink()
    refused(r"lacks 1 of the 4 images .* \(images/ex_1_img_0\.png\)")
    for line, words in {
        "[]": "line 3 must hold a JSON object, but holds a list",
        "{": "line 3 is not valid JSON",
        '{"id": 3}': "line 3: an example is an object with id, image_0",
        json.dumps(example(1) | {"id": [1]}): "line 3: an example is .* text or a number",
        json.dumps(example(1) | {"caption_0": None}): "line 3: an example is .* text or a number",
        json.dumps(
            example(1) | {"caption_1": "half \ud800"}
        ): r"line 3: its caption_1 'half .ud800'",
        json.dumps(example(1) | {"id": "0"}): "line 3: id 0 is there twice",
    }.items():
        (Path(path) / "examples.jsonl").write_text(f"{json.dumps(example(0))}\n\n{line}\n")
        refused(words)
