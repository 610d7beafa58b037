import json
import os
import stat

import pytest

from zsd_ray.config.time_profile import FittedOn, TimeProfile
from zsd_ray.records.errors import UserError
from zsd_ray.results.profile_file import read_profile, write_profile
from zsd_ray.storage.store import Store

PROFILE = TimeProfile(
    loss="l2",
    edges=(0.02, 1 / 3, 0.98),
    sd=(0.1, 1e-7),
    signal=(0.3, 1.2),
    informative=(1 / 3, 0.98),
    weights=(0.0, 2.5),
    fitted_on=FittedOn(
        run="x", identity="y", images=1, draws=2, evaluations=3, share=0.5, salt="s"
    ),
)


def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path):
    path = str(tmp_path / "new" / "profile.json")
    write_profile(path, PROFILE, Store())
    assert read_profile(path, Store()) == PROFILE
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["profile.json"]


def test_a_name_without_a_folder_is_in_the_present_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_profile("p.json", PROFILE, Store())
    assert read_profile(str(tmp_path / "p.json"), Store()) == PROFILE


def test_a_profile_at_a_url(s3):
    store = Store(s3.storage)
    write_profile(f"{s3.url}/a/p.json", PROFILE, store)
    assert read_profile(f"{s3.url}/a/p.json", store) == PROFILE
    assert read_profile(f"{s3.url}/a/q.json", store) is None


def test_none_where_there_is_no_file(tmp_path):
    assert read_profile(str(tmp_path / "absent.json"), Store()) is None


def change(**keys):
    return json.dumps({**PROFILE.model_dump(mode="json"), **keys})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ["is not valid JSON"]),
        ("[1]", ["must hold a JSON object", "a list"]),
        ("{}", ["edges", "required"]),
        (change(edges=[0.5, 0.2, 0.7]), ["edges must be", "rise"]),
        (change(edges=[0.5]), ["edges must be two or more"]),
        (change(sd=[1.0]), ["sd needs 2 values", "has 1"]),
        (change(sd=[1.0, 0.0]), ["sd.1", "came 0"]),
        (change(weights=[1.0, -1.0]), ["weights.1", "came -1"]),
        (change(weights=[0, 0]), ["weights are all 0"]),
        (change(loss="l3"), ["loss", "'l1'"]),
        (change(extra=1), ["unknown key extra"]),
    ],
)
def test_what_is_no_profile_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_profile(str(path), Store())
    for word in ["p.json", *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_place_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_profile(str(tmp_path / "file" / "p.json"), PROFILE, Store())


def test_only_a_profile_is_replaced(tmp_path):
    path = tmp_path / "p.json"
    write_profile(str(path), PROFILE, Store())
    write_profile(str(path), PROFILE, Store())
    path.write_text("seed: 1")
    with pytest.raises(UserError, match="is no profile, and is kept"):
        write_profile(str(path), PROFILE, Store())
    assert path.read_text() == "seed: 1"


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    """As root, /dev/null was."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="something that is no file is there"):
        write_profile(str(tmp_path / "pipe"), PROFILE, Store())
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_place_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_profile(str(tmp_path), Store())
