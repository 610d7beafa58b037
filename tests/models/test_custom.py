"""A user's own class: the documented example end to end, its conventions, and every mistake."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import zsd_ray
from tests.support.models import (
    check_model,
    check_prompts,
    encode_prompts,
    fingerprint,
    hashed,
    load_model,
)
from tests.support.tiny_models import custom
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.diffusion.schedule import FlowSchedule
from zsd_ray.records.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs" / "how-to" / "custom-models.md"


def block(language):
    return re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1]


@pytest.mark.full
def test_the_documented_example_classifies_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = block("python")
    assert len(source.strip().splitlines()) <= 30
    Path("my_model.py").write_text(source)
    tree = yaml.safe_load(block("yaml")) | {"tracking": {"mlflow": "off"}}
    result = zsd_ray.run(parse_config(RunConfig, tree), local=True)
    assert result.metrics["images"] == 50
    assert set(result.table["n_evaluations"].to_pylist()) == {10 * 5}
    assert result.metrics["accuracy"] > 0.8  # chance is 0.1; the nearest mean has 0.9


def test_the_documented_example_is_the_best_denoiser_of_its_gaussians(tmp_path):
    """E[x_0 | x_t] of a Gaussian, by the precisions of prior and likelihood."""
    (tmp_path / "my_model.py").write_text(block("python"))
    config = ModelConfig(
        family="custom", path=f"{tmp_path / 'my_model.py'}:DigitMeans", device="cpu"
    )
    ours = load_model(config)
    assert ours.schedule.alphas_cumprod.dtype == np.float64  # whatever the class has
    x, steps = torch.randn(3, 1, 8, 8), torch.tensor([10.0, 500.0, 900.0])
    labels = torch.from_numpy(encode_prompts(config, ["7", "0", "3"])["labels"])
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None]
        for a in ours.schedule.alpha_sigma((steps.numpy() + 0.5) / 1000)
    )
    prior, likelihood = 1 / 0.5**2, (alpha / sigma) ** 2
    mean = ours._module.means[labels]
    expected = (prior * mean + likelihood * x / alpha) / (prior + likelihood)
    torch.testing.assert_close(
        ours.predict(x, steps, {"labels": labels}), expected, rtol=1e-4, atol=1e-4
    )


def tiny(tmp_path, kind, **keys):
    _, section = custom(tmp_path / "custom", kind)
    return ModelConfig(**{"family": "custom", "device": "cpu", **section, **keys})


def test_a_module_that_is_told_labels(tmp_path):
    config = tiny(tmp_path, "Told")
    ours = load_model(config)
    assert (ours.parametrisation, ours.image_size, ours.sample_shape) == (
        "v_prediction",
        8,
        (3, 8, 8),
    )
    assert ours.schedule.alphas_cumprod.dtype == np.float64
    encoded = encode_prompts(config, ["label 2", "1"])
    assert encoded["labels"].tolist() == [2, 1]
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    torch.testing.assert_close(ours.encode_images(images), images)
    time, labels = torch.tensor([3.0, 700.0]), torch.tensor([2, 1])
    expected = ours._module(images, time, labels)
    torch.testing.assert_close(ours.predict(images, time, {"labels": labels}), expected)


def test_a_module_that_encodes_prompts_and_images(tmp_path):
    config = tiny(tmp_path, "Encoding")
    ours = load_model(config)
    assert ours.schedule == FlowSchedule(1.0)
    encoded = encode_prompts(config, ["a cat", "a dog"])
    assert {name: (of.shape, of.dtype) for name, of in encoded.items()} == {
        "hidden": ((2, 16, 4), np.float32),
        "mask": ((2, 16), np.bool_),
    }
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    x = ours.encode_images(images)
    torch.testing.assert_close(x, ours._module.vae(images))
    condition = {name: torch.from_numpy(of) for name, of in encoded.items()}
    expected = ours._module(x, torch.tensor([0.2, 0.9]), condition)
    torch.testing.assert_close(ours.predict(x, torch.tensor([0.2, 0.9]), condition), expected)
    check_prompts(config, ["anything"])


def test_a_lower_dtype_is_that_of_forward_alone(tmp_path):
    config = tiny(tmp_path, "Encoding", dtype="bfloat16")
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    fast = load_model(config)
    exact = load_model(config.model_copy(update={"dtype": "float32"}))
    torch.testing.assert_close(fast.encode_images(images), exact.encode_images(images))
    encoded = encode_prompts(config, ["a cat", "a dog"])
    assert {of.dtype for of in encoded.values()} == {np.dtype(np.float16), np.dtype(np.bool_)}
    condition = {name: torch.from_numpy(of) for name, of in encoded.items()}
    x, time = fast.encode_images(images), torch.tensor([0.2, 0.9])
    difference = (fast.predict(x, time, condition) - exact.predict(x, time, condition)).abs().max()
    assert 1e-4 < difference < 0.1


def test_many_prompts_are_encoded_in_chunks(tmp_path):
    prompts = [f"number {i}" for i in range(70)]
    config = tiny(tmp_path, "Encoding")
    many = encode_prompts(config, prompts)["hidden"]
    assert many.shape == (70, 16, 4)
    np.testing.assert_array_equal(many[66:68], encode_prompts(config, prompts[66:68])["hidden"])


def test_a_class_of_a_package(tmp_path, monkeypatch):
    _, section = custom(tmp_path / "zoo", "Told")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = ModelConfig(
        family="custom", path="zoo.classes:Told", kwargs=section["kwargs"], device="cpu"
    )
    assert check_model(config) == tmp_path / "zoo" / "classes.py"
    assert load_model(config).sample_shape == (3, 8, 8)


def test_a_check_imports_nothing_of_the_users(tmp_path):
    (tmp_path / "m.py").write_text("raise SystemExit")
    config = ModelConfig(family="custom", path=f"{tmp_path / 'm.py'}:M")
    assert check_model(config) == tmp_path / "m.py"
    assert len(fingerprint(config)) == 32


def test_the_fingerprint_is_of_source_class_kwargs_and_files(tmp_path):
    weights, folder = tmp_path / "w.pt", tmp_path / "f"
    weights.write_bytes(b"1")
    folder.mkdir()
    (folder / "w.safetensors").write_bytes(b"1")
    kwargs = {"n_labels": 3, "files": [{"weights": str(weights)}], "folder": str(folder)}
    config = tiny(tmp_path, "Told", kwargs=kwargs)
    seen = [fingerprint(config)]
    assert fingerprint(config) == seen[0]
    seen.append(fingerprint(config.model_copy(update={"path": config.path[:-4] + "Encoding"})))
    seen.append(fingerprint(config.model_copy(update={"kwargs": kwargs | {"n_labels": 4}})))
    weights.write_bytes(b"2")
    seen.append(fingerprint(config))
    (folder / "w.safetensors").write_bytes(b"2")
    seen.append(fingerprint(config))
    source = Path(config.path.rpartition(":")[0])
    source.write_text(source.read_text() + "\n")
    seen.append(fingerprint(config))
    assert len(set(seen)) == 6


def made(folder, *names):
    (folder / "f" / "deep").mkdir(parents=True)
    (folder / "m.py").write_text("class M:\n    pass\n")
    (folder / "w.pth").write_text("w")
    for name in names:
        (folder / "f" / "deep" / name).write_text(name)
    kwargs = {"folder": "f", "file": "w.pth", "n": 3}
    return ModelConfig(family="custom", path="m.py:M", kwargs=kwargs)


OF_MODELS = ("config.json", "names.txt", "spiece.model", "w.safetensors", "w.bin")


def test_the_fingerprint_of_a_folder_of_the_usual_kinds_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = made(tmp_path, *OF_MODELS)
    assert fingerprint(config) == "215c59f9f9cda7be3ce5698559d10f75"  # since the first version
    (tmp_path / "f" / ".cache").mkdir()
    (tmp_path / "f" / ".cache" / "x.py").write_text("1")
    (tmp_path / "f" / "__pycache__").mkdir()
    (tmp_path / "f" / "__pycache__" / "m.pyc").write_text("1")
    (tmp_path / "f" / "again").symlink_to(tmp_path / "f")
    assert fingerprint(config) == "215c59f9f9cda7be3ce5698559d10f75"


@pytest.mark.parametrize(
    "name", ["w.pth", "w.pt", "w.ckpt", "w.npz", "w.npy", "m.py", "w.pkl", "w.h5", "w", "w.json"]
)
def test_every_file_of_a_folder_that_kwargs_name_is_of_the_identity(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, path = made(tmp_path, name), tmp_path / "f" / "deep" / name
    before = fingerprint(config)
    path.write_text("swapped")
    swapped = fingerprint(config)
    path.rename(tmp_path / "away")
    (tmp_path / "f" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / name).write_text("linked")
    assert len({before, swapped, fingerprint(config)}) == 3


def test_what_is_hashed_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = made(tmp_path, *OF_MODELS)
    kwargs = {**config.kwargs, "stem": "w", "text": "a\0b", "long": "x" * 5000, "none": ""}
    config = config.model_copy(update={"kwargs": kwargs})
    assert hashed(config) == [
        "m.py",
        "model.kwargs.file w.pth",
        "model.kwargs.folder f (a folder of 5 files)",
        "not w.pth: model.kwargs.stem w is no whole name of a file",
    ]
    assert len(fingerprint(config)) == 32
    assert hashed(ModelConfig()) == []


def test_files_in_a_home_are_of_the_identity_and_those_elsewhere_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "deep").mkdir(parents=True)
    weights = tmp_path / "home" / "w.pth"
    weights.write_text("1")
    kwargs = {
        "bucket": "s3://bucket/w.pth",
        "cached": {"a": ["simplecache::https://host/w.pth"]},
        "folder": "~/deep",
        "home": "~/w.pth",
        "nobody": "~nobody-of-this-name/w.pth",
        "prose": "see https://host/w.pth",
        "sign": "~",
        "stem": "~/w",
    }
    config = made(tmp_path).model_copy(update={"kwargs": kwargs})
    assert hashed(config) == [
        "m.py",
        "not the content of model.kwargs.bucket s3://bucket/w.pth, which is elsewhere",
        "not the content of model.kwargs.cached.a.0 simplecache::https://host/w.pth, which is "
        "elsewhere",
        "model.kwargs.folder ~/deep (a folder of 0 files)",
        "model.kwargs.home ~/w.pth",
        "not w.pth: model.kwargs.stem ~/w is no whole name of a file",
    ]
    seen = [fingerprint(config)]
    weights.write_text("2")
    seen.append(fingerprint(config))
    (tmp_path / "home" / "deep" / "x").write_text("3")
    seen.append(fingerprint(config))
    assert len(set(seen)) == 3


def test_an_edited_file_is_imported_anew(tmp_path):
    config = tiny(tmp_path, "Told")
    load_model(config)
    source = Path(config.path.rpartition(":")[0])
    source.write_text(source.read_text().replace('f"label', 'f"name'))
    assert encode_prompts(config, ["name 1"])["labels"].tolist() == [1]


HEAD = """
import torch
class M(torch.nn.Module):
    parametrisation = "epsilon"; image_size = 8; sample_shape = (3, 8, 8)
    labels = ["a", "b"]; alphas_cumprod = torch.linspace(0.99, 0.01, 100)
    def forward(self, x, time, condition): return 2 * x
