"""Configurations whose values no model can have are refused in one line, as a run is planned."""

import math

import numpy as np
import pytest

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, load_model
from zsd_ray.diffusion.schedule import DiscreteSchedule, FlowSchedule, KarrasSchedule
from zsd_ray.models.schedule_check import check_schedule
from zsd_ray.records.errors import UserError

SD, IF, EDM = "stable-diffusion-epsilon", "deepfloyd-if-stage-1", "edm-epsilon"
T5 = "pixart-sigma"
CHAINS = [SD, "sdxl-euler", "pixart-sigma", IF, "dit-imagenet", "ddpm-labels"]
SCHEDULE = "scheduler/scheduler_config.json"


def refusal(call, *inputs):
    with pytest.raises(UserError) as caught:
        call(*inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (SD, {"scaling_factor": 0}),
        (SD, {"scaling_factor": -1}),
        (SD, {"scaling_factor": 10**400}),
        (SD, {"latents_mean": [0] * 4, "latents_std": [1, 1, 0, 1]}),
        (SD, {"latents_mean": [0] * 4, "latents_std": [1, 1, None, 1]}),
        (SD, {"latents_mean": [0] * 2, "latents_std": [1] * 2}),
        (SD, {"latents_mean": [[0] * 4], "latents_std": [[1] * 4]}),
        (SD, {"latents_mean": 0, "latents_std": 1}),
        ("sd3-t5", {"scaling_factor": 0}),
        ("flux-dev", {"scaling_factor": -1.5}),
        ("dit-imagenet", {"latents_mean": [0] * 8, "latents_std": [1] * 8}),
    ],
)
def test_a_vae_that_scales_latents_to_nothing_is_refused(kind, changes, copied):
    folder, config, _ = copied(kind)
    hostile.edit(folder / "vae" / "config.json", **changes)
    said = refusal(check_model, config)
    assert "vae/config.json: " in said
    assert any(f"{key} is " in said for key in changes)
    assert "expected" in said


@pytest.mark.few(4)
@pytest.mark.parametrize("value", ["x", "1e-5", math.nan, math.inf, [None], -1.0, None])
@pytest.mark.parametrize(
    ("kind", "part", "key"),
    [
        (SD, "unet", "norm_eps"),
        ("ddpm-labels", "unet", "norm_eps"),
        (SD, "text_encoder", "layer_norm_eps"),
        ("flux-dev", "text_encoder_2", "layer_norm_epsilon"),
        (SD, "unet", "freq_shift"),
        (EDM, "unet", "freq_shift"),
    ],
)
def test_a_network_with_a_number_that_is_none_is_refused(kind, part, key, value, copied):
    folder, config, _ = copied(kind)
    hostile.put(folder / part / "config.json", (key,), value)
    if key == "freq_shift" and value == -1.0:
        check_model(config)
    else:
        assert f"{part}/config.json: {key} is " in refusal(check_model, config)


@pytest.mark.parametrize(
    ("kind", "part", "key", "value"),
    [
        (SD, "text_encoder", "vocab_size", []),
        (SD, "text_encoder", "vocab_size", [3]),
        (T5, "text_encoder", "vocab_size", [3]),
        (SD, "vae", "block_out_channels", 16.0),
        (SD, "vae", "block_out_channels", []),
        (SD, "unet", "block_out_channels", 8),
        (SD, "vae", "latent_channels", [4]),
        ("flux-dev", "vae", "latent_channels", []),
        ("flux-dev", "transformer", "in_channels", [16]),
        ("flux-dev", "transformer", "patch_size", [1]),
        ("sd3-t5", "transformer", "patch_size", [None]),
    ],
)
def test_a_list_is_no_number_and_a_number_no_list(kind, part, key, value, copied):
    folder, config, _ = copied(kind)
    hostile.put(folder / part / "config.json", (key,), value)
    config = config.model_copy(update={"image_size": 16})
    assert f"{part}/config.json: {key} is {value!r}, and " in refusal(check_model, config)


