"""Training at a small size: resumes step by step the same, and what it writes runs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import zsd_ray
import zsd_ray.training.run
from zsd_ray.spec.config import RunConfig, parse_config
from zsd_ray.spec.errors import UserError
from zsd_ray.spec.train_config import AugmentConfig, TrainConfig
from zsd_ray.training.batches import Captions, affine, generator, spread_contrast
from zsd_ray.training.run import train
from zsd_ray.training.text_to_image import warmup_cosine

STEPS = {"vae": 4, "denoiser": 6}


def configure(path, **sections):
    tree = {
        "network": {
            "image_size": 16,
            "vae_channels": [8, 16],
            "unet_channels": [8, 32],
            "unet_layers": 1,
            "text_width": 32,
            "text_layers": 1,
        },
        "captions": {
            "names": [[str(digit)] for digit in range(10)],
            "templates": ["a photo of the digit {}.", "{}"],
        },
        "augment": {"degrees": 10, "scale": [0.8, 1.1], "shift": 0.1, "contrast": 2},
        "vae": {"steps": STEPS["vae"], "batch_size": 8},
        "denoiser": {"steps": STEPS["denoiser"], "batch_size": 8},
        "output": {"path": str(path), "checkpoint_every": 3},
        "tracking": {"mlflow": "off"},
    }
    return parse_config(TrainConfig, {**tree, **sections})


def weights(result):
    return {
        part: load_file(f"{result.model}/{part}/{file}.safetensors")
        for part, file in (
            ("unet", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model"),
            ("text_encoder", "model"),
        )
    }


def scaling_factor(result):
    return json.loads(Path(result.model, "vae", "config.json").read_text())["scaling_factor"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    steps = []
    folder = tmp_path_factory.mktemp("train")
    return train(configure(folder), lambda *step: steps.append(step)), steps


def test_every_step_is_reported(trained):
    _, steps = trained
    expected = [(stage, i + 1, n) for stage, n in STEPS.items() for i in range(n)]
    assert [step[:3] for step in steps] == expected
    assert all(0 < step[3] < 10 for step in steps)


class StopError(Exception):
    """Stands for a killed process."""


@pytest.mark.parametrize("stop_after", [2, 5, 9])
def test_a_resumed_training_ends_with_the_same_weights(trained, tmp_path, stop_after):
    seen = []

    def on_step(*step):
        seen.append(step)
        if len(seen) == stop_after:
            raise StopError

    with pytest.raises(StopError):
        train(configure(tmp_path), on_step)
    result = train(configure(tmp_path), lambda *step: seen.append(step))
    assert len(seen) < 2 * sum(STEPS.values())
    assert scaling_factor(result) == scaling_factor(trained[0])
    for part, tensors in weights(trained[0]).items():
        for name, tensor in weights(result)[part].items():
            torch.testing.assert_close(tensor, tensors[name], rtol=0, atol=0)


def test_a_finished_training_trains_no_more(trained, tmp_path):
    config = configure(tmp_path)
    first_result = train(config, lambda *step: None)
    first = weights(first_result)
    factor = scaling_factor(first_result)
    seen = []
    again_result = train(config, lambda *step: seen.append(step))
    again = weights(again_result)
    assert scaling_factor(again_result) == factor != 1.0
    assert seen == []
    assert all(torch.equal(first[p][n], again[p][n]) for p in first for n in first[p])


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    train(configure(tmp_path), lambda *step: None)
    with pytest.raises(UserError, match="another training configuration"):
        train(configure(tmp_path, seed=1), lambda *step: None)


def test_training_learns(tmp_path):
    losses = {"vae": [], "denoiser": []}
    config = configure(
        tmp_path,
        vae={"steps": 60, "batch_size": 16, "learning_rate": 3e-3},
        denoiser={"steps": 80, "batch_size": 16, "learning_rate": 3e-3},
    )
    train(config, lambda stage, _, __, loss: losses[stage].append(loss))
    for loss in losses.values():
        assert sum(loss[-10:]) < 0.8 * sum(loss[:10])


def test_what_train_wrote_runs(trained, tmp_path):
    config = parse_config(
        RunConfig,
        {
            "model": {"path": trained[0].model},
            "data": {"limit": 4},
            "pruning": {"rule": "none", "draws": 3},
            "prompts": {"templates": ["a photo of the digit {}."]},
            "output": {"path": str(tmp_path)},
            "tracking": {"mlflow": "off"},
        },
    )
    result = zsd_ray.run(config, local=True)
    assert result.run.status == "finished"
    index = json.loads(Path(trained[0].model, "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert weights(trained[0])["unet"]["conv_in.weight"].dtype == torch.float16


def test_labels_without_captions_are_refused(tmp_path):
    captions = {"names": [["0"], ["1"]], "templates": ["{}"]}
    with pytest.raises(UserError, match=r"captions\.names has 2 classes"):
        train(configure(tmp_path, captions=captions), lambda *step: None)


def test_a_limit_is_kept_and_a_url_is_refused(tmp_path, monkeypatch):
    sizes = []
    images = zsd_ray.training.run.TrainingImages
    monkeypatch.setattr(
        "zsd_ray.training.run.TrainingImages",
        lambda pixels, *rest: sizes.append(len(pixels)) or images(pixels, *rest),
    )
    train(configure(tmp_path, data={"split": "train", "limit": 7}), lambda *step: None)
    assert sizes == [7]
    with pytest.raises(UserError, match="local folders only"):
        train(configure("s3://bucket/model"), lambda *step: None)


def test_mlflow_has_the_losses(tmp_path):
    from mlflow import MlflowClient

    config = configure(
        tmp_path / "run", tracking={"mlflow": f"sqlite:///{tmp_path}/m.db", "experiment": "t"}
    )
    tracked = train(config, lambda *step: None).tracked
    run = MlflowClient(tracked.uri).get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert {"vae_loss", "denoiser_loss", "seconds"} <= set(run.data.metrics)


def test_augmentation_without_bounds_changes_nothing():
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rng = generator(0, "x", 0)
    torch.testing.assert_close(affine(images, AugmentConfig(), rng), images)
    torch.testing.assert_close(spread_contrast(images, 1.0, rng), images)


def test_scale_and_shift_move_the_picture_as_said():
    image = torch.full((1, 3, 32, 32), -1.0)
    image[..., 8:24, 8:24] = 1.0
    half = affine(image, AugmentConfig(scale=(0.5, 0.5)), generator(0, "x", 0))
    assert half.gt(0).sum() == 3 * 8 * 8
    assert half[0, 0, 12:20, 12:20].gt(0).all()


def test_contrast_stays_in_range_and_spreads():
    images = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).repeat(16, 3, 1, 1)
    spread = spread_contrast(images, 5.0, generator(0, "x", 0))
    assert spread.min() == -1
    assert spread.max() == 1
    assert (spread.abs() == 1).float().mean() > (images.abs() == 1).float().mean()


def test_captions_follow_labels_and_drop_at_their_rate():
    config = configure("x").captions
    texts, of_class = Captions.texts(config)
    assert texts[0] == ""
    assert [texts[i] for i in of_class[3]] == ["a photo of the digit 3.", "3"]
    captions = Captions(torch.zeros(0), tuple(map(tuple, of_class)), 0.25)
    labels = torch.arange(10).repeat(400)
    numbers = captions.sample(labels, generator(0, "x", 0))
    assert (numbers == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    for label, number in zip(labels.tolist(), numbers.tolist(), strict=True):
        assert number == 0 or number in of_class[label]


def test_learning_rate_warms_up_and_ends_at_nothing():
    factors = [warmup_cosine(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert factors[-1] < 0.01
