"""The candidates that a screen leaves, against a plain ranking of its rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.data.record_table import RecordTable
from zsd_ray.planning.candidates import CandidateTable, Screen, open_screen
from zsd_ray.records.errors import UserError
from zsd_ray.records.scores import Decision
from zsd_ray.results.output import Output, part_name
from zsd_ray.results.run_file import RunFile
from zsd_ray.storage.store import Store

CLASSES = ["cat", "dog", "emu", "fox", "gnu"]
MODEL = {"fingerprint": "f"}


def decision(i: int, draws: tuple[int, ...], means: tuple[float, ...], **keys: Any) -> Decision:
    best = max(range(len(draws)), key=lambda k: (draws[k], -means[k], -k))
    row = Decision(
        image_id=f"image-{i}",
        source="",
        label=None,
        prediction=best,
        draws_per_class=draws,
        mean_scores=means,
        n_evaluations=sum(draws),
    )
    return replace(row, **keys)


def write(path: Any, rows: list[Decision], **keys: Any) -> Output:
    output = Output(str(path))
    for start in range(0, len(rows), 2):  # several parts
        output.write_decisions(rows[start : start + 2], raw_scores=False, part=part_name())
    run = RunFile(
        status="finished",
        config={},
        identity="abc",
        identity_parts={"model": MODEL},
        classes=CLASSES,
        versions={},
        seed=0,
        n_images=len(rows),
        totals={"evaluations_per_image": 7.5},
    )
    output.write_run(replace(run, **keys))
    return output


def candidates(output: Output, top: int, n_images: int, group_of: Any = None) -> CandidateTable:
    groups = np.arange(len(CLASSES)) if group_of is None else np.array(group_of)
    screen = Screen(output, "abc", MODEL, len(CLASSES), top, groups.astype(np.int32))
    return screen.candidates(records(n_images), MODEL)


def records(n: int) -> RecordTable:
    return RecordTable([f"image-{i}" for i in range(n)], [""] * n, [None] * n)


@st.composite
def raced(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Draws and means of five classes, some of which were not in the race."""
    draws = draw(st.lists(st.integers(0, 3), min_size=5, max_size=5).filter(any))
    means = draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=5, max_size=5))
    return tuple(draws), tuple(m if n else math.nan for n, m in zip(draws, means, strict=True))


@given(
    rows=st.lists(raced(), min_size=1, max_size=6),
    top=st.integers(1, 4),
    group_of=st.lists(st.integers(0, 4), max_size=4).flatmap(
        lambda more: st.permutations([*range(5), *more])
    ),
)
def test_the_best_are_those_of_a_plain_ranking(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, top: int, group_of: list[int]
) -> None:
    decisions = [decision(i, *row) for i, row in enumerate(rows)]
    output = write(tmp_path_factory.mktemp("run"), decisions)
    table = candidates(output, top, len(rows), group_of)
    for i, (draws, means) in enumerate(rows):
        scored = [k for k in range(5) if draws[k]]
        best = sorted(scored, key=lambda k: (-draws[k], means[k], k))[:top]
        expected = [k for k, group in enumerate(group_of) if group in best]
        found = table.of(i)
        assert found is not None
        assert found.classes.tolist() == expected
        assert found.classes.dtype == np.int32
        assert found.n_evaluations == sum(draws)
        assert table.counts([i]).tolist() == [len(expected)]


def test_one_candidate_that_was_never_scored_is_the_best(tmp_path: Any) -> None:
    nothing = decision(0, (0,) * 5, (math.nan,) * 5, prediction=3)
    only = candidates(write(tmp_path, [nothing]), 3, 1).of(0)
    assert only is not None
    assert only.classes.tolist() == [3]


