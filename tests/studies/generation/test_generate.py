"""Sets of generated images: the same ones on any workers, after a stop, and readable as data."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.tiny_models import CLASSIFIER_BUILDERS, ddpm
from zsd_ray.cli import main
from zsd_ray.config.data import DataConfig
from zsd_ray.config.run import parse_config
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError
from zsd_ray.studies.fid.fid_config import FidConfig
from zsd_ray.studies.fid.measuring import fid
from zsd_ray.studies.generation.generate_config import GenerateConfig
from zsd_ray.studies.generation.generating import generate

N_PARTS = 3


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny U-Nets over pixels: told a label, and told nothing."""
    folder = tmp_path_factory.mktemp("models")
    ddpm(folder / "labels")
    ddpm(folder / "nothing", channels=1, num_class_embeds=None)
    return folder


def config(models, output, kind="labels", **sections):
    tree = {
        "model": {"family": "ddpm", "path": str(models / kind), "device": "cpu"},
        "sampler": {"name": "ddpm", "steps": 2},
        "output": {"path": str(output)},
        "tracking": {"mlflow": "off"},
        **sections,
    }
    if not {"images", "images_per_class"} & sections.keys():
        tree["images_per_class"] = 45
    return parse_config(GenerateConfig, tree)


def contents(output):
    return {file.name: file.read_bytes() for file in sorted((output / "images").iterdir())}


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """45 images of each of 3 labels: three parts."""
    output = tmp_path_factory.mktemp("made") / "set"
    result = generate(config(models, output), local=True)
    assert (result.n_images, result.n_evaluations, result.classes) == (135, 270, ("0", "1", "2"))
    return output


def test_two_workers_make_the_same_bytes(local_ray, models, made, tmp_path):
    generate(config(models, tmp_path / "ray", cluster={"workers": 2}))
    assert contents(tmp_path / "ray") == contents(made)
    assert len(contents(made)) == N_PARTS


def test_another_batch_size_makes_the_same_images(models, made, tmp_path):
    generate(config(models, tmp_path / "set", cluster={"batch_size": 7}), local=True)
    ours, other = (pictures(folder) for folder in (made, tmp_path / "set"))
    difference = np.abs(ours.astype(int) - other)
    assert difference.max() <= 1  # a row's last bit depends on the shape of its batch
    assert (difference > 0).mean() < 0.001


def pictures(output):
    dataset = open_dataset(DataConfig(source="parquet", path=f"{output}/images"))
    return np.stack([np.asarray(dataset.read(n)) for n in range(len(dataset.records))])


def test_the_images_are_a_data_set_with_labels(made):
    dataset = open_dataset(DataConfig(source="parquet", path=f"{made}/images"))
    assert [record.label for record in dataset.records] == [n % 3 for n in range(135)]
    assert list(dataset.label_names) == ["0", "1", "2"]
    images = pictures(made).reshape(135, -1)
    assert len(np.unique(images, axis=0)) == 135
    assert pq.read_table(made / "images")["class_name"].to_pylist()[:4] == ["0", "1", "2", "0"]


def test_an_interrupted_set_goes_on_with_the_parts_that_are_missing(
    models, made, tmp_path, monkeypatch
):
    wanted = config(models, tmp_path / "set")

    def stop(done, total):
        if done > 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(wanted, local=True, on_part=stop)
    assert len(contents(tmp_path / "set")) == 2
    assert not (tmp_path / "set" / "grid.png").exists()
    rest = generate(wanted, local=True)
    assert rest.n_evaluations == 2 * (135 - 128)
    assert contents(tmp_path / "set") == contents(made)
    monkeypatch.setattr("zsd_ray.results.job.start_tracker", None)  # nothing is new
    assert generate(wanted, local=True).n_evaluations == 0


