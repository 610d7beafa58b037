"""Checks that the tokenizers of pipeline folders are present and whole, before they are loaded.

transformers makes a tokenizer of three tokens where the vocabulary is missing, and a cut list of
merges splits words differently: both give scores, but wrong ones. No model library here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zsd_ray.models.conditioning.tokenizer_tokens import (
    ADDED,
    OF_CLIP,
    OF_T5,
    SETTINGS,
    SPECIAL,
    WHOLE,
    check_tokens,
)
from zsd_ray.models.files.model_json import read_object
from zsd_ray.models.files.weight_files import check_file
from zsd_ray.records.errors import UserError, some

_VOCABULARY, _MERGES = "vocab.json", "merges.txt"
_PIECES = "spiece.model"
_END_OF_WORD = "</w>"
_OPTIONS = (SETTINGS, SPECIAL, ADDED)
"""The first is always there: Stable Diffusion 2 pads with "!", and without it otherwise."""
_SHORTEST = 1


def check_clip(folder: Path, n_embeddings: int | None) -> Mapping[str, int]:
    """Check a tokenizer of CLIP: tokenizer.json, or else vocab.json with merges.txt.

    Args:
        n_embeddings: how many tokens the text encoder knows; None: it does not say.

    Returns:
        The number of each token of its vocabulary.

    Raises:
        UserError: a file is missing or damaged.
    """
    _check_options(folder)
    path = folder / WHOLE
    if path.exists():
        model = _model(path)
        vocabulary, merges = model.get("vocab"), _pairs(model.get("merges"), path)
        where = path
    else:
        path, where = folder / _VOCABULARY, folder / _MERGES
        if not path.exists() or not where.exists():
            raise UserError(
                f"{folder} has neither {WHOLE} nor {_VOCABULARY} with {_MERGES}: no tokenizer; "
                "take another copy of the model"
            )
        vocabulary, merges = read_object(path), _lines(where)
    numbered = _numbered(vocabulary, n_embeddings, path)
    _check_merges(numbered, merges, where)
    check_tokens(folder, numbered, n_embeddings, OF_CLIP)
    return numbered


def check_t5(folder: Path, n_embeddings: int | None) -> None:
    """Check a tokenizer of T5: tokenizer.json, or else spiece.model; raises UserError."""
    _check_options(folder)
    path = folder / WHOLE
    if path.exists():
        vocabulary = _model(path).get("vocab")
        if not isinstance(vocabulary, list) or not all(map(_is_piece, vocabulary)):
            raise UserError(f"{path}: model.vocab must be a list of pieces, each with its score")
        _check_count(len(vocabulary), n_embeddings, path)
        numbered = {piece: number for number, (piece, _) in enumerate(vocabulary)}
        check_tokens(folder, numbered, n_embeddings, OF_T5)
        return
    path = folder / _PIECES
    if not path.exists():
        raise UserError(
            f"{folder} has neither {WHOLE} nor {_PIECES}: no tokenizer; take another copy of the "
            "model"
        )
    check_file(path)
    check_tokens(folder, None, n_embeddings, OF_T5)


def _check_options(folder: Path) -> None:
    """Check the settings of a tokenizer; without them it pads and cuts differently."""
    for name in _OPTIONS:
        path = folder / name
        if not path.exists() and name != SETTINGS:
            continue
        length = read_object(path).get("model_max_length", _SHORTEST)
        if isinstance(length, bool) or not isinstance(length, int | float) or length < _SHORTEST:
            raise UserError(
                f"{path}: model_max_length must be {_SHORTEST} or more, but is {length!r}"
            )


def _model(path: Path) -> dict[str, Any]:
    model = read_object(path).get("model")
    if not isinstance(model, dict):
        raise UserError(f"{path} has no model, which holds its vocabulary; take another copy")
    return model


def _numbered(vocabulary: Any, n_embeddings: int | None, path: Path) -> Mapping[str, int]:
    """Return the number of each token of a vocabulary, checked."""
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise UserError(f"{path} holds no vocabulary: tokens with their numbers are expected")
    numbers = list(vocabulary.values())
    if odd := [number for number in numbers if type(number) is not int or number < 0]:
        raise UserError(f"{path}: the number of a token is {odd[0]!r}; 0, 1, 2, ... are expected")
    if set(numbers) != set(range(len(numbers))):
        raise UserError(
            f"{path} numbers its {len(numbers):,} tokens up to {max(numbers):,}: some are missing, "
            "or two have the same number; take another copy of the model"
        )
    _check_count(len(numbers), n_embeddings, path)
    return vocabulary


def _check_count(n_tokens: int, n_embeddings: int | None, path: Path) -> None:
    if n_embeddings is not None and n_tokens > n_embeddings:
        raise UserError(
            f"{path} has tokens up to number {n_tokens - 1:,}, and the text encoder knows "
            f"{n_embeddings:,}: they are not of one model"
        )


def _check_merges(
    vocabulary: Mapping[str, int], merges: Iterable[tuple[str, ...]], path: Path
) -> None:
    """Check that every token of several letters is merged from two others of the vocabulary."""
    made = set()
    for pair in merges:
        if len(pair) != 2 or not all(part in vocabulary for part in (*pair, "".join(pair))):
            raise UserError(f"{path}: {' '.join(pair)[:40]!r} is no merge of two tokens: damaged")
        made.add("".join(pair))
    lost = [token for token in vocabulary if token not in made and not _is_single(token)]
    if lost:
        raise UserError(
            f"{path} has no merge that makes {some(lost)} ({len(lost):,} tokens): cut short; take "
            "another copy of the model"
        )


def _is_single(token: str) -> bool:
    """Whether a token is one letter, or stands for no text: `<|endoftext|>`."""
    special = token.startswith("<") and token.endswith(">")
    return len(token.removesuffix(_END_OF_WORD)) <= 1 or special


def _pairs(merges: Any, path: Path) -> list[tuple[str, ...]]:
    """Return the merges of tokenizer.json: pairs or, in older versions, texts with a space."""
    if not isinstance(merges, list):
        raise UserError(f"{path}: model.merges must be a list; take another copy of the model")
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair or ()) for pair in merges]
    return [tuple(map(str, pair)) for pair in pairs]


def _lines(path: Path) -> list[tuple[str, ...]]:
    """Return the merges of merges.txt, one per line after a first line with a version."""
    check_file(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        raise UserError(f"{path} is no text in UTF-8: damaged; take another copy") from error
    start = 1 if lines[0].startswith("#version") else 0
    return [tuple(line.split()) for line in lines[start:] if line.strip()]


def _is_piece(piece: Any) -> bool:
    return (
        isinstance(piece, list)
        and len(piece) == 2
        and isinstance(piece[0], str)
        and isinstance(piece[1], int | float)
    )
