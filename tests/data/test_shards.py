"""Which files are the pieces of a data set, and of one of its splits."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from zsd_ray.data.location import Location
from zsd_ray.data.readers.shards import Shard, find_shards, find_split

BINARY = (".bin",)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def found(path: Path | str, split: str) -> list[str]:
    return [shard.name for shard in find_split(Location(str(path)), BINARY, [split])]


@pytest.mark.parametrize(
    ("names", "test", "train"),
    [
        (["test.bin", "train.bin"], ["test.bin"], ["train.bin"]),
        (
            ["data/test-00000-of-00001.bin", "data/train-00000-of-00002.bin", "README.md"],
            ["data/test-00000-of-00001.bin"],
            ["data/train-00000-of-00002.bin"],
        ),
        (
            ["test/0.bin", "test/1.bin", "train/0.bin"],
            ["test/0.bin", "test/1.bin"],
            ["train/0.bin"],
        ),
        (["set-test-000.bin", "set-train_000.bin"], ["set-test-000.bin"], ["set-train_000.bin"]),
        (["validation-0.bin", "train-0.bin"], [], ["train-0.bin"]),  # not that split, but another
        (["0.bin", "latest.bin"], ["0.bin", "latest.bin"], ["0.bin", "latest.bin"]),
        (["extra-0.bin"], [], []),
        (["a/test/0.bin", "run/a/b/0.bin"], ["a/test/0.bin"], []),
        (["0.tar"], [], []),
        ([], [], []),
    ],
)
def test_names_say_the_split(
    tmp_path: Path, names: list[str], test: list[str], train: list[str]
) -> None:
    touch(tmp_path, *names)
    assert found(tmp_path, "test") == test
    assert found(tmp_path, "train") == train


def test_a_split_may_have_several_names(tmp_path: Path) -> None:
    touch(tmp_path, "validation-0.bin", "train-0.bin")
    words = ["test", "validation"]
    assert find_split(Location(str(tmp_path)), BINARY, words)[0].name == "validation-0.bin"
    touch(tmp_path, "test-0.bin")
    (only,) = find_split(Location(str(tmp_path)), BINARY, words)
    assert only.name == "test-0.bin"


def test_what_the_user_names_is_taken_as_it_is(tmp_path: Path) -> None:
    touch(tmp_path, "train-0.bin", "train-1.bin")
    assert found(tmp_path / "train-0.bin", "test") == ["train-0.bin"]
    assert found(tmp_path / "train-*.bin", "test") == ["train-0.bin", "train-1.bin"]
    assert found(tmp_path / "train-{0..1}.bin", "test") == ["train-0.bin", "train-1.bin"]
    assert found(tmp_path / "train-0.tar", "test") == []


def test_the_same_in_a_store(memory: str) -> None:
    for name in ("test/0.bin", "train/0.bin"):
        fsspec.filesystem("memory").pipe(f"/bucket/data/{name}", b"")
    assert found(memory, "test") == ["test/0.bin"]
    shards = find_shards(Location(f"{memory}/test/{{0..1}}.bin"), BINARY)
    assert shards == [Shard(f"/bucket/data/test/{n}.bin", f"{n}.bin") for n in range(2)]


def test_a_folder_of_several_splits_is_said(tmp_path: Path) -> None:
    """Else an accuracy would be of training and test images together, in silence."""
    touch(tmp_path, "data/train-0.bin", "data/test-0.bin")
    with pytest.warns(UserWarning, match="files of test, train by their names, and all 2 are read"):
        assert len(find_shards(Location(str(tmp_path)), BINARY)) == 2


def test_a_folder_of_one_split_says_nothing(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    touch(tmp_path, "data/test-0.bin", "data/test-1.bin")
    assert len(find_shards(Location(str(tmp_path)), BINARY)) == 2
    assert len(find_shards(Location(f"{tmp_path}/data/*.bin"), BINARY)) == 2
    assert not recwarn


def test_what_spark_had_not_finished_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "0.bin", "_temporary/0/task/0.bin", "x/_temporary/1.bin")
    assert [shard.name for shard in find_shards(Location(str(tmp_path)), BINARY)] == ["0.bin"]


def test_ranges_count_as_a_shell_does() -> None:
    for text, names in (
        ("/a/{8..11}.bin", ["10.bin", "11.bin", "8.bin", "9.bin"]),  # sorted, as a folder's are
        ("/a/{008..011}.bin", ["008.bin", "009.bin", "010.bin", "011.bin"]),
        ("/a/{0..1}-{5..6}.bin", ["0-5.bin", "0-6.bin", "1-5.bin", "1-6.bin"]),
    ):
        assert [shard.name for shard in find_shards(Location(text), BINARY)] == names
