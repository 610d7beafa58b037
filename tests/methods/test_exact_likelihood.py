"""Log-likelihoods against densities that are known, and a plain integration by scipy."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import logsumexp

from tests.support.models import encode_prompts, load_model
from zsd_ray.config.algorithms import ExactLikelihoodMethod
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion import draws
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.methods.exact_likelihood import ExactLikelihood
from zsd_ray.methods.method import Bound, Sample, Unit
from zsd_ray.models.rows import plain_rows
from zsd_ray.records.errors import UserError

SEED = 3
SHAPE = (2, 2, 2)
SIZE = 8
SCHEDULES = {
    "chain": (DiscreteSchedule.from_betas(np.linspace(1e-4, 0.02, 1000)), "epsilon"),
    "karras": (KarrasSchedule(sigma_max=200.0), "sample"),
    "flow": (FlowSchedule(1000.0), "flow"),
}
RANGE = {"chain": (0.05, 1.0), "karras": (0.2, 0.98), "flow": (0.05, 0.995)}


class TwoGaussians:
    """Of each class's data x_0 ~ 1/2 N(mean + apart e_1, s^2 I) + 1/2 N(mean - apart e_1, s^2 I)
    the eps is known; its Jacobian is diagonal. Classes are told by their means, (N, 8)."""

    image_size = 2
    sample_shape = SHAPE
    device = torch.device("cpu")

    def __init__(self, name, apart=0.0, spread=0.8):
        self.schedule, self.parametrisation = SCHEDULES[name]
        self.apart, self.spread = apart, spread
        self.n_calls = 0

    def level(self, time):
        """sigma / alpha at what the network is told."""
        if isinstance(self.schedule, KarrasSchedule):
            return time
        if isinstance(self.schedule, FlowSchedule):
            return time / (1000 - time)
        kept = self.schedule.alphas_cumprod
        log_levels = torch.from_numpy(np.log(np.sqrt((1 - kept) / kept)))
        below = time.floor().long().clamp(max=998)
        share = time - below
        return torch.exp((1 - share) * log_levels[below] + share * log_levels[below + 1])

    def predict(self, x, time, conditioning):
        self.n_calls += 1
        time = time.double()
        level = self.level(time)[:, None]
        y = x.double().flatten(1)
        if isinstance(self.schedule, DiscreteSchedule):
            y = y * torch.sqrt(1 + level**2)
        elif isinstance(self.schedule, FlowSchedule):
            y = y / (1 - time[:, None] / 1000)
        variance = self.spread**2 + level**2
        shift = torch.zeros(SIZE, dtype=torch.float64)
        shift[0] = self.apart
        gap = y - conditioning["mean"].double()
        # The posterior mean of the side, -1 or 1, is a tanh.
        side = torch.tanh((gap * shift).sum(1, keepdim=True) / variance)
        eps = level * (gap - side * shift) / variance
        denoised = y - level * eps
        output = {"epsilon": eps, "sample": denoised, "flow": eps - denoised}
        return output[self.parametrisation].view(x.shape).float()

    def log_density(self, y, mean, level):
        """Of x_0 with noise of this level, at y; float64."""
        shift = np.zeros(SIZE)
        shift[0] = self.apart
        variance = self.spread**2 + level**2
        sides = [
            -0.5 * (((y - mean - side * shift) ** 2).sum() / variance)
            - 0.5 * SIZE * np.log(2 * np.pi * variance)
            for side in (-1, 1)
        ]
        return logsumexp(sides) - np.log(2)


def bind(denoiser, means, rows=4):
    conditioning = {"mean": torch.from_numpy(np.asarray(means, dtype=np.float32))}
    names = [str(number) for number in range(len(means))]
    network = plain_rows(denoiser, conditioning)
    return Bound(denoiser, conditioning, names, ["{}"], network, rows, SEED, None)


def sample(x_0, image_id="image"):
    x_0 = torch.as_tensor(np.asarray(x_0, dtype=np.float32)).view(SHAPE)
    return Sample(image_id, x_0, torch.zeros(3, 2, 2))


def make(denoiser, means, rows=4, **keys):
    return ExactLikelihood(bind(denoiser, means, rows), ExactLikelihoodMethod(**keys))


def score(method, *units):
    with torch.no_grad():
        return method.score(units)


def levels(name):
    schedule = SCHEDULES[name][0]
    alpha, sigma = schedule.alpha_sigma(schedule.snap(np.array(RANGE[name])))
    return sigma / alpha


MEANS = np.random.default_rng(0).normal(size=(3, SIZE)) * 0.4
X_0 = MEANS[1] + 0.7 * np.random.default_rng(1).normal(size=SIZE)


@pytest.mark.few(2)
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("apart", [0.0, 1.5], ids=["gaussian", "mixture"])
def test_the_density_is_the_known_one(name, apart):
    denoiser = TwoGaussians(name, apart)
    method = make(denoiser, MEANS, rtol=1e-5, atol=1e-5, t_range=RANGE[name])
    (found,) = score(method, Unit(sample(X_0), range(1), (0, 1, 2)))
    low, high = levels(name)
    assert high > 100
    expected = [-denoiser.log_density(X_0, mean, low) for mean in MEANS]
    # What is left is the prior's: of each class's mean and variance at the high end.
    np.testing.assert_allclose(found.scores[0], expected, atol=0.04)
    assert found.scores.dtype == np.float32
    assert found.draws.t[0] == denoiser.schedule.snap(np.array([RANGE[name][1]]))[0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_gaussian_and_the_prior_are_exact(name):
    """The ODE of a Gaussian stretches y - mean; what the prior says of its end is known."""
    method = make(TwoGaussians(name), MEANS, rtol=1e-6, atol=1e-6, t_range=RANGE[name])
    (found,) = score(method, Unit(sample(X_0), range(1), (0, 1, 2)))
    low, high = levels(name)
    stretch = np.sqrt((0.8**2 + high**2) / (0.8**2 + low**2))
    for mean, nats in zip(MEANS, found.scores[0], strict=True):
        y = mean + stretch * (X_0.astype(np.float32) - mean)
        prior = -0.5 * ((y**2).sum() / (1 + high**2) + SIZE * np.log(2 * np.pi * (1 + high**2)))
        assert nats == pytest.approx(-(prior + SIZE * np.log(stretch)), abs=2e-4)


@pytest.mark.parametrize(("solver", "order"), [("heun", 2), ("rk4", 4)])
def test_fixed_steps_have_their_order(solver, order):
    def nats(**keys):
        method = make(TwoGaussians("karras", 1.5), MEANS, t_range=RANGE["karras"], **keys)
        (found,) = score(method, Unit(sample(X_0), range(1), (0, 1, 2)))
        return found.scores[0].astype(np.float64)

    exact = nats(rtol=1e-6, atol=1e-6)
    errors = [np.abs(nats(solver=solver, steps=steps) - exact).max() for steps in (10, 20)]
    assert np.log2(errors[0] / errors[1]) > order - 0.7
    assert errors[1] < 0.5


def test_tolerances_are_kept():
    def nats(tolerance):
        method = make(
            TwoGaussians("flow", 1.5), MEANS, t_range=RANGE["flow"], rtol=tolerance, atol=tolerance
        )
        (found,) = score(method, Unit(sample(X_0), range(1), (0, 1, 2)))
        return found.scores[0].astype(np.float64), found.n_evaluations

    exact, _ = nats(1e-6)
    errors, costs = [], []
    for tolerance in (1e-2, 1e-3, 1e-4):
        found, n_evaluations = nats(tolerance)
        errors.append(np.abs(found - exact).max())
        costs.append(n_evaluations)
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert errors[1] < 1e-3 * SIZE * 5
    assert costs == sorted(set(costs))


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_finds_what_was_planted(probe):
    rng = np.random.default_rng(5)
    means = rng.normal(size=(4, SIZE))
    method = make(TwoGaussians("chain", 0.5, 0.4), means, rows=8, probe=probe, solver="rk4")
    for class_ in range(4):
        x_0 = means[class_] + 0.4 * rng.normal(size=SIZE)
        (found,) = score(method, Unit(sample(x_0, f"of {class_}"), range(2), (0, 1, 2, 3)))
        assert (found.scores.argmin(axis=1) == class_).all()


def test_probes_are_addressed_and_shared():
    bound = bind(TwoGaussians("chain"), MEANS)
    normal = draws.noise(SEED, "image", range(4, 7), SHAPE)
    gaussian = ExactLikelihood(bound, ExactLikelihoodMethod(probe="gaussian"))
    np.testing.assert_array_equal(gaussian.noise("image", range(4, 7)), normal)
    signs = ExactLikelihood(bound, ExactLikelihoodMethod()).noise("image", range(4, 7))
    np.testing.assert_array_equal(signs, np.where(normal < 0, -1, 1))
    assert signs.dtype == np.float32


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_alike_classes_score_alike_however_the_work_is_cut(probe):
    """With other probes they would not: the Jacobian of a Gaussian probe's estimate is no trace."""
    means = np.stack([MEANS[0], MEANS[1], MEANS[0], MEANS[2]])
    keys = {"probe": probe, "rtol": 1e-2, "atol": 1e-2}
    method = make(TwoGaussians("flow", 1.5), means, rows=4, **keys)
    image = sample(X_0)
    (whole,) = score(method, Unit(image, range(3), (0, 1, 2, 3)))
    np.testing.assert_array_equal(whole.scores[:, 0], whole.scores[:, 2])
    parts = score(
        method,
        Unit(image, range(2, 3), (1, 3)),
        Unit(sample(-X_0, "another"), range(1), (0, 2)),
        Unit(image, range(1), (0, 1, 2, 3)),
        Unit(image, range(1, 2), (3,)),
    )
    np.testing.assert_array_equal(parts[0].scores, whole.scores[2:3, [1, 3]])
    np.testing.assert_array_equal(parts[2].scores, whole.scores[:1])
    np.testing.assert_array_equal(parts[3].scores, whole.scores[1:2, [3]])
    alone = make(TwoGaussians("flow", 1.5), means, rows=1, **keys)
    (one,) = score(alone, Unit(image, range(1), (0, 1, 2, 3)))
    np.testing.assert_allclose(one.scores, whole.scores[:1], rtol=1e-6)
    assert sum(part.n_evaluations for part in parts[2:3]) == one.n_evaluations
    if probe == "gaussian":
        assert np.ptp(whole.scores[:, 0]) > 0.1


