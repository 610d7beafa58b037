"""Answers of people and networks to cue-conflict images, from the files of Geirhos et al. 2019.

One CSV holds a session of one subject: one row per image, in the columns object_response (the
    answer), category (the shape) and imagename, which ends in SHAPEn-TEXTUREm.png. Its own name is
    EXPERIMENT_SUBJECT_session_N.csv, where people are called subject-NN; further columns are not
    read.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from zsd_ray.data.catalogue import spec_of
from zsd_ray.data.layouts.cue_conflict import cues
from zsd_ray.data.location import Location
from zsd_ray.records.errors import UserError, some
from zsd_ray.storage.store import Store

_COLUMNS = ("object_response", "category", "imagename")
_FILE_NAME = re.compile(r"[^_]+_(?P<subject>.+)_session[-_]\d+\.csv")
_NO_ANSWER = "na"
_IMAGE = re.compile(r"[a-z]+\d+-[a-z]+\d+\.png$")  # before it stands the number of a trial
_PERSON = re.compile(r"subject-\d+")


@dataclass(frozen=True)
class Answers:
    """N answers of one subject, or of several together.

    shapes, textures, answers: class names, (N,) each; an answer may be none of the classes ("na").
    """

    subject: str
    shapes: tuple[str, ...]
    textures: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def is_person(self) -> bool:
        return _PERSON.fullmatch(self.subject) is not None

    @classmethod
    def together(cls, subject: str, parts: Sequence[Answers]) -> Self:
        """Return all answers of several subjects, concatenated."""
        columns = ("shapes", "textures", "answers")
        return cls(subject, *(tuple(chain(*(getattr(p, c) for p in parts))) for c in columns))


def read_recorded(paths: Iterable[str], store: Store) -> list[Answers]:
    """Read files, or those that glob patterns match; a subject's sessions are put together.

    Returns:
        One entry per subject, by name.

    Raises:
        UserError: there is no such file, or it has another form; or a subject has answered an
            image twice, so that a file is read twice or two subjects have one name.
    """
    sessions: dict[str, list[Answers]] = {}
    seen: dict[tuple[str, str], str] = {}
    read = set()
    for path in paths:
        location = Location(path, store)
        with location.user_errors(f"--decisions {location.shown}"):
            files = location.glob()
        if not files:
            raise UserError(f"--decisions {location.shown}: there is no such file")
        for file in files:
            if location.show(file) in read:
                raise UserError(f"--decisions {location.show(file)} is given twice")
            read.add(location.show(file))
            answers, images = _read(location, file)
            _refuse_twice(seen, answers.subject, images, location.show(file))
            sessions.setdefault(answers.subject, []).append(answers)
    return [Answers.together(subject, sessions[subject]) for subject in sorted(sessions)]


def _refuse_twice(
    seen: dict[tuple[str, str], str], subject: str, images: Sequence[str], shown: str
) -> None:
    """Refuse a subject's second answer to an image.

    seen: the file of each (subject, image) so far; this file's images are added.
    """
    for image in images:
        before = seen.setdefault((subject, image), shown)
        if before != shown:
            raise UserError(
                f"--decisions: {subject} has decided {image} in {before} and in {shown}; give a "
                "file once, and let two subjects have two names"
            )
    if len(set(images)) != len(images):
        image = next(image for image in images if images.count(image) > 1)
        raise UserError(f"--decisions {shown}: {subject} has decided {image} twice in it")


def _read(location: Location, path: str) -> tuple[Answers, list[str]]:
    """The answers of a file, and the images that they are about."""
    shown = location.show(path)
    name = posixpath.basename(path)
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        raise UserError(
            f"--decisions {shown}: its name does not say whose decisions it holds; it must be "
            "EXPERIMENT_SUBJECT_session_N.csv, with subject-NN for a person"
        )
    with location.user_errors(f"--decisions {shown}"):
        text = location.read_bytes(path).decode("utf-8-sig")
        rows = list(_rows(text, f"--decisions {shown}"))
    shapes, textures, answers = (tuple(row[i] for row in rows) for i in range(3))
    return Answers(match["subject"], shapes, textures, answers), [row[3] for row in rows]


def _rows(text: str, where: str) -> Iterator[tuple[str, str, str, str]]:
    """Shape, texture, answer and image of each row."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = reader.fieldnames or ()
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise UserError(
            f"{where} has no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}, but "
            f"there are {some(header) or 'none'}"
        )
    twice = [column for column in _COLUMNS if header.count(column) > 1]
    if twice:
        raise UserError(f"{where} has the column {twice[0]} twice")
    classes = spec_of("cue-conflict").labels
    for row in reader:
        yield _row(row, classes, f"{where}, line {reader.line_num}")


def _row(
    row: Mapping[str | None, str | None], classes: Sequence[str], where: str
) -> tuple[str, str, str, str]:
    answer, category, image = (row[column] for column in _COLUMNS)
    if answer is None or category is None or image is None:
        raise UserError(f"{where} is cut off")
    if None in row:
        raise UserError(f"{where} has more cells than there are columns")
    try:
        shape, texture = cues(image)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if shape != category:
        raise UserError(f"{where}: the category is {category!r}, but the shape of {image!r} is not")
    for what, name in (("shape", shape), ("texture", texture), ("answer", answer)):
        if name not in classes and (what, name) != ("answer", _NO_ANSWER):
            raise UserError(
                f"{where}: the {what} {name[:40]!r} is none of the {len(classes)} classes"
                + (f", nor {_NO_ANSWER!r} for none" if what == "answer" else "")
            )
    return shape, texture, answer, _IMAGE.findall(image)[-1]
