"""The scorer's numbers equal one plain forward a score, and do not depend on their company."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.support.digit_runs import PAPER
from tests.support.images import Pictures
from tests.support.models import encode_prompts, load_model
from zsd_ray.config.classifier_method import DiffusionClassifierMethod
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.config.time_profile import FittedOn, TimeProfile
from zsd_ray.data.pictures.transforms import to_model_range, to_square
from zsd_ray.diffusion import draws
from zsd_ray.diffusion.schedule import DiscreteSchedule
from zsd_ray.diffusion.time_density import TimeDensity
from zsd_ray.diffusion.weighting import WEIGHTINGS
from zsd_ray.methods.method import texts
from zsd_ray.records.cost import RunSize
from zsd_ray.records.errors import UserError
from zsd_ray.records.scores import ImageFailure, MicroBatch, WorkItem
from zsd_ray.scoring import batch_size as sizes
from zsd_ray.scoring.make_scorer import denoiser_scorer
from zsd_ray.scoring.make_scorer import make_scorer as planned_scorer
from zsd_ray.storage.store import Store

PROMPTS = [f"a {noun} of a {name}" for name in ("cat", "dog", "bird") for noun in ("photo", "map")]
SEED = 11
FILES = SimpleNamespace(load_prompt_encoder=lambda: None, store=Store())


@pytest.fixture(scope="module")
def config(tiny_model):
    return ModelConfig(path=str(tiny_model), device="cpu")


@pytest.fixture(scope="module")
def denoiser(config):
    denoiser = load_model(config)
    denoiser.conditioning = encode_prompts(config, PROMPTS)
    return denoiser


def make_scorer(denoiser, dataset, batch_size=8, n_templates=2, **method):
    n_classes = len(PROMPTS) // n_templates
    return denoiser_scorer(
        denoiser,
        DiffusionClassifierMethod(**PAPER | method),
        RunSize(n_classes, n_classes, n_templates),
        dataset,
        denoiser.conditioning,
        [""] * n_classes,
        ["{}"] * n_templates,
        SEED,
        batch_size,
        compile=False,
    )


def plain_errors(denoiser, dataset, item, n_templates, loss):
    """One forward a row with everything spelled out: Li et al. 2023, Algorithm 1."""
    hidden = torch.from_numpy(denoiser.conditioning["hidden"])
    pixels = to_square(dataset.read(item.image), denoiser.image_size)
    x_0 = denoiser.encode_images(torch.from_numpy(to_model_range(pixels[None])))
    image_id = dataset.records[item.image].image_id
    out = np.zeros((item.n_draws, len(item.classes)))
    for i in range(item.n_draws):
        number = range(item.first_draw + i, item.first_draw + i + 1)
        t = draws.times(SEED, image_id, number, "uniform", (0.02, 0.98))
        step = int(t[0] * 1000)
        alpha_bar = denoiser.schedule.alphas_cumprod[step]
        eps = torch.from_numpy(draws.noise(SEED, image_id, number, denoiser.sample_shape))
        x_t = float(np.sqrt(alpha_bar)) * x_0 + float(np.sqrt(1 - alpha_bar)) * eps
        for j, class_ in enumerate(item.classes):
            for template in range(n_templates):
                row = class_ * n_templates + template
                prompt = {"hidden": hidden[row : row + 1]}
                output = denoiser.predict(x_t, torch.tensor([float(step)]), prompt)
                gap = (eps - output).abs()
                error = gap.mean() if loss == "l1" else (gap**2).mean()
                out[i, j] += float(error) / n_templates
    return out


ITEMS = (WorkItem(0, 0, 3, (0, 1, 2)), WorkItem(2, 5, 2, (1,)), WorkItem(1, 0, 1, (0, 2)))


def score(scorer, items):
    return list(scorer.score(MicroBatch(0, items)).unpack(items))


@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_equals_one_plain_forward_a_score(denoiser, loss):
    dataset = Pictures(3)
    answer = make_scorer(denoiser, dataset, loss=loss).score(MicroBatch(4, ITEMS))
    assert answer.id == 4
    for item, scores in zip(ITEMS, answer.unpack(ITEMS), strict=True):
        t, alpha, sigma, _ = scores.draws.table.T
        expected = plain_errors(denoiser, dataset, item, 2, loss)
        np.testing.assert_allclose(scores.errors, expected, rtol=1e-4)
        np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-12)
        np.testing.assert_array_equal(t, denoiser.schedule.snap(t))


@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
@pytest.mark.parametrize("timesteps", ["uniform", "stratified"])
def test_draws_are_those_that_the_configuration_names(denoiser, weighting, timesteps):
    method = {"weighting": weighting, "timesteps": timesteps, "t_range": (0.3, 0.6), "loss": "l1"}
    item = WorkItem(1, 4, 9, (0, 2))
    (scores,) = score(make_scorer(denoiser, Pictures(3), **method), (item,))
    t = draws.times(SEED, "picture-1", range(4, 13), timesteps, (0.3, 0.6))
    t = denoiser.schedule.snap(t)
    np.testing.assert_array_equal(scores.draws.t, t)
    expected = WEIGHTINGS[weighting](denoiser.schedule, t, "l1")
    np.testing.assert_array_equal(scores.draws.weight, expected)


PROFILE = TimeProfile(
    loss="l2",
    edges=(0.0, 0.3, 1.0),
    sd=(1.0, 4.0),
    signal=(1.0, 1.0),
    informative=(0.0, 1.0),
    weights=(3.0, 1.0),
    fitted_on=FittedOn(run="x", identity="y", images=1, draws=1, evaluations=1),
)


@pytest.mark.parametrize("weighting", ["simple", "learned"])
def test_times_of_a_density_come_with_corrected_weights(denoiser, weighting):
    method = {"weighting": weighting, "timesteps": "importance", "fitted": PROFILE}
    item = WorkItem(1, 0, 40, (0,))
    (scores,) = score(make_scorer(denoiser, Pictures(3), **method), (item,))
    low, high = (1.0, 1.0) if weighting == "simple" else (3.0, 1.0)
    wanted = np.array([0.28 * low * 1.0, 0.68 * high * 4.0])
    share = np.array([0.28, 0.68]) / 0.96
    mass = 0.9 * wanted / wanted.sum() + 0.1 * share
    density = TimeDensity(np.array([0.02, 0.3, 0.98]), mass)
    t = draws.times(SEED, "picture-1", range(40), "importance", density=density)
    np.testing.assert_array_equal(scores.draws.t, denoiser.schedule.snap(t))
    expected = np.where(t < 0.3, low * share[0] / mass[0], high * share[1] / mass[1])
    np.testing.assert_allclose(scores.draws.weight, expected)
    assert 0 < (t < 0.3).sum() < 40


def test_a_grid_is_the_same_for_every_image(denoiser):
    scorer = make_scorer(denoiser, Pictures(3), timesteps="grid", grid_points=6)
    of_one, of_other = score(scorer, (WorkItem(0, 0, 6, (0,)), WorkItem(1, 0, 6, (0,))))
    np.testing.assert_array_equal(of_one.draws.table, of_other.draws.table)
    np.testing.assert_allclose(
        np.sort(of_one.draws.t), 0.02 + 0.96 * (np.arange(6) + 0.5) / 6, atol=1e-3
    )


class Nulled:
    """The denoiser with the empty prompt's row behind the classes'."""

    def __init__(self, denoiser, config):
        self._denoiser = denoiser
        prompts = texts(PROMPTS, DiffusionClassifierMethod(normaliser="null-prompt"))
        assert prompts == [*PROMPTS, ""]
        self.conditioning = encode_prompts(config, prompts)

    def __getattr__(self, name):
        return getattr(self._denoiser, name)


def test_the_normaliser_is_the_empty_prompts_error_subtracted(denoiser, config):
    """Whatever classes and draws share an item with it, and whatever a batch holds."""
    nulled, dataset = Nulled(denoiser, config), Pictures(3)
    plain = score(make_scorer(denoiser, dataset), ITEMS)
    scorer = make_scorer(nulled, dataset, batch_size=5, normaliser="null-prompt")
    answer = scorer.score(MicroBatch(0, ITEMS))
    n_evaluations = sum(item.n_scores * 2 + item.n_draws for item in ITEMS)
    assert answer.n_rows == -(-n_evaluations // 5) * 5
    hidden = torch.from_numpy(nulled.conditioning["hidden"][-1:])
    for item, without, found in zip(ITEMS, plain, answer.unpack(ITEMS), strict=True):
        np.testing.assert_array_equal(found.draws.table, without.draws.table)
        image_id = dataset.records[item.image].image_id
        pixels = to_square(dataset.read(item.image), denoiser.image_size)
        x_0 = denoiser.encode_images(torch.from_numpy(to_model_range(pixels[None])))
        for i in range(item.n_draws):
            number = range(item.first_draw + i, item.first_draw + i + 1)
            eps = torch.from_numpy(draws.noise(SEED, image_id, number, denoiser.sample_shape))
            t, alpha, sigma, _ = found.draws.table[i].tolist()
            step = torch.tensor([float(int(t * 1000))])
            output = denoiser.predict(alpha * x_0 + sigma * eps, step, {"hidden": hidden})
            null = float(((eps - output) ** 2).mean())
            np.testing.assert_allclose(found.errors[i], without.errors[i] - null, atol=1e-5)


def test_the_normaliser_leaves_the_differences_of_classes_alone(denoiser, config):
    dataset, item = Pictures(3), (WorkItem(0, 0, 20, (0, 1, 2)),)
    (without,) = score(make_scorer(denoiser, dataset), item)
    nulled = make_scorer(Nulled(denoiser, config), dataset, normaliser="null-prompt")
    (found,) = score(nulled, item)
    for scores in (without.errors, found.errors):
        assert np.ptp(scores, axis=1).min() > 0
    np.testing.assert_allclose(
        np.diff(found.errors, axis=1), np.diff(without.errors, axis=1), atol=1e-6
    )
    assert found.errors.std() < 0.2 * without.errors.std()


def test_numbers_do_not_depend_on_their_company(denoiser):
    """Bit for bit: same shapes, so the same arithmetic for every row."""
    dataset = Pictures(3)
    together = score(make_scorer(denoiser, dataset), ITEMS)
    for item, scores in zip(ITEMS, together, strict=True):
        (alone,) = score(make_scorer(denoiser, dataset), (item,))
        np.testing.assert_array_equal(scores.errors, alone.errors)
        np.testing.assert_array_equal(scores.draws.table, alone.draws.table)


def test_rows_are_padded_to_whole_batches(denoiser):
    answer = make_scorer(denoiser, Pictures(3), batch_size=8).score(MicroBatch(0, ITEMS))
    n_evaluations = sum(item.n_scores for item in ITEMS) * 2
    assert answer.n_rows == -(-n_evaluations // 8) * 8
    assert answer.seconds > 0


def test_an_image_is_read_once_while_it_is_remembered(denoiser):
    dataset = Pictures(3)
    scorer = make_scorer(denoiser, dataset)
    for _ in range(3):
        scorer.score(MicroBatch(0, ITEMS))
    assert dataset.n_reads == 3


def test_a_bad_image_fails_alone(denoiser):
    first, second, third = score(make_scorer(denoiser, Pictures(3, bad=(2,))), ITEMS)
    assert second == ImageFailure("picture 2 is truncated")
    well = score(make_scorer(denoiser, Pictures(3)), ITEMS)
    np.testing.assert_array_equal(first.errors, well[0].errors)
    np.testing.assert_array_equal(third.errors, well[2].errors)
    np.testing.assert_array_equal(third.draws.table, well[2].draws.table)


def test_an_image_whose_store_is_away_is_not_called_bad(denoiser):
    scorer = make_scorer(denoiser, Pictures(3, away=(2,)))
    assert score(scorer, ITEMS)[1] == ImageFailure("picture 2: no answer", unreadable=True)


def test_images_that_were_read_ahead_are_not_read_again(denoiser):
    dataset = Pictures(3, bad=(1,))
    scorer = make_scorer(denoiser, dataset)
    scorer.read_ahead(MicroBatch(0, ITEMS))
    assert dataset.n_reads == 3
    answers = score(scorer, ITEMS)
    assert dataset.n_reads == 4  # the bad one, to say what is wrong with it
    assert answers[2] == ImageFailure("picture 1 is truncated")
    expected = score(make_scorer(denoiser, Pictures(3)), ITEMS)
    np.testing.assert_array_equal(answers[0].errors, expected[0].errors)


def test_only_bad_images_cost_no_forward(denoiser):
    scorer = make_scorer(denoiser, Pictures(3, bad=(0, 1, 2)))
    answer = scorer.score(MicroBatch(0, ITEMS))
    assert answer.n_rows == 0
    assert all(isinstance(one, ImageFailure) for one in answer.unpack(ITEMS))


class Broken:
    """A denoiser whose network overflows for one class."""

    def __init__(self, denoiser):
        self._denoiser = denoiser

    def __getattr__(self, name):
        return getattr(self._denoiser, name)

    def row_network(self, conditioning, wrap):
        network = self._denoiser.row_network(conditioning, wrap)
        return lambda *rows: network(*rows) * float("inf")


def test_errors_that_are_not_finite_fail_the_image(denoiser):
    assert "not finite" in score(make_scorer(Broken(denoiser), Pictures(3)), ITEMS)[0].message


class Small:
    """A denoiser on a device that takes only so many rows at once."""

    def __init__(self, denoiser, n_rows):
        self._denoiser = denoiser
        self.n_rows = n_rows
        self.tried = []

    def __getattr__(self, name):
        return getattr(self._denoiser, name)

    def row_network(self, conditioning, wrap):
        network = self._denoiser.row_network(conditioning, wrap)

        def call(x, time, draw, prompt):
            self.tried.append(len(draw))
            if len(draw) > self.n_rows:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return network(x, time, draw, prompt)

        return call


def test_where_memory_runs_out_smaller_batches_give_the_same_scores(denoiser):
    expected = score(make_scorer(denoiser, Pictures(3), batch_size=4), ITEMS)
    small = Small(denoiser, 5)
    scorer = make_scorer(small, Pictures(3), batch_size=16)
    with pytest.warns(UserWarning, match="out of memory") as warned:
        found = score(scorer, ITEMS)
    said = [f"out of memory: a worker continues with batches of {n}, uncompiled" for n in (8, 4)]
    assert [str(warning.message) for warning in warned] == said
    assert small.tried[:3] == [16, 8, 4]
    assert set(small.tried[3:]) == {4}
    assert scorer.batch_size == 4
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.errors, other.errors)


def test_a_row_that_does_not_fit_is_an_error(denoiser):
    scorer = make_scorer(Small(denoiser, 0), Pictures(3), batch_size=2)
    with (
        pytest.warns(UserWarning, match="batches of 1, uncompiled"),
        pytest.raises(torch.OutOfMemoryError),
    ):
        score(scorer, ITEMS)


@pytest.mark.parametrize(("gpus", "share"), [(0.5, 0.5), (1, 1), (2, 1)])
def test_a_worker_measures_its_batch_on_its_share_of_a_gpu(denoiser, gpus, share, monkeypatch):
    asked = []
    monkeypatch.setattr(sizes, "automatic", lambda *arguments: asked.append(arguments[-1]) or 8)
    cluster = {"gpus_per_worker": gpus, "batch_size": "auto"}
    run = parse_config(RunConfig, {"method": PAPER, "cluster": cluster})
    rows = {name: of[:1] for name, of in denoiser.conditioning.items()}
    scorer = planned_scorer(run, run.size(1), FILES, denoiser, Pictures(1), rows, ["one"])
    assert scorer.batch_size == 8
    assert asked == [share]


def test_an_automatic_batch_size_is_the_usual_one_on_a_processor(denoiser):
    assert make_scorer(denoiser, Pictures(3), batch_size="auto").batch_size == 64


def test_draws_are_made_ahead_once_and_not_kept(denoiser, monkeypatch):
    expected = score(make_scorer(denoiser, Pictures(3)), ITEMS)
    made, make = [], draws.noise
    monkeypatch.setattr(draws, "noise", lambda *a: made.append(a) or make(*a))
    scorer = make_scorer(denoiser, Pictures(3, bad=(1,)))
    twice = (*ITEMS, WorkItem(1, 1, 1, (0, 2)))  # of the image that fails
    scorer.read_ahead(MicroBatch(0, twice))
    assert len(made) == len(twice)
    found = score(scorer, twice)
    assert len(made) == len(twice)
    assert not scorer._method._ahead
    for item, one, other in zip(ITEMS, found[:3], expected, strict=True):
        if item.image != 1:
            np.testing.assert_array_equal(one.errors, other.errors)


def test_weights_that_are_not_finite_are_refused_before_anything_is_scored(denoiser, monkeypatch):
    """As with a schedule whose last step is pure noise."""
    betas = np.append(np.full(999, 0.01), 1.0)
    monkeypatch.setattr(denoiser, "schedule", DiscreteSchedule.from_betas(betas))
    make_scorer(denoiser, Pictures(3), t_range=(0.02, 0.98))
    with pytest.raises(UserError, match=r"heuristic is not finite .*\[0.02, 1\]"):
        make_scorer(denoiser, Pictures(3), t_range=(0.02, 1.0))


def test_an_image_that_found_no_memory_is_encoded_once_more(denoiser, monkeypatch):
    encode, calls = denoiser.encode_images, []

    def short(images):
        calls.append(images)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(images)

    monkeypatch.setattr(denoiser, "encode_images", short)
    assert score(make_scorer(denoiser, Pictures(3)), ITEMS[:1])[0].errors.shape == (3, 3)
    assert len(calls) == 2
