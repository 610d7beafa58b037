"""WebDataset: samples, labels, names, what is read of a tar, and what is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.tars import write_tar
from zsd_ray.config.data import DataConfig
from zsd_ray.data.location import Location
from zsd_ray.data.open import open_dataset
from zsd_ray.data.readers.webdataset_reader import WebDataset
from zsd_ray.records.errors import ImageError, UserError
from zsd_ray.records.scores import ImageRecord

Encode = Callable[..., bytes]
Picture = Callable[..., Image.Image]


@pytest.fixture
def png(picture: Picture, encode: Encode) -> Callable[[int], bytes]:
    return lambda seed: encode(picture(seed))


def opened(path: Path | str, **keys: Any) -> WebDataset:
    dataset = open_dataset(
        DataConfig.model_validate({"source": "webdataset", "path": str(path), **keys})
    )
    assert isinstance(dataset, WebDataset)
    return dataset


def labels(dataset: WebDataset) -> list[int | None]:
    return [record.label for record in dataset.records]


def ids(dataset: WebDataset) -> list[str]:
    return [record.image_id for record in dataset.records]


def test_a_tar_of_images_with_their_numbers(
    tmp_path: Path, picture: Picture, png: Callable[[int], bytes]
) -> None:
    files = [(f"{n:03}.{end}", data) for n in range(5) for end, data in _sample(png(n), n % 3)]
    tar = write_tar(tmp_path / "0.tar", files)
    dataset = opened(tar)
    assert ids(dataset) == [f"0.tar:{n:03}" for n in range(5)]
    assert labels(dataset) == [0, 1, 2, 0, 1]
    assert dataset.label_names is None
    assert dataset.records[3].source == f"{tar}:003.png"
    for n in range(5):
        np.testing.assert_array_equal(np.asarray(dataset.read(n)), np.asarray(picture(n)))


def _sample(image: bytes, label: int) -> list[tuple[str, bytes]]:
    return [("png", image), ("cls", str(label).encode())]


def test_every_kind_of_image(tmp_path: Path, picture: Picture, encode: Encode) -> None:
    kinds = {
        "jpg": "JPEG", "JPEG": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "ppm": "PPM",
        "tif": "TIFF", "tiff": "TIFF",
    }  # fmt: skip
    files = [
        (f"a_{n}.{end}", encode(picture(1), kind)) for n, (end, kind) in enumerate(kinds.items())
    ]
    dataset = opened(write_tar(tmp_path / "a.tar", files), label_column=None)
    assert [dataset.read(n).format for n in range(len(kinds))] == list(kinds.values())


def test_a_folder_a_pattern_and_a_range_give_the_same(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    for n in range(3):
        write_tar(tmp_path / f"part-{n:06}.tar", [(f"{n}.png", png(n)), (f"{n}.cls", b"1\n")])
    (tmp_path / "part-stats.json").write_text("{}")
    found = [
        list(opened(path).records)
        for path in (tmp_path, tmp_path / "part-*.tar", tmp_path / "part-{000000..000002}.tar")
    ]
    assert found[0] == found[1] == found[2]
    assert [record.image_id for record in found[0]] == [f"part-{n:06}.tar:{n}" for n in range(3)]
    assert len(opened(tmp_path / "part-{000001..000002}.tar").records) == 2
    assert ids(opened(tmp_path / "part-000001.tar")) == ["part-000001.tar:1"]


def test_a_missing_piece_of_a_range_is_named(tmp_path: Path, png: Callable[[int], bytes]) -> None:
    write_tar(tmp_path / "a-0.tar", [("0.png", png(0))])
    with pytest.raises(UserError, match=r"cannot read a-1\.tar of data\.path .*no such file"):
        opened(tmp_path / "a-{0..2}.tar", label_column=None)


@pytest.mark.parametrize("name", ["a-{3..1}.tar", "a-{0..9999999}.tar"])
def test_a_range_that_makes_no_sense(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"by its ranges; it takes 1 to 100000"):
        opened(tmp_path / name)


def test_two_ranges_in_a_path(tmp_path: Path, png: Callable[[int], bytes]) -> None:
    for folder in range(2):
        for n in range(9, 11):
            write_tar(tmp_path / f"s{folder}" / f"{n}.tar", [(f"{n}.png", png(n))])
    dataset = opened(tmp_path / "s{0..1}/{9..10}.tar", label_column=None)
    assert ids(dataset) == ["s0/10.tar:10", "s0/9.tar:9", "s1/10.tar:10", "s1/9.tar:9"]
    assert ids(dataset) == ids(opened(tmp_path, label_column=None))


def test_keys_keep_their_folder_and_end_at_the_first_dot(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    """And the parts of a sample may lie apart; hidden files and notes on the tar are no samples."""
    files = [
        ("./x/one.png", png(0)),
        ("y/one.seg.png", b"another part"),
        ("y/one.jpg", png(1)),
        ("v1.2/two.png", png(2)),
        ("x/._one.png", b"of a mac"),
        ("__notes__", b"?"),
        ("y/one.cls", b"4"),
        ("v1.2/two.cls", b"5"),
        ("./x/one.cls", b"3"),
        ("x/one.txt", b"a caption"),
    ]
    dataset = opened(write_tar(tmp_path / "a.tar", files))
    assert ids(dataset) == ["a.tar:x/one", "a.tar:y/one", "a.tar:v1.2/two"]
    assert labels(dataset) == [3, 4, 5]


class TestLabels:
    def test_by_a_key_of_the_json(self, tmp_path: Path, png: Callable[[int], bytes]) -> None:
        files = []
        for n, (fine, coarse) in enumerate([("emu", 1), ("cat", 0), (None, -1), ("emu", True)]):
            said = json.dumps({"fine": fine, "coarse": coarse})
            files += [(f"{n}.png", png(n)), (f"{n}.json", said.encode()), (f"{n}.cls", b"9")]
        tar = write_tar(tmp_path / "a.tar", files)
        assert labels(opened(tar, label_column="fine")) == [1, 0, None, 1]
        assert opened(tar, label_column="fine").label_names == ["cat", "emu"]
        assert labels(opened(tar, label_column="coarse")) == [1, 0, None, 1]
        assert labels(opened(tar)) == [9] * 4  # no .json has the key that is the default
        assert labels(opened(tar, label_column=None)) == [None] * 4

    def test_a_blank_text_is_no_label(self, tmp_path: Path, png: Callable[[int], bytes]) -> None:
        files = []
        for n, label in enumerate(["emu", "", " ", "cat"]):
            files += [(f"{n}.png", png(n)), (f"{n}.json", json.dumps({"label": label}).encode())]
        dataset = opened(write_tar(tmp_path / "a.tar", files))
        assert (labels(dataset), dataset.label_names) == ([1, None, None, 0], ["cat", "emu"])

    def test_a_json_with_the_default_key_goes_before_a_cls(
        self, tmp_path: Path, png: Callable[[int], bytes]
    ) -> None:
        files = [("0.png", png(0)), ("0.cls", b"1"), ("0.json", b'{"label": 2}')]
        assert labels(opened(write_tar(tmp_path / "a.tar", files))) == [2]

    def test_names_lie_beside_the_tars_or_above(
        self, tmp_path: Path, png: Callable[[int], bytes]
    ) -> None:
        for n in range(2):
            write_tar(tmp_path / "test" / f"{n}.tar", [("0.png", png(n)), ("0.cls", b"%d" % n)])
        assert opened(tmp_path / "test").label_names is None
        (tmp_path / "classnames.txt").write_text("cat\ngreat dane\nemu\n")
        for path in (tmp_path, tmp_path / "test", tmp_path / "test" / "1.tar"):
            assert opened(path).label_names == ["cat", "great dane", "emu"]
        assert opened(tmp_path, label_column=None).label_names is None
        (tmp_path / "test" / "classnames.txt").write_text("a\nb\n")
        assert opened(tmp_path).label_names == ["a", "b"]
        (tmp_path / "test" / "classnames.txt").write_text("a\na\n")
        assert opened(tmp_path).label_names is None  # they tell no labels apart
        (tmp_path / "test" / "classnames.txt").write_text("a\n")
        with pytest.raises(UserError, match="names 1 classes, but the tars hold label 1"):
            opened(tmp_path)

    @pytest.mark.parametrize(
        ("second", "column", "message"),
        [
            ({}, "label", r"1 of 2 samples have no .cls, nor 'label' in a .json \(a.tar:1\)"),
            ({"cls": b"1"}, "fine", r"'fine' is a key of no sample's .json"),
            ({"cls": b"emu"}, "label", r"1.cls holds 'emu'; a .cls is one whole number"),
            ({"json": b"{"}, "label", r"1.json is not valid JSON"),
            ({"json": b"[1]"}, "label", r"1.json must hold a JSON object, but holds a list"),
            ({"json": b'{"label": 1.5}'}, "label", r"1.json has a label 1.5; labels are ints or"),
            ({"json": b'{"label": 1}'}, "label", r"1 of 2 samples have no key 'label' in a .json"),
        ],
    )
    def test_bad_ones_are_refused(
        self,
        tmp_path: Path,
        png: Callable[[int], bytes],
        second: dict[str, bytes],
        column: str,
        message: str,
    ) -> None:
        files = [("0.png", png(0)), ("0.cls", b"0"), ("1.png", png(1))]
        files += [(f"1.{end}", data) for end, data in second.items()]
        with pytest.raises(UserError) as caught:
            opened(write_tar(tmp_path / "a.tar", files), label_column=column)
        assert re.search(message, str(caught.value)), str(caught.value)
        assert "\n" not in str(caught.value)

    def test_numbers_and_text_do_not_mix(self, tmp_path: Path, png: Callable[[int], bytes]) -> None:
        for n, value in enumerate((1, "cat")):
            said = json.dumps({"label": value}).encode()
            write_tar(tmp_path / f"{n}.tar", [("0.png", png(n)), ("0.json", said)])
        with pytest.raises(UserError, match=r"numbers \(1\) in some samples and text \('cat'\)"):
            opened(tmp_path)


REFUSED: dict[str, tuple[list[tuple[str, bytes]], str]] = {
    "no image": ([("0.cls", b"1"), ("0.txt", b"x")], r"sample 0 needs one image .*but has none"),
    "two images": ([("0.png", b"x"), ("0.jpg", b"y")], r"sample 0 .*but has \.png, \.jpg"),
    "a file twice": ([("0.png", b"x"), ("./0.png", b"y")], r"it holds 0\.png twice"),
    "no extension": ([("d/README", b"x")], r"its file d/README has no extension"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_samples_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    files, message = REFUSED[name]
    with pytest.raises(UserError) as caught:
        opened(write_tar(tmp_path / "a.tar", files), label_column=None)
    assert re.search(rf"cannot read a\.tar of data\.path .*{message}", str(caught.value))


def test_links_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("0.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    with pytest.raises(UserError, match=r"its member 0\.png is a link"):
        opened(tmp_path, label_column=None)


@pytest.mark.parametrize(
    ("mode", "suffix", "kind"),
    [("w:gz", ".tar.gz", "gzip"), ("w:gz", ".tar", "gzip"), ("w:bz2", ".tar.bz2", "bzip2"),
     ("w:xz", ".tar.xz", "xz")],
)  # fmt: skip
def test_compressed_tars_are_refused(
    tmp_path: Path, png: Callable[[int], bytes], mode: str, suffix: str, kind: str
) -> None:
    write_tar(tmp_path / "0.tar", [("0.png", png(0))])
    write_tar(tmp_path / f"1{suffix}", [("1.png", png(1))], mode)
    with pytest.raises(UserError, match=rf"1{suffix} of .*compressed with {kind}.*unpack it"):
        opened(tmp_path, label_column=None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = random.Random(0)
    files = [
        (f"{n}.{end}", rng.randbytes(size))
        for n, size in enumerate([700, 1, 512, 5000])
        for end in ("png", "txt")
    ]
    return write_tar(tmp_path_factory.mktemp("whole") / "a.tar", files)


@given(data=st.data())
def test_no_cut_loses_images_in_silence(whole: Path, data: st.DataObject) -> None:
    """A tar that is cut anywhere is refused, unless all that is gone is filling at its end."""
    content = whole.read_bytes()
    n_bytes = data.draw(st.integers(0, len(content) - 1))
    end_mark = len(content.rstrip(b"\0")) + 512 + 512  # padding of the last file, one zero block
    found = listed(content[:n_bytes])
    assert found == listed(content) or (found is None and n_bytes < end_mark)


@given(data=st.data())
def test_no_damaged_header_loses_images_in_silence(whole: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    with tarfile.open(whole) as tar:
        headers = [member.offset for member in tar]
    inside = data.draw(st.integers(0, 511))
    content[data.draw(st.sampled_from(headers)) + inside] ^= data.draw(st.integers(1, 255))
    found = listed(bytes(content))
    if found is not None:
        assert inside in range(148, 156)  # the filling of the check sum's own field
        assert found == listed(whole.read_bytes())


def listed(content: bytes) -> list[ImageRecord] | None:
    """The records of a tar; None where it is refused, by its name."""
    fsspec.filesystem("memory").pipe("/listed/a.tar", content)
    try:
        return list(WebDataset("memory://listed/a.tar", None).records)
    except UserError as error:
        if "a.tar" not in str(error):
            raise
        return None


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>" * 99, bytes(100), os.urandom(2048)]
)
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read a\.tar of data\.path"):
        opened(tmp_path)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_foreign_names(tmp_path: Path, png: Callable[[int], bytes], form: int) -> None:
    name = "d" * 90 + "/" + ("ü" * 20 if form == tarfile.PAX_FORMAT else "u" * 90)
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as tar:
        for end, data in (("png", png(0)), ("cls", b"7")):
            member = tarfile.TarInfo(f"{name}.{end}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    dataset = opened(tmp_path)
    assert ids(dataset) == [f"a.tar:{name}"]
    assert labels(dataset) == [7]
    assert dataset.read(0).size == (9, 7)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.tar files"):
        opened(tmp_path)
    with pytest.raises(UserError, match="is no file, folder or pattern that matches"):
        opened(tmp_path / "none-*.tar")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The byte ranges that are asked for."""
    asked: list[tuple[int, int]] = []
    real = Location.read_bytes

    def note(self: Location, path: str, start: int | None = None, end: int | None = None) -> bytes:
        data = real(self, path, start, end)
        asked.append((start or 0, (start or 0) + len(data)))
        return data

    monkeypatch.setattr(Location, "read_bytes", note)
    return asked


