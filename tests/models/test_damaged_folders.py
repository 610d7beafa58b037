"""Damaged model folders are refused in one line that names the file, mostly as a run is planned."""

import json
import random
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.hostile import model_folders as hostile
from tests.support.models import check_model, check_prompts, encode_prompts, load_model
from zsd_ray.models.files.probe_files import WEIGHTS
from zsd_ray.records.errors import UserError

KINDS = {
    "stable-diffusion-epsilon",
    "sdxl-euler",
    "sd3-t5",
    "flux-dev",
    "pixart-sigma",
    "deepfloyd-if-stage-1",
    "dit-imagenet",
    "ddpm-labels",
    "edm-epsilon",
    "clip-folder",
    "timm-folder",
    "probe-folder",
}
SD = "stable-diffusion-epsilon"


@pytest.fixture
def good(good_kind):
    return good_kind


@pytest.fixture
def copy(copied):
    return copied


def refusal(call, *inputs):
    with pytest.raises(UserError) as caught:
        call(*inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def use(config, prompts):
    """All that a run does with a model before it scores."""
    check_model(config)
    check_prompts(config, prompts)
    return load_model(config), encode_prompts(config, prompts)


# ---- whole files, when a run is planned


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_damaged_file_is_named_when_a_run_is_planned(kind, copy):
    folder, config, _ = copy(kind)
    for path in hostile.files(folder):
        content = path.read_bytes()
        for name in hostile.FILE_DAMAGES:
            if name == "cut by one" and path.suffix == ".json":
                continue  # of its last line's end
            hostile.FILE_DAMAGES[name](path)
            said = refusal(check_model, config)
            assert path.name in said or path.parent.name in said, (name, path, said)
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            path.write_bytes(content)
    check_model(config)


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_file_that_holds_no_json_object_is_named_when_a_run_is_planned(kind, copy):
    folder, config, _ = copy(kind)
    for path in [path for path in hostile.files(folder) if path.suffix == ".json"]:
        content = path.read_bytes()
        for document in hostile.ODD_DOCUMENTS:
            if document == b"{}" and path.name not in ("model_index.json", "tokenizer.json"):
                continue
            path.write_bytes(document)
            if document != b"{}" or config.family not in ("ddpm", "edm"):
                refusal(check_model, config)
        path.write_bytes(content)
    check_model(config)


# ---- tensors


def networks(good):
    """(kind, file of weights) of each network of each family."""
    for kind in sorted(KINDS - {"probe-folder"}):
        folder, *_ = good(kind)
        for path in hostile.files(folder):
            if path.suffix == ".safetensors":
                yield kind, path.relative_to(folder).as_posix()


def test_a_network_without_one_of_its_tensors_is_refused_in_every_family(good, copy, tmp_path):
    seen = 0
    for kind, name in networks(good):
        folder, config, prompts = copy(kind)
        # BatchNorm's counters are no weights, and old files have none.
        names = hostile.tensor_names(folder / name)
        tensors = [each for each in names if not each.endswith("num_batches_tracked")]
        lost = tensors[len(tensors) // 2]
        hostile.lose_tensor(folder / name, lost)
        said = refusal(use, config, prompts)
        assert lost in said, said
        assert name.rpartition("/")[2] in said, said
        shutil.rmtree(tmp_path / "model")
        seen += 1
    assert seen > 20


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_network_with_a_number_that_is_none_is_refused_in_every_family(
    value, good, copy, tmp_path
):
    seen = 0
    files = [*networks(good), ("probe-folder", f"probe/{WEIGHTS}")]
    for kind, name in files if np.isnan(value) else files[-2:]:
        folder, config, prompts = copy(kind)
        names = hostile.tensor_names(folder / name)
        tensor = next(each for each in names if each.endswith(("bias", "weight")))
        hostile.put_number(folder / name, tensor, value)
        said = refusal(use, config, prompts)
        assert f"{folder / name}: its weights hold NaN or infinity" in said
        assert tensor in said
        shutil.rmtree(tmp_path / "model")
        seen += 1
    assert seen > (20 if np.isnan(value) else 1)


def test_a_number_that_float16_does_not_hold_is_said_to_be_one_of_float16(copy):
    folder, config, _ = copy(SD)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    hostile.put_number(weights, "conv_in.bias", 1e6)
    load_model(config)
    said = refusal(load_model, config.model_copy(update={"dtype": "float16"}))
    assert "as float16, in the tensors conv_in.bias (1 of them)" in said
    assert "or set model.dtype: float32" in said


@pytest.mark.few(2)
@pytest.mark.parametrize("spoil", [hostile.reshape_tensor, hostile.add_tensor])
@pytest.mark.parametrize(
    ("kind", "name", "tensor"),
    [
        (SD, "unet/diffusion_pytorch_model.safetensors", "conv_in.weight"),
        (SD, "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
        (SD, "text_encoder/model.safetensors", "embeddings.token_embedding.weight"),
        ("flux-dev", "text_encoder_2/model.safetensors", "shared.weight"),
        ("clip-folder", "open_clip_model.safetensors", "visual.proj"),
        ("clip-folder", "open_clip_model.safetensors", "positional_embedding"),
        ("timm-folder", "model.safetensors", "conv1.0.weight"),
        ("timm-file", "weights.safetensors", "pos_embed"),
        ("probe-folder", "probe/probe.safetensors", "weight"),
    ],
)
def test_tensors_of_other_shapes_and_names_are_refused(kind, name, tensor, spoil, copy):
    folder, config, prompts = copy(kind)
    if spoil is hostile.add_tensor:
        tensor = f"{tensor}_more"
    spoil(folder / name, tensor)
    said = refusal(use, config, prompts)
    assert tensor in said
    assert name.rpartition("/")[2] in said


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_shards_are_one_network_and_their_index_names_files_beside_it(part, copy):
    folder, config, prompts = copy(SD)
    before = {name: rows.copy() for name, rows in encode_prompts(config, prompts).items()}
    tensor = hostile.tensor_names(folder / f"{part}.safetensors")[0]
    index = hostile.shard(folder / f"{part}.safetensors")
    after = use(config, prompts)[1]
    np.testing.assert_array_equal(after["hidden"], before["hidden"])
    other = next(index.parent.glob("*-00002-of-00002.safetensors")).name
    content = index.read_bytes()
    outside = folder.parent / "x.safetensors"
    outside.write_bytes((index.parent / other).read_bytes())
    for value, message in (
        ("../../x.safetensors", "may lie outside of its folder"),
        (str(outside), "may lie outside of its folder"),
        ("absent.safetensors", r"absent.safetensors is missing"),
        ("config.json", "names 'config.json', which is no .safetensors file"),
        (other, f"lacks the tensors {tensor}"),
        (3, "names '3', which is no .safetensors file"),
    ):
        hostile.put(index, ("weight_map", tensor), value)
        assert message in refusal(check_model, config)
        index.write_bytes(content)
    for value in ({}, [], None, "x"):
        hostile.put(index, ("weight_map",), value)
        assert index.name in refusal(check_model, config)


# ---- values


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("kind", "name", "spot", "value"),
    [
        (SD, "unet/config.json", "sample_size", "64"),
        (SD, "unet/config.json", "sample_size", 0),
        (SD, "unet/config.json", "sample_size", 10**9),
        (SD, "unet/config.json", "block_out_channels", "x"),
        (SD, "unet/config.json", "block_out_channels", [-8, 16]),
        (SD, "unet/config.json", "block_out_channels", [10**9, 16]),
        (SD, "unet/config.json", "layers_per_block", 10**6),
        (SD, "unet/config.json", "cross_attention_dim", {"a": 1}),
        (SD, "unet/config.json", "in_channels", 9),
        (SD, "vae/config.json", "scaling_factor", "0.18"),
        (SD, "vae/config.json", "scaling_factor", float("nan")),
        (SD, "vae/config.json", "latent_channels", 16),
        (SD, "text_encoder/config.json", "num_hidden_layers", 10**8),
        (SD, "text_encoder/config.json", "vocab_size", 3),
        (SD, "text_encoder/config.json", "eos_token_id", 10**6),
        (SD, "tokenizer/tokenizer_config.json", "model_max_length", "77"),
        (SD, "scheduler/scheduler_config.json", "num_train_timesteps", 10**12),
        (SD, "scheduler/scheduler_config.json", "num_train_timesteps", "1000"),
        (SD, "scheduler/scheduler_config.json", "beta_start", -1),
        (SD, "scheduler/scheduler_config.json", "beta_end", [None, "x"]),
        (SD, "scheduler/scheduler_config.json", "prediction_type", ["epsilon"]),
        (SD, "model_index.json", "_class_name", ["StableDiffusionPipeline"]),
        ("edm-epsilon", "scheduler/scheduler_config.json", "sigma_min", None),
        ("edm-epsilon", "scheduler/scheduler_config.json", "sigma_max", "x"),
        ("edm-epsilon", "model_index.json", "unet", []),
        ("sd3-t5", "transformer/config.json", "num_layers", -1),
        ("flux-dev", "transformer/config.json", "in_channels", 32),
        ("clip-folder", "open_clip_config.json", "model_cfg", 3),
        ("timm-folder", "config.json", "num_classes", "10"),
        ("timm-folder", "config.json", "model_args", []),
        ("probe-folder", "probe/probe.json", "t", "x"),
        ("probe-folder", "probe/probe.json", "t", 2.0),
        ("probe-folder", "probe/probe.json", "labels", ["a", "b"]),
        ("probe-folder", "probe/probe.json", "pooling", {"grid": "x"}),
        ("probe-folder", "probe/probe.json", "model", []),
    ],
)
def test_values_that_cannot_be_are_refused_when_a_run_is_planned(kind, name, spot, value, copy):
    folder, config, prompts = copy(kind)
    hostile.put(folder / name, (spot,), value)
    refusal(lambda: (check_model(config), check_prompts(config, prompts)))


def test_a_network_that_is_larger_than_its_weights_is_not_made(copy):
    folder, config, _ = copy("clip-folder")
    spot = ("model_cfg", "vision_cfg", "width")
    hostile.put(folder / "open_clip_config.json", spot, 100_000)
    assert "describes a network of 240,027,198,737 numbers" in refusal(load_model, config)


def test_random_damages_end_in_one_line_or_in_a_model(copy, tmp_path):
    rng = random.Random(7)
    for _ in range(15):  # the fuzz program takes thousands
        folder, config, prompts = copy(rng.choice(sorted(KINDS)))
        told = hostile.damage(folder, rng)
        try:
            use(config, prompts)
        except UserError as error:
            one_line = "\n" not in str(error)
        except Exception as error:
            raise AssertionError(f"{config.family}: {told}") from error
        else:
            one_line = True
        assert one_line, told
        shutil.rmtree(tmp_path / "model")


# ---- tokenizers


@pytest.fixture
def in_two_files(copy):
    """Stable Diffusion with the tokenizer as it was published: vocab.json and merges.txt."""
    folder, config, prompts = copy(SD)
    path = folder / "tokenizer" / "tokenizer.json"
    model = json.loads(path.read_text())["model"]
    path.unlink()
    (path.parent / "vocab.json").write_text(json.dumps(model["vocab"]))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"]), ""]
    (path.parent / "merges.txt").write_text("\n".join(lines))
    return path.parent, config, prompts


def test_a_tokenizer_in_two_files_reads_as_the_one_in_one(in_two_files, good):
    _, config, prompts = in_two_files
    expected = encode_prompts(*good(SD)[1:])["hidden"]
    np.testing.assert_array_equal(use(config, prompts)[1]["hidden"], expected)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_tokenizer_without_one_of_its_files_is_refused(name, in_two_files):
    folder, config, _ = in_two_files
    (folder / name).unlink()
    assert "has neither tokenizer.json nor vocab.json with merges.txt" in refusal(
        check_model, config
    )


def test_merges_that_are_cut_short_are_refused(in_two_files):
    folder, config, _ = in_two_files
    lines = (folder / "merges.txt").read_text().split("\n")
    (folder / "merges.txt").write_text("\n".join(lines[:-2]))
    assert "merges.txt has no merge that makes" in refusal(check_model, config)
    (folder / "merges.txt").write_text("\n".join([*lines[:-2], "a b c"]))
    assert "'a b c' is no merge of two tokens" in refusal(check_model, config)


@pytest.mark.parametrize("value", [-1, "3", 0, 10**9, None, 1.5])
def test_vocabularies_with_odd_numbers_are_refused(value, in_two_files):
    folder, config, _ = in_two_files
    hostile.put(folder / "vocab.json", ("a",), value)
    assert "vocab.json" in refusal(check_model, config)


def test_an_open_clip_folder_has_the_tokenizer_that_it_names(copy, good):
    folder, config, prompts = copy("clip-folder")
    spot = ("model_cfg", "text_cfg", "hf_tokenizer_name")
    hostile.put(folder / "open_clip_config.json", spot, "x/y")
    assert "names a tokenizer (hf_tokenizer_name), and the folder has none of" in refusal(
        check_model, config
    )
    tokenizer = good("flux-dev")[0] / "tokenizer_2"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder)
    use(config, prompts)
    for name in ("empty", "garbage", "git-LFS pointer", "a folder"):
        hostile.FILE_DAMAGES[name](folder / "tokenizer.json")
        assert "tokenizer.json" in refusal(check_model, config)


# ---- what goes on loading


def renamed(path, change, **more):
    tensors = {change(name): tensor for name, tensor in load_file(path).items()}
    save_file(tensors | more, path, metadata={"format": "pt"})


def test_weights_of_older_layouts_load_as_they_did(copy):
    folder, config, prompts = copy(SD)
    model, before = use(config, prompts)
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    latents = model.encode_images(images)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def of_2022(name):
        for new, other in old.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{other}.")
        return name

    renamed(folder / "vae" / "diffusion_pytorch_model.safetensors", of_2022)
    positions = {"text_model.embeddings.position_ids": torch.arange(12)[None]}
    renamed(folder / "text_encoder" / "model.safetensors", "text_model.{}".format, **positions)
    model, after = use(config, prompts)
    assert torch.equal(model.encode_images(images), latents)
    np.testing.assert_array_equal(after["hidden"], before["hidden"])


def test_dit_as_it_was_published_loads(copy):
    folder, config, prompts = copy("dit-imagenet")
    before = load_model(config)
    path = folder / "transformer" / "config.json"
    hostile.edit(path, _class_name="Transformer2DModel", norm_type="ada_norm_zero")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    assert "need model.pickle: true" in refusal(check_model, config)
    model, _ = use(config.model_copy(update={"pickle": True}), prompts)
    x, time = torch.zeros(1, *model.sample_shape), torch.ones(1)
    labels = {"labels": torch.zeros(1, dtype=torch.int64)}
    # Tensors that lie elsewhere in memory are added in another order.
    torch.testing.assert_close(model.predict(x, time, labels), before.predict(x, time, labels))


@pytest.mark.parametrize(
    ("kind", "part", "more"),
    [
        ("flux-dev", "text_encoder", "vision_model.x"),
        ("flux-dev", "text_encoder", "text_projection.weight"),
        ("flux-dev", "text_encoder", "logit_scale"),
        ("flux-dev", "text_encoder_2", "decoder.block.0.layer.0.SelfAttention.q.weight"),
        ("flux-dev", "text_encoder_2", "lm_head.weight"),
        ("dit-imagenet", "transformer", "pos_embed.pos_embed"),
    ],
)
def test_parts_that_a_text_encoder_was_saved_with_may_be_there(kind, part, more, copy):
    folder, config, prompts = copy(kind)
    (path,) = (folder / part).glob("*.safetensors")
    hostile.add_tensor(path, more)
    use(config, prompts)
    if part == "text_encoder_2":  # T5's embeddings under their other name
        renamed(path, lambda name: name.replace("shared.", "encoder.embed_tokens."))
        use(config, prompts)
