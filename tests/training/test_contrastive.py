"""A small CLIP: its loss, its drawn negatives, and the folder that it becomes."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import zsd_ray
from tests.support.models import encode_prompts, load_model
from tests.training.small import CONTRASTIVE, DIGITS, configure, train_local
from zsd_ray.config.run import ModelConfig, RunConfig, parse_config
from zsd_ray.config.training import AugmentConfig, TrueCaptionConfig
from zsd_ray.data.open import open_dataset
from zsd_ray.records.errors import UserError
from zsd_ray.training.batches import TrainingImages, generators
from zsd_ray.training.caption_batches import Captions
from zsd_ray.training.contrastive import choose, info_nce
from zsd_ray.training.process import make_task, read_images
from zsd_ray.training.ranks import Ranks
from zsd_ray.training.task import Batch

CPU = torch.device("cpu")


def captions_of(*own):
    pixels = torch.zeros(len(own), 3, 2, 2, dtype=torch.uint8)
    images = TrainingImages(pixels, None, AugmentConfig(), own)
    return Captions.of(TrueCaptionConfig(), images, n_shown=0)


def task_of(config):
    dataset = open_dataset(config.data)
    return make_task(config, read_images(config, dataset, range(config.data.limit)), CPU)


def test_the_loss_is_the_papers():
    """van den Oord et al. 2018, eq. 4, written out for each true caption, over what was drawn."""
    captions = captions_of(["a", "b"], ["c", "d"], ["b", "e"])
    rows, n = torch.tensor([0, 2, 0]), 3
    chosen = choose(captions, rows, n, generators(0, "t", 0, range(3)))
    size = (3, len(chosen.captions_U))
    logits = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    f = {
        (row, number): float(value)
        for row in range(3)
        for number, value in zip(chosen.captions_U.tolist(), logits[row].exp(), strict=True)
    }
    drawn = chosen.captions_U[chosen.drawn_BN].tolist()
    for row, loss in enumerate(info_nce(logits, chosen).tolist()):
        true = captions.of_image[rows[row]]
        noise = sum(f[row, number] for number in drawn[row] if number not in true)
        expected = [-np.log(f[row, number] / (f[row, number] + noise)) for number in true]
        assert loss == pytest.approx(np.mean(expected), abs=1e-12)


def test_where_all_captions_are_equal_the_loss_is_that_of_guessing():
    captions = captions_of(["a"], [str(number) for number in range(1000)])
    chosen = choose(captions, torch.tensor([0]), 63, generators(0, "t", 0, range(1)))
    assert chosen.false_BN.all()
    loss = info_nce(torch.zeros(1, len(chosen.captions_U)), chosen)
    assert loss.item() == pytest.approx(np.log(64), abs=1e-5)


def test_an_image_that_drew_nothing_false_has_no_loss():
    captions = captions_of(["a", "b"], ["a"])
    chosen = choose(captions, torch.tensor([0]), 5, generators(0, "t", 0, range(1)))
    logits = torch.randn(1, 2, requires_grad=True)
    loss = info_nce(logits, chosen)
    loss.sum().backward()
    assert loss.item() == 0
    assert logits.grad.tolist() == [[0, 0]]


def test_what_is_also_true_of_the_image_is_no_negative():
    captions = captions_of(["a", "b"], ["b", "c"], ["d"])
    rows = torch.tensor([0, 1, 2]).repeat(100)
    chosen = choose(captions, rows, 20, generators(0, "t", 0, range(300)))
    assert chosen.captions_U.tolist() == [1, 2, 3, 4]  # not the empty one
    drawn = chosen.captions_U[chosen.drawn_BN]
    for row, flags, numbers, false in zip(
        rows.tolist(), chosen.true_BU.tolist(), drawn.tolist(), chosen.false_BN.tolist(),
        strict=True,
    ):  # fmt: skip
        true = captions.of_image[row]
        assert flags == [number in true for number in (1, 2, 3, 4)]
        assert false == [number not in true for number in numbers]
    shares = torch.bincount(drawn.flatten(), minlength=5) / 6000
    assert shares.tolist() == pytest.approx([0, 0.25, 0.25, 0.25, 0.25], abs=0.03)


def test_a_loss_is_not_made_of_the_rest_of_the_batch(tmp_path):
    """But for the moments of batch normalisation, which ranks share."""
    task = task_of(configure(tmp_path, CONTRASTIVE))
    task.networks["clip"].eval()

    def losses(places):
        rngs = generators(0, "t", 0, places)
        rows = torch.arange(8)[places.start : places.stop]
        with torch.no_grad():
            return task.stages[0].loss(Batch(rows, task.images.take(rows, rngs), rngs))

    parts = torch.cat([losses(Ranks(rank, 3).share(8)) for rank in range(3)])
    torch.testing.assert_close(parts, losses(range(8)), rtol=1e-5, atol=1e-5)


def test_the_scale_stays_within_clips_bound(tmp_path):
    """It can come back from there: a clamped value would have no gradient."""
    task = task_of(configure(tmp_path, CONTRASTIVE))
    scale = task.networks["clip"].logit_scale
    scale.data.fill_(9.0)
    rngs, rows = generators(0, "t", 0, range(8)), torch.arange(8)
    task.stages[0].loss(Batch(rows, task.images.take(rows, rngs), rngs)).sum().backward()
    assert scale.exp().item() == pytest.approx(100, rel=1e-5)
    assert scale.grad.item() != 0


@pytest.mark.full
def test_it_learns_its_images(tmp_path):
    config = configure(
        tmp_path / "train", CONTRASTIVE, epochs=60, optimiser={"batch_size": 10},
        output={"checkpoint_every": 60}, ema_decay=0.9,
    )  # fmt: skip
    model = train_local(config).model
    losses = pq.read_table(tmp_path / "train" / "loss.parquet")["loss"].to_pylist()
    assert np.mean(losses[:5]) == pytest.approx(np.log(8), abs=0.6)
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    tree = {
        "model": {"family": "clip", "path": model},
        "method": {"name": "classifier"},
        "data": {"split": "train", "limit": 20},
        "prompts": {"classes": DIGITS, "templates": ["{}"]},
        "output": {"path": str(tmp_path / "run")},
        "tracking": {"mlflow": "off"},
    }
    assert zsd_ray.run(parse_config(RunConfig, tree), local=True).metrics["accuracy"] >= 0.9


@pytest.mark.few(1)
@pytest.mark.parametrize("size", [8, 32, 80])
def test_its_folder_scores_as_the_network_in_memory(tmp_path, size):
    """With the folder's own size, mean, deviation and tokenizer; of squares of any size."""
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (size, size, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name / "0.png")
    data = {"source": "folder", "path": str(tmp_path / "images"), "limit": 2}
    captions = {"names": [["naught"], ["one"]]}
    config = configure(tmp_path, CONTRASTIVE, data=data, captions=captions)
    task, dataset = task_of(config), open_dataset(config.data)
    network = task.networks["clip"].eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    prompts = ["a photo of the digit naught.", "one", "Something else & more"]
    with torch.no_grad():
        images = task.images.take(torch.arange(2), generators(0, "t", 0, range(2)))
        text = network.encode_text(task._model.tokens(prompts), normalize=True)
        expected = -100 * network.encode_image(images, normalize=True) @ text.T
    (tmp_path / "model").mkdir()
    task.save(tmp_path / "model")
    found = ModelConfig(family="clip", path=str(tmp_path / "model"), device="cpu")
    model = load_model(found)
    rows = {name: torch.from_numpy(of) for name, of in encode_prompts(found, prompts).items()}
    inputs = torch.stack([model.preprocess(dataset.read(row)) for row in range(2)])
    scores = model.scores(inputs, model.classes(rows, 1))
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-3)
    assert expected.std() > 1


