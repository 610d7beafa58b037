"""The algorithms through the same runs as the diffusion classifier: Ray, resume, screens, plans."""

import pytest
import yaml

import zsd_ray
from tests.support.digit_runs import NUMBERS, configure, numbers
from zsd_ray.config.algorithms import ALGORITHMS
from zsd_ray.config.run import RunConfig, load_config, parse_config
from zsd_ray.planning.make_plan import make_plan
from zsd_ray.records.errors import UserError

SMALL = {
    "exact-likelihood": {"solver": "heun", "steps": 2},
    "ddim-knn": {"steps": 3},
    "noise-denoise": {"steps": 2, "guidance_scale": 1.5},
    "noise-denoise-vote": {"steps": 2, "levels": [0.3, 0.6]},
    "cross-attention": {"times": [0.5]},
    "textual-inversion": {"steps": 3, "batch_size": 2},
    "weighted-prompts": {"steps": 3, "batch_size": 2},
}


def small(path, name, limit=4, **sections):
    tree = {
        "prompts": {"templates": ["a photo of the digit {}."]},
        "data": {"limit": limit},
        "method": {"name": name, **SMALL[name]},
        "cluster": {"batch_size": 16},
        "tracking": {"mlflow": "off"},
        "output": {"path": str(path), "flush_seconds": 0.2},
    }
    return parse_config(RunConfig, {**tree, **sections})


@pytest.fixture(scope="module", params=ALGORITHMS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def local_run(name, tmp_path_factory):
    return zsd_ray.run(small(tmp_path_factory.mktemp(name) / "run", name), local=True)


@pytest.mark.few(2)
def test_the_configurations_are_read(name, tmp_path):
    file = f"configs/methods/{name}.yaml"
    config = load_config(RunConfig, file, [f"output.path={tmp_path / 'run'}"])
    assert config.method.name == name
    with open(f"configs/methods/{name}.yaml") as file:
        assert yaml.safe_load(file)["output"]["path"] == f"runs/methods/{name}"
    make_plan(config)


def test_a_cluster_decides_as_one_process_does(name, local_run, tmp_path, local_ray):
    result = zsd_ray.run(small(tmp_path / "run", name, cluster={"workers": 1}))
    assert result.metrics["images"] == 4
    assert numbers(result.table) != {}
    # Another batch size: scores may differ in their last bits, and only there.
    found, wanted = numbers(result.table), numbers(local_run.table)
    for image_id, row in wanted.items():
        other = dict(found[image_id])
        assert other.pop("mean_scores") == pytest.approx(row["mean_scores"], rel=1e-3, abs=1e-5)
        assert other == {key: row[key] for key in NUMBERS if key != "mean_scores"}


@pytest.mark.few(2)
def test_a_run_that_is_extended_is_the_longer_run(name, local_run, tmp_path):
    """What comes later does not depend on what was done before, or beside it."""
    zsd_ray.run(small(tmp_path / "run", name, limit=2), local=True)
    result = zsd_ray.run(small(tmp_path / "run", name), local=True)
    assert numbers(result.table) == numbers(local_run.table)


@pytest.mark.few(2)
def test_a_plan_counts_what_is_then_spent(name, local_run, tmp_path):
    config = small(tmp_path / "run", name)
    bounds = make_plan(config).bounds
    spent = local_run.table["n_evaluations"].to_pylist()
    assert all(n > 0 for n in spent)
    assert bounds.least <= bounds.most
    if not config.method.counted:
        assert {bounds.least, bounds.most} == set(spent)
    elif name in ("textual-inversion", "weighted-prompts"):
        assert max(spent) <= bounds.most  # they may end early
    assert sum(spent) <= local_run.metrics["n_rows"]


@pytest.mark.few(2)
def test_the_report_says_how(name, local_run):
    with open(local_run.report) as file:
        assert f"{name} (" in file.read()


@pytest.mark.few(2)
def test_a_screen_leaves_the_algorithm_few_classes(name, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp(name)
    paper = request.getfixturevalue("first_stage")
    config = small(folder / "run", name, screen={"run": paper, "top": 3, "audit": 0})
    result = zsd_ray.run(config, local=True)
    for row in result.table.to_pylist():
        assert row["n_candidates"] == 3
        assert sum(n > 0 for n in row["draws_per_class"]) == 3
        assert row["error"] is None


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory):
    path = tmp_path_factory.mktemp("screen") / "run"
    zsd_ray.run(configure(path, data={"limit": 4}), local=True)
    return str(path)


@pytest.mark.parametrize(("method", "message"), [
    ("cross-attention", "needs a model that can show what it attends to and be conditioned on"),
    ("textual-inversion", "be conditioned on mixtures of prompts and read tokens that are no"),
    ("weighted-prompts", "needs a model that can be conditioned on mixtures of prompts, and"),
])  # fmt: skip
def test_a_model_that_cannot_is_refused_before_anything_starts(tmp_path, method, message):
    config = small(tmp_path / "run", method, **labelled(tmp_path))
    with pytest.raises(UserError) as caught:
        zsd_ray.run(config, local=True)
    assert message in str(caught.value)
    assert "stable-diffusion" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_clip_that_is_not_there_is_found_before_anything_starts(tmp_path):
    method = {"name": "noise-denoise", "distance": "clip", "clip": {"path": str(tmp_path / "no")}}
    config = small(tmp_path / "run", "noise-denoise", method=method)
    with pytest.raises(UserError, match=r"method\.clip: model\.path .* is neither a folder nor"):
        zsd_ray.run(config, local=True)
    assert not (tmp_path / "run").exists()


def labelled(folder):
    """A model that is told labels, and can do nothing else."""
    (folder / "mine.py").write_text("class Mine:\n    labels = [str(i) for i in range(10)]\n")
    model = {"family": "custom", "path": f"{folder / 'mine.py'}:Mine"}
    return {"model": model, "prompts": {"classes": [*"0123456789"], "templates": ["{}"]}}


def test_what_has_no_null_prompt_cannot_be_guided(tmp_path):
    config = small(tmp_path / "run", "noise-denoise", **labelled(tmp_path))
    with pytest.raises(UserError, match=r"set method\.guidance_scale: 1\.0"):
        zsd_ray.run(config, local=True)
