"""Nothing that a model folder says runs code, loads a pickle, or fetches what it names."""

import json
import shutil
import socket

import pytest

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, encode_prompts, load_model
from tests.support.tiny_models import BUILDERS, CLASSIFIER_BUILDERS
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.features.clip_embedding import load_embedding
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

FAMILIES = {
    **{family: build for (family, _), build in BUILDERS.items() if family != "custom"},
    **{family: build for (family, kind), build in CLASSIFIER_BUILDERS.items() if kind == "folder"},
}
"""A builder for each family whose folder may be a stranger's; a custom model is the user's own."""


@pytest.fixture
def asked(monkeypatch):
    """Hosts that anything asked for; none is reached."""
    hosts = []

    def look_up(host, *_, **__):
        hosts.append(host)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return hosts


def ways(config, prompts):
    """What a run does with a model, each as one call."""
    return (
        lambda: check_model(config),
        lambda: load_model(config),
        lambda: encode_prompts(config, prompts),
    )


def ends_well(config, prompts):
    """Run all, and return the first lines of UserErrors; nothing else may be raised."""
    said = []
    for way in ways(config, prompts):
        try:
            way()
        except UserError as error:
            said.append(str(error))
    assert not any("\n" in line for line in said)
    return said


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The prompts and keys of a good folder of each family, made when asked for."""
    made = {}

    def of(family):
        if family not in made:
            folder = tmp_path_factory.mktemp("good") / family
            made[family] = folder, *FAMILIES[family](folder)
        return made[family]

    return of


@pytest.fixture
def spoiled(good, tmp_path):
    """A copy of a family's good folder: where it is, its section `model`, and its prompts."""

    def of(family, **more):
        folder, prompts, keys = good(family)
        copy = tmp_path / family
        shutil.copytree(folder, copy)
        path = keys.get("path", str(folder)).replace(str(folder), str(copy))
        for index in copy.rglob("probe.json"):
            index.write_text(index.read_text().replace(str(folder), str(copy)))
        keys = {"family": family, "device": "cpu", **keys, "path": path, **more}
        return copy, ModelConfig(**keys), prompts

    return of


@pytest.mark.few(2)
@pytest.mark.parametrize("family", FAMILIES)
def test_code_that_a_folder_names_is_not_run(family, spoiled, tmp_path, asked):
    folder, config, prompts = spoiled(family)
    hostile.plant_code(folder, tmp_path / "marker")
    said = ends_well(config, prompts)
    assert "asks for code or files that are no part of the model (" in said[0]
    assert not (tmp_path / "marker").exists()
    assert asked == []


@pytest.mark.few(4)
@pytest.mark.parametrize("allowed", [False, True], ids=["safetensors", "pickle"])
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"probe"}))
def test_a_pickle_that_runs_code_is_not_loaded(family, allowed, spoiled, tmp_path):
    folder, config, prompts = spoiled(family, pickle=allowed)
    hostile.plant_pickles(folder, tmp_path / "marker")
    said = ends_well(config, prompts)
    assert len(said) >= (1 if allowed else 2)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("family", ["stable-diffusion", "sd3", "pixart"])
def test_kernels_of_attention_are_not_fetched(family, spoiled, asked):
    folder, config, _ = spoiled(family)
    hostile.plant_kernel(folder)
    with pytest.raises(UserError, match="attn_implementation: 'evil/kernel'"):
        check_model(config)
    assert asked == []


@pytest.mark.parametrize("name", ["tokenizer.4.0.0.json", "../../tokenizer.4.0.0.json"])
@pytest.mark.parametrize("family", ["stable-diffusion", "pixart"])
def test_a_tokenizer_does_not_choose_another_vocabulary(family, name, spoiled):
    folder, config, _ = spoiled(family)
    hostile.edit(folder / "tokenizer" / "tokenizer_config.json", fast_tokenizer_files=[name])
    with pytest.raises(UserError, match="fast_tokenizer_files"):
        check_model(config)
    hostile.edit(
        folder / "tokenizer" / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.json"]
    )
    check_model(config)