@pytest.mark.full
def test_an_interrupted_set_resumes_its_mlflow_run(models, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    wanted = config(models, tmp_path / "set", tracking={"mlflow": uri})

    def record():
        return json.loads((tmp_path / "set" / "generate.json").read_text())

    def stop(done, total):
        if done > 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(wanted, local=True, on_part=stop)
    run_id = record()["mlflow_run_id"]
    client = MlflowClient(uri)
    assert (record()["status"], client.get_run(run_id).info.status) == ("interrupted", "KILLED")
    ended = generate(wanted, local=True)
    assert ended.tracked.run_id == record()["mlflow_run_id"] == run_id
    found = client.get_run(run_id)
    assert (record()["status"], found.info.status) == ("finished", "FINISHED")
    assert found.data.metrics["images"] == 135
    assert found.data.tags["zsd_ray.identity"] == record()["identity"]
    again = generate(wanted, local=True)
    assert (again.tracked.run_id, record()["status"]) == (run_id, "finished")
    assert len(client.search_runs([found.info.experiment_id])) == 1


def test_another_set_is_not_written_over_it(models, made, tmp_path):
    assert "another set of images (seed was 0, now 1)" in refused(config(models, made, seed=1))


def test_images_of_no_class(models, tmp_path):
    wanted = config(models, tmp_path / "set", kind="nothing", images=5)
    assert generate(wanted, local=True).classes == ()
    dataset = open_dataset(DataConfig(source="parquet", path=f"{tmp_path}/set/images"))
    assert [record.label for record in dataset.records] == [None] * 5
    assert len(np.unique(pictures(tmp_path / "set").reshape(5, -1), axis=0)) == 5


def test_a_text_model_is_guided_as_in_the_librarys_pipeline(tiny_model, tmp_path):
    """And told its templates in turn."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from zsd_ray.diffusion.draws import noise

    sections = {
        "model": {"path": str(tiny_model), "device": "cpu"},
        "prompts": {"classes": ["cat", "dog"], "templates": ["a {}.", "one {}."]},
        "images_per_class": 2,
        "sampler": {"name": "DPMSolverMultistepScheduler", "steps": 3},
        "guidance_scale": 3.0,
        "output": {"path": str(tmp_path / "set")},
        "tracking": {"mlflow": "off"},
    }
    result = generate(parse_config(GenerateConfig, sections), local=True)
    assert result.n_evaluations == 4 * 3 * 2
    pipe = StableDiffusionPipeline.from_pretrained(str(tiny_model), safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    found = pictures(tmp_path / "set")
    for number, prompt in enumerate(["a cat.", "a dog.", "one cat.", "one dog."]):
        key = f"generated/{number % 2}/{number // 2}"
        channels, size = pipe.unet.config.in_channels, pipe.unet.config.sample_size
        start = noise(0, key, range(1), (channels, size, size))
        theirs = pipe(
            prompt,
            latents=torch.from_numpy(start),
            guidance_scale=3.0,
            num_inference_steps=3,
            output_type="np",
        ).images[0]
        np.testing.assert_allclose(found[number] / 255, theirs, atol=1.5 / 255)


def test_labels_are_guided_away_from_the_null_label(tmp_path):
    """At scale 0 the label says nothing, and all classes are made of their noise alone."""
    ddpm(tmp_path / "null", num_class_embeds=3)
    index = tmp_path / "null" / "model_index.json"
    content = json.loads(index.read_text()) | {"id2label": {"0": "cat", "1": "dog"}}
    index.write_text(json.dumps(content))

    def made(classes, scale):
        wanted = config(
            tmp_path,
            tmp_path / f"{classes[0]}-{scale}",
            kind="null",
            prompts={"classes": classes},
            images_per_class=1,
            guidance_scale=scale,
        )
        assert generate(wanted, local=True).n_evaluations == 2 * 2 * (1 if scale == 1 else 2)
        return pictures(tmp_path / f"{classes[0]}-{scale}").astype(int)

    same = made(["cat", "dog"], 0.0) - made(["dog", "cat"], 0.0)
    assert np.abs(same).max() == 0
    for scale in (1.0, 3.0):
        assert np.abs(made(["cat", "dog"], scale) - made(["dog", "cat"], scale)).max() > 1
    nothing = config(tmp_path, tmp_path / "nothing", kind="null", images=1)
    assert generate(nothing, local=True).classes == ()


def refused(wanted):
    with pytest.raises(UserError) as caught:
        generate(wanted, local=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_is_refused(models, tmp_path):
    out = tmp_path / "set"
    _, section = CLASSIFIER_BUILDERS["timm", "folder"](tmp_path / "timm")
    timm = {"family": "timm", "path": str(tmp_path / "timm"), **section}
    assert "makes no images" in refused(config(models, out, model=timm))
    assert "guidance_scale needs a model that can" in refused(
        config(models, out, guidance_scale=2.0)
    )
    assert "images needs a model that can work without a class" in refused(
        config(models, out, images=4)
    )
    assert "unconditional" in refused(config(models, out, kind="nothing"))
    assert "batch_size auto" in refused(config(models, out, cluster={"batch_size": "auto"}))
    assert "name the classes" in refused(config(models, out, model={"device": "cpu"}))
    assert not out.exists()


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({}, "set either images_per_class, or images"),
        ({"images": 3, "images_per_class": 3}, "set either images_per_class, or images"),
        ({"images": 3, "prompts": {"classes": ["a"]}}, "remove prompts"),
        ({"images": 3, "guidance_scale": 2}, "guidance_scale leads to a class"),
        ({"images": 3, "sampler": {"name": "ddpm", "eta": 0.5}}, "eta is of name ddim"),
    ],
)
def test_mistakes_are_named(sections, words):
    with pytest.raises(UserError, match=words):
        parse_config(GenerateConfig, sections)


def test_a_set_on_an_object_store_is_made_read_and_measured_there(s3, models):
    storage = {"endpoint": s3.endpoint}
    wanted = config(models, f"{s3.url}/set", kind="nothing", images=4, storage=storage)
    data = {"source": "parquet", "path": f"{s3.url}/set/images"}
    model = wanted.model.model_dump(exclude_unset=True)
    tree = {
        "real": data,
        "generated": data,
        "extractor": {"kind": "denoiser", "model": model, "block": "mid"},
        "storage": storage,
        "output": {"path": f"{s3.url}/fid"},
        "tracking": {"mlflow": "off"},
    }
    assert [generate(wanted, local=True).n_evaluations for _ in range(2)] == [8, 0]
    for _ in range(2):  # the second time, the real images' statistics come from the store
        entry = fid(parse_config(FidConfig, tree), local=True, on_warning=list).entry
        assert (entry.n_generated, entry.fid) == (4, pytest.approx(0, abs=1e-4))
    assert {"fid/fid.json", "set/grid.png"} < set(s3.keys())


def test_the_command_says_where_all_is_and_mlflow_has_the_grid(models, capsys, tmp_path):
    wanted = config(models, tmp_path / "set", kind="nothing", images=3, tracking={})
    file = tmp_path / "generate.yaml"
    file.write_text(wanted.model_dump_json(exclude_unset=True))
    assert main(["generate", str(file), "--local", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["n_images"], printed["n_evaluations"]) == (3, 6)
    (kept,) = (tmp_path / "mlartifacts").rglob("grid.png")
    assert kept.read_bytes() == (tmp_path / "set" / "grid.png").read_bytes()
    assert main(["generate", str(file), "--local", "--set", "tracking.mlflow=off"]) == 0
    assert f"{tmp_path}/set/images" in capsys.readouterr().out.replace("\n", "")
