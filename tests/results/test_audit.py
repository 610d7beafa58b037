"""What is said of a screen from the images that were scored with all classes too."""

import numpy as np
import pytest

from zsd_ray.records.scores import Decision
from zsd_ray.results.audit import audit_metrics
from zsd_ray.results.rows.schema import decisions_table
from zsd_ray.results.totals import run_metrics
from zsd_ray.stats.intervals import wilson

N_CLASSES = 4


def screened(i, prediction, candidates, label=0, **others):
    """Two candidates or more get draws; one alone needs none."""
    draws = tuple(9 * (k in candidates and len(candidates) > 1) for k in range(N_CLASSES))
    row = Decision(
        image_id=f"image-{i}",
        source="",
        label=label,
        prediction=prediction,
        draws_per_class=draws,
        n_candidates=len(candidates),
        n_screen_evaluations=8,
        n_evaluations=sum(draws),
    )
    return _replace(row, others)


def full(i, prediction, label=0):
    return Decision(f"image-{i}", "", label, prediction, n_evaluations=50)


def _replace(row, others):
    return Decision(**{name: getattr(row, name) for name in row.__slots__} | others)


RUN = [
    screened(0, 0, {0, 1}),
    screened(1, 1, {1, 2}),  # lost, and wrong for it
    screened(2, 1, {1, 2}),  # lost, but both are wrong
    screened(3, 1, {0, 1}),  # another decision among the candidates: not lost
    screened(4, 3, {3}),  # lost to one candidate alone
    screened(5, 0, {0}),
    screened(6, 2, {2, 3}, label=None),  # lost, without a label
    screened(7, None, {0, 1}, error="cut short"),
    screened(8, 1, {0, 1, 2, 3}, n_candidates=None),  # the screen said nothing
    screened(9, 0, {0, 1}),  # not audited
]
FULL = [
    full(0, 0),
    full(1, 0),
    full(2, 3),
    full(3, 0),
    full(4, 0),
    full(5, 0),
    full(6, 1, label=None),
    full(7, 0),
    full(8, 0),
    full(10, 0),  # of a run that was shortened
    Decision("image-9", "", 0, None, error="cut short"),
]


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_lost_is_counted_over_the_images_that_both_decided(order):
    found = audit_metrics(decisions_table(RUN[::order]), decisions_table(FULL))
    assert (found["audited"], found["screen_lost"], found["audit_labelled"]) == (7, 4, 6)
    assert found["screen_loss"] == pytest.approx(4 / 7)
    assert (found["screen_loss_low"], found["screen_loss_high"]) == wilson(4, 7)
    assert found["audit_accuracy_screened"] == pytest.approx(2 / 6)
    assert found["audit_accuracy_full"] == pytest.approx(5 / 6)
    assert found["audit_accuracy_full_low"] == wilson(5, 6).low
    assert found["audit_evaluations"] == 50 * 10


def test_no_audit_has_no_shares():
    found = audit_metrics(decisions_table(RUN), decisions_table([]))
    assert (found["audited"], found["screen_loss"], found["audit_evaluations"]) == (0, None, 0)


def test_evaluations_an_image_are_those_of_the_screen_too():
    metrics = run_metrics(decisions_table(RUN))
    used = sum(sum(row.draws_per_class) for row in RUN)
    assert metrics["n_evaluations"] == used
    assert metrics["n_screen_evaluations"] == 8 * len(RUN)
    assert metrics["evaluations_per_image"] == (used + 8 * len(RUN)) / 9
    assert metrics["screened"] == 9
    assert metrics["candidates_per_image"] == np.mean([2, 2, 2, 2, 1, 1, 2, 2, 2])


def test_without_a_screen_there_are_no_figures_of_one():
    assert "screened" not in run_metrics(decisions_table(FULL))
