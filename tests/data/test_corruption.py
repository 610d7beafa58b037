"""Corruptions against their formulas, written plainly, pixel by pixel."""

from __future__ import annotations

import colorsys
import hashlib
import io
import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from zsd_ray.config.data import CorruptionConfig, DataConfig
from zsd_ray.data.captioned.captions import CaptionedDataset, CaptionTable, DescribedDataset
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.corruption import CorruptedDataset, corrupt
from zsd_ray.data.pictures.transforms import to_square
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import ImageError

KINDS = get_args(CorruptionConfig.model_fields["kind"].annotation)

# The strengths once more: of large pictures, of small ones.
STRENGTHS = {
    "gaussian-noise": ([0.08, 0.12, 0.18, 0.26, 0.38], [0.04, 0.06, 0.08, 0.09, 0.1]),
    "gaussian-blur": ([1, 2, 3, 4, 6], [0.4, 0.6, 0.7, 0.8, 1]),
    "jpeg": ([25, 18, 15, 10, 7], [80, 65, 58, 50, 40]),
    "brightness": ([0.1, 0.2, 0.3, 0.4, 0.5], [0.05, 0.1, 0.15, 0.2, 0.3]),
    "contrast": ([0.4, 0.3, 0.2, 0.1, 0.05], [0.75, 0.5, 0.4, 0.3, 0.15]),
}

Pixels = NDArray[np.float64]


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours with edges and a little texture: something to lose at every strength."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(7 * x + 3 * k) * np.cos(5 * y - k) for k in range(3)]
    picture = 0.45 + 0.3 * np.stack(waves, axis=-1)
    picture[height // 4 : height // 2, width // 4 : width // 2] *= 0.3
    picture += rng.normal(0, 0.02, picture.shape)
    return Image.fromarray(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8))


def do(picture: Image.Image, kind: str, strength: int, image_id: str = "a") -> NDArray[np.uint8]:
    return np.asarray(corrupt(picture, image_id, CorruptionConfig(kind=kind, strength=strength)))


def noise_by_formula(x: Pixels, scale: float) -> Pixels:
    key = hashlib.blake2b(b"0\0gaussian-noise\0a", digest_size=16).digest()
    words = np.frombuffer(key, dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(key=words, counter=[0, 0, 0, 0]))
    return x + scale * rng.standard_normal(x.shape, dtype=np.float32).astype(float)


def blur_by_formula(x: Pixels, sigma: float) -> Pixels:
    """Sums over neighbours, edges repeated, the kernel cut off at four sigmas."""
    radius = math.floor(4 * sigma + 0.5)
    steps = range(-radius, radius + 1)
    kernel = np.array([math.exp(-(i**2) / (2 * sigma**2)) for i in steps])
    kernel /= kernel.sum()
    for axis in (0, 1):
        last = x.shape[axis] - 1
        x = sum(
            weight * np.take(x, np.clip(np.arange(last + 1) + i, 0, last), axis=axis)
            for weight, i in zip(kernel, steps, strict=True)
        )
    return x


def jpeg_by_formula(x: Pixels, quality: float) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(np.round(x * 255).astype(np.uint8)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer)) / 255


def brightness_by_formula(x: Pixels, more: float) -> Pixels:
    out = np.empty_like(x)
    for place in np.ndindex(x.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*x[place])
        out[place] = colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1))
    return out


def contrast_by_formula(x: Pixels, factor: float) -> Pixels:
    means = x.mean(axis=(0, 1))
    return (x - means) * factor + means


FORMULAS = {
    "gaussian-noise": noise_by_formula,
    "gaussian-blur": blur_by_formula,
    "jpeg": jpeg_by_formula,
    "brightness": brightness_by_formula,
    "contrast": contrast_by_formula,
}


def assert_same(levels: NDArray[np.uint8], shares: Pixels) -> None:
    """Equal but where the formula's own rounding falls on the other side of a half."""
    exact = np.clip(shares, 0, 1) * 255
    assert levels.dtype == np.uint8
    assert levels.shape == exact.shape
    assert np.abs(levels - exact).max() <= 0.5 + 1e-6


