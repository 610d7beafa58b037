"""CLIP against open_clip's own zero-shot evaluation, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.models.test_classifier_contract import IMAGES
from tests.support.models import check_model, encode_prompts, fingerprint, load_model
from tests.support.tiny_models.clip import CONFIG, PREPROCESS, clip_file, clip_folder, network
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning.templates import NAMED
from zsd_ray.models.files.clip_files import open_clip
from zsd_ray.records.errors import UserError

NAMES = ["cat", "dog", "tench"]
TEMPLATES = ["a photo of a {}.", "the {}", "a bad drawing of many {} at night."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip") / "model"
    clip_folder(folder)
    return folder


def our_scores(config, templates, names=NAMES, images=IMAGES):
    ours = load_model(config)
    prompts = [template.replace("{}", name) for name in names for template in templates]
    rows = {name: torch.from_numpy(of) for name, of in encode_prompts(config, prompts).items()}
    assert rows["text"].shape[0] == len(prompts)
    inputs = torch.stack([ours.preprocess(image) for image in images])
    return ours.scores(inputs, ours.classes(rows, len(templates)))


def their_logits(model, transform, tokenizer, templates):
    classifier = open_clip().build_zero_shot_classifier(model, tokenizer, NAMES, templates)
    with torch.no_grad():
        images = torch.stack([transform(image) for image in IMAGES])
        return 100.0 * model.encode_image(images, normalize=True) @ classifier


@pytest.mark.parametrize("templates", [TEMPLATES[:1], TEMPLATES])
def test_scores_equal_the_librarys_zero_shot_evaluation(folder, templates):
    """With the mean, the standard deviation and the resizing of the folder, not the defaults."""
    library, name = open_clip(), f"local-dir:{folder}"
    model, _, transform = library.create_model_and_transforms(name)
    logits = their_logits(model.eval(), transform, library.get_tokenizer(name), templates)
    ours = our_scores(ModelConfig(family="clip", path=str(folder), device="cpu"), templates)
    torch.testing.assert_close(ours, -logits, rtol=1e-4, atol=1e-4)


def test_a_file_of_weights_scores_as_the_library_does(tmp_path):
    _, keys = clip_file(tmp_path / "model")
    library = open_clip()
    model, _, transform = library.create_model_and_transforms(keys["path"], keys["pretrained"])
    logits = their_logits(model.eval(), transform, library.get_tokenizer(keys["path"]), TEMPLATES)
    ours = our_scores(ModelConfig(family="clip", device="cpu", **keys), TEMPLATES)
    torch.testing.assert_close(ours, -logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["coca", "custom"])
def test_towers_of_other_builds_work_likewise(tmp_path, kind):
    """CoCa gives captions too, and a model like SigLIP keeps its text tower apart."""
    config = json.loads(json.dumps(CONFIG))
    if kind == "coca":
        config["text_cfg"] |= {"embed_cls": True, "output_tokens": True, "context_length": 76}
        config["vision_cfg"] |= {"attentional_pool": True, "attn_pooler_heads": 2,
                                 "output_tokens": True}  # fmt: skip
        config["multimodal_cfg"] = {"context_length": 76, "vocab_size": 49408, "width": 16,
                                    "heads": 2, "layers": 1}  # fmt: skip
    config["custom_text"] = True
    (tmp_path / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": PREPROCESS})
    )
    library, name = open_clip(), f"local-dir:{tmp_path}"
    torch.manual_seed(0)
    model = library.create_model(name, load_weights=False)
    # open_clip leaves a projection of CoCa's text decoder as memory was.
    state = {key: value.nan_to_num(0, 0, 0) for key, value in model.state_dict().items()}
    from safetensors.torch import save_file

    save_file(state, tmp_path / "open_clip_model.safetensors")
    model, _, transform = library.create_model_and_transforms(name)
    logits = their_logits(model.eval(), transform, library.get_tokenizer(name), TEMPLATES)
    ours = our_scores(ModelConfig(family="clip", path=str(tmp_path), device="cpu"), TEMPLATES)
    torch.testing.assert_close(ours, -logits, rtol=1e-4, atol=1e-4)


def test_openais_templates_are_the_librarys():
    templates = NAMED["openai"]()
    assert len(templates) == 80
    assert all(template.count("{}") == 1 for template in templates)
    theirs = open_clip().OPENAI_IMAGENET_TEMPLATES
    assert [t.replace("{}", "cat") for t in templates] == [template("cat") for template in theirs]


def refusal(**keys):
    with pytest.raises(UserError) as caught:
        check_model(ModelConfig(family="clip", **keys))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pickled_weights_need_a_key(folder, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    torch.save(network().state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    assert "need model.pickle: true" in refusal(path=str(tmp_path))
    check_model(ModelConfig(family="clip", path=str(tmp_path), pickle=True))
    allowed = ModelConfig(family="clip", path=str(tmp_path), pickle=True, device="cpu")
    safe = ModelConfig(family="clip", path=str(folder), device="cpu")
    torch.testing.assert_close(our_scores(allowed, TEMPLATES), our_scores(safe, TEMPLATES))
    file = str(tmp_path / "open_clip_pytorch_model.bin")
    assert "need model.pickle: true" in refusal(path="ViT-B-32", pretrained=file)


def test_names_that_mean_nothing_are_refused(folder, tmp_path):
    assert "did you mean ViT-B-32?" in refusal(path="ViT-B32", pretrained="openai")
    assert "openai" in refusal(path="ViT-B-32")
    assert "no tag of ViT-B-32" in refusal(path="ViT-B-32", pretrained="opnai")
    assert "remove model.pretrained" in refusal(path=str(folder), pretrained="openai")
    assert "model.revision" in refusal(path="ViT-B-32", pretrained="openai", revision="main")
    assert "has no open_clip_config.json" in refusal(path=str(tmp_path))
    assert "the hub does not give it" in refusal(path="nobody/no-such-model")
    assert "the hub does not give it" in refusal(path="hf-hub:nobody/no-such-model")
    assert "model.labels is of no use" in refusal(path="ViT-B-32", labels=["a"])


def test_weights_of_another_activation_are_refused():
    """The library warns and goes on: a few points of accuracy are lost in silence."""
    assert "set model.path: ViT-B-32-quickgelu" in refusal(path="ViT-B-32", pretrained="openai")


def test_a_tag_that_cannot_be_fetched_is_a_user_error(monkeypatch, tmp_path):
    def away(*_, **__):
        raise OSError("the network is away\nand more")

    monkeypatch.setattr(open_clip(), "download_pretrained", away)
    text = refusal(path="ViT-B-32-quickgelu", pretrained="openai")
    assert text.endswith("cannot be fetched (the network is away)")


def test_a_tag_brings_its_own_input_and_its_weights_are_checked(monkeypatch, tmp_path):
    """A tag of ours, whose file is here: nothing of the network is needed."""
    _, keys = clip_file(tmp_path / "model", "tagged-clip")
    from open_clip import pretrained

    tags = {"tiny": {"file": keys["pretrained"], **PREPROCESS}, "pickled": {"file": "old.pt"}}
    monkeypatch.setitem(pretrained._PRETRAINED, "tagged-clip", tags)
    tagged = ModelConfig(family="clip", path="tagged-clip", pretrained="tiny", device="cpu")
    library = open_clip()
    model, _, transform = library.create_model_and_transforms("tagged-clip", "tiny")
    logits = their_logits(model.eval(), transform, library.get_tokenizer("tagged-clip"), TEMPLATES)
    torch.testing.assert_close(our_scores(tagged, TEMPLATES), -logits, rtol=1e-4, atol=1e-4)
    plain = ModelConfig(family="clip", device="cpu", **keys)
    assert fingerprint(tagged) != fingerprint(plain)
    assert (our_scores(plain, TEMPLATES) - our_scores(tagged, TEMPLATES)).abs().max() > 1e-3
    assert "need model.pickle: true" in refusal(path="tagged-clip", pretrained="pickled")


def test_the_fingerprint_is_of_content(tmp_path):
    _, keys = clip_file(tmp_path / "model", "one-clip")
    _, other = clip_file(tmp_path / "other", "other-clip")
    config = ModelConfig(family="clip", **keys)
    assert load_file(keys["pretrained"]).keys() == load_file(other["pretrained"]).keys()
    moved = ModelConfig(family="clip", path="one-clip", pretrained=other["pretrained"])
    assert fingerprint(config) == fingerprint(moved)
    assert fingerprint(config) != fingerprint(ModelConfig(family="clip", **other))


def test_a_folder_may_be_a_url(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = ModelConfig(family="clip", path=str(folder), device="cpu")
    there = here.model_copy(update={"path": f"file://{folder}"})
    assert fingerprint(there) == fingerprint(here)
    torch.testing.assert_close(our_scores(there, TEMPLATES), our_scores(here, TEMPLATES))
