"""T5's vocabulary, in a file of tokenizers or of sentencepiece."""

import shutil

import sentencepiece

from zsd_ray.models.files.components import load_tokenizer


def test_a_vocabulary_of_sentencepiece_is_read(tmp_path):
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
