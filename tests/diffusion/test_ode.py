"""The solvers against their theory: measured orders, and rows that do not know of each other."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from zsd_ray.diffusion import ode

START, END = -1.0, 2.0


def swing(y, u_B):
    """dy/du = y cos(u), of which the solution is known; beside it the integral of y's sum."""
    return y * torch.from_numpy(np.cos(u_B))[:, None], y.sum(1)


def swung(y, u):
    return y * np.exp(np.sin(u) - np.sin(START))


def integral_of_swing(y):
    grid = np.linspace(START, END, 200_001)
    return np.trapezoid(swung(1.0, grid), grid) * y.sum(1).numpy()


@pytest.fixture
def y():
    return torch.tensor([[1.0, 2.0], [0.5, -3.0], [0.1, 0.2]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("tableau", "order", "n_stages"),
    [(ode.HEUN, 2, 2), (ode.RK4, 4, 4), (ode.DORMAND_PRINCE, 5, 7)],
    ids=["heun", "rk4", "dormand-prince"],
)
def test_error_falls_with_the_order_of_the_method(y, tableau, order, n_stages):
    errors = []
    for n_steps in (8, 16, 32):
        end = ode.fixed(swing, y, START, END, n_steps, tableau)
        of_y = (end.y - swung(y, END)).abs().max()
        of_integral = np.abs(end.integral - integral_of_swing(y)).max()
        errors.append((of_y, of_integral))
        assert (end.n_evaluations == n_steps * n_stages).all()
        assert end.reached.all()
    slopes = -np.diff(np.log2(errors), axis=0)
    assert (slopes > order - 0.35).all()
    assert (slopes[:, 0] < order + 0.6).all()


def test_a_tighter_tolerance_is_nearer_and_dearer(y):
    errors, costs = [], []
    for tolerance in (1e-2, 1e-4, 1e-6, 1e-8):
        end = ode.adaptive(swing, y, START, END, tolerance, tolerance)
        of_y = float((end.y - swung(y, END)).abs().max())
        errors.append(max(of_y, np.abs(end.integral - integral_of_swing(y)).max()))
        costs.append(end.n_evaluations.max())
        assert errors[-1] < 20 * tolerance
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4 * errors[0]
    assert (np.diff(costs) > 0).all()


def test_the_integral_is_controlled_where_y_is_easy():
    """y stands still, and the integrand is a peak."""

    def peak(y, u_B):
        return torch.zeros_like(y), torch.from_numpy(np.exp(-((u_B - 0.7) ** 2) / 0.05))

    end = ode.adaptive(peak, torch.zeros(1, 1), START, END, 1e-6, 1e-6)
    assert end.integral[0] == pytest.approx(np.sqrt(0.05 * np.pi), abs=1e-5)


def van_der_pol(stiffness):
    """Of rows with their own stiffness, (B,)."""

    def field(y, u_B):
        position, speed = y[:, 0], y[:, 1]
        force = stiffness * (1 - position**2) * speed - position
        return torch.stack([speed, force], dim=1), position * speed

    return field


START_OF_POL = torch.tensor([[2.0, 0.0]], dtype=torch.float64)


def test_each_row_has_a_step_of_its_own():
    stiffness = torch.tensor([0.1, 10.0, 3.0], dtype=torch.float64)
    y = START_OF_POL.expand(3, 2)
    together = ode.adaptive(van_der_pol(stiffness), y, 0.0, 5.0, 1e-5, 1e-5)
    assert together.reached.all()
    for row in range(3):
        alone = ode.adaptive(van_der_pol(stiffness[[row] * 3]), y, 0.0, 5.0, 1e-5, 1e-5)
        torch.testing.assert_close(together.y[row], alone.y[0], rtol=0, atol=0)
        assert together.integral[row] == alone.integral[0]
        assert together.n_evaluations[row] == alone.n_evaluations[0]
        plain = solve_ivp(
            lambda _, y, row=row: [
                y[1],
                float(stiffness[row]) * (1 - y[0] ** 2) * y[1] - y[0],
                y[0] * y[1],
            ],
            (0, 5),
            [2.0, 0.0, 0.0],
            method="LSODA",
            rtol=1e-10,
            atol=1e-10,
        ).y[:, -1]
        np.testing.assert_allclose(together.y[row], plain[:2], rtol=1e-3, atol=1e-3)
        assert together.integral[row] == pytest.approx(plain[2], abs=1e-3)
    assert len(set(together.n_evaluations)) == 3


def test_every_call_on_the_way_is_counted_and_rejected_steps_are_some():
    calls = []

    def field(y, u_B):
        calls.append(u_B[0])
        return van_der_pol(10.0)(y, u_B)

    end = ode.adaptive(field, START_OF_POL, 0.0, 10.0, 1e-3, 1e-3)
    assert end.n_evaluations[0] == len(calls)
    assert (np.diff(calls[1::6]) < 0).any()  # went back, and tried a shorter step
    assert calls[-1] == 10.0


def test_rows_that_cannot_go_on_say_so_and_leave_the_others():
    wrong = torch.tensor([0.0, torch.nan, torch.inf, 0.0], dtype=torch.float64)

    def field(y, u_B):
        slope, rate = swing(y, u_B)
        return slope + wrong[:, None], rate + wrong

    y = torch.tensor([[1.0], [1.0], [1.0], [3.0]], dtype=torch.float64)
    end = ode.adaptive(field, y, START, END, 1e-4, 1e-4)
    np.testing.assert_array_equal(end.reached, [True, False, False, True])
    assert end.n_evaluations[1] < 100
    good = ode.adaptive(swing, y, START, END, 1e-4, 1e-4)
    torch.testing.assert_close(end.y[[0, 3]], good.y[[0, 3]], rtol=0, atol=0)
    np.testing.assert_array_equal(end.integral[[0, 3]], good.integral[[0, 3]])


def test_a_step_into_what_is_no_number_is_tried_again_shorter():
    """The field is only known up to y = 1.05, which the first steps overshoot."""

    def field(y, u_B):
        slope = torch.where(y < 1.05, 50 * (1 - y), torch.nan)
        return slope, slope[:, 0]

    end = ode.adaptive(field, torch.zeros(1, 1), START, END, 1e-4, 1e-4)
    assert end.reached[0]
    assert float(end.y) == pytest.approx(1, abs=1e-3)


def test_steps_are_bounded():
    y = START_OF_POL.expand(2, 2)
    field = van_der_pol(torch.tensor([0.1, 300.0], dtype=torch.float64))
    end = ode.adaptive(field, y, 0.0, 10.0, 1e-4, 1e-4, max_steps=60)
    np.testing.assert_array_equal(end.reached, [True, False])
    assert end.n_evaluations[1] == 1 + 6 * 60


def test_noise_above_the_tolerance_ends():
    """As a network in half precision has it."""
    generator = torch.Generator().manual_seed(0)

    def field(y, u_B):
        slope, rate = swing(y, u_B)
        return slope + 0.1 * torch.randn(slope.shape, generator=generator), rate

    end = ode.adaptive(field, torch.ones(1, 1), START, END, 1e-9, 1e-9)
    assert not end.reached[0]
