"""Pictures as torchvision reads them, for comparison with programs that use it.

Its `pil_loader` is `Image.open(file).convert("RGB")`: alpha is dropped, a picture that is stored
turned stays so, and grey of more than 8 bits is cut off at 255. CLIP_benchmark and timm do the
same.
"""

from __future__ import annotations

from PIL import Image

from zsd_ray.data.pictures.changed import ChangedDataset
from zsd_ray.data.pictures.grey_levels import check_finite
from zsd_ray.records.errors import ImageError
from zsd_ray.records.scores import ImageRecord


class TorchvisionDataset(ChangedDataset):
    """A data set whose pictures are RGB as Pillow alone converts them."""

    def _change(self, picture: Image.Image, record: ImageRecord) -> Image.Image:
        try:
            return as_torchvision(picture)
        except Exception as error:  # Pillow cannot convert every mode
            raise ImageError(f"{record.source}: cannot be converted to RGB ({error})") from error


def as_torchvision(picture: Image.Image) -> Image.Image:
    """Convert to RGB, in a form that later conversions leave unchanged.

    Raises:
        ImageError: a level is not finite.
    """
    check_finite(picture)
    picture.info.pop("transparency", None)  # changes no pixel of RGB, and Pillow warns of some
    plain = picture.convert("RGB")
    plain.info = {}  # no EXIF block turns it, no colour of it is transparent
    return plain
