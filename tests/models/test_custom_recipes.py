"""The recipes of docs/how-to/custom-models.md for models of other projects do what it says."""

import re
import textwrap
from pathlib import Path

import pytest
import torch

from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.diffusion.schedule import FlowSchedule

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "custom-models.md"


def recipes():
    """The code blocks of the section, in order."""
    section = PAGE.read_text().split("## What models of other projects often have otherwise")[1]
    section = section.split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def made(block, **names):
    """A class with a block as its body, but for imports, which come before."""
    lines = block.splitlines()
    imports = "\n".join(line for line in lines if line.startswith("from "))
    body = textwrap.dedent("\n".join(line for line in lines if not line.startswith("from ")))
    code = f"{imports}\nclass Model(torch.nn.Module):\n{textwrap.indent(body, '    ')}"
    space = {"torch": torch, **names}
    exec(code, space)  # noqa: S102 - the project's own page
    return space["Model"]


class FromNoise:
    """What code that starts from noise predicts on x_s = s x_0 + (1 - s) eps."""

    def __init__(self, answer):
        self.answer, self.told = answer, None

    def __call__(self, x, time, condition):
        self.told = time
        return self.answer


@pytest.fixture
def path():
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 3, 1, 4, 4, generator=generator)
    t = torch.tensor([0.1, 0.5, 0.8])
    at = t[:, None, None, None]
    return x_0, eps, t, (1 - at) * x_0 + at * eps, at


def test_a_velocity_of_the_other_direction(path):
    x_0, eps, t, x_t, at = path
    model = made(recipes()[0])()
    model.network = FromNoise(x_0 - eps)
    output = model(x_t, t, None)
    torch.testing.assert_close(to_epsilon(output, x_t, 1 - at, at, "flow"), eps)
    torch.testing.assert_close(model.network.told, 1 - t)


def test_an_image_on_the_straight_path(path):
    x_0, eps, t, x_t, at = path
    model = made(recipes()[1])()
    model.network = FromNoise(x_0)
    assert model.schedule == FlowSchedule(1.0)
    output = model(x_t, t, None)
    found = to_epsilon(output, x_t, 1 - at, at, model.parametrisation)
    torch.testing.assert_close(found, eps, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.network.told, 1 - t)


def test_pictures_between_0_and_1():
    images = torch.tensor([-1.0, 0.0, 1.0]).expand(1, 3, 2, 3)
    found = made(recipes()[2])().encode_images(images)
    assert found.unique().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_in_a_pth(tmp_path, wrapped):
    network = torch.nn.Linear(2, 2)
    state = network.state_dict()
    torch.save({"ema": state} if wrapped else state, tmp_path / "best.pth")
    model = made(recipes()[3], Network=lambda: torch.nn.Linear(2, 2))(tmp_path / "best.pth")
    torch.testing.assert_close(model.network.weight, network.weight)


def test_weights_that_could_run_code_are_refused(tmp_path):
    torch.save({"a": Path("x")}, tmp_path / "best.pth")
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        made(recipes()[3], Network=lambda: torch.nn.Linear(2, 2))(tmp_path / "best.pth")
