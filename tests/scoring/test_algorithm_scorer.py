"""The algorithms' scores arrive unchanged and together with what they took."""

import numpy as np
import pytest
import torch

from tests.support.images import Pictures
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.methods.method import Method, UnitScores, method_class
from zsd_ray.models.registry import resolve_model
from zsd_ray.planning.defaults import with_defaults
from zsd_ray.records.scores import ImageFailure, MicroBatch, WorkItem
from zsd_ray.scoring import scorer as scoring
from zsd_ray.scoring.make_scorer import make_scorer

NAMES = ["zero", "one", "two"]
ITEMS = (WorkItem(0, 0, 2, (0, 1, 2)), WorkItem(1, 1, 1, (0, 2)), WorkItem(0, 2, 1, (1,)))


@pytest.fixture(scope="module")
def make(tiny_model):
    model = ModelConfig(path=str(tiny_model), device="cpu")
    files = resolve_model(model)
    denoiser = files.load()
    conditioning = files.encode_prompts(NAMES)

    def make(dataset=None, batch_size=4, **method):
        tree = {
            "method": {"name": "noise-denoise", "steps": 2, **method},
            "prompts": {"templates": ["{}"], "classes": NAMES},
            "cluster": {"batch_size": batch_size},
            "model": model.model_dump(),
        }
        config = with_defaults(parse_config(RunConfig, tree))
        dataset = dataset or Pictures(3)
        size = config.size(len(NAMES))
        return make_scorer(config, size, files, denoiser, dataset, conditioning, NAMES)

    return make


def score(scorer, items=ITEMS):
    return list(scorer.score(MicroBatch(0, items)).unpack(items))


def test_scores_do_not_depend_on_how_work_is_cut(make):
    together = score(make())
    alone = [score(make(), (item,))[0] for item in reversed(ITEMS)][::-1]
    for one, other, item in zip(together, alone, ITEMS, strict=True):
        assert one.errors.shape == (item.n_draws, len(item.classes))
        np.testing.assert_array_equal(one.errors, other.errors)
        np.testing.assert_array_equal(one.draws.table, other.draws.table)
        np.testing.assert_array_equal(one.draws.weight, 1.0)
    first, last = score(make(), (WorkItem(0, 0, 3, (0, 1, 2)),))[0].errors, together[2].errors
    np.testing.assert_array_equal(first[2, 1], last[0, 0])


def test_only_costs_that_are_not_known_before_are_counted(make, monkeypatch):
    class Counts(Method):
        def __init__(self, bound, config):
            self.bound = bound

        def score(self, units):
            drawn = self.bound.drawn(np.ones(1))
            return [
                UnitScores(np.zeros((len(u.draws), len(u.classes)), np.float32), drawn, 5)
                for u in units
            ]

    assert {answer.n_evaluations for answer in score(make())} == {None}
    monkeypatch.setattr(scoring, "method_class", lambda section: Counts)
    item = (WorkItem(0, 0, 1, (0, 1)),)
    assert score(make(name="exact-likelihood", solver="heun"), item)[0].n_evaluations == 5


def test_likelihoods_are_kept_in_nats_and_weighted_to_bits_per_dimension(make):
    scorer = make(name="exact-likelihood", solver="heun", steps=1)
    (answer,) = score(scorer, (WorkItem(0, 0, 1, (0, 1)),))
    shape = scorer._bound.denoiser.sample_shape
    assert answer.draws.weight[0] == pytest.approx(1 / (np.prod(shape) * np.log(2)))


def test_rows_are_whole_batches(make):
    scores = make().score(MicroBatch(0, ITEMS))
    # 9 rows of two steps, by fours
    assert scores.n_rows == 3 * 4 * 2
    assert make().batch_size == 4 * 2


def test_an_image_that_is_damaged_fails_alone(make):
    answers = score(make(Pictures(3, bad={1})))
    assert isinstance(answers[1], ImageFailure)
    np.testing.assert_array_equal(answers[0].errors, score(make())[0].errors)


def test_scores_that_are_not_finite_become_a_failure(make, monkeypatch):
    class Broken(Method):
        def __init__(self, bound, config):
            self.bound = bound

        def score(self, units):
            bad = np.full((1, 2), np.nan, np.float32)
            return [UnitScores(bad, self.bound.drawn(np.ones(1)), 1) for _ in units]

    monkeypatch.setattr(scoring, "method_class", lambda section: Broken)
    (answer,) = score(make(), (WorkItem(0, 0, 1, (0, 1)),))
    assert "not finite" in answer.message


def test_out_of_memory_halves_the_rows_and_goes_on(make, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    sizes = []

    class Tight(Method):
        def __init__(self, bound, config):
            self.rows, self.real = bound.rows, method_class(config)(bound, config)

        def score(self, units):
            sizes.append(self.rows)
            if self.rows > 1:
                raise torch.OutOfMemoryError
            return self.real.score(units)

    monkeypatch.setattr(scoring, "method_class", lambda section: Tight)
    scorer = make()
    with pytest.warns(UserWarning, match="out of memory"):
        answers = score(scorer)
    assert sizes == [4, 2, 1]
    assert scorer.batch_size == 2
    for one, other in zip(answers, score(make(batch_size=1)), strict=True):
        np.testing.assert_array_equal(one.errors, other.errors)