@pytest.mark.few(4)
@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_schedule": "linear", "beta_start": 0.5, "beta_end": 0.1}, "beta_start is 0.5 and"),
        ({"beta_schedule": "scaled_linear", "beta_start": 0.1, "beta_end": 0.1}, "must be below"),
        ({"beta_end": 1.0}, "beta_end is 1.0, and a number above 0 and below 1 is expected"),
        ({"beta_start": 0}, "beta_start is 0, and a number above 0 and below 1 is expected"),
        ({"beta_schedule": "bogus"}, "beta_schedule is 'bogus', and one of linear, "),
        ({"beta_schedule": ["linear"]}, r"beta_schedule is \['linear'\]"),
        ({"num_train_timesteps": 1}, "num_train_timesteps is 1, and a whole number from 2"),
        ({"num_train_timesteps": 0}, "num_train_timesteps is 0, and a whole number from 2"),
        ({"trained_betas": []}, r"trained_betas is 0 numbers, and a list of 1,000 numbers"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas is 2 numbers"),
        ({"trained_betas": 0.1}, "trained_betas is 0.1, and a list of"),
        ({"num_train_timesteps": 2, "trained_betas": [1, 0.1]}, "trained_betas is 1, and a number"),
        ({"num_train_timesteps": 2, "trained_betas": [0.1, None]}, "trained_betas is None"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "a scheduler of flow matching in a"),
        ({"_class_name": "FlowMatchHeunDiscreteScheduler"}, "a scheduler of flow matching in a"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas is a scheduler of flow matching in a folder"),
    ],
    ids=str,
)
def test_a_chain_that_cannot_be_is_refused(kind, changes, message, copied):
    folder, config, _ = copied(kind)
    for key, value in changes.items():
        hostile.put(folder / SCHEDULE, (key,), value)
    with pytest.raises(UserError, match=message) as caught:
        check_model(config)
    assert "\n" not in str(caught.value)
    assert SCHEDULE in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_train_timesteps": 3, "trained_betas": [0.1, 0.5, 1.0]},
        {"rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2", "beta_start": 0.0001, "beta_end": 0.0001},
        {"beta_schedule": "sigmoid"},
        {"num_train_timesteps": 4000},
        {"use_flow_sigmas": False, "_class_name": "DPMSolverMultistepScheduler"},
    ],
    ids=str,
)
def test_chains_that_can_be_are_loaded(changes, copied):
    folder, config, _ = copied(SD)
    for key, value in changes.items():
        hostile.put(folder / SCHEDULE, (key,), value)
    alpha, sigma = load_model(config).schedule.alpha_sigma(np.asarray([0.1, 0.6]))
    assert alpha[0] / sigma[0] > alpha[1] / sigma[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigma_min": 80, "sigma_max": 0.002}, "sigma_min is 80 and sigma_max 0.002"),
        ({"sigma_min": 1, "sigma_max": 1}, "sigma_min must be below sigma_max"),
        ({"rho": 1e-9}, "rho is 1e-09, and a number from 0.1 and up to 1000"),
        ({"rho": 1e300}, "rho is 1e.300, and a number from"),
        ({"sigma_data": 1e30}, "sigma_data is 1e.30, and a number from"),
        ({"sigma_max": 1e300}, "sigma_max is 1e.300, and a number from"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "a scheduler of flow matching in a"),
    ],
    ids=str,
)
def test_a_ramp_of_noise_that_cannot_be_is_refused(changes, message, copied):
    folder, config, _ = copied(EDM)
    hostile.edit(folder / SCHEDULE, **changes)
    with pytest.raises(UserError, match=message):
        check_model(config)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (DiscreteSchedule(np.asarray([0.5])), "over 1 times"),
        (DiscreteSchedule(np.linspace(0.1, 0.9, 9)), r"must go from data \(t=0\) to noise"),
        (DiscreteSchedule(np.asarray([1.0, 0.5, 0.1])), "must be finite, and alpha / sigma come"),
        (DiscreteSchedule(np.asarray([0.9, np.nan, 0.1])), "must be finite"),
        (DiscreteSchedule(np.asarray([0.9, 1.5, 0.1])), "must be finite"),
        (KarrasSchedule(1.0, 1.0), "must go from data"),
        (KarrasSchedule(0.002, 80.0, 1e-9), "fails with OverflowError|must be finite"),
    ],
)
def test_a_finished_schedule_that_does_not_fall_is_refused(schedule, message):
    with pytest.raises(UserError, match=f"^model.path m: its schedule .*({message})") as caught:
        check_schedule("model.path m", schedule, "epsilon")
    assert "\n" not in str(caught.value)


def test_every_family_s_schedule_is_looked_at_as_it_is_loaded(copied, monkeypatch):
    _, config, _ = copied(SD)
    path = "zsd_ray.models.network_denoiser.folder_schedule"
    rising = DiscreteSchedule(np.linspace(0.1, 0.9, 9))
    monkeypatch.setattr(path, lambda _: (rising, "epsilon"))
    assert "its schedule must go from data (t=0) to noise" in refusal(load_model, config)


def test_finished_schedules_that_fall_are_good():
    check_schedule("m", FlowSchedule(1000.0), "flow")
    check_schedule("m", KarrasSchedule(), "sample")
    check_schedule("m", DiscreteSchedule(np.asarray([0.5, 0.0])), "v_prediction")
