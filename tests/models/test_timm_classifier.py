"""timm's classifiers against timm itself, the names of labels, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from tests.models.test_classifier_contract import IMAGES
from tests.support.models import (
    check_model,
    check_prompts,
    encode_prompts,
    fingerprint,
    load_model,
)
from tests.support.tiny_models.timm_classifier import NAMES, network, timm_file, timm_folder
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.timm_files import timm
from zsd_ray.records.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm") / "model"
    timm_folder(folder)
    return folder


def their_scores(model, labels):
    from timm.data import create_transform, resolve_model_data_config

    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    with torch.no_grad():
        logits = model(torch.stack([transform(image) for image in IMAGES]))
    return -logits.log_softmax(dim=-1)[:, labels]


def our_scores(config, names):
    ours = load_model(config)
    rows = {name: torch.from_numpy(of) for name, of in encode_prompts(config, names).items()}
    inputs = torch.stack([ours.preprocess(image) for image in IMAGES])
    return ours.scores(inputs, ours.classes(rows, 1))


def test_a_folder_scores_as_the_library_does(folder):
    config = ModelConfig(family="timm", path=str(folder), device="cpu")
    model = timm().create_model(f"local-dir:{folder}", pretrained=True).eval()
    ours = our_scores(config, ["nine", "two", "0"])
    torch.testing.assert_close(ours, their_scores(model, [9, 2, 0]), rtol=1e-4, atol=1e-5)
    every = our_scores(config, NAMES)
    torch.testing.assert_close((-every).exp().sum(dim=1), torch.ones(len(IMAGES)))


def test_a_file_scores_as_the_library_does_whatever_its_number_of_labels(tmp_path):
    """timm makes a random head where the number of labels is not its own default's."""
    _, keys = timm_file(tmp_path / "model")
    model = network("test_vit", 7)
    ours = our_scores(ModelConfig(family="timm", device="cpu", **keys), ["kind 5", "kind 0"])
    torch.testing.assert_close(ours, their_scores(model, [5, 0]), rtol=1e-4, atol=1e-5)


