"""The images that a worker encoded last, as a model takes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from zsd_ray.data.pictures.transforms import to_model_range, to_square
from zsd_ray.models.denoiser import Denoiser
from zsd_ray.records.errors import ImageError

_CACHE_BYTES = 256 << 20


class Encoded(NamedTuple):
    """x_0 (C, H, W) float32 on the device; pixels (3, S, S) float32 in [-1, 1] on the CPU."""

    x_0: torch.Tensor
    pixels: torch.Tensor | None


class EncodedImages:
    """Encodes images one at a time: batched, their last bits would depend on their company.

    Args:
        read: the picture of an image's number.
        with_pixels: whether the pixels are kept as well.
    """

    def __init__(
        self, denoiser: Denoiser, read: Callable[[int], Image.Image], with_pixels: bool = False
    ) -> None:
        self._denoiser = denoiser
        self._read = read
        self._with_pixels = with_pixels
        self._cache: OrderedDict[int, Encoded] = OrderedDict()
        n_numbers = int(np.prod(denoiser.sample_shape))
        n_numbers += 3 * denoiser.image_size**2 if with_pixels else 0
        self._size = max(1, _CACHE_BYTES // (4 * n_numbers))

    def __contains__(self, image: int) -> bool:
        return image in self._cache

    def __getitem__(self, image: int) -> Encoded:
        """Encode an image, or return it as it was encoded.

        Raises:
            ImageError, StoreError: it is damaged, or its store does not answer.
        """
        if image in self._cache:
            self._cache.move_to_end(image)
            return self._cache[image]
        square = to_square(self._read(image), self._denoiser.image_size)
        pixels = torch.from_numpy(to_model_range(square[None]))
        try:
            x_0 = self._denoiser.encode_images(pixels)[0]
        except torch.OutOfMemoryError:  # what earlier batches left may be in its way
            torch.cuda.empty_cache()
            x_0 = self._denoiser.encode_images(pixels)[0]
        if not bool(torch.isfinite(x_0).all()):
            raise ImageError("the model encodes this image to values that are not finite")
        # A copy: autograd refuses what was made in inference mode.
        self._cache[image] = Encoded(x_0.clone(), pixels[0] if self._with_pixels else None)
        if len(self._cache) > self._size:
            self._cache.popitem(last=False)
        return self._cache[image]
