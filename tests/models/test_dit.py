"""DiT against diffusers' own pipeline, transformer and scheduler."""

import json

import pytest
import torch

from tests.support.models import check_model, check_prompts, encode_prompts, load_model
from tests.support.tiny_models import dit
from zsd_ray.config.run import ModelConfig
from zsd_ray.diffusion.parametrisation import to_epsilon
from zsd_ray.records.errors import UserError

NAMES = ["Tinca tinca", "goldfish, Carassius auratus", "3"]


def model(tmp_path, **keys):
    dit(tmp_path / "dit", **keys)
    return ModelConfig(family="dit", path=str(tmp_path / "dit"), device="cpu")


@pytest.mark.few(1)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("learned_variance", [True, False])
def test_dit_equals_the_librarys_own_pipeline(tmp_path, prediction, learned_variance):
    from diffusers import DiTPipeline

    config = model(tmp_path, prediction=prediction, learned_variance=learned_variance)
    ours = load_model(config)
    pipe = DiTPipeline.from_pretrained(config.path)
    torch.manual_seed(0)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    labels = torch.tensor([*pipe.get_label_ids(["Tinca tinca", "goldfish"]), 3])
    steps = torch.tensor([30, 500, 900])
    with torch.no_grad():
        x_0 = pipe.vae.encode(images).latent_dist.mode() * pipe.vae.config.scaling_factor
        eps = torch.randn(x_0.shape)
        x_t = pipe.scheduler.add_noise(x_0, eps, steps)
        output = pipe.transformer(x_t, timestep=steps, class_labels=labels).sample
    if learned_variance:
        assert output.shape[1] == 8
        output, _ = torch.split(output, 4, dim=1)
    theirs = output
    if prediction == "v_prediction":
        abar = pipe.scheduler.alphas_cumprod[steps][:, None, None, None]
        theirs = abar.sqrt() * output + (1 - abar).sqrt() * x_t

    assert (ours.image_size, ours.sample_shape) == (16, (4, 8, 8))
    torch.testing.assert_close(ours.encode_images(images), x_0)
    encoded = encode_prompts(config, NAMES)
    assert encoded["labels"].tolist() == labels.tolist()
    t = (steps.numpy() + 0.5) / 1000
    alpha, sigma = (
        torch.from_numpy(a).float()[:, None, None, None] for a in ours.schedule.alpha_sigma(t)
    )
    our_x_t = alpha * x_0 + sigma * eps
    torch.testing.assert_close(our_x_t, x_t, rtol=1e-4, atol=1e-5)
    time = torch.from_numpy(ours.schedule.model_time(t)).float()
    conditioning = {"labels": torch.from_numpy(encoded["labels"])}
    predicted = ours.predict(our_x_t, time, conditioning)
    estimate = to_epsilon(predicted, our_x_t, alpha, sigma, ours.parametrisation)
    torch.testing.assert_close(estimate, theirs, rtol=1e-4, atol=1e-4)


def test_the_null_label_is_no_class(tmp_path):
    """diffusers keeps one row more than labels, for guidance."""
    config = model(tmp_path)
    rows = load_model(config)._network.transformer_blocks[0].norm1.emb.class_embedder
    assert rows.embedding_table.weight.shape[0] == 5
    with pytest.raises(UserError, match=r"has 4 labels, and none for 4"):
        check_prompts(config, ["0", "4"])


def test_a_folder_that_names_the_older_class_of_the_transformer_is_read(tmp_path):
    """The published DiT says Transformer2DModel, which had the same parameters."""
    config = model(tmp_path)
    path = check_model(config) / "transformer" / "config.json"
    content = json.loads(path.read_text()) | {
        "_class_name": "Transformer2DModel",
        "cross_attention_dim": None,
        "num_vector_embeds": None,
        "only_cross_attention": False,
        "use_linear_projection": False,
    }
    before = load_model(config)
    path.write_text(json.dumps(content))
    after = load_model(config)
    x, time = torch.randn(1, 4, 8, 8), torch.tensor([500.0])
    label = {"labels": torch.tensor([1])}
    torch.testing.assert_close(after.predict(x, time, label), before.predict(x, time, label))


def test_the_size_is_fixed(tmp_path):
    config = model(tmp_path).model_copy(update={"image_size": 32})
    with pytest.raises(UserError, match=r"model\.image_size is of no use to model\.family dit"):
        load_model(config)


def test_the_empty_name_is_the_label_that_the_network_drops_others_for(tmp_path):
    config = model(tmp_path)
    found = encode_prompts(config, [*NAMES, ""])["labels"]
    assert found.tolist() == [0, 1, 3, 4]
    transformer = load_model(config)._network
    tables = [m for m in transformer.modules() if isinstance(m, torch.nn.Embedding)]
    assert {table.num_embeddings for table in tables} == {5}
