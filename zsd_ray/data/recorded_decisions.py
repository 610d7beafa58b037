"""What people and networks answered to cue-conflict images, from the files of Geirhos et al. 2019.

One CSV holds a session of one subject: a row an image, in the columns object_response (the answer),
category (the shape) and imagename, which ends in SHAPEn-TEXTUREm.png. Its own name is
EXPERIMENT_SUBJECT_session_N.csv, where people are called subject-NN; further columns are not read.
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from zsd_ray.data.layouts.cue_conflict import cues
from zsd_ray.data.location import Location
from zsd_ray.spec.errors import UserError, some

_COLUMNS = ("object_response", "category", "imagename")
_FILE_NAME = re.compile(r"[^_]+_(?P<subject>.+)_session[-_]\d+\.csv")
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
        """All answers of several, one after the other."""
        columns = ("shapes", "textures", "answers")
        return cls(subject, *(tuple(chain(*(getattr(p, c) for p in parts))) for c in columns))


def read_recorded(paths: Iterable[str]) -> list[Answers]:
    """Read files, or those that glob patterns match; a subject's sessions are put together.

    Returns:
        One entry a subject, by name.

    Raises:
        UserError: there is no such file, or it is none of these.
    """
    sessions: dict[str, list[Answers]] = {}
    for path in paths:
        location = Location(path)
        with location.user_errors(f"--decisions {location.shown}"):
            files = location.glob()
        if not files:
            raise UserError(f"--decisions {location.shown}: there is no such file")
        for file in files:
            answers = _read(location, file)
            sessions.setdefault(answers.subject, []).append(answers)
    return [Answers.together(subject, sessions[subject]) for subject in sorted(sessions)]


def _read(location: Location, path: str) -> Answers:
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
    return Answers(match["subject"], shapes, textures, answers)


def _rows(text: str, where: str) -> Iterator[tuple[str, str, str]]:
    """Shape, texture and answer of each row."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    header = reader.fieldnames or ()
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise UserError(
            f"{where} has no column {', '.join(missing)}; needed are {', '.join(_COLUMNS)}, but "
            f"there are {some(header) or 'none'}"
        )
    for row in reader:
        yield _row(row, f"{where}, line {reader.line_num}")


def _row(row: dict[str, str | None], where: str) -> tuple[str, str, str]:
    answer, category, image = (row[column] for column in _COLUMNS)
    if answer is None or category is None or image is None:
        raise UserError(f"{where} is cut off")
    try:
        shape, texture = cues(image)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    if shape != category:
        raise UserError(f"{where}: the category is {category!r}, but the shape of {image!r} is not")
    return shape, texture, answer
