"""Temperature on mean scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from tests.support.labelled_scores import LabelledScores, evidence_of
from zsd_ray.rules.every_draw import EveryDraw
from zsd_ray.studies.calibration.temperature import Temperature


def test_the_temperature_that_labels_were_drawn_with_is_recovered() -> None:
    images = LabelledScores.draw((1500, 4, 6), temperature=0.4, noise=0.0)
    evidence = evidence_of(images.decisions(EveryDraw(4)))
    model = Temperature.fit(evidence, images.labels)
    assert model.parameters == {"temperature": pytest.approx(0.4, rel=0.08)}
    expected = log_softmax(-evidence.mean_scores / model.parameters["temperature"], axis=1)
    assert model.log_probabilities(evidence) == pytest.approx(expected)


def test_a_class_that_a_screen_alone_chose_has_what_is_not_left_out() -> None:
    images = LabelledScores.draw((40, 4, 3), temperature=0.4, noise=0.0)
    evidence = evidence_of(images.decisions(EveryDraw(4)))
    evidence.draws[:10] = 0
    for array in (evidence.mean_scores, evidence.gaps, evidence.gap_errors):
        array[:10] = np.nan
    labels = images.labels.copy()
    labels[:9], labels[9] = evidence.predictions[:9], (evidence.predictions[9] + 1) % 3
    model = Temperature.fit(evidence, labels)
    p = np.exp(model.log_probabilities(evidence))
    assert model.parameters["left_out"] == pytest.approx(2 / 12)
    assert p[np.arange(10), evidence.predictions[:10]] == pytest.approx(10 / 12)
    assert p.sum(axis=1) == pytest.approx(1)
