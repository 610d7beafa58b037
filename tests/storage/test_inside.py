"""Names that others wrote stay below the folder that they are looked up in."""

from pathlib import Path

import pytest

from zsd_ray.records.errors import UserError
from zsd_ray.storage.inside import is_inside, name_below, path_inside

HOSTILE = [
    "",
    "/",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/../../x",
    "a/..",
    "a//x",
    "./x",
    "a/./x",
    "a/",
    "..\\x",
    "a\\..\\x",
    "C:/x",
    "a\0b",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_may_lie_elsewhere_are_refused_in_one_line(name):
    assert not is_inside(name)
    with pytest.raises(UserError, match=r"the archive x\.tar names the file") as caught:
        path_inside(Path("/folder"), name, "the archive x.tar")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x", "a/b.json", "..x", "a..b/c...d", "ü/x y", ".hidden", "a:b"])
def test_other_names_are_paths_below_the_folder(name):
    assert path_inside(Path("/folder"), name, "it") == Path("/folder") / name


def test_a_full_name_keeps_every_part_behind_its_folder():
    assert name_below("b/model", "b/model/a/../../x", "it") == "a/../../x"
    assert name_below("b/model/", "b/model/x", "it") == "x"
    assert name_below("", "x/y", "it") == "x/y"
    for full in ("b/models/x", "c/x", "b/model", "b/model/"):
        with pytest.raises(UserError, match="does not lie in it"):
            name_below("b/model", full, "it")