def test_gaussian_probes_are_right_on_average():
    denoiser = TwoGaussians("flow")
    keys = {"solver": "heun", "steps": 20, "t_range": RANGE["flow"]}
    unit = Unit(sample(X_0), range(400), (1,))
    (some,) = score(make(denoiser, MEANS, rows=400, probe="gaussian", **keys), unit)
    (exact,) = score(make(denoiser, MEANS, rows=400, **keys), unit)
    assert np.ptp(exact.scores) < 1e-5
    error = some.scores.std() / np.sqrt(400)
    assert some.scores.mean() == pytest.approx(exact.scores.mean(), abs=3.5 * error)


def test_what_is_counted_is_what_was_called():
    denoiser = TwoGaussians("karras", 1.5)
    method = make(denoiser, MEANS, rows=1, t_range=RANGE["karras"])
    units = [Unit(sample(X_0), range(2), (0, 2)), Unit(sample(9 * X_0), range(1), (1,))]
    denoiser.n_calls = 0
    found = score(method, *units)
    assert sum(scores.n_evaluations for scores in found) == denoiser.n_calls
    padded = score(make(denoiser, MEANS, rows=4, t_range=RANGE["karras"]), *units)
    assert [s.n_evaluations for s in padded] == [s.n_evaluations for s in found]
    for solver, per_step in (("heun", 2), ("rk4", 4)):
        (fixed,) = score(make(denoiser, MEANS, solver=solver, steps=5), units[0])
        assert fixed.n_evaluations == 4 * 5 * per_step