@pytest.mark.few(4)
@pytest.mark.parametrize("strength", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", KINDS)
def test_small_pictures_have_the_strengths_of_cifar10_c(kind: str, strength: int) -> None:
    picture = scene(32, 32)
    expected = FORMULAS[kind](np.asarray(picture) / 255, STRENGTHS[kind][1][strength - 1])
    assert_same(do(picture, kind, strength), expected)


@pytest.mark.few(4)
@pytest.mark.parametrize("strength", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "brightness"])
def test_large_pictures_are_cut_and_have_the_strengths_of_imagenet_c(
    kind: str, strength: int
) -> None:
    picture = scene(300, 240)
    square = to_square(picture, 224) / 255
    assert_same(
        do(picture, kind, strength), FORMULAS[kind](square, STRENGTHS[kind][0][strength - 1])
    )


@pytest.mark.parametrize("strength", [1, 5])
def test_large_pictures_get_brighter_too(strength: int) -> None:
    levels = do(scene(240, 240), "brightness", strength)
    square = to_square(scene(240, 240), 224)[::16, ::16] / 255
    more = STRENGTHS["brightness"][0][strength - 1]
    assert_same(levels[::16, ::16], brightness_by_formula(square, more))


@pytest.mark.parametrize(
    ("size", "large"), [((64, 64), False), ((65, 65), True), ((300, 64), False)]
)
def test_the_shorter_side_says_what_is_small(size: tuple[int, int], large: bool) -> None:
    levels = do(scene(*size), "contrast", 3)
    assert levels.shape[:2] == ((224, 224) if large else size[::-1])


@pytest.mark.parametrize("side", [32, 240])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_grows_with_strength(kind: str, side: int) -> None:
    clean = scene(side, side)
    reference = np.asarray(clean) if side == 32 else to_square(clean, 224)
    error = [
        np.mean((do(clean, kind, strength).astype(float) - reference) ** 2)
        for strength in range(1, 6)
    ]
    psnr = 10 * np.log10(255**2 / np.array(error))
    assert (np.diff(psnr) < -0.05).all()
    assert psnr[0] < 50


def test_noise_is_one_picture_at_every_scale() -> None:
    grey = Image.new("RGB", (40, 40), (128, 128, 128))
    shares = [do(grey, "gaussian-noise", strength) / 255 - 128 / 255 for strength in (1, 5)]
    scale = [STRENGTHS["gaussian-noise"][1][strength - 1] for strength in (1, 5)]
    # Rounded to levels: half a level over the scale is what the two may differ by.
    assert np.abs(shares[0] / scale[0] - shares[1] / scale[1]).max() < 0.5 / 255 * (1 / 0.04 + 10.1)
    assert shares[1].std() == pytest.approx(0.1, rel=0.05)


def test_noise_differs_by_image_and_is_not_that_of_the_draws() -> None:
    from zsd_ray.diffusion.draws import noise

    grey = Image.new("RGB", (40, 40), (128, 128, 128))
    one, other = (
        do(grey, "gaussian-noise", 1, image_id).astype(float).ravel() - 128
        for image_id in ("a", "b")
    )
    drawn = noise(0, "a", range(1), (40, 40, 3)).ravel()
    for pair in ((one, other), (one, drawn)):
        assert abs(np.corrcoef(*pair)[0, 1]) < 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_picture_stays_grey_and_is_as_its_rgb_twin(kind: str) -> None:
    grey = scene(30, 20).convert("L")
    levels = do(grey, kind, 4)
    assert levels.shape == (20, 30)
    if kind not in ("gaussian-noise", "jpeg"):  # noise has its own channel, JPEG its own coding
        twin = do(grey.convert("RGB"), kind, 4)
        assert np.array_equal(twin, np.repeat(levels[..., None], 3, axis=-1))
    if kind == "jpeg":
        assert_same(levels, jpeg_by_formula(np.asarray(grey) / 255, 50))


