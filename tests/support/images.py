"""Small data sets of made-up pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import ImageError, StoreError


class Pictures:
    """Random pictures in memory; those in `bad` are damaged, the store of those in `away` is."""

    def __init__(
        self,
        n: int,
        n_classes: int = 3,
        bad: tuple[int, ...] = (),
        away: tuple[int, ...] = (),
    ) -> None:
        self.records = RecordTable(
            [f"picture-{i}" for i in range(n)], ["memory"] * n, [i % n_classes for i in range(n)]
        )
        self.label_names = [f"class {k}" for k in range(n_classes)]
        self._bad = bad
        self._away = away
        self.n_reads = 0

    def read(self, index: int) -> Image.Image:
        self.n_reads += 1
        if index in self._bad:
            raise ImageError(f"picture {index} is truncated")
        if index in self._away:
            raise StoreError(f"picture {index}: no answer")
        rng = np.random.default_rng(index)
        return Image.fromarray(rng.integers(0, 256, (20, 16, 3), dtype=np.uint8))


def write_folder(root, n_each=3, classes=("cat", "dog"), bad=()):
    """A folder of PNG files, class by class; the names in `bad` are cut short."""
    for k, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(n_each):
            rng = np.random.default_rng(100 * k + i)
            path = folder / f"{i}.png"
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
            if f"{name}/{i}.png" in bad:
                path.write_bytes(path.read_bytes()[:200])
    return root