def test_an_adapter_does_not_choose_its_base(spoiled):
    folder, config, _ = spoiled("stable-diffusion")
    adapter = folder / "text_encoder" / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": "evil/base"}))
    with pytest.raises(UserError, match=r"adapter_config\.json makes this folder an adapter"):
        check_model(config)


@pytest.mark.parametrize(
    ("text_cfg", "message"),
    [
        ({}, "auto_map"),
        ({"tokenizer_kwargs": {"trust_remote_code": True}}, "trust_remote_code"),
        ({"tokenizer_kwargs": {"bpe_path": "/x.gz"}}, "tokenizer_kwargs holds 'bpe_path'"),
        ({"tokenizer_kwargs": "clean"}, "tokenizer_kwargs holds 'clean'"),
        ({"hf_model_name": "evil/text"}, "hf_model_name 'evil/text' is a model elsewhere"),
    ],
)
@pytest.mark.parametrize("way", ["classifier", "distance"])
def test_an_open_clip_folder_chooses_no_code_for_its_text(
    way, text_cfg, message, spoiled, tmp_path, asked
):
    folder, config, prompts = spoiled("clip")
    hostile.plant_tokenizer(folder, tmp_path / "marker", **text_cfg)
    if message != "auto_map":
        (folder / "tokenizer_config.json").unlink()
    use = {
        "distance": lambda: load_embedding(config.path, None, "cpu", Store()),
        "classifier": lambda: encode_prompts(config, prompts),
    }
    with pytest.raises(UserError, match=message):
        use[way]()
    assert not (tmp_path / "marker").exists()
    assert asked == []


@pytest.mark.parametrize("name", ["hf-hub:evil/x", "local-dir:/evil", "evil/x", ["x"], 3])
def test_an_open_clip_folder_names_no_backbone_elsewhere(name, spoiled, asked):
    folder, config, _ = spoiled("clip")
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"]["vision_cfg"]["timm_model_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is not the plain name of an architecture of timm's"):
        check_model(config)
    assert asked == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "hf-hub:evil/x"}, "names no architecture"),
        ({"architecture": "local-dir:/evil"}, "names no architecture"),
        ({"model_args": {"pretrained_strict": False}}, r"model_args\.pretrained_strict"),
        ({"model_args": {"checkpoint_path": "/evil.pth"}}, r"model_args\.checkpoint_path"),
        ({"model_args": {"pretrained_cfg": {"hf_hub_id": "x/y"}}}, r"model_args\.pretrained_cfg"),
    ],
)
def test_a_timm_folder_names_no_other_weights(changes, message, spoiled, asked):
    folder, config, _ = spoiled("timm")
    hostile.edit(folder / "config.json", **changes)
    with pytest.raises(UserError, match=message):
        check_model(config)
    assert asked == []


@pytest.mark.parametrize(
    "changes",
    [
        {"hf_hub_id": "evil/x", "source": "hf-hub"},
        {"url": "https://evil.example/x.pth", "file": "/evil.pth"},
        {"state_dict": {"conv1.weight": [1]}},
        {"custom_load": "hf"},
    ],
)
def test_a_timm_folder_loads_its_own_file_whatever_it_says_of_its_source(changes, spoiled, asked):
    folder, config, _ = spoiled("timm")
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["pretrained_cfg"] |= changes
    path.write_text(json.dumps(content))
    load_model(config)
    assert asked == []


@pytest.mark.parametrize("path", ["evil/model", "s3://evil/model", "https://u:pw@evil.example/m"])
def test_a_probe_fetches_no_model_that_the_user_did_not_name(path, spoiled, asked):
    folder, config, _ = spoiled("probe")
    index = folder / "probe" / "probe.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps(content | {"model": content["model"] | {"path": path}}))
    with pytest.raises(UserError, match="nothing is fetched because a file says so") as caught:
        check_model(config)
    assert "pw@" not in str(caught.value)
    assert asked == []


def test_a_class_of_the_users_own_is_not_imported_by_a_check(tmp_path):
    marker = tmp_path / "marker"
    hostile.write_evil(tmp_path, marker)
    check_model(ModelConfig(family="custom", path=f"{tmp_path / 'evil.py'}:Model"))
    assert not marker.exists()
