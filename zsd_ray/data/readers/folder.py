"""A folder with one subfolder of images per class."""

from __future__ import annotations

import posixpath
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence

from PIL import Image

from zsd_ray.data.dataset import spread
from zsd_ray.data.labels.label_names import number_labels
from zsd_ray.data.location import Location
from zsd_ray.data.pictures.decoding import EXTENSIONS, decode
from zsd_ray.data.record_table import RecordTable
from zsd_ray.records.errors import UserError, some

# What people have pictures in beside these: they are no images here, which is said.
_OTHER_PICTURES = (
    *("jp2", "j2k", "jxl", "heic", "heif", "avif", "pfm", "svg"),
    *("ico", "tga", "psd", "dng", "cr2", "nef", "arw", "exr", "hdr", "dcm", "npy"),
)

# Names of folders that are parts of a data set, and no classes of it.
_SPLITS = {
    *("train", "training", "test", "testing", "val", "valid", "validation", "eval", "dev"),
    *("holdout", "extra"),
}

# Folders of systems, which hold no images of anybody's.
_NO_CLASSES = {"__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"}


class FolderDataset:
    """Images at `path`/CLASS/..., local or at any fsspec URL; hidden files are left out.

    An image's id is its path below `path`. The reading order mixes the classes, so that the
    accuracy of the first images is that of all.

    Raises:
        UserError: no such folder, no class subfolders, or a class without images; subfolders that
            are splits, or two of one name.
    """

    records: RecordTable
    label_names: Sequence[str] | None

    def __init__(self, path: str | Location) -> None:
        self._location = Location.of(path)
        shown = self._location.shown
        with self._location.user_errors(f"data.path {shown}"):
            names = _list(self._location)
            folders = set(self._location.folders()) - _NO_CLASSES
        images = [name for name in names if _is_image(name)]
        n_images = Counter(name.partition("/")[0] for name in images if "/" in name)
        if not n_images:
            raise UserError(_nothing_found(shown, names, images))
        empty = sorted(name for name in folders - set(n_images) if not _is_image(name))
        if empty:
            # Left out silently, a class would make the task easier and the accuracy dishonest, and
            # a list of names that is matched by order would name all classes behind it wrong.
            raise UserError(
                f"data.path {shown} holds {len(empty)} class folders without images "
                f"({some(empty)}); remove them, or give them images ({', '.join(EXTENSIONS)})"
            )
        self.label_names = number_labels(n_images)
        _check_names(shown, self.label_names)
        _say_left_out(shown, names)
        label_of = {name: label for label, name in enumerate(self.label_names)}
        ids = [name for name in sorted(images, key=spread) if "/" in name]
        self.records = RecordTable(
            ids,
            [f"{shown}/{name}" for name in ids],
            [label_of[name.partition("/")[0]] for name in ids],
        )

    def read(self, index: int) -> Image.Image:
        record = self.records[index]
        with self._location.image_errors(record.source):
            data = self._location.read_bytes(self._location.join(record.image_id))
        return decode(data, record.source)


def _check_names(shown: str, names: Sequence[str]) -> None:
    """Refuse folders that are splits, and two whose names look the same."""
    if {name.casefold() for name in names} <= _SPLITS:
        raise UserError(
            f"data.path {shown} holds {', '.join(names)}, which are splits and no classes; set "
            f"data.path to the one that is meant, such as {shown.rstrip('/')}/{names[0]}"
        )
    seen: dict[str, str] = {}
    for name in names:
        before = seen.setdefault(unicodedata.normalize("NFC", name).strip(), name)
        if before != name:
            raise UserError(
                f"data.path {shown} holds the class folders {before!a} and {name!a}, which read "
                "as one name; put their images into one, or rename one"
            )


def _say_left_out(shown: str, names: Sequence[str]) -> None:
    """Warn of pictures that are not read: they would silently be missing from the results."""
    left_out = [name for name in names if "/" in name and _extension(name) in _OTHER_PICTURES]
    if left_out:
        warnings.warn(
            f"data.path {shown}: {len(left_out)} pictures are left out ({some(left_out)}); read "
            f"are {', '.join(EXTENSIONS)}",
            stacklevel=4,
        )


def _list(location: Location) -> list[str]:
    wanted = "source folder needs a folder with one subfolder of images a class"
    try:
        names = location.files()
        kind = "directory" if names else location.kind()
    except FileNotFoundError:
        kind = None
    except NotADirectoryError:
        kind = "file"
    if kind is None:
        raise UserError(f"data.path {location.shown} does not exist; {wanted}")
    if kind != "directory":
        raise UserError(f"data.path {location.shown} is a file; {wanted}")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"data.path {location.shown} holds a file whose name is not UTF-8: {name!a}; "
                "rename it"
            ) from None
    return names


def _is_image(name: str) -> bool:
    return _extension(name) in EXTENSIONS


def _extension(name: str) -> str:
    return posixpath.splitext(name)[1].removeprefix(".").lower()


def _nothing_found(shown: str, names: list[str], images: list[str]) -> str:
    if images:
        return (
            f"data.path {shown} holds {len(images)} images but no class subfolders; put each image "
            "into a subfolder named after its class"
        )
    return (
        f"data.path {shown} holds {len(names)} files but no images in class subfolders; needed are "
        f"CLASS/IMAGE with {', '.join(EXTENSIONS)}"
    )
