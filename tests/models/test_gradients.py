"""`predict` can be differentiated in x and in what prompts are encoded to, for every family."""

import numpy as np
import pytest
import torch

from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import BUILDERS
from zsd_ray.config.run import ModelConfig

STEP = 2e-3


def normal(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check(function, at):
    """The slope of a scalar function along a direction, by autograd and by a central difference."""
    at = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(at), at)
    at = at.detach()
    # Half along the gradient, so that the slope is not small by chance; as long as `at`.
    direction = normal(at.shape, seed=2)
    direction = direction / direction.norm() + gradient / gradient.norm()
    direction = direction * at.norm() / direction.norm()
    with torch.no_grad():
        change = function(at + STEP * direction) - function(at - STEP * direction)
    slope = float((gradient.double() * direction).sum())
    assert slope > 0
    assert slope == pytest.approx(float(change) / (2 * STEP), rel=0.03)


@pytest.mark.few(2)
@pytest.mark.parametrize("key", sorted(BUILDERS), ids="-".join)
def test_slopes_are_those_of_finite_differences(key, tmp_path):
    prompts, keys = BUILDERS[key](tmp_path / "model")
    place = {"family": key[0], "path": str(tmp_path / "model"), "device": "cpu"}
    config = ModelConfig(**place | keys)
    model, encoded = load_model(config), encode_prompts(config, prompts)
    rows = {name: torch.from_numpy(of[:2].copy()) for name, of in encoded.items()}
    x, weights = (normal((2, *model.sample_shape), seed) for seed in (0, 1))
    t = model.schedule.snap(np.array([0.3, 0.6]))
    time = torch.from_numpy(model.schedule.model_time(t)).float()

    def scalar(x, rows):
        # In float64: in a float32 sum of thousands of numbers the difference would be lost.
        return (model.predict(x, time, rows).double() * weights).sum()

    check(lambda x: scalar(x, rows), x)
    for name, of in rows.items():
        if of.is_floating_point():
            check(lambda of, name=name: scalar(x, rows | {name: of}), of)