def test_an_image_that_the_screen_could_not_classify_goes_on_with_all(tmp_path: Any) -> None:
    failed = Decision("image-1", "", None, None, error="cut short", stop_reason="error")
    rows = [decision(0, (3, 2, 1, 1, 1), (1.0,) * 5), failed]
    table = candidates(write(tmp_path, rows), 2, 3)
    assert table.of(1) is None
    assert table.counts([0, 1]).tolist() == [2, 5]
    assert table.listed.tolist() == [True, True, False]


def test_a_decision_counts_whatever_row_was_given_up_before_or_after_it(tmp_path: Any) -> None:
    gone = Decision("image-0", "", None, None, error="no answer", stop_reason="unreadable")
    good = decision(0, (3, 2, 1, 1, 1), (1.0,) * 5)
    for name, rows in (("before", [gone, gone, good]), ("after", [good, gone, gone])):
        found = candidates(write(tmp_path / name, rows), 2, 1).of(0)
        assert found is not None
        assert found.classes.tolist() == [0, 1]


def test_images_that_are_not_of_this_run_are_passed_over(tmp_path: Any) -> None:
    rows = [decision(i, (3, 2, 1, 1, 1), (1.0,) * 5) for i in (7, 1, 9)]
    table = candidates(write(tmp_path, rows), 2, 3)
    assert table.listed.tolist() == [False, True, False]


def test_evaluations_of_another_model_are_not_this_ones(tmp_path: Any) -> None:
    rows = [decision(0, (3, 2, 1, 1, 1), (1.0,) * 5, n_screen_evaluations=100)]
    screen = open_screen(str(write(tmp_path, rows).path), 2, CLASSES, Store())
    same, other = (screen.candidates(records(1), model) for model in (MODEL, {"fingerprint": "g"}))
    assert same.of(0).n_evaluations == 108  # type: ignore[union-attr]
    assert other.of(0).n_evaluations is None  # type: ignore[union-attr]
    assert screen.evaluations_per_image == 7.5


def test_classes_are_matched_by_name(tmp_path: Any) -> None:
    rows = [decision(0, (9, 8, 1, 1, 1), (1.0,) * 5)]  # cat and dog
    ours = ["gnu", "dog", "emu", "cat", "fox"]
    screen = open_screen(str(write(tmp_path, rows).path), 2, ours, Store())
    found = screen.candidates(records(1), MODEL).of(0)
    assert found is not None
    assert [ours[k] for k in found.classes] == ["dog", "cat"]
    assert screen.identity_part == {"run": "abc", "top": 2}


def refused(path: Any, classes: list[str] = CLASSES, top: int = 2) -> str:
    with pytest.raises(UserError) as caught:
        open_screen(str(path), top, classes, Store())
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_did_not_end_is_refused(tmp_path: Any, status: Any) -> None:
    write(tmp_path, [], status=status, n_done=3, n_images=8)
    assert f"is {status}, with 3 of 8 images classified; run it to its end" in refused(tmp_path)


def test_what_is_no_screen_is_refused_with_the_reason(tmp_path: Any) -> None:
    assert "is no output of a run (no run.json)" in refused(tmp_path / "nothing")
    (tmp_path / "run.json").write_text("{}")
    assert refused(tmp_path).startswith("screen.run: ")
    write(tmp_path, [])
    message = refused(tmp_path, ["cat", "dog", "elk", "fox", "gnu", "hen"])
    assert "has 5 classes, and this run 6: it lacks 2 of this run's (elk, hen)" in message
    assert "and has 1 others (emu); both need the same prompts.classes" in message
    assert "screen.top 5 of a run leaves all classes in" in refused(tmp_path, top=5)
    assert "screen.top 1 of a run decides by the screen alone" in refused(tmp_path, top=1)
    twice = ["crane", "crane", "emu"]
    write(tmp_path, [], classes=twice)
    assert "in another order, and names crane more than once" in refused(tmp_path, twice[::-1])
    assert open_screen(str(tmp_path), 2, twice, Store()).group_of.tolist() == [0, 1, 2]
