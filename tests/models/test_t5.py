"""T5's vocabulary, in a file of tokenizers or of sentencepiece."""

import shutil

import pytest

from tests.support.tiny_models.deepfloyd_if import deepfloyd_if
from zsd_ray.models import t5
from zsd_ray.models.components import load_tokenizer
from zsd_ray.models.registry import encode_prompts
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError


def test_a_vocabulary_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    """PixArt and DeepFloyd IF are published so; without its reader, transformers guesses."""
    folder = tmp_path / "model"
    deepfloyd_if(folder)
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")
    monkeypatch.setattr(t5, "find_spec", lambda name: None)
    config = ModelConfig(family="deepfloyd-if", path=str(folder), device="cpu")
    with pytest.raises(UserError, match="needs the package sentencepiece: install it"):
        encode_prompts(config, ["a dog"])


def test_a_vocabulary_of_sentencepiece_is_read(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    words = ["a photo of a cat.", "a drawing of a dog", "ﬁne “dogs”", "two  spaces"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_prefix=str(tmp_path / "trained"),
        vocab_size=60,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
    )
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    shutil.copy(tmp_path / "trained.model", folder / "spiece.model")
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    ours = load_tokenizer("T5TokenizerFast", folder)
    for text in dict.fromkeys([*words, ""]):
        assert ours(text).input_ids == [*theirs.encode(text), theirs.eos_id()]
