"""Against plain loops over the same rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsd_ray.stats.label_ranks import (
    accuracy,
    confused_pairs,
    confusion_matrix,
    per_class_accuracy,
    rank_of_label,
    survivors,
)

N_CLASSES = 4
outcomes = st.lists(st.tuples(st.integers(0, N_CLASSES - 1), st.integers(0, N_CLASSES - 1)))


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, dtype=int).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def test_accuracy_is_the_share_of_correct_images() -> None:
    assert accuracy([True, False, True, True]) == 0.75
    assert math.isnan(accuracy([]))


@pytest.mark.full
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([-np.inf, 0.0, 1.0, 2.0]), min_size=4, max_size=4),
            st.integers(0, N_CLASSES - 1),
        )
    )
)
def test_the_rank_of_a_label_is_its_place_in_a_stable_sort(rows) -> None:
    scores = np.array([scores for scores, _ in rows]).reshape(-1, N_CLASSES)
    labels = np.array([label for _, label in rows], dtype=int)
    expected = []
    for row, label in rows:
        order = sorted(range(N_CLASSES), key=lambda k: -row[k])
        expected.append(N_CLASSES if row[label] == -np.inf else order.index(label))
    assert rank_of_label(scores, labels).tolist() == expected


@given(outcomes)
def test_confusion_matrix_counts_every_pair(rows: list[tuple[int, int]]) -> None:
    matrix = confusion_matrix(*columns(rows), N_CLASSES)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [
        [rows.count((label, prediction)) for prediction in range(N_CLASSES)]
        for label in range(N_CLASSES)
    ]


@given(outcomes)
def test_per_class_accuracy_is_the_margin_and_the_diagonal(rows: list[tuple[int, int]]) -> None:
    labels, predictions = columns(rows)
    counts, successes = per_class_accuracy(labels, labels == predictions, N_CLASSES)
    matrix = confusion_matrix(labels, predictions, N_CLASSES)
    assert counts.tolist() == matrix.sum(axis=1).tolist()
    assert successes.tolist() == matrix.diagonal().tolist()


@given(outcomes, st.integers(1, 5))
def test_confused_pairs_are_the_largest_cells_off_the_diagonal(
    rows: list[tuple[int, int]], limit: int
) -> None:
    matrix = confusion_matrix(*columns(rows), N_CLASSES)
    np.fill_diagonal(matrix, 0)
    pairs = confused_pairs(*columns(rows), limit)
    largest = sorted((int(n) for n in matrix.ravel() if n), reverse=True)[:limit]
    assert [images for *_, images in pairs] == largest
    assert all(matrix[label, prediction] == images for label, prediction, images in pairs)


def test_confused_pairs_need_no_square_matrix() -> None:
    # 50,000 classes squared would be 20 GB.
    assert confused_pairs([49_999, 0, 49_999], [0, 0, 0], 5) == [(49_999, 0, 2)]


def test_survivors_by_hand() -> None:
    # Class 1 falls after 20 draws and class 2 after 30; 0 and 3 stay to the end at 40.
    rows = [[40, 20, 30, 40], [20, 20, 20, 20], [20, 20, 20, 20]]
    left = survivors(rows, [False, False, True], [0, 19, 20, 29, 30, 40, 100])
    assert left.tolist() == [[4, 4, 3, 3, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4], [4, 4, 1, 1, 1, 1, 1]]


def test_survivors_of_no_image() -> None:
    assert survivors([], [], [0, 1]).shape == (0, 2)


@given(
    st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=6), max_size=5),
    st.lists(st.integers(0, 15), max_size=6),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
def test_survivors_equal_a_plain_count(
    rows: list[list[int]], draws: list[int], one_left: list[bool]
) -> None:
    expected = [
        [sum(n > d for n in row) or (1 if one else sum(n == max(row) for n in row)) for d in draws]
        for row, one in zip(rows, one_left, strict=False)
    ]
    assert survivors(rows, one_left[: len(rows)], draws).tolist() == expected