def test_a_row_that_fails_leaves_the_others():
    method = make(TwoGaussians("chain"), MEANS, rows=4)
    bad, good = sample(np.full(SIZE, np.nan), "bad"), sample(X_0, "good")
    failed, fine = score(method, Unit(bad, range(1), (0,)), Unit(good, range(1), (0, 1)))
    assert np.isnan(failed.scores).all()
    (alone,) = score(method, Unit(good, range(1), (0, 1)))
    np.testing.assert_array_equal(fine.scores, alone.scores)
    assert fine.n_evaluations == alone.n_evaluations


@pytest.mark.full
def test_a_tolerance_that_float32_cannot_meet_gives_no_number():
    method = make(TwoGaussians("flow", 1.5), MEANS, rtol=1e-12, atol=1e-12, t_range=RANGE["flow"])
    (found,) = score(method, Unit(sample(X_0), range(1), (0, 1, 2)))
    assert np.isnan(found.scores).all()


@pytest.mark.parametrize(
    ("name", "t_range", "says"),
    [
        ("flow", (0.0, 0.9), "from 0 to 9;"),
        ("flow", (0.1, 1.0), "to inf;"),
        ("chain", (0.5001, 0.5002), "needs 0 < low < high"),
    ],
)
def test_ends_without_noise_or_signal_are_refused(name, t_range, says):
    with pytest.raises(UserError, match=says):
        make(TwoGaussians(name), MEANS, t_range=t_range)


