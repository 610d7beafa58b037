"""Baselines through the same runs, results and report as a diffusion classifier."""

import numpy as np
import pytest
import torch

import zsd_ray
from tests.support.models import encode_prompts, load_model
from tests.support.tiny_models import clip_folder, timm_folder
from tests.support.tiny_models.clip import clip_file
from tests.support.tiny_models.timm_classifier import NAMES
from zsd_ray.config.run import RunConfig, parse_config
from zsd_ray.data.open import open_dataset
from zsd_ray.data.pictures.transforms import to_rgb
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError

LIMIT = 30
TEMPLATES = ["a photo of the digit {}.", "{}"]


@pytest.fixture(scope="module", params=["clip", "timm"])
def sections(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("baseline") / "model"
    (clip_folder if request.param == "clip" else timm_folder)(folder)
    prompts = {"classes": NAMES} | ({"templates": TEMPLATES} if request.param == "clip" else {})
    model = {"family": request.param, "path": str(folder), "device": "cpu"}
    return {"model": model, "prompts": prompts}


def configure(path, sections, **more):
    tree = {
        "data": {"source": "digits", "limit": LIMIT},
        "tracking": {"mlflow": "off"},
        "cluster": {"batch_size": 8},
        "output": {"path": str(path), "raw_scores": True},
    }
    return parse_config(RunConfig, {**tree, **sections, **more})


def rows(result):
    table = result.table.to_pylist()
    return {row["image_id"]: row for row in table}


@pytest.fixture(scope="module")
def local_run(sections, tmp_path_factory):
    return zsd_ray.run(configure(tmp_path_factory.mktemp("local"), sections), local=True)


def plain_scores(config):
    """Each image alone, straight from the model."""
    plan = make_plan(config)
    classifier = load_model(config.model)
    found = encode_prompts(config.model, plan.prompts)
    conditioning = {name: torch.from_numpy(of) for name, of in found.items()}
    classes = classifier.classes(conditioning, plan.n_templates)
    dataset = open_dataset(config.data)
    for number, record in enumerate(dataset.records):
        pixels = classifier.preprocess(to_rgb(dataset.read(number)))
        yield record.image_id, classifier.scores(pixels[None], classes)[0].numpy()


@pytest.mark.few(1)
def test_the_decision_is_the_class_of_the_least_score(local_run, sections, tmp_path):
    expected = dict(plain_scores(configure(tmp_path, sections)))
    found = rows(local_run)
    assert len(found) == LIMIT
    for image_id, row in found.items():
        scores = expected[image_id]
        np.testing.assert_allclose(row["mean_scores"], scores, rtol=1e-4, atol=1e-4)
        assert scores[row["prediction"]] <= scores.min() + 1e-4
        assert row["draws_per_class"] == [1] * 10
        assert (row["n_draws"], row["n_evaluations"], row["n_spent"]) == (1, 10, 10)
        assert row["stop_reason"] == "all-draws"


@pytest.mark.few(1)
def test_the_run_says_what_it_was(local_run):
    assert local_run.run.status == "finished"
    assert local_run.run.config["method"]["name"] == "classifier"
    assert local_run.run.config["pruning"] == {"rule": "none", "draws": 1}
    assert 0 <= local_run.metrics["padding_fraction"] < 0.2
    with open(local_run.report, encoding="utf-8") as file:
        page = file.read()
    assert "classifier" in page
    assert f"weighting {local_run.run.config['method']['weighting']}" not in page


def test_ray_decides_as_the_local_run_does(local_ray, local_run, sections, tmp_path):
    cluster = {"workers": 2, "batch_size": 8}
    result = zsd_ray.run(configure(tmp_path, sections, cluster=cluster))
    changing = {"worker": "", "seconds": 0.0}
    # As text, so that nan is nan: a gap of one draw has no error.
    found, expected = (
        {image: str(row | changing) for image, row in rows(each).items()}
        for each in (result, local_run)
    )
    assert found == expected


@pytest.mark.few(1)
def test_a_plan_counts_scores_of_images_and_classes(sections, tmp_path):
    bounds = make_plan(configure(tmp_path, sections)).bounds
    assert (bounds.least, bounds.most) == (10, 10)
    assert bounds.n_prompts == 10 * bounds.n_templates


@pytest.mark.few(1)
def test_other_weights_are_another_run(sections, tmp_path):
    zsd_ray.run(configure(tmp_path, sections, data={"source": "digits", "limit": 2}), local=True)
    family = sections["model"]["family"]
    other = tmp_path / "model"
    (timm_folder if family == "clip" else clip_folder)(other)
    model = {"family": "timm" if family == "clip" else "clip", "path": str(other)}
    prompts = {"classes": NAMES, "templates": ["{}"]}
    with pytest.raises(UserError, match="belongs to another run"):
        zsd_ray.run(configure(tmp_path, {"model": model, "prompts": prompts}), local=True)


def test_the_same_weights_elsewhere_are_the_same_run(tmp_path):
    _, keys = clip_file(tmp_path / "model", "moving-clip")
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((tmp_path / "model" / "weights.safetensors").read_bytes())
    plans = [
        make_plan(configure(tmp_path / "run", {
            "model": {"family": "clip", "device": "cpu", **keys, "pretrained": pretrained},
            "prompts": {"classes": NAMES, "templates": "openai"},
        }))
        for pretrained in (keys["pretrained"], str(moved))
    ]  # fmt: skip
    assert plans[0].identity == plans[1].identity
    assert plans[0].identity_parts["prompts"]["templates"][0] == "a bad photo of a {}."
    assert len(plans[0].prompts) == 800
    assert plans[0].bounds.most == 10


@pytest.mark.few(1)
def test_a_damaged_image_is_a_row_with_an_error(sections, tmp_path):
    from tests.support.images import write_folder

    write_folder(tmp_path / "images", n_each=3, classes=("one", "two"), bad=("two/1.png",))
    data = {"source": "folder", "path": str(tmp_path / "images")}
    prompts = sections["prompts"] | {"classes": ["one", "two"]}
    config = configure(tmp_path / "run", sections, data=data, prompts=prompts)
    result = zsd_ray.run(config, local=True)
    assert result.run.status == "incomplete"
    errors = [row["error"] for row in result.table.to_pylist() if row["error"]]
    assert len(errors) == 1
