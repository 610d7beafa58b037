"""`zsd-ray self-check`: images that the model makes, beside the data."""

import json

import pytest

from tests.support.digit_runs import configure
from zsd_ray.analysis.comparison import Figures
from zsd_ray.api import self_check
from zsd_ray.cli import main
from zsd_ray.records.errors import UserError
from zsd_ray.stats.intervals import wilson
from zsd_ray.studies.self_check.self_check_page import self_check_lines, verdict
from zsd_ray.studies.self_check.self_check_record import SelfCheck

CONFIG = "configs/digits.yaml"


def arguments(place, *more):
    return [
        "self-check", CONFIG, "--local", "--images-per-class=1", "--draws=3", "--json",
        f"--set=output.path={place}", *more,
    ]  # fmt: skip


@pytest.mark.full
def test_it_makes_images_of_each_class_and_classifies_both_sets(capsys, tmp_path):
    assert main(arguments(tmp_path)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n_classes"], found["own"]["images"], found["data"]["images"]) == (10, 10, 10)
    assert found["evaluations"] >= 2 * 10 * 10 * 3 + 10 * 25
    assert sum(level["draws"] for level in found["own_levels"]) == 30
    for own, data in zip(found["own_levels"], found["data_levels"], strict=True):
        assert (own["snr_low"], own["snr_high"]) == (data["snr_low"], data["snr_high"])
    page = (tmp_path / "self-check" / "self-check.html").read_text()
    assert "data:image/png" in page
    assert "draws with the true class first" in page
    assert main(arguments(tmp_path)) == 0  # all of it is there
    assert json.loads(capsys.readouterr().out)["own"] == found["own"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"method": {"name": "ddim-knn"}}, "is for method.name diffusion-classifier"),
        ({"data": {"source": "two-objects", "task": "color|shape"}}, "captions of its own"),
    ],
)
def test_what_has_no_such_check_is_refused(tmp_path, sections, words):
    with pytest.raises(UserError, match=words):
        self_check(configure(tmp_path / "run", **sections), local=True)
    assert not (tmp_path / "run").exists()


def test_fewer_than_one_is_refused(tmp_path, capsys):
    assert main([*arguments(tmp_path), "--draws=0"]) == 2
    assert "--draws take 1 or more, but came 1 and 0" in capsys.readouterr().err


def figures(right, n):
    low, high = wilson(right, n) if n else (None, None)
    return Figures(100, n, right, right / n if n else None, low, high, 30.0)


def found(own, data):
    return SelfCheck("p", 10, 3, 10, figures(*own), figures(*data), (), (), 1)


@pytest.mark.parametrize(
    ("own", "data", "words"),
    [
        ((98, 100), (60, 100), "its own images better than the data, beyond chance"),
        ((60, 100), (98, 100), "the data better than its own images, beyond chance"),
        ((90, 100), (88, 100), "about equally well"),
        ((12, 100), (88, 100), "better than a guess"),
        ((90, 100), (0, 0), "has no labels"),
        ((0, 0), (0, 0), "None of the images that the model made"),
    ],
)
def test_the_verdict_follows_the_intervals(own, data, words):
    assert words in verdict(found(own, data))
    assert words in self_check_lines(found(own, data))
