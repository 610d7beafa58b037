"""Runs that subtract the empty prompt's error, on the built-in model; and who cannot."""

import numpy as np
import pytest

import zsd_ray
from tests.support.digit_runs import configure
from tests.support.models import check_null_prompt
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError

pytestmark = pytest.mark.usefixtures("a_plain_report")

NULL = {"normaliser": "null-prompt"}


def small(path, method, **sections):
    return configure(path, data={"limit": 6}, method=method, **sections)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Without and with, by image."""
    folder = tmp_path_factory.mktemp("normalised")
    found = [
        zsd_ray.run(small(folder / str(i), method), local=True)
        for i, method in enumerate(({}, NULL))
    ]
    return [{row["image_id"]: row for row in result.table.to_pylist()} for result in found]


def test_decisions_are_the_same_and_scores_lie_around_nothing(runs):
    plain, normalised = runs
    for image_id, row in plain.items():
        other = normalised[image_id]
        assert other["prediction"] == row["prediction"]
        assert other["draws_per_class"] == row["draws_per_class"]
        one, two = np.asarray(row["mean_scores"]), np.asarray(other["mean_scores"])
        # Classes that had the same draws differ by the same.
        alike = np.asarray(row["draws_per_class"]) == row["n_draws"]
        np.testing.assert_allclose(np.diff(one[alike]), np.diff(two[alike]), atol=1e-5)
        assert two.min() < 0 < one.min()


def test_the_null_prompt_is_counted_once_a_draw(runs):
    plain, normalised = runs
    for image_id, row in plain.items():
        other = normalised[image_id]
        assert other["n_evaluations"] == row["n_evaluations"] + row["n_draws"]
        assert other["n_spent"] >= other["n_evaluations"]


@pytest.mark.full
def test_batches_are_as_full_as_without(tmp_path):
    """A micro-batch of ten classes and the null prompt still fills whole batches."""
    result = zsd_ray.run(small(tmp_path / "run", NULL), local=True)
    assert result.metrics["padding_fraction"] < 0.1


def test_a_cluster_decides_as_one_process_does(runs, tmp_path, local_ray):
    result = zsd_ray.run(small(tmp_path / "run", NULL, cluster={"address": "auto"}))
    rows = {row["image_id"]: row for row in result.table.to_pylist()}
    for image_id, row in runs[1].items():
        for name in ("prediction", "mean_scores", "n_evaluations"):
            assert rows[image_id][name] == row[name]


def test_a_plan_counts_it(tmp_path):
    bounds = make_plan(small(tmp_path / "run", NULL)).bounds
    assert (bounds.least, bounds.most) == (12 * 11, 60 * 11)


@pytest.mark.parametrize(("family", "kind"), [("ddpm", "labels"), ("edm", "epsilon")])
def test_what_is_always_told_a_label_has_no_null_prompt(family, kind, tmp_path):
    _, keys = BUILDERS[family, kind](tmp_path / "model")
    with pytest.raises(UserError, match=rf"family {family} is always conditioned on a label"):
        check_null_prompt(ModelConfig(family=family, path=str(tmp_path / "model"), **keys))


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("stable-diffusion", "v"),
        ("sd3", "t5"),
        ("flux", "dev"),
        ("pixart", "alpha"),
        ("dit", "imagenet"),
    ],
)
def test_what_reads_text_or_drops_labels_has_one(family, kind, tmp_path):
    _, keys = BUILDERS[family, kind](tmp_path / "model")
    check_null_prompt(ModelConfig(family=family, path=str(tmp_path / "model"), **keys))