def test_the_folder_is_open_clips(tmp_path):
    train_local(configure(tmp_path, CONTRASTIVE, epochs=1))
    assert sorted(path.name for path in Path(tmp_path, "model").iterdir()) == [
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]


@pytest.mark.parametrize(
    ("words", "sections"),
    [
        ("image_size 48 must be a multiple of 32", {"network": {"image_size": 48}}),
        ("network.image_width: came 5", {"network": {"image_width": 5}}),
        ("network.image_blocks", {"network": {"image_blocks": [1, 1, 1]}}),
        ("text_width 16 must be a multiple of text_heads 7", {"network": {"text_heads": 7}}),
        ("give both, or neither", {"captions": {"templates": None}}),
        ("captions.dropout", {"captions": {"dropout": 0.1}}),
        ("negatives", {"negatives": 0}),
        (r"captions.names has 2 classes.*label", {"captions": {"names": [["a"], ["b"]]}}),
        (
            "digits brings no captions of its own",
            {"captions": {"names": None, "templates": None}},
        ),
        (
            r"prompt_length 8 is too short for the caption 'a photo of the digit 0.'.*set 9",
            {"network": {"prompt_length": 8}},
        ),
    ],
)
def test_mistakes_are_refused(tmp_path, words, sections):
    with pytest.raises(UserError, match=words) as caught:
        train_local(configure(tmp_path, CONTRASTIVE, **sections))
    assert "\n" not in str(caught.value)
