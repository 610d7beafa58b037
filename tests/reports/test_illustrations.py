"""The figures hold the numbers of the arrays, and the page and the lines say what they are."""

from __future__ import annotations

import base64
import io
import json
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from scipy.stats import t as student

from zsd_ray.reports.figures import BLUE, ORANGE, svg
from zsd_ray.studies.illustrations import illustration_page as illustrations
from zsd_ray.studies.illustrations.illustration_file import (
    Illustrations,
    ImagePictures,
    PairPictures,
    Settings,
)
from zsd_ray.studies.illustrations.illustration_page import illustration_lines, render_illustrations

LEVELS = [0.2, 0.5, 0.8]
HOSTILE = ("<b>bold</b>", "$x_{", "a very long name of a class that goes on & on\n\x07")


def image(names=("cat", "dog", "owl"), label=4, prediction=2, side=8) -> ImagePictures:
    """Of classes 4, 2 and 7 of a run."""
    rng = np.random.default_rng(0)
    return ImagePictures(
        image_id="folder/<i>1</i>.png",
        source="/data/folder/1.png",
        label=label,
        prediction=prediction,
        classes=(4, 2, 7),
        names=tuple(names),
        picture=rng.integers(0, 256, (side, side, 3), dtype=np.uint8),
        distances=rng.gamma(2, 0.1, (3, 3, 5)).astype(np.float32),
        exchanged=rng.integers(0, 256, (3, 3, side, side, 3), dtype=np.uint8),
        differences=rng.gamma(2, 0.1, (3, 3)).astype(np.float32),
        attention=rng.random((3, 4, 4), dtype=np.float32),
    )


def made(*images, pairs=(), left_out=()) -> Illustrations:
    settings = Settings(0.98, 50, LEVELS, 10, 5, 4)
    return Illustrations(
        "runs/<u>run</u>", "builtin:digits", 7, settings, list(images), list(pairs), list(left_out)
    )


def pair(names=("cat", "dog")) -> PairPictures:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (len(names), 5, 8, 8, 3), dtype=np.uint8)
    return PairPictures(0, 1, tuple(range(len(names))), tuple(names), pictures)


def is_framed(axes) -> bool:
    spine = axes.spines["left"]
    return spine.get_linewidth() > 2 and to_hex(spine.get_edgecolor()) == "#009e73"


def test_the_exchange_shows_every_cell_and_frames_the_diagonal() -> None:
    one = image()
    figure = illustrations.exchange(one)
    grid = np.array(figure.axes).reshape(3, 3)
    for i in range(3):
        for j in range(3):
            (shown,) = grid[i, j].images
            assert np.array_equal(shown.get_array(), one.exchanged[i, j])
            assert float(grid[i, j].get_xlabel()) == pytest.approx(one.differences[i, j], rel=0.006)
            assert is_framed(grid[i, j]) == (i == j)
    names = ["cat\n(true)", "dog\n(predicted)", "owl"]
    assert [axes.get_title() for axes in grid[0]] == names
    assert [axes.get_ylabel() for axes in grid[:, 0]] == names
    assert grid[0, 0].title.get_color() == ORANGE
    assert grid[0, 1].title.get_color() == BLUE


def test_the_arc_shows_its_pictures_in_order() -> None:
    one = pair()
    grid = np.array(illustrations.arc(one).axes).reshape(2, 5)
    for i in range(2):
        for j in range(5):
            assert np.array_equal(grid[i, j].images[0].get_array(), one.pictures[i, j])
            assert is_framed(grid[i, j]) == (j in (0, 4))
    assert [axes.get_title() for axes in grid[0]] == ["0%", "25%", "50%", "75%", "100%"]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["under\ncat", "under\ndog"]


def test_distances_are_means_with_students_interval_and_differences_are_paired() -> None:
    one = image()
    left, right = illustrations.distances(one, LEVELS).axes
    values = one.distances.astype(float)
    reach = student.ppf(0.975, 4) / np.sqrt(5)
    paired = (values - values[0]) / values[0].mean(axis=1)[None, :, None]
    for axes, shown in ((left, values), (right, paired)):
        for line, band, of_class in zip(axes.lines, axes.collections, shown, strict=True):
            mean, spread = of_class.mean(axis=1), of_class.std(axis=1, ddof=1)
            assert line.get_xdata() == pytest.approx(LEVELS)
            assert line.get_ydata() == pytest.approx(mean)
            corners = band.get_paths()[0].vertices
            assert corners[:, 1].max() == pytest.approx((mean + reach * spread).max())
            assert corners[:, 1].min() == pytest.approx((mean - reach * spread).min())
    labels = [line.get_label() for line in left.lines]
    assert labels == ["cat (true)", "dog (predicted)", "owl"]
    assert right.get_ylabel() == "difference from “cat”"
    without = illustrations.distances(replace(one, label=None), LEVELS)
    assert without.axes[1].get_ylabel() == "difference from “dog”"


