import pytest
import torch

from zsd_ray.diffusion.parametrisation import to_epsilon


@pytest.mark.parametrize("parametrisation", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_parametrisation_gives_back_the_noise(parametrisation, dtype):
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 5, 4, 3, 3, generator=generator)
    angle = torch.linspace(0.2, 1.4, 5)[:, None, None, None]
    alpha, sigma = angle.cos(), angle.sin()
    output = {"epsilon": eps, "sample": x_0, "v_prediction": alpha * eps - sigma * x_0}
    estimate = to_epsilon(
        output[parametrisation].to(dtype), alpha * x_0 + sigma * eps, alpha, sigma, parametrisation
    )
    assert estimate.dtype == torch.float32
    tolerance = 1e-5 if dtype == torch.float32 else 0.1
    torch.testing.assert_close(estimate, eps, atol=tolerance, rtol=tolerance)


def test_the_velocity_of_a_straight_path_gives_back_the_noise():
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 5, 4, 3, 3, generator=generator)
    t = torch.linspace(0.1, 0.9, 5)[:, None, None, None]
    x_t = (1 - t) * x_0 + t * eps
    torch.testing.assert_close(to_epsilon(eps - x_0, x_t, 1 - t, t, "flow"), eps)
