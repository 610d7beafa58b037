import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from zsd_ray.diffusion.likelihood import bits_per_dimension, log_prior, value_and_divergence

SHAPE = (2, 3, 2)
SIZE = 12


def test_the_product_is_that_of_the_whole_jacobian():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(SIZE, SIZE, generator=generator)
    y, probe = torch.randn(2, 4, *SHAPE, generator=generator)

    def function(y):
        return torch.tanh(y.flatten(1) @ weight).view(y.shape) * y

    with torch.no_grad():
        value, divergence = value_and_divergence(function, y, probe)
        torch.testing.assert_close(value, function(y))
    assert not value.requires_grad
    assert not divergence.requires_grad
    for row in range(4):
        jacobian = torch.autograd.functional.jacobian(
            lambda flat: function(flat.view(1, *SHAPE)).flatten(), y[row].flatten()
        )
        z = probe[row].flatten()
        assert float(divergence[row]) == pytest.approx(float(z @ jacobian @ z), rel=1e-5)


def test_signs_are_exact_where_the_jacobian_is_diagonal():
    y = torch.linspace(-1, 1, 2 * SIZE).view(2, *SHAPE)
    probe = torch.where(torch.arange(2 * SIZE).view(2, *SHAPE) % 3 == 0, -1.0, 1.0)
    _, divergence = value_and_divergence(lambda y: y**3, y, probe)
    torch.testing.assert_close(divergence, (3 * y**2).flatten(1).sum(1))


def test_the_prior_is_a_normal_density():
    y = torch.linspace(-5, 9, 2 * SIZE).view(2, *SHAPE)
    expected = multivariate_normal(np.zeros(SIZE), (1 + 4.0**2) * np.eye(SIZE)).logpdf(
        y.flatten(1).double().numpy()
    )
    np.testing.assert_allclose(log_prior(y, 4.0), expected, rtol=1e-12)


def test_bits_per_dimension():
    """A density that is uniform on [-1, 1]: one bit a dimension, or eight of 256 values."""
    nats = float(SIZE * np.log(2.0))
    assert bits_per_dimension(nats, SHAPE) == pytest.approx(1.0)
    assert bits_per_dimension(nats, SHAPE) + np.log2(127.5) == pytest.approx(8, abs=6e-3)