def test_the_model_of_a_folder_has_its_own_input(folder, tmp_path):
    content = json.loads((folder / "config.json").read_text())
    content["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "crop_pct": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = ModelConfig(family="timm", path=str(tmp_path), device="cpu")
    model = timm().create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    ours = our_scores(config, NAMES)
    torch.testing.assert_close(ours, their_scores(model, list(range(10))), rtol=1e-4, atol=1e-5)
    other = our_scores(ModelConfig(family="timm", path=str(folder), device="cpu"), NAMES)
    assert (ours - other).abs().max() > 1e-3
    theirs = ModelConfig(family="timm", path=str(folder))
    assert fingerprint(config) != fingerprint(theirs)


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A model of 1,000 labels that have no names of their own."""
    file = tmp_path_factory.mktemp("imagenet") / "weights.safetensors"
    save_file(network("test_vit", 1000).state_dict(), file)
    return ModelConfig(family="timm", path="test_vit", pretrained=str(file), device="cpu")


@pytest.mark.parametrize(("names", "labels"), [
    (["goldfish, Carassius auratus", "tench"], [1, 0]),
    (["Carassius auratus", "tench, Tinca tinca", "999"], [1, 0, 999]),
    (["n01440764", "n01443537"], [0, 1]),
    (["crane bird", "construction crane"], [134, 517]),
])  # fmt: skip
def test_imagenets_labels_have_several_names(imagenet, names, labels):
    assert encode_prompts(imagenet, names)["label"][:, 0].tolist() == labels


def test_all_of_imagenets_names_are_known_though_some_come_twice(imagenet):
    import open_clip
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    for names in (open_clip.IMAGENET_CLASSNAMES, info.label_descriptions(), info.label_names()):
        assert encode_prompts(imagenet, names)["label"].tolist() == [[n] for n in range(1000)]


def test_a_class_of_several_labels_has_the_score_of_the_likeliest(folder):
    config = ModelConfig(family="timm", path=str(folder), device="cpu")
    each = our_scores(config, NAMES)
    some = our_scores(config, ["two", "nine | 0 | three", "four | five"])
    torch.testing.assert_close(some[:, 0], each[:, 2])
    torch.testing.assert_close(some[:, 1], each[:, [9, 0, 3]].amin(dim=1))
    torch.testing.assert_close(some[:, 2], each[:, [4, 5]].amin(dim=1))
    with pytest.raises(UserError, match="none for ten"):
        check_prompts(config, ["one", "two | ten"])
    with pytest.raises(UserError, match="are the same label 2"):
        check_prompts(config, ["two", "three | 2"])


def test_names_that_no_label_has_are_refused(imagenet, folder):
    with pytest.raises(UserError, match="1000 labels, and none for gryphon"):
        check_prompts(imagenet, ["tench", "gryphon"])
    with pytest.raises(UserError, match="crane may be the labels 134 and 517"):
        check_prompts(imagenet, ["tench", "crane"])
    with pytest.raises(UserError, match="10 labels, and none for 10"):
        check_prompts(ModelConfig(family="timm", path=str(folder)), ["one", "10"])
    renamed = ModelConfig(family="timm", path=str(folder), labels=["eins", "zwei"])
    check_prompts(renamed, ["zwei", "eins", "7"])
    with pytest.raises(UserError, match="none for one"):
        check_prompts(renamed, ["one"])
    many = ModelConfig(family="timm", path=str(folder), labels=list("abcdefghijk"))
    with pytest.raises(UserError, match=r"model.labels has 11 names for 10 labels"):
        check_prompts(many, ["a"])


def test_labels_may_be_described(folder, tmp_path):
    content = json.loads((folder / "config.json").read_text())
    content["label_names"] = {"0": "n1", "4": "n2"}
    content["label_descriptions"] = {"n1": "cat, kitten", "n2": "dog"}
    (tmp_path / "config.json").write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = ModelConfig(family="timm", path=str(tmp_path), device="cpu")
    assert encode_prompts(config, ["dog", "kitten"])["label"].tolist() == [[4], [0]]
    assert encode_prompts(config, ["n2", "n1", "9"])["label"].tolist() == [[4], [0], [9]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_names": {"x": "cat"}}, "label_names has the number 'x'"),
        ({"label_names": {"10": "cat"}}, "label_names has the number '10'"),
        ({"label_names": list("abcdefghijk")}, "label_names has the number '10'"),
        ({"label_names": 3}, "label_names is 3"),
        ({"label_names": "abcdefghij"}, "label_names is abcdefghij"),
        ({"label_names": [None] * 10}, r"label_names is \[None"),
        ({"label_names": {"1": ["cat"]}}, r"label_names is \{'1'"),
        ({"label_descriptions": ["a"]}, r"label_descriptions is \['a'\]"),
        ({"label_descriptions": "a"}, "label_descriptions is a,"),
        ({"label_descriptions": {"zero": 3}}, "label_descriptions is "),
    ],
)
def test_labels_of_other_kinds_are_refused_when_a_run_is_planned(
    changes, message, folder, tmp_path
):
    content = json.loads((folder / "config.json").read_text()) | changes
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(content))
    config = ModelConfig(family="timm", path=str(tmp_path / "model"))
    with pytest.raises(UserError, match=message) as caught:
        check_prompts(config, ["cat", "two"])
    assert "set model.labels" in str(caught.value)
    check_prompts(config.model_copy(update={"labels": ["cat", "two"]}), ["cat", "two"])


def refusal(**keys):
    with pytest.raises(UserError) as caught:
        check_model(ModelConfig(family="timm", **keys))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pickled_weights_need_a_key(folder, tmp_path):
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    torch.save(network().state_dict(), tmp_path / "pytorch_model.bin")
    assert "need model.pickle: true" in refusal(path=str(tmp_path))
    allowed = ModelConfig(family="timm", path=str(tmp_path), pickle=True, device="cpu")
    safe = ModelConfig(family="timm", path=str(folder), device="cpu")
    torch.testing.assert_close(our_scores(allowed, NAMES), our_scores(safe, NAMES))
    file = str(tmp_path / "pytorch_model.bin")
    assert "need model.pickle: true" in refusal(path="test_resnet", pretrained=file)


def test_models_that_are_not_there_are_refused(tmp_path, folder):
    assert "did you mean test_resnet" in refusal(path="test_resnett")
    assert "test_resnet.r160_in1k" in refusal(path="test_resnet.r160_in2k")
    assert "is not a file" in refusal(path="test_resnet", pretrained=str(tmp_path / "absent"))
    assert "the hub does not give it" in refusal(path="test_resnet")
    assert "the hub does not give it" in refusal(path="nobody/no-such-model")
    assert "no published weights with classes" in refusal(path="vit_small_patch14_dinov2.lvd142m")
    assert "has no config.json" in refusal(path=str(tmp_path))
    assert "remove model.pretrained" in refusal(path=str(folder), pretrained="x.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert "names no architecture" in refusal(path=str(tmp_path))


def test_weights_without_a_head_are_refused(tmp_path):
    save_file(network("test_vit", 0).state_dict(), tmp_path / "w.safetensors")
    config = ModelConfig(family="timm", path="test_vit", pretrained=str(tmp_path / "w.safetensors"))
    with pytest.raises(UserError, match=r"has no head.weight"):
        check_prompts(config, ["0", "1"])