def test_listing_reads_headers_and_reading_one_image_its_bytes(
    memory: str, tmp_path: Path, picture: Picture, encode: Encode, requests: list[tuple[int, int]]
) -> None:
    images = [encode(picture(seed, 400, 300)) for seed in range(8)]  # 360 kB each
    files = [
        (f"{n}.{end}", data) for n, image in enumerate(images) for end, data in _sample(image, n)
    ]
    tar = write_tar(tmp_path / "0.tar", files)
    fsspec.filesystem("memory").put(str(tar), "/bucket/data/0.tar")
    dataset = opened(f"{memory}/0.tar")
    read = sum(end - start for start, end in requests)
    assert read < tar.stat().st_size / 4
    assert len(requests) <= 2 * len(images) + 2
    requests.clear()
    assert encode(dataset.read(5)) == images[5]
    assert [end - start for start, end in requests] == [len(images[5])]


def test_it_is_small_when_it_travels(
    tmp_path: Path, png: Callable[[int], bytes], travel: Callable[[Any], Any]
) -> None:
    files = [(f"{n:05}.{end}", data) for n in range(200) for end, data in _sample(png(n), n)]
    dataset = opened(write_tar(tmp_path / "0.tar", files))
    beside_records = len(pickle.dumps(dataset)) - len(pickle.dumps(dataset.records))
    assert beside_records < 200 * 25 + 1000
    assert travel(dataset).read(7).tobytes() == dataset.read(7).tobytes()


def test_a_picture_that_cannot_be_decoded_is_one_image(
    tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    dataset = opened(
        write_tar(tmp_path / "a.tar", [("0.png", b"nothing"), ("1.png", png(1))]), label_column=None
    )
    with pytest.raises(ImageError, match=r"a\.tar:0\.png: not an image"):
        dataset.read(0)
    assert dataset.read(1).size == (9, 7)
