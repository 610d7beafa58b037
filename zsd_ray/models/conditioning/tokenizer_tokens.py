"""The tokens of a tokenizer outside its vocabulary: ends, padding, and added tokens.

transformers gives a token that the vocabulary lacks the next number, whatever number a file names.
A number beyond the text encoder's embeddings is an index error when prompts are encoded. No model
library here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zsd_ray.models.files.model_json import read_object
from zsd_ray.records.errors import UserError, some

SETTINGS = "tokenizer_config.json"
SPECIAL, ADDED, WHOLE = "special_tokens_map.json", "added_tokens.json", "tokenizer.json"
OF_CLIP = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
}
OF_T5 = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
"""The special tokens of each kind of tokenizer, where its files name no others."""
_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token")
_LISTS = ("extra_special_tokens", "additional_special_tokens")
_DECODER = "added_tokens_decoder"


def check_tokens(
    folder: Path,
    vocabulary: Mapping[str, int] | None,
    n_embeddings: int | None,
    defaults: Mapping[str, str],
) -> None:
    """Check that the text encoder knows every token that a tokenizer may give.

    Args:
        vocabulary: the number of each of its tokens; None: it cannot be read here.
        n_embeddings: how many tokens the text encoder knows; None: it does not say.
        defaults: `OF_CLIP` or `OF_T5`.

    Raises:
        UserError: it does not know one, or a file has other values in the place of tokens.
    """
    settings = _settings(folder)
    added = list(_added(folder, settings))
    for path, text, number in added:
        if type(number) is not int or number < 0 or number >= (n_embeddings or number + 1):
            most = "" if n_embeddings is None else f" below the text encoder's {n_embeddings:,}"
            raise UserError(
                f"{path}: the token {text!r} has the number {number!r}, and a whole number{most} "
                "is expected; take another copy of the model"
            )
    if vocabulary is None or n_embeddings is None:
        return
    texts = [text for _, text, _ in added]
    texts += [special_token(folder, key, defaults) or "" for key in _KEYS]
    texts += _listed(folder, settings)
    new = sorted({text for text in texts if text} - vocabulary.keys())
    if len(vocabulary) + len(new) > n_embeddings:
        raise UserError(
            f"{folder} adds the tokens {some(new)} to the {len(vocabulary):,} of its vocabulary, "
            f"and the text encoder knows {n_embeddings:,}: they are not of one model; take another "
            "copy of it"
        )


def special_token(folder: Path, key: str, defaults: Mapping[str, str]) -> str | None:
    """Return the text of a tokenizer's special token, as `pad_token`; None: it has no such token.

    Raises:
        UserError: it is no text.
    """
    value = _settings(folder).get(key)
    return defaults.get(key) if value is None else _text(value, folder / SETTINGS, key)


def _settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a tokenizer; those with `added_tokens_decoder` stand alone."""
    settings = read_object(folder / SETTINGS)
    if _DECODER not in settings and (folder / SPECIAL).exists():
        settings |= read_object(folder / SPECIAL)
    return settings


def _added(folder: Path, settings: Mapping[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Yield the file, text and number of each token that a file adds."""
    path = folder / SETTINGS
    if _DECODER in settings:
        decoder = settings[_DECODER]
        if not isinstance(decoder, dict):
            raise _refusal(path, _DECODER, decoder, "an object of tokens by their numbers")
        for number, token in decoder.items():
            whole = int(number) if number.isascii() and number.isdecimal() else number
            yield path, _text(token, path, _DECODER), whole
    elif (folder / ADDED).exists():
        for text, number in read_object(folder / ADDED).items():
            yield folder / ADDED, text, number
    path = folder / WHOLE
    if not path.exists():
        return
    tokens = read_object(path).get("added_tokens") or []
    if not isinstance(tokens, list) or not all(isinstance(token, dict) for token in tokens):
        raise _refusal(path, "added_tokens", tokens, "a list of tokens")
    for token in tokens:
        yield path, _text(token, path, "added_tokens"), token.get("id")


def _listed(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """Return the texts of additional special tokens."""
    for key in _LISTS:
        tokens = settings.get(key) or []
        if not isinstance(tokens, list | dict):
            raise _refusal(folder / SETTINGS, key, tokens, "a list of texts")
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            yield _text(token, folder / SETTINGS, key)


def _text(token: Any, path: Path, key: str) -> str:
    """Return the text of a token, which may be an object with matching options."""
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise _refusal(path, key, token, "the text of a token")
    return text


def _refusal(path: Path, key: str, came: Any, expected: str) -> UserError:
    return UserError(
        f"{path}: {key} is {repr(came)[:80]}, and {expected} is expected; take another copy of the "
        "model"
    )
