"""The figures of a run beyond its accuracy: the best five, the worst class and group, a CSV."""

import csv
import io

import pytest

from zsd_ray.records.scores import Decision
from zsd_ray.reports.summary import accuracy_rows
from zsd_ray.results.rows.schema import decisions_table
from zsd_ray.results.totals import per_class_csv, run_metrics
from zsd_ray.stats.intervals import wilson
from zsd_ray.stats.worst import worst_accuracy

K = 7


def decision(number, label, prediction, **keys):
    others = [k for k in range(K) if k != prediction]
    fields = {
        "top5": (prediction, *others[:4]),
        "draws_per_class": (3,) * K,
        "stop_reason": "one-class-left",
    }
    return Decision(f"image-{number}", "x", label, prediction, **fields | keys)


def metrics(*rows):
    return run_metrics(decisions_table(rows))


def test_top5_counts_labels_among_the_five_named():
    found = metrics(decision(0, 0, 0), decision(1, 3, 0), decision(2, 6, 0), decision(3, 5, 0))
    assert found["accuracy"] == 0.25
    assert found["top5_accuracy"] == 0.5  # 0 and 3 are among 0, 1, 2, 3, 4
    assert (found["top5_accuracy_low"], found["top5_accuracy_high"]) == wilson(2, 4)


def test_among_five_classes_all_are_named_and_nothing_is_said():
    few = decision(0, 1, 0, top5=(0, 1, 2, 3, 4), draws_per_class=(3,) * 5)
    assert "top5_accuracy" not in metrics(few)


def test_the_worst_class_is_told_with_its_interval():
    rows = [decision(n, n % 3, n % 3 if n % 3 != 1 or n < 5 else 0) for n in range(30)]
    found = metrics(*rows)
    expected = worst_accuracy([10, 10, 10], [10, 2, 10])
    assert found["worst_class"] == 1
    assert found["worst_class_accuracy"] == 0.2
    assert (found["worst_class_accuracy_low"], found["worst_class_accuracy_high"]) == (
        expected.interval
    )
    said = dict(accuracy_rows(found, ["a", "b", "c"]))
    assert said["worst class"].startswith("20.0%  95% interval [")
    assert said["worst class"].endswith("], b")
    assert said["mean per class"].startswith("73.3%")


def test_the_worst_group_is_told_where_there_are_groups():
    rows = [decision(n, 0, n % 2, group="water" if n % 2 else "land") for n in range(10)]
    found = metrics(*rows, decision(10, 0, 1), decision(11, None, 1, group="land"))
    assert (found["groups"], found["worst_group"], found["worst_group_accuracy"]) == (2, "water", 0)
    assert dict(accuracy_rows(found, ["a"] * K))["worst group"].endswith(", water of 2")
    assert "worst_group" not in metrics(decision(0, 0, 0))


def test_what_the_class_offset_changed_is_told():
    rows = [decision(n, 0, 0, uncorrected=n % 4) for n in range(8)]
    found = metrics(*rows, decision(8, None, 1, uncorrected=0))
    assert (found["accuracy"], found["uncorrected_accuracy"]) == (1.0, 0.25)
    assert dict(accuracy_rows(found, ["a"] * K))["without class offset"].startswith("25.0%")
    assert "uncorrected_accuracy" not in metrics(decision(0, 0, 0))


def test_the_csv_has_a_line_for_each_class():
    rows = [decision(0, 0, 0), decision(1, 0, 2), decision(2, 2, 2), decision(3, None, 2)]
    names = ['a, "quoted"', "b", "c"]
    lines = list(csv.DictReader(io.StringIO(per_class_csv(decisions_table(rows), names))))
    assert [line["name"] for line in lines] == names
    assert [line["images"] for line in lines] == ["2", "0", "1"]
    assert [line["correct"] for line in lines] == ["1", "0", "1"]
    low, high = wilson(1, 2)
    assert float(lines[0]["accuracy"]) == 0.5
    assert float(lines[0]["low"]) == pytest.approx(low, abs=1e-4)
    assert float(lines[0]["high"]) == pytest.approx(high, abs=1e-4)
    assert lines[1]["accuracy"] == ""
