"""Runs side by side, against counts by hand and plain loops."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.analysis.made_up_runs import CLASSES, write_run
from zsd_ray.analysis.compare import compare
from zsd_ray.records.errors import UserError
from zsd_ray.results.output import Output
from zsd_ray.stats.intervals import wilson


def predictions(n, rate, seed):
    """n images of three classes, a share `rate` of them right."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label = i % 3
        right = rng.random() < rate
        rows.append((f"image-{i}", label, label if right else (label + 1) % 3, 100 + i))
    return rows


def test_two_runs_by_hand(tmp_path):
    first = [("a", 0, 0, 10), ("b", 1, 1, 20), ("c", 2, 1, 30), ("d", 0, None, 0), ("e", 1, 1, 50)]
    # In another order; c gets right, e wrong, b stays; a and d have one row each that counts.
    second = [("e", 1, 2, 5), ("c", 2, 2, 5), ("b", 1, 1, 10), ("d", 0, 0, 7), ("f", 0, 0, 9)]
    paths = [write_run(tmp_path / "one", first), write_run(tmp_path / "two", second, seconds=3.5)]
    found = compare(paths)
    one, two = found.runs
    assert (one.label, two.label) == ("one", "two")
    assert (one.n_images, one.figures.images, one.figures.labelled, one.figures.correct) == (
        5, 4, 4, 3,
    )  # fmt: skip
    assert one.figures.evaluations_per_image == (10 + 20 + 30 + 50) / 4
    assert (one.figures.accuracy_low, one.figures.accuracy_high) == wilson(3, 4)
    assert (one.seconds, two.seconds) == (None, 3.5)
    (pair,) = found.pairs
    assert (pair.first, pair.second, pair.images, pair.labelled) == (0, 1, 3, 3)  # b, c and e
    assert (pair.only_first, pair.only_second, pair.difference) == (1, 1, 0)
    assert pair.agreement == 1 / 3
    assert pair.evaluations_ratio == pytest.approx((10 + 5 + 5) / (20 + 30 + 50))
    assert pair.p_value == 1.0
    assert pair.difference_low < 0 < pair.difference_high


def test_many_images_against_a_loop(tmp_path):
    rows = [predictions(200, 0.8, 1), predictions(200, 0.7, 2), predictions(150, 0.9, 3)]
    paths = [write_run(tmp_path / str(i), each) for i, each in enumerate(rows)]
    found = compare(paths)
    assert [(pair.first, pair.second) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair in found.pairs:
        one, two = (
            {image_id: label == prediction for image_id, label, prediction, _ in rows[place]}
            for place in (pair.first, pair.second)
        )
        shared = one.keys() & two.keys()
        b = sum(one[i] and not two[i] for i in shared)
        c = sum(two[i] and not one[i] for i in shared)
        assert (pair.images, pair.only_first, pair.only_second) == (len(shared), b, c)
        assert pair.p_value == pytest.approx(binomtest(b, b + c).pvalue)
        assert pair.difference == pytest.approx((c - b) / len(shared))
        assert pair.difference_low <= pair.difference <= pair.difference_high


def test_unlabelled_images_agree_and_say_nothing_of_accuracy(tmp_path):
    rows = [("a", None, 0, 10), ("b", None, 1, 10)]
    others = [("a", None, 0, 10), ("b", None, 2, 10)]
    found = compare([write_run(tmp_path / "one", rows), write_run(tmp_path / "two", others)])
    (pair,) = found.pairs
    assert (pair.images, pair.labelled, pair.agreement) == (2, 0, 0.5)
    assert pair.difference is pair.p_value is pair.difference_low is None
    assert found.runs[0].figures.accuracy is None


def test_labels_are_the_shortest_ends_of_paths_that_differ(tmp_path):
    rows = [("a", 0, 0, 1)]
    places = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "x" / "run-2"]
    found = compare([write_run(place, rows) for place in places])
    assert [run.label for run in found.runs] == ["x/run", "y/run", "x/run-2"]
    same = compare([str(places[0])] * 2)
    assert [run.label for run in same.runs] == ["run", "run"]
    assert same.pairs[0].agreement == 1.0


def test_two_real_runs(full_run, staged_run):
    found = compare([full_run, staged_run])
    rows = [Output(path).read_table("decisions").to_pylist() for path in (full_run, staged_run)]
    by_id = [{row["image_id"]: row for row in each} for each in rows]
    (pair,) = found.pairs
    assert pair.images == len(by_id[0]) == 12
    same = [by_id[0][i]["prediction"] == by_id[1][i]["prediction"] for i in by_id[0]]
    assert pair.agreement == np.mean(same)
    cost = [sum(row["n_evaluations"] for row in each) for each in rows]
    assert pair.evaluations_ratio == pytest.approx(cost[1] / cost[0])
    full, staged = found.runs
    assert (full.weighting, staged.weighting) == ("heuristic", "simple")
    assert staged.pruning["rule"] == "li"
    assert full.seconds > 0


def test_other_classes_or_data_are_refused_in_one_line(tmp_path):
    rows = [("a", 0, 0, 1), ("b", 1, 1, 1)]
    base = write_run(tmp_path / "base", rows)
    folder = {"source": "folder", "path": "/data/one"}
    cases = [
        (write_run(tmp_path / "1", rows, classes=["cat", "dog", "eels"]), "'eel' against 'eels'"),
        (write_run(tmp_path / "2", rows, classes=CLASSES[:2]), "3 against 2"),
        (write_run(tmp_path / "3", rows, data={"split": "train"}), "data.split 'test' against"),
        (write_run(tmp_path / "4", rows, data=folder), "data.path None against '/data/one'"),
        (write_run(tmp_path / "5", [("x", 0, 0, 1)]), "no image in common"),
        (write_run(tmp_path / "6", [("a", 2, 0, 1)]), "other labels"),
        (str(tmp_path / "7"), "there is no run at"),
    ]
    for path, words in cases:
        with pytest.raises(UserError) as caught:
            compare([base, path])
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="two runs or more, but came 1"):
        compare([base])
    assert compare([base, str(tmp_path / "4")], by_id=True).pairs[0].images == 2
    with pytest.raises(UserError, match="other labels"):
        compare([base, str(tmp_path / "6")], by_id=True)


def test_runs_of_more_or_less_of_the_images_are_compared_on_those_of_both(tmp_path):
    rows = predictions(30, 0.8, 0)
    part = write_run(tmp_path / "part", rows[:10], data={"limit": 10})
    found = compare([write_run(tmp_path / "all", rows), part])
    assert found.pairs[0].images == 10
    assert found.pairs[0].agreement == 1.0
