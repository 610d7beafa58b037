"""What a library's transform makes of a picture is limited, and is what the library makes."""

import pytest
import torch
from PIL import Image

from tests.hostile import pictures
from tests.support.models import load_model
from tests.support.tiny_models.clip import clip_folder
from tests.support.tiny_models.timm_classifier import timm_folder
from zsd_ray.config.run import ModelConfig
from zsd_ray.data.pictures.decoding import decode
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.models.files.clip_files import open_clip
from zsd_ray.models.files.timm_files import timm
from zsd_ray.models.library_transform import MOST_PIXELS, LibraryTransform, largest
from zsd_ray.records.errors import ImageError


def of_clip(**keys):
    open_clip()
    from open_clip.transform import PreprocessCfg, image_transform_v2

    return image_transform_v2(PreprocessCfg(**keys), is_train=False)


def of_timm(**keys):
    timm()
    from timm.data import create_transform

    return create_transform(is_training=False, **keys)


# Each for a model of some pixels a side.
TRANSFORMS = {
    "clip": lambda side: of_clip(size=side),
    "clip, not square": lambda side: of_clip(size=(side, side + 16)),
    "clip, squashed": lambda side: of_clip(size=side, resize_mode="squash"),
    "clip, padded": lambda side: of_clip(size=side, resize_mode="longest"),
    "timm": lambda side: of_timm(input_size=(3, side, side), crop_pct=0.9),
    "timm, not square": lambda side: of_timm(input_size=(3, side, side + 16), crop_pct=1.0),
    "timm, squashed": lambda side: of_timm(input_size=side, crop_mode="squash"),
    "timm, padded": lambda side: of_timm(input_size=side, crop_mode="border"),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", [(40, 400), (400, 40), (33, 32), (7, 200)])
def test_the_largest_picture_on_the_way_is_foreseen(name, size):
    """By what the steps really make, so that a new release of a library is noticed."""
    steps = TRANSFORMS[name](32)
    seen, image = [0], Image.new("RGB", size)
    for step in steps.transforms:
        image = step(image)
        if isinstance(image, Image.Image):
            seen.append(image.width * image.height)
    foreseen = largest(steps, *size)
    if "squashed" in name or "padded" in name:
        assert foreseen == 0
        assert max(seen) <= 48 * 48
    else:
        assert foreseen == pytest.approx(max(seen), rel=0.03)


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("picture", pictures.long())
def test_a_long_picture_is_an_error_or_becomes_a_small_input(name, picture):
    """Nothing on the way is larger than the limit: a step that would make it is not run."""
    image = to_rgb(decode(pictures.long()[picture], "x"))
    steps = TRANSFORMS[name](224)
    if largest(steps, *image.size) > MOST_PIXELS:
        with pytest.raises(ImageError, match=r"pixels are too long a picture: .* of 67,108,864 at"):
            LibraryTransform(steps)(image)
        return
    if "padded" in name:  # resized by the longer side, the shorter one becomes 0
        with pytest.raises(ImageError, match="cannot be made ready for the model"):
            LibraryTransform(steps)(image)
        return
    assert LibraryTransform(steps)(image).shape == (3, 224, 224)


def test_all_but_long_pictures_are_as_the_library_makes_them():
    image = pictures.photograph(90, 41)
    for make in TRANSFORMS.values():
        torch.testing.assert_close(
            LibraryTransform(make(32))(image), make(32)(image), rtol=0, atol=0
        )


@pytest.mark.parametrize(("family", "make"), [("clip", clip_folder), ("timm", timm_folder)])
def test_every_family_with_a_library_of_its_own_is_limited(family, make, tmp_path):
    _, keys = make(tmp_path / "model")
    model = load_model(ModelConfig(family=family, device="cpu", **keys))
    with pytest.raises(ImageError, match="120000 x 1 pixels are too long a picture"):
        model.preprocess(Image.new("RGB", (120_000, 1)))
