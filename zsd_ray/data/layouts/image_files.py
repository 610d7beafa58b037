"""Images in files of their own below one folder, with labels from another source."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from PIL import Image

from zsd_ray.data.dataset import spread
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import EXTENSIONS, decode
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import ImageError, UserError, some


class ImageFiles:
    """An image's id is its path below `location`; the reading order mixes the classes.

    Args:
        labels: id -> label number.
        border: pixels to cut off each side of an image when it is read.
        flat: ids begin with a folder of the class as they do in other layouts of the same images,
            and all files are in `location` itself.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def __init__(
        self,
        location: Location,
        labels: Mapping[str, int],
        label_names: Sequence[str] | None,
        border: int = 0,
        flat: bool = False,
    ) -> None:
        self._location = location
        self._border = border
        self._flat = flat
        self.label_names = label_names
        ids = sorted(labels, key=spread)
        sources = (f"{location.shown}/{self._path(name)}" for name in ids)
        self.records = RecordTable(ids, sources, (labels[name] for name in ids))

    def read(self, index: int) -> Image.Image:
        record = self.records[index]
        with self._location.image_errors(record.source):
            path = self._location.join(self._path(record.image_id))
            data = self._location.read_bytes(path)
        image = decode(data, record.source)
        return _inner(image, self._border, record.source) if self._border else image

    def _path(self, image_id: str) -> str:
        return image_id.partition("/")[2] if self._flat else image_id


def image_names(location: Location) -> list[str]:
    """Return paths of the image files below a folder, relative to it, sorted; none without a
    folder."""
    if location.kind() != "directory":
        return []
    return [name for name in location.files() if name.lower().endswith(_SUFFIXES)]


def check_present(location: Location, listed: Collection[str], by: str) -> None:
    """Raise UserError unless every image that the file `by` lists is below `location`.

    Missing images, if skipped silently or noticed only when read, would change the data set.
    """
    missing = sorted(set(listed) - set(image_names(location)))
    if missing:
        raise UserError(
            f"{by} lists {len(listed)} images, of which {location.shown} lacks {len(missing)} "
            f"({some(missing)}); unpack the archive's images there again"
        )


_SUFFIXES = tuple(f".{extension}" for extension in EXTENSIONS)


def _inner(image: Image.Image, border: int, source: str) -> Image.Image:
    width, height = image.size
    if min(width, height) <= 2 * border:
        raise ImageError(
            f"{source}: {width}x{height} pixels are nothing but the border of {border} pixels"
        )
    return image.crop((border, border, width - border, height - border))