def test_a_schedule_that_knows_only_its_times_is_refused():
    class Plain:
        def snap(self, t):
            return t

    denoiser = TwoGaussians("flow")
    denoiser.schedule = Plain()
    with pytest.raises(UserError, match="at_log_level"):
        make(denoiser, MEANS)


DIGITS = ["zero", "one", "two", "three"]


@pytest.fixture(scope="module")
def digits():
    """The built-in model, its conditioning, and two images."""
    config = ModelConfig(path="builtin:digits", device="cpu")
    denoiser = load_model(config)
    prompts = [f"a photo of the digit {name}." for name in DIGITS]
    encoded = encode_prompts(config, prompts)
    generator = torch.Generator().manual_seed(0)
    samples = [
        Sample(f"image {number}", 0.7 * torch.randn(denoiser.sample_shape, generator=generator),
               torch.zeros(3, 32, 32))
        for number in range(2)
    ]  # fmt: skip
    return denoiser, {name: torch.from_numpy(rows) for name, rows in encoded.items()}, samples


def on_digits(digits, rows, **keys):
    denoiser, conditioning, _ = digits
    network = plain_rows(denoiser, conditioning)
    bound = Bound(denoiser, conditioning, DIGITS, ["{}"], network, rows, SEED, None)
    return ExactLikelihood(bound, ExactLikelihoodMethod(**keys))


@pytest.mark.full
def test_company_does_not_matter_to_a_real_network(digits):
    one, other = digits[2]
    method = on_digits(digits, rows=3, rtol=0.05, atol=0.05)
    (alone,) = score(method, Unit(one, range(1), (1,)))
    _, together = score(method, Unit(other, range(1), (0, 1, 3)), Unit(one, range(1), (1, 2)))
    np.testing.assert_allclose(together.scores[:, :1], alone.scores, rtol=1e-5)


def test_equals_a_plain_integration_of_a_real_network(digits):
    """In lambda instead of its logarithm, in float64 by scipy, with the divergence by differences
    of the network along the probe."""
    denoiser, conditioning, samples = digits
    rest = {name: rows[1:2] for name, rows in conditioning.items()}
    z = np.sign(draws.noise(SEED, samples[0].image_id, range(1), denoiser.sample_shape)).ravel()
    kept = denoiser.schedule.alphas_cumprod
    of_step = np.sqrt((1 - kept) / kept)

    def eps(points, level):
        x = torch.from_numpy((points / np.sqrt(1 + level**2)).astype(np.float32))
        step = np.interp(np.log(level), np.log(of_step), np.arange(1000))
        rows = {name: of.expand(len(points), *of.shape[1:]) for name, of in rest.items()}
        with torch.no_grad():
            output = denoiser.predict(
                x.view(-1, *denoiser.sample_shape), torch.full((len(points),), float(step)), rows
            )
        return output.flatten(1).double().numpy()

    def field(level, state):
        y, h = state[:-1], 3e-2 * np.sqrt(1 + level**2)
        here, ahead, behind = eps(np.stack([y, y + h * z, y - h * z]), level)
        return np.append(here, z @ (ahead - behind) / (2 * h))

    steps = [int(0.3 * 1000), int(0.9 * 1000)]
    low, high = of_step[steps]
    start = np.append(samples[0].x_0.numpy().ravel().astype(np.float64), 0.0)
    end = solve_ivp(field, (low, high), start, rtol=1e-4, atol=1e-4).y[:, -1]
    y, integral = end[:-1], end[-1]
    variance = 1 + high**2
    log_p = -0.5 * ((y @ y) / variance + len(y) * np.log(2 * np.pi * variance)) + integral
    method = on_digits(digits, rows=1, rtol=1e-4, atol=1e-4, t_range=(0.3, 0.9))
    (found,) = score(method, Unit(samples[0], range(1), (1,)))
    assert found.scores[0, 0] == pytest.approx(-log_p, abs=0.3)
    assert abs(integral) > 20