"""


def refused(tmp_path, source=HEAD, name="M", call=load_model, **keys):
    path = tmp_path / "m.py"
    path.write_text(source)
    with pytest.raises(UserError) as caught:
        call(ModelConfig(**{"family": "custom", "path": f"{path}:{name}", "device": "cpu", **keys}))
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"model.path {path}:{name}")


def test_what_is_not_there_is_found_before_anything_runs(tmp_path):
    def check(path):
        return refused(tmp_path, call=check_model, path=path)

    assert "there is no file absent.py; model.family custom takes" in check("absent.py:M")
    assert "there is no module no_such_module" in check("no_such_module:M")
    assert "ModuleNotFoundError: No module named 'no_such'" in check("no_such.module:M")
    assert "there is no module sys" in check("sys:M")
    assert "names no class" in check("my_model.py")
    assert "names no class" in check("json:a-b")
    assert "there is no module builtin" in check("builtin:digits")
    assert "model.revision is of no use" in refused(tmp_path, call=check_model, revision="main")
    assert "model.labels is of no use" in refused(tmp_path, call=check_model, labels=["a"])
    with pytest.raises(UserError, match=r"model\.kwargs is of no use to model\.family stable"):
        check_model(ModelConfig(kwargs={"a": 1}))


def test_the_module_is_imported_before_a_run(tmp_path):
    def check(source, prompts=("a", "b"), **keys):
        return refused(tmp_path, source, call=lambda c: check_prompts(c, prompts), **keys)

    assert check(HEAD, name="N") == ": m.py has no class N; it has M"
    assert check("import no_such_thing") == (
        ": its module fails with ModuleNotFoundError: No module named 'no_such_thing'"
    )
    assert ": its module fails with SyntaxError" in check("class M(:")
    assert "has 2 labels, and none for c" in check(HEAD, ("a", "c"))
    for labels in ("list(range(2))", "[None, 'b']"):
        assert ": labels holds values of type" in check(HEAD.replace('["a", "b"]', labels))


def test_a_class_that_encodes_prompts_takes_any_whatever_its_labels(tmp_path):
    method = "def encode_prompts(self, p): return {'a': torch.zeros(len(p), 1)}"
    (tmp_path / "m.py").write_text(f"{HEAD}    {method}\n")
    config = ModelConfig(family="custom", path=f"{tmp_path / 'm.py'}:M", device="cpu")
    check_prompts(config, ["a cat"])
    assert set(encode_prompts(config, ["a cat"])) == {"a"}


@pytest.mark.parametrize("steps", [2, 10, 16, 20])
def test_a_short_chain_is_a_chain(tmp_path, steps):
    (tmp_path / "m.py").write_text(HEAD.replace("0.01, 100", f"0.01, {steps}"))
    config = ModelConfig(family="custom", path=f"{tmp_path / 'm.py'}:M", device="cpu")
    assert load_model(config).schedule.n_steps == steps


@pytest.mark.parametrize(
    ("dtype", "value"), [("float16", "7e4"), ("bfloat16", "-3e38"), ("float32", "1e300")]
)
def test_floats_that_would_become_infinite_are_refused(tmp_path, dtype, value):
    rows = f"torch.tensor([[1.0, {value}]], dtype=torch.float64).repeat(len(p), 1)"
    source = f"{HEAD}    def encode_prompts(self, p): return {{'bias': {rows}}}\n"
    message = refused(tmp_path, source, dtype=dtype)
    kept = "float32" if dtype == "float32" else "float16"
    assert f"gives bias with {float(value):g}, more than {kept} holds; scale it" in message


def test_floats_that_are_infinite_stay_so(tmp_path):
    rows = "torch.tensor([[-torch.inf, 0.0, torch.nan, 65504.0]]).repeat(len(p), 1)"
    (tmp_path / "m.py").write_text(
        f"{HEAD}    def encode_prompts(self, p): return {{'bias': {rows}}}\n"
    )
    config = ModelConfig(family="custom", path=f"{tmp_path / 'm.py'}:M", dtype="float16")
    np.testing.assert_array_equal(
        encode_prompts(config, ["a"])["bias"], [[-np.inf, 0, np.nan, 65504]]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("torch.nn.Module", ""), " is no torch.nn.Module"),
        (("image_size = 8;", ""), " lacks image_size: see docs"),
        (('"epsilon"', '"eps"'), ": parametrisation came 'eps'; allowed: epsilon, v_prediction"),
        (("(3, 8, 8)", "(8, 8)"), ": sample_shape came (8, 8); it is (C, H, W)"),
        (
            ('["a", "b"]', "[0, 1]"),
            ": labels holds values of type int; each is a name, which is text",
        ),
        (('["a", "b"]', '"ab"'), ": labels is of type str; a list of names is expected"),
        (("0.01, 100", "0.01, 1"), ": its schedule must go from data (t=0) to noise (t=1)"),
        (('labels = ["a", "b"]', "labels = None"), " lacks labels or encode_prompts"),
        (("alphas_cumprod", "betas"), " lacks schedule or alphas_cumprod, which parametrisation"),
        (("alphas_cumprod", "schedule"), ": its schedule fails with AttributeError"),
        (('"epsilon"', '"flow"'), ": parametrisation flow needs a schedule with alpha + sigma = 1"),
        (("0.99, 0.01", "0.01, 0.99"), ": its schedule must go from data (t=0) to noise (t=1)"),
        (("(3, 8, 8)", "(4, 8, 8)"), " lacks encode_images: without it sample_shape (4, 8, 8)"),
        (("2 * x", "x[:, :1]"), ": forward gives (2, 1, 8, 8) for 2 rows; its sample_shape says"),
        (("2 * x", "x.mul_(2)"), ": forward changes its x"),
        (("2 * x", "x + nothing"), ": forward fails with NameError: name 'nothing' is not"),
        (("forward", "backward"), ": forward fails with NotImplementedError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_the_class_is_told_in_one_line(tmp_path, change, message):
    assert change[0] in HEAD
    assert message in refused(tmp_path, HEAD.replace(*change))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("encode_prompts(self, p): return 3", "encode_prompts gives a int; a dict of tensors"),
        (
            "encode_prompts(self, p): return {'a': torch.zeros(3, 1)}",
            "encode_prompts gives a (3, 1) for 2 prompts; each tensor has one row a prompt",
        ),
        ("encode_prompts(self, p): return p['x']", "encode_prompts fails with TypeError"),
        ("encode_images(self, x): return x[:, :2]", "encode_images gives (2, 2, 8, 8) for 2 rows"),
        ("__init__(self): raise ValueError('no\\nway')", "M(**model.kwargs) fails with ValueError"),
        ("__init__(self, width): pass", "missing 1 required positional argument: 'width'"),
    ],
)
def test_a_mistake_in_a_method_is_told_in_one_line(tmp_path, method, message):
    assert message in refused(tmp_path, f"{HEAD}    def {method}\n")


def test_prompts_that_are_padded_to_their_chunk_are_refused(tmp_path):
    method = "encode_prompts(self, p): return {'a': torch.zeros(len(p), len(p))}"
    source = f"{HEAD}    def {method}\n"
    message = refused(tmp_path, source, call=lambda c: encode_prompts(c, list("ab") * 33))
    assert "gives rows of other shapes to other prompts; pad all to one length" in message


def test_a_module_that_fails_leaves_nothing_behind(tmp_path):
    before = {name for name in sys.modules if name.startswith("zsd_ray_custom")}
    refused(tmp_path, "raise ValueError(1)")
    assert {name for name in sys.modules if name.startswith("zsd_ray_custom")} == before
