"""Pictures with known pixels, and the places that data may come from."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real images beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no real images here: {SHARED} is absent")
    return SHARED


@pytest.fixture
def memory() -> Iterator[str]:
    """A URL in an empty fsspec filesystem in memory, which stands for a remote store."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield "memory://bucket/data"
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """picture(seed, width, height): RGB noise, so that no two pixels are mistaken."""

    def make(seed: int = 0, width: int = 9, height: int = 7) -> Image.Image:
        levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(levels)

    return make


@pytest.fixture
def travel() -> Callable[[Any], Any]:
    """travel(thing): the thing as it arrives in another process."""
    return lambda thing: pickle.loads(pickle.dumps(thing))  # noqa: S301 - pickled by this test


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """encode(image, kind, **options): the bytes of an image file."""

    def save(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return save
