"""Recorded answers: files as Geirhos et al. wrote them, written here, and their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store
from zsd_ray.studies.cue_conflict.recorded_decisions import Answers, read_recorded

HEADER = "subj,session,trial,rt,object_response,category,condition,imagename"
NAME = "style-transfer-experiment_{}_session_1.csv"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, *rows: str, header: str = HEADER) -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows, ""]))
        return path

    return write


def row(answer: str, image: str, category: str | None = None) -> str:
    shape = category or image.rstrip("0123456789").partition("-")[0].rstrip("0123456789")
    return f"s,1,1,0.5,{answer},{shape},0,0001_s5n_s01_0_{shape}_00_{image}.png"


def test_a_file_is_read(write: Write) -> None:
    rows = [row("bird", "bird3-bear2"), row("na", "cat10-oven1"), row("oven", "cat1-oven12")]
    (found,) = read_recorded([str(write(NAME.format("subject-01"), *rows))], Store())
    assert found == Answers(
        "subject-01", ("bird", "cat", "cat"), ("bear", "oven", "oven"), ("bird", "na", "oven")
    )
    assert found.is_person


@pytest.mark.parametrize(
    ("name", "subject", "is_person"),
    [
        ("cue-conflict_subject-10_session_1.csv", "subject-10", True),
        ("cue-conflict_resnet50_session-1.csv", "resnet50", False),
        ("cue-conflict_resnet50_trained_on_SIN_session-1.csv", "resnet50_trained_on_SIN", False),
        ("cue-conflict_subject-net_session-1.csv", "subject-net", False),
    ],
)
def test_the_name_of_the_file_says_whose(
    write: Write, name: str, subject: str, is_person: bool
) -> None:
    (found,) = read_recorded([str(write(name, row("cat", "cat1-oven1")))], Store())
    assert (found.subject, found.is_person) == (subject, is_person)


def test_sessions_of_a_subject_come_together_and_patterns_match(
    write: Write, tmp_path: Path
) -> None:
    write("x_vgg_session_1.csv", row("cat", "cat1-oven1"))
    write("x_vgg_session_2.csv", row("oven", "cat2-oven1"))
    write("x_subject-02_session_1.csv", row("bear", "bear1-oven1"))
    person, network = read_recorded([f"{tmp_path}/*.csv"], Store())
    assert person.subject == "subject-02"
    assert network == Answers("vgg", ("cat", "cat"), ("oven", "oven"), ("cat", "oven"))
    everyone = Answers.together("all", [person, network])
    assert everyone.answers == ("bear", "cat", "oven")
    assert everyone.subject == "all"


def test_remote_files(write: Write, memory: str) -> None:
    path = write(NAME.format("vgg"), row("cat", "cat1-oven1"))
    fsspec.filesystem("memory").put(str(path), f"/bucket/data/{path.name}")
    (found,) = read_recorded([f"{memory}/*.csv"], Store())
    assert found.answers == ("cat",)


def test_a_file_without_rows_has_no_answers(write: Write) -> None:
    (found,) = read_recorded([str(write(NAME.format("vgg")))], Store())
    assert found == Answers("vgg", (), (), ())


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("decisions.csv", HEADER, "does not say whose decisions"),
        (NAME.format("vgg"), "subj,imagename\n", "no column object_response, category; needed"),
        (NAME.format("vgg"), "", "there are none"),
        (NAME.format("vgg"), f"{HEADER}\n{row('cat', 'cat-oven')}\n", "line 2: .*its cues"),
        (NAME.format("vgg"), f"{HEADER}\n{row('a', 'cat1-oven1', 'dog')}\n", "category is 'dog'"),
        (NAME.format("vgg"), f"{HEADER}\ns,1,1\n", "line 2 is cut off"),
        (NAME.format("vgg"), f"{HEADER}\n{row('cat', 'cat1-oven1')},x\n", "line 2 has more cells"),
        (NAME.format("vgg"), HEADER.replace(",", ";"), "no column object_response, category, im"),
        (NAME.format("vgg"), row("cat", "cat1-oven1"), "no column object_response"),
        (NAME.format("vgg"), f"{HEADER},category\n", "has the column category twice"),
        (NAME.format("vgg"), f"{HEADER}\n{row('Cat', 'cat1-oven1')}\n", "answer 'Cat' is none of"),
        (NAME.format("vgg"), f"{HEADER}\n{row('cat', 'cow1-oven1')}\n", "shape 'cow' is none of"),
        (NAME.format("vgg"), f"{HEADER}\n{row('cat', 'cat1-cow1')}\n", "texture 'cow' is none"),
        (NAME.format("vgg"), f"{HEADER}\n{'x' * 140_000}\n", "field larger than field limit"),
        (NAME.format("vgg"), f"{HEADER}\n\0\n", "line"),
        (
            NAME.format("vgg"),
            f"{HEADER}\n{row('cat', 'cat1-oven1')}\n{row('na', 'cat1-oven1')}\n",
            "vgg has decided cat1-oven1.png twice",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_recorded([f"{tmp_path}/{name}"], Store())
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("trial", ["0001_", "0007_"])
def test_two_networks_of_one_name_are_refused(tmp_path: Path, write: Write, trial: str) -> None:
    """Pooled they would look like one that has seen every image twice."""
    answer = row("cat", "cat2-oven1")
    for folder, text in (("a", answer), ("b", answer.replace("0001_", trial))):
        (tmp_path / folder).mkdir()
        write(f"{folder}/{NAME.format('alexnet')}", text)
    with pytest.raises(UserError, match=r"alexnet has decided cat2-oven1\.png in .*/a/.*/b/"):
        read_recorded([f"{tmp_path}/a/*.csv", f"{tmp_path}/b/*.csv"], Store())


def test_a_file_that_two_patterns_match_is_refused(tmp_path: Path, write: Write) -> None:
    path = write(NAME.format("vgg"), row("cat", "cat1-oven1"))
    with pytest.raises(UserError, match="is given twice"):
        read_recorded([str(path), f"{tmp_path}/*.csv"], Store())


def test_other_images_of_a_subject_may_lie_elsewhere(tmp_path: Path, write: Write) -> None:
    (tmp_path / "b").mkdir()
    write(NAME.format("vgg"), row("cat", "cat1-oven1"))
    write(f"b/{NAME.format('vgg')}", row("cat", "cat1-cat2"))
    (found,) = read_recorded([f"{tmp_path}/*.csv", f"{tmp_path}/b/*.csv"], Store())
    assert found.textures == ("oven", "cat")


def test_no_file_and_no_text_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_recorded([f"{tmp_path}/x.csv"], Store())
    (tmp_path / NAME.format("vgg")).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read --decisions"):
        read_recorded([f"{tmp_path}/*.csv"], Store())


def test_the_recorded_ones(shared_data: Path) -> None:
    found = read_recorded([f"{shared_data}/cue-conflict/decisions/*.csv"], Store())
    assert [each.subject for each in found] == [
        "resnet50",
        *(f"subject-{number:02}" for number in range(1, 11)),
    ]
    for each in found:
        assert len(each.answers) == 1280
        assert sum(s != t for s, t in zip(each.shapes, each.textures, strict=True)) == 1200
