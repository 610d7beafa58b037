"""The panel on class bias: its figure, its sentence, and when a report has it."""

import dataclasses

import numpy as np
import pytest

from zsd_ray.reports import class_bias_panel as panel
from zsd_ray.reports.html import render_report
from zsd_ray.results.offset_file import OffsetRecord
from zsd_ray.stats.class_bias import class_bias

NAMES = ["a<b", "b", "c", "d"]
OFFSET = OffsetRecord(32, 960, 0.8, tuple(NAMES), (0.3, -0.3, 0, 0), (0.1,) * 4, (True, False) * 2)


def biased():
    labels = np.repeat(np.arange(4), 30)
    return class_bias(labels, np.where(np.arange(120) % 3 == 0, 2, labels), 4)


def test_the_sentence_names_what_is_no_chance():
    said = panel.sentence(biased(), NAMES, None)
    assert "too often, and by no chance: c." in said
    assert "too rarely, and by no chance: a<b, b, d." in said
    fair = class_bias([0, 1, 2, 3], [0, 1, 2, 2], 4)
    assert "No class is predicted too often or too rarely" in panel.sentence(fair, NAMES, None)


def test_it_tells_an_offset_for_what_it_is():
    said = panel.sentence(biased(), NAMES, OFFSET)
    assert "from 32 images of this set without their labels (960 evaluations)" in said
    assert "80% of it is taken out" in said
    assert "Beyond chance are 2 of 4 classes." in said


@pytest.mark.parametrize("offset", [None, OFFSET])
def test_the_figure_has_a_row_a_class_and_a_panel_for_the_offset(offset):
    drawn = panel.figure(biased(), NAMES, offset)
    assert len(drawn.axes) == (1 if offset is None else 2)
    labels = [text.get_text() for text in drawn.axes[0].get_yticklabels()]
    assert labels[0] == "c"  # what is predicted most too often comes first
    assert sorted(labels) == sorted(NAMES)


def test_of_many_classes_it_shows_the_two_ends():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 100, size=(2, 5000))
    drawn = panel.figure(class_bias(labels, predictions, 100), [f"c{k}" for k in range(100)], None)
    assert len(drawn.axes[0].get_yticklabels()) == 40


def test_a_report_has_it_and_its_names_are_text(simulated):
    run = dataclasses.replace(simulated.run, classes=[f"<i>{n}" for n in simulated.run.classes])
    page = render_report(run, simulated.decisions, simulated.draws, {})
    assert "Class bias" in page
    assert "<i>" not in page
