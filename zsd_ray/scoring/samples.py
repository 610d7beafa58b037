"""The images that a worker prepared last, as inputs of a model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from PIL import Image

from zsd_ray.data.pictures.transforms import to_model_range, to_rgb, to_square
from zsd_ray.methods.method import Sample
from zsd_ray.models.denoiser import Classifier, Denoiser
from zsd_ray.records.errors import ImageError

_CACHE_BYTES = 256 << 20

MakeSample = Callable[[str, Image.Image], Sample]
"""Makes the picture of an image id ready; raises ImageError."""


class Samples:
    """Prepares images one at a time: in a batch their last bits would depend on the others.

    Args:
        make: makes the input from an image's id and its picture.
    """

    def __init__(self, make: MakeSample) -> None:
        self._make = make
        self._kept: OrderedDict[int, Sample] = OrderedDict()

    def __contains__(self, image: int) -> bool:
        return image in self._kept

    def get(self, image: int, image_id: str, read: Callable[[int], Image.Image]) -> Sample:
        """Prepare the image of a number, or return it from the cache.

        Raises:
            ImageError, StoreError: it is damaged, or its store does not answer.
        """
        if image in self._kept:
            self._kept.move_to_end(image)
            return self._kept[image]
        sample = self._kept[image] = self._make(image_id, read(image))
        while len(self._kept) > max(1, _CACHE_BYTES // _bytes(sample)):
            self._kept.popitem(last=False)
        return sample


def encoder(denoiser: Denoiser, with_pixels: bool) -> MakeSample:
    """Return a function that encodes pictures by a denoiser, with their pixels if wanted."""

    def encode(image_id: str, picture: Image.Image) -> Sample:
        square = to_square(picture, denoiser.image_size)
        pixels = torch.from_numpy(to_model_range(square[None]))
        try:
            x_0 = denoiser.encode_images(pixels)[0]
        except torch.OutOfMemoryError:  # earlier batches' cached memory may be in its way
            torch.cuda.empty_cache()
            x_0 = denoiser.encode_images(pixels)[0]
        if not bool(torch.isfinite(x_0).all()):
            raise ImageError("the model encodes this image to values that are not finite")
        # A copy: autograd refuses tensors made in inference mode.
        return Sample(image_id, x_0.clone(), pixels[0] if with_pixels else torch.empty(0))

    return encode


def preprocessor(classifier: Classifier) -> MakeSample:
    """Return a function that turns pictures into inputs of a baseline."""

    def preprocess(image_id: str, picture: Image.Image) -> Sample:
        return Sample(image_id, classifier.preprocess(to_rgb(picture)))

    return preprocess


def _bytes(sample: Sample) -> int:
    return sum(of.numel() * of.element_size() for of in (sample.x_0, sample.pixels))
