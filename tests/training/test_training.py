"""Training of each kind at a small size: what it writes, what it shows, and how it goes on."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file, save

import zsd_ray
from tests.support.images import write_folder
from tests.support.models import load_model
from tests.training.small import (
    CLASSIFIER,
    DDPM,
    DIGITS,
    KINDS,
    TEXT_TO_IMAGE,
    configure,
    train_local,
)
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.models.registry import resolve_model
from zsd_ray.records.errors import RunBrokenError, UserError
from zsd_ray.storage.store import Store
from zsd_ray.training.loop import Loop
from zsd_ray.training.process import check


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    news = []
    train_local(configure(folder, KINDS[request.param]), news.append)
    return request.param, folder, news


_FAMILIES = {"text-to-image": "stable-diffusion", "classifier": "timm", "contrastive": "clip"}


def curve(folder):
    return pq.read_table(Path(folder, "loss.parquet")).to_pylist()


def weights(folder):
    files = sorted(Path(folder, "model").rglob("*.safetensors"))
    assert files
    return {
        f"{file}/{name}"[len(str(folder)) :]: t
        for file in files
        for name, t in load_file(file).items()
    }


def same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.few(2)
def test_every_step_is_told_and_kept(trained):
    kind, folder, news = trained
    told = [(n.stage, loss) for n in news for loss in n.losses]
    kept = curve(folder)
    assert [(row["stage"], row["loss"]) for row in kept] == told
    steps = {"text-to-image": [4, 6]}.get(kind, [12])
    assert [row["step"] for row in kept] == [s + 1 for n in steps for s in range(n)]
    epochs = None if kind == "text-to-image" else [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert [row["epoch"] for row in kept] == (epochs or [None] * 10)
    assert [n.done for n in news if n.done == n.total] == steps


class StopError(Exception):
    """Stands for a killed process."""


@pytest.mark.few(2)
@pytest.mark.parametrize("stop_at", [2, 8])
def test_a_broken_training_goes_on_to_the_same_bits(trained, tmp_path, monkeypatch, stop_at):
    kind, folder, _ = trained
    step, n_steps = Loop._step, []

    def broken(self, *arguments):
        if len(n_steps) == stop_at:
            raise StopError
        n_steps.append(1)
        return step(self, *arguments)

    config = configure(tmp_path, KINDS[kind])
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", broken)
        with pytest.raises(StopError):
            train_local(config)
    assert json.loads((tmp_path / "train.json").read_text())["status"] == "failed"
    again = []
    train_local(config, lambda steps: again.extend(steps.losses))
    assert len(again) < len(curve(folder)) or stop_at == 2
    assert curve(tmp_path) == curve(folder)
    same(weights(tmp_path), weights(folder))


@pytest.mark.few(2)
def test_a_finished_training_trains_no_more(trained, tmp_path):
    kind, folder, _ = trained
    before, again = weights(folder), []
    train_local(configure(folder, KINDS[kind]), again.append)
    assert again == []
    same(weights(folder), before)


@pytest.mark.few(2)
def test_what_is_trained_loads_and_runs(trained, tmp_path):
    kind, folder, _ = trained
    family = _FAMILIES.get(kind)
    if family is None:  # it is told no class: probes and samples use it, and no run
        model = load_model(ModelConfig(family="ddpm", path=f"{folder}/model", device="cpu"))
        out = model.predict(torch.zeros(2, 1, 8, 8), torch.tensor([0.0, 999.0]), {})
        assert out.shape == (2, 1, 8, 8)
        return
    tree = {
        "model": {"family": family, "path": f"{folder}/model"},
        "data": {"limit": 4},
        "prompts": {"templates": ["{}"], "classes": DIGITS},
        "output": {"path": str(tmp_path)},
        "tracking": {"mlflow": "off"},
    }
    if kind in ("classifier", "contrastive"):
        tree["method"] = {"name": "classifier"}
    else:
        tree["pruning"] = {"rule": "none", "draws": 3}
    assert zsd_ray.run(parse_config(RunConfig, tree), local=True).run.status == "finished"


def test_samples_and_models_of_each_checkpoint(trained):
    kind, folder, _ = trained
    grids = sorted(path.name for path in folder.glob("samples/*"))
    models = sorted(path.name for path in folder.glob("checkpoints/*"))
    if kind == "ddpm":
        assert grids == ["epoch-0002.png", "epoch-0004.png"]
        assert models == ["epoch-0002", "epoch-0004"]
        last = load_file(folder / "checkpoints/epoch-0004/unet/diffusion_pytorch_model.safetensors")
        same(last, load_file(folder / "model/unet/diffusion_pytorch_model.safetensors"))
        assert {tensor.dtype for tensor in last.values()} == {torch.float16}
    elif kind == "text-to-image":
        assert grids == ["step-0003.png", "step-0006.png"]
        assert models == []
    else:
        assert grids == models == []
    for name in grids:
        pixels = np.asarray(Image.open(io.BytesIO((folder / "samples" / name).read_bytes())))
        assert pixels.shape[2] == 3
        assert pixels.std() > 1


def test_the_model_is_the_moving_average(tmp_path):
    """Held against the average computed here from the weights after each step."""
    steps, config = [], configure(tmp_path, DDPM, ema_decay=0.7, output={"checkpoint_every": 1})
    step = Loop._step

    def kept(self, stage, *rest):
        loss = step(self, stage, *rest)
        steps.append({k: t.clone() for k, t in stage.trained["unet"].state_dict().items()})
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_step", kept)
        train_local(config)
    average = steps[0]
    for number, weights_now in enumerate(steps):
        decay = min(0.7, (1 + number) / (10 + number))
        average = {k: decay * average[k] + (1 - decay) * t for k, t in weights_now.items()}
    saved = load_file(tmp_path / "model/unet/diffusion_pytorch_model.safetensors")
    for name, tensor in average.items():
        torch.testing.assert_close(saved[name].float(), tensor, rtol=2e-3, atol=1e-4)


def test_training_learns(tmp_path):
    config = configure(
        tmp_path, DDPM, epochs=30, optimiser={"batch_size": 10}, output={"checkpoint_every": 30},
        samples={"images": 0},
    )  # fmt: skip
    train_local(config)
    losses = [row["loss"] for row in curve(tmp_path)]
    assert losses[0] == pytest.approx(1.0, abs=0.5)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


@pytest.mark.full
def test_a_classifier_learns_its_images(tmp_path):
    config = configure(
        tmp_path / "c", CLASSIFIER, epochs=30, optimiser={"learning_rate": 0.01},
        output={"checkpoint_every": 30},
    )  # fmt: skip
    model = train_local(config).model
    run = parse_config(
        RunConfig,
        {
            "model": {"family": "timm", "path": model},
            "method": {"name": "classifier"},
            "data": {"split": "train", "limit": 20},
            "prompts": {"classes": DIGITS, "templates": ["{}"]},
            "output": {"path": str(tmp_path / "run")},
            "tracking": {"mlflow": "off"},
        },
    )
    assert zsd_ray.run(run, local=True).metrics["accuracy"] >= 0.9


@pytest.mark.full
def test_a_class_conditional_model_knows_its_labels(tmp_path):
    names = ["naught", *DIGITS[1:]]
    config = configure(tmp_path / "t", DDPM, classes=names, label_dropout=0.2, epochs=1)
    model = train_local(config).model
    assert json.loads(Path(model, "model_index.json").read_text())["id2label"]["0"] == "naught"
    tree = {
        "model": {"family": "ddpm", "path": model},
        "data": {"limit": 2},
        "prompts": {"classes": names, "templates": ["{}"]},
        "pruning": {"rule": "none", "draws": 2},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    assert zsd_ray.run(parse_config(RunConfig, tree), local=True).run.status == "finished"


def test_bfloat16_trains_float32_weights(tmp_path):
    train_local(configure(tmp_path, DDPM, precision="bfloat16", epochs=1))
    train_local(configure(tmp_path / "exact", DDPM, epochs=1))
    rough, exact = ([row["loss"] for row in curve(p)] for p in (tmp_path, tmp_path / "exact"))
    assert rough != exact
    assert rough == pytest.approx(exact, rel=0.05)
    state = load_file(tmp_path / "training.safetensors")
    assert state["network.unet.conv_in.weight"].dtype == torch.float32


def test_a_loss_that_is_not_finite_ends_it(tmp_path, monkeypatch):
    step = Loop._step
    monkeypatch.setattr(Loop, "_step", lambda self, *rest: step(self, *rest) * float("nan"))
    with pytest.raises(RunBrokenError, match="not finite by step"):
        train_local(configure(tmp_path, DDPM))
    assert not (tmp_path / "model").exists()


def test_a_gradient_that_is_not_finite_ends_it_before_it_is_saved(tmp_path, monkeypatch):
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *rest: clip(*rest) * float("inf"))
    with pytest.raises(RunBrokenError, match="not finite by step"):
        train_local(configure(tmp_path, DDPM))
    assert not (tmp_path / "training.safetensors").exists()


def without(content, name):
    tensors = load(content)
    with_metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return save({k: t for k, t in tensors.items() if k != name}, with_metadata["__metadata__"])


DAMAGES = {
    "cut short": lambda content: content[:-1],
    "no metadata": lambda content: save({"x": torch.zeros(1)}),
    "no weights": lambda content: without(content, "network.unet.conv_in.weight"),
}


def test_a_damaged_state_is_named_and_nothing_is_trained(tmp_path):
    config = configure(tmp_path, DDPM, epochs=1)
    train_local(config)
    path = tmp_path / "training.safetensors"
    content = path.read_bytes()
    shutil.rmtree(tmp_path / "model")
    for damage in DAMAGES.values():
        path.write_bytes(damage(content))
        with pytest.raises(UserError, match=r"training\.safetensors") as caught:
            train_local(config)
        assert "\n" not in str(caught.value)


def test_dropout_goes_on_as_it_was(tmp_path, monkeypatch):
    """Its masks are a function of the step, not of how long this process trains."""
    config = {"kwargs": {"drop_rate": 0.5}, "epochs": 4, "output": {"checkpoint_every": 1}}
    train_local(configure(tmp_path / "whole", CLASSIFIER, **config))
    step, made = Loop._step, []

    def break_off(self, *rest):
        made.append(1)
        if len(made) > 4:
            raise KeyboardInterrupt
        return step(self, *rest)

    monkeypatch.setattr(Loop, "_step", break_off)
    with pytest.raises(KeyboardInterrupt):
        train_local(configure(tmp_path / "broken", CLASSIFIER, **config))
    monkeypatch.setattr(Loop, "_step", step)
    train_local(configure(tmp_path / "broken", CLASSIFIER, **config))
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")


def test_a_training_does_not_go_on_with_other_images(tmp_path):
    data = {"source": "folder", "path": str(tmp_path / "images")}
    write_folder(tmp_path / "images", 5)
    config = configure(tmp_path / "run", DDPM, epochs=1, data=data)
    train_local(config)
    cat = tmp_path / "images" / "cat"
    (cat / "another.png").write_bytes(next(cat.iterdir()).read_bytes())
    with pytest.raises(UserError, match="or to other images"):
        train_local(config)


def test_mistakes_are_found_before_anything_starts(tmp_path):
    train_local(configure(tmp_path / "a", DDPM, epochs=1))
    for words, config in {
        "another training configuration": configure(tmp_path / "a", DDPM, epochs=1, seed=1),
        r"classes has 2 classes.*label": configure(tmp_path / "b", DDPM, classes=["a", "b"]),
        "not a name of timm's.*resnet18": configure(
            tmp_path / "c", CLASSIFIER, architecture="resnet81"
        ),
        "leave none for some of 8 workers": configure(tmp_path / "d", DDPM, cluster={"workers": 8}),
    }.items():
        with pytest.raises(UserError, match=words):
            train_local(config)
    assert not any((tmp_path / name).exists() for name in "bcd")


@pytest.mark.parametrize(
    ("folders", "classes", "words"),
    [
        ([str(n) for n in range(11)], [f"no. {'abcdefghijk'[n]}" for n in range(11)], "0, 1, 10"),
        (["cat", "dog"], ["dog", "cat"], "in another order"),
    ],
)
def test_names_in_another_order_than_the_labels_are_refused(tmp_path, folders, classes, words):
    write_folder(tmp_path / "images", 1, folders)
    data = {"source": "folder", "path": str(tmp_path / "images")}
    for tree in (
        {**DDPM, "classes": classes},
        {**TEXT_TO_IMAGE, "captions": {"names": [[c] for c in classes], "templates": ["{}"]}},
    ):
        with pytest.raises(UserError, match=words):
            check(configure(tmp_path / "run", tree, data=data), Store())


@pytest.mark.full
def test_mlflow_has_the_losses_and_the_grids(tmp_path):
    from mlflow import MlflowClient

    config = configure(
        tmp_path / "run", DDPM, epochs=2,
        tracking={"mlflow": f"sqlite:///{tmp_path}/m.db", "experiment": "t"},
    )  # fmt: skip
    tracked = train_local(config).tracked
    client = MlflowClient(tracked.uri)
    run = client.get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["optimiser.batch_size"] == "8"
    history = client.get_metric_history(tracked.run_id, "denoiser_loss")
    assert [point.value for point in history] == [row["loss"] for row in curve(tmp_path / "run")]
    assert [file.path for file in client.list_artifacts(tracked.run_id)] == [
        "samples-epoch-0002.png"
    ]
    assert train_local(config).tracked == tracked
    later = client.get_run(tracked.run_id)
    assert later.info == run.info  # also its end
    assert later.data.metrics == run.data.metrics


def test_a_training_in_s3_goes_on(s3, monkeypatch):
    config = configure(f"{s3.url}/ddpm", DDPM, storage=s3.storage.model_dump())
    step, n_steps = Loop._step, []

    def broken(self, *arguments):
        if len(n_steps) == 8:
            raise StopError
        n_steps.append(1)
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", broken)
        with pytest.raises(StopError):
            train_local(config)
    again = []
    result = train_local(config, lambda steps: again.extend(steps.losses))
    assert len(again) == 6
    trained = ModelConfig(family="ddpm", path=result.model, device="cpu")
    assert resolve_model(trained, Store(s3.storage)).load().image_size == 8