@pytest.mark.parametrize("mode", ["1", "LA", "I;16", "F"])
def test_every_mode_without_colour_is_grey(mode: str) -> None:
    grey = scene(9, 9).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert do(deep if mode == "I;16" else grey.convert(mode), "contrast", 1).shape == (9, 9)


@pytest.mark.parametrize("kind", KINDS)
def test_transparency_is_laid_over_white(kind: str) -> None:
    picture = scene(24, 24)
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 24).astype(np.uint8), (24, 1)))
    picture.putalpha(alpha)
    laid = Image.alpha_composite(Image.new("RGBA", (24, 24), "white"), picture).convert("RGB")
    assert np.array_equal(do(picture, kind, 2), do(laid, kind, 2))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("colour", ["black", "white"])
def test_one_pixel_and_the_ends_of_the_scale(kind: str, colour: str) -> None:
    assert do(Image.new("RGB", (1, 1), colour), kind, 5).shape == (1, 1, 3)


def test_black_becomes_grey() -> None:
    levels = do(Image.new("RGB", (4, 4), "black"), "brightness", 5)
    assert (levels == round(0.3 * 255)).all()


class Told:
    """Two pictures with captions, the third damaged."""

    label_names = None

    def __init__(self) -> None:
        self.records = RecordTable(["x", "y", "z"], ["x.png", "y.png", "z.png"], [0, 1, 0])
        self.captions = CaptionTable.of([["a cat", "a dog"]] * 3)

    def true_captions(self, index: int) -> list[str]:
        return ["a cat", "a dog"][index : index + 1]

    def read(self, index: int) -> Image.Image:
        if index == 2:
            raise ImageError("z.png: cannot be decoded")
        return scene(20, 20, seed=index)


NOISE = CorruptionConfig(kind="gaussian-noise", strength=2)


def test_the_data_set_keeps_all_but_the_pictures(travel: Callable[[Any], Any]) -> None:
    told = Told()
    for dataset in (CorruptedDataset(told, NOISE), travel(CorruptedDataset(told, NOISE))):
        assert isinstance(dataset, CaptionedDataset)
        assert isinstance(dataset, DescribedDataset)
        assert list(dataset.records) == list(told.records)
        assert dataset.label_names is None
        assert dataset.captions.texts == told.captions.texts
        assert dataset.true_captions(1) == ["a dog"]
        for index, image_id in ((1, "y"), (0, "x")):
            expected = corrupt(told.read(index), image_id, NOISE)
            assert np.array_equal(np.asarray(dataset.read(index)), np.asarray(expected))
        with pytest.raises(ImageError, match="cannot be decoded"):
            dataset.read(2)


def test_what_the_data_set_lacks_the_corrupted_one_lacks() -> None:
    dataset = CorruptedDataset(open_dataset(DataConfig()), NOISE)
    assert not isinstance(dataset, CaptionedDataset)
    assert not isinstance(dataset, DescribedDataset)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_opens_it(kind: str, travel: Callable[[Any], Any]) -> None:
    corruption = {"kind": kind, "strength": 3}
    clean, dataset = (open_dataset(DataConfig(corruption=value)) for value in (None, corruption))
    assert list(dataset.records) == list(clean.records)
    assert dataset.label_names == clean.label_names
    copy = travel(dataset)
    for index in (7, 0, 499):
        picture = np.asarray(dataset.read(index))
        expected = corrupt(clean.read(index), clean.records[index].image_id, dataset._corruption)
        assert np.array_equal(picture, np.asarray(expected))
        assert np.array_equal(picture, np.asarray(copy.read(index)))
        assert not np.array_equal(picture, np.asarray(clean.read(index)))


def test_real_photographs(shared_data: Any) -> None:
    source = str(shared_data / "cue-conflict" / "images")
    clean, dataset = (
        open_dataset(DataConfig(source="folder", path=source, corruption=value))
        for value in (None, {"kind": "jpeg", "strength": 5})
    )
    error = np.asarray(dataset.read(3)).astype(float) - to_square(clean.read(3), 224)
    assert 15 < 10 * np.log10(255**2 / np.mean(error**2)) < 40
