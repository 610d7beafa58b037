"""Denoisers of every objective: what they are trained on, and what their folder says they are."""

import json

import numpy as np
import pytest
import torch

from tests.support.models import load_model
from tests.training.small import DDPM, DIGITS, TEXT_TO_IMAGE, configure, train_local
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon, to_sample
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule
from zsd_ray.models.schedules import new_scheduler, schedule_of
from zsd_ray.records.errors import UserError
from zsd_ray.training.batches import generators
from zsd_ray.training.noising import denoising_loss, noising

CHAIN = {"num_train_timesteps": 100, "beta_start": 1e-4, "beta_end": 0.05}
PARAMETRISATIONS = {
    "epsilon": "epsilon",
    "v": "v_prediction",
    "sample": "sample",
    "flow": "flow",
}


def noised(objective, flow_times="logit-normal", n=4000):
    scheduler = new_scheduler(objective, **CHAIN)
    x_0 = torch.randn(n, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    rngs = generators(0, "test", 0, range(n))
    return x_0, scheduler, noising(scheduler, objective, flow_times)(x_0, rngs)


@pytest.mark.parametrize("objective", PARAMETRISATIONS)
def test_the_target_is_what_the_convention_reads_of_a_network_that_knows_it(objective):
    x_0, scheduler, (x_t, time, target) = noised(objective)
    schedule, parametrisation = schedule_of(scheduler)
    assert parametrisation == PARAMETRISATIONS[objective]
    t = (time / 1000 if objective == "flow" else (time + 0.5) / 100).double().numpy()
    assert np.allclose(schedule.model_time(t), time.double().numpy())
    alpha, sigma = (
        torch.from_numpy(of.astype(np.float32))[:, None, None, None]
        for of in schedule.alpha_sigma(t)
    )
    keep = (sigma[:, 0, 0, 0] > 0.05) & (alpha[:, 0, 0, 0] > 0.05)
    found = to_sample(target, x_t, alpha, sigma, parametrisation)
    assert torch.allclose(found[keep], x_0[keep], atol=1e-3)
    eps = to_epsilon(target, x_t, alpha, sigma, parametrisation)[keep]
    assert torch.allclose(alpha[keep] * x_0[keep] + sigma[keep] * eps, x_t[keep], atol=1e-3)
    assert abs(float(eps.mean())) < 0.03
    assert abs(float(eps.std()) - 1) < 0.03


def test_the_times_of_a_flow_have_their_density():
    uniform = noised("flow", "uniform")[2][1].double().numpy() / 1000
    logit_normal = noised("flow")[2][1].double().numpy() / 1000
    shares = np.linspace(0.1, 0.9, 9)
    assert np.abs(np.quantile(uniform, shares) - shares).max() < 0.03
    logits = np.log(logit_normal / (1 - logit_normal))
    assert abs(logits.mean()) < 0.05
    assert abs(logits.std() - 1) < 0.05


def test_the_loss_is_the_mean_squared_error_to_the_target():
    x_0, _, (x_t, time, target) = noised("v", n=3)
    loss = denoising_loss(lambda x, t: x + t[:, None, None, None], (x_t, time, target))
    by_hand = ((x_t + time[:, None, None, None] - target) ** 2).flatten(1).mean(1)
    assert torch.allclose(loss, by_hand)
    assert loss.shape == (len(x_0),)


@pytest.mark.parametrize("objective", PARAMETRISATIONS)
def test_a_trained_folder_loads_as_what_it_is(objective, tmp_path):
    sections = {"objective": objective, "classes": DIGITS, "epochs": 1}
    train_local(configure(tmp_path, DDPM, **sections))
    model = ModelConfig(family="ddpm", path=str(tmp_path / "model"))
    denoiser = load_model(model)
    assert denoiser.parametrisation == PARAMETRISATIONS[objective]
    kind = FlowSchedule if objective == "flow" else DiscreteSchedule
    assert isinstance(denoiser.schedule, kind)


def test_a_flow_from_text_is_a_pipeline_with_a_scheduler_of_flow_matching(tmp_path):
    train_local(configure(tmp_path, TEXT_TO_IMAGE, objective="flow", flow_times="uniform"))
    said = json.loads((tmp_path / "model/scheduler/scheduler_config.json").read_text())
    assert said["_class_name"] == "FlowMatchEulerDiscreteScheduler"
    denoiser = load_model(ModelConfig(path=str(tmp_path / "model")))
    assert denoiser.parametrisation == "flow"
    assert denoiser.schedule == FlowSchedule(scale=1000.0)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"flow_times": "uniform"}, "flow_times is for objective flow"),
        ({"objective": "flow", "chain": {"steps": 10}}, "chain is of no use to objective flow"),
        ({"objective": "velocity"}, "objective"),
    ],
)
def test_keys_that_say_nothing_are_refused(sections, said, tmp_path):
    with pytest.raises(UserError, match=said):
        configure(tmp_path, DDPM, **sections)