def test_attention_has_one_scale_with_its_bar() -> None:
    one = image()
    one.attention[:] = 0.25
    one.attention[1] = 0.75
    figure = illustrations.attention(one)
    *panels, bar = figure.axes
    shown = [axes for axes in panels if axes.get_visible()]
    titles = [axes.get_title() for axes in shown]
    assert titles == ["the image", "cat\n(true)", "dog\n(predicted)", "owl"]
    assert bar.get_ylim() == (0.25, 0.75)
    first, low, high, other = (np.asarray(axes.images[0].get_array()) for axes in shown)
    assert np.array_equal(first, one.picture)
    assert np.array_equal(low, other)
    # viridis goes from dark blue to yellow.
    assert (high[..., 0] > low[..., 0]).all()
    assert (high[..., 1] > low[..., 1]).all()
    assert (high[..., 2] < low[..., 2]).all()


def test_a_long_name_is_cut_and_its_role_is_not() -> None:
    one = image(["an Old English sheepdog of great length", "dog", "owl"])
    title = illustrations.exchange(one).axes[0].get_title()
    assert title == "an Old\nEnglish…\n(true)"
    label = illustrations.distances(one, LEVELS).axes[0].lines[0].get_label()
    assert label == "an Old English sheepdog… (true)"


def test_large_pictures_are_made_small() -> None:
    one = image(side=300)
    (shown,) = illustrations.exchange(one).axes[0].images
    assert shown.get_array().shape == (128, 128, 3)


def test_the_page_shows_all_and_escapes() -> None:
    page = render_illustrations(
        made(image(HOSTILE), replace(image(), label=2), pairs=[pair(HOSTILE[:2])])
    )
    assert page.count("<svg") == 7
    for words in ("<b>", "<i>1", "<u>run"):
        assert words not in page
    assert "folder/&lt;i&gt;1&lt;/i&gt;.png" in page
    assert '<span class="tag wrong">wrong</span>' in page
    assert '<span class="tag">right</span>' in page
    assert "DDIM, 50 steps to noise level 0.98" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    encoded = page.split('src="data:image/png;base64,')[1].split('"')[0]
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert np.array_equal(np.asarray(picture), image().picture)


def test_hostile_names_are_text_in_every_figure() -> None:
    one = image(HOSTILE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in (
            illustrations.exchange,
            lambda each: illustrations.distances(each, LEVELS),
            illustrations.attention,
        ):
            root = ET.fromstring(svg(draw(one), "name", "words"))  # noqa: S314 - our own
            texts = {node.text for node in root.iter() if node.tag.endswith("text")}
            assert any(text and "$x_{" in text for text in texts)


def test_what_is_left_out_is_said() -> None:
    bare = replace(image(), exchanged=None, differences=None, attention=None)
    found = made(bare, left_out=["attention: no <eyes>"])
    page = render_illustrations(found)
    assert page.count("<svg") == 1
    assert "Left out: attention: no &lt;eyes&gt;." in page
    lines = illustration_lines(found).splitlines()
    assert lines[0] == "run       runs/<u>run</u>"
    assert lines[2] == "image 1   folder/<i>1</i>.png: cat (true), dog (predicted), owl"
    assert lines[3] == "left out  attention: no <eyes>"


def test_files_hold_the_arrays_and_an_index() -> None:
    bare = replace(image(), attention=None)
    files = made(image(), bare, pairs=[pair()]).files()
    index = json.loads(files["illustrations/illustrations.json"])
    assert index["seed"] == 7
    assert index["settings"]["levels"] == LEVELS
    first, second = index["images"]
    assert (first["label"], first["classes"], first["names"][0]) == (4, [4, 2, 7], "cat")
    assert set(first["arrays"]) - set(second["arrays"]) == {"attention"}
    for entry, one in ((first, image()), (second, bare)):
        content = io.BytesIO(files[f"illustrations/{entry['file']}"])
        with np.load(content, allow_pickle=False) as arrays:
            assert sorted(arrays.files) == sorted(entry["arrays"])
            for name in arrays.files:
                assert np.array_equal(arrays[name], getattr(one, name))
    (entry,) = index["pairs"]
    assert (entry["first"], entry["last"], entry["arrays"]) == (0, 1, ["pictures"])
    assert len(files) == 4
