"""Class-conditional models: mapping class names to the model's own labels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.model_json import part_of, read_object
from zsd_ray.records.errors import UserError, some


def label_numbers(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the label of each name for the model in a pipeline folder, (N,) int64.

    The names of the labels are those of `model.labels`, else of model_index.json's `id2label`.

    Raises:
        UserError: the model has no such labels.
    """
    n_labels = label_count(folder, config)
    if config.labels is None:
        texts = _named_by_the_pipeline(folder, n_labels)
    else:
        texts = dict(enumerate(config.labels))
        if len(texts) > n_labels:
            raise UserError(f"model.labels has {len(texts)} names for {n_labels} labels")
    return match(texts, n_labels, names)


def match(texts: Mapping[int, str], n_labels: int, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the label of each name, (N,) int64.

    A name is a label's whole text ("tench, Tinca tinca"), one of its synonyms ("Tinca tinca"),
    with or without its capitals, or its number. ImageNet calls a dog Cardigan and a garment
    cardigan, and has a maillot beside a "maillot, tank suit", so the more exact match is meant.

    Args:
        texts: the names of the labels; a label without a text is known by its number.

    Raises:
        UserError: a name means no label or several, or two names mean the same.
    """
    tables = _tables(texts)
    meant = {name: _meant(name.strip(), tables, n_labels) for name in names}
    unknown = [name for name, found in meant.items() if not found]
    if unknown:
        raise UserError(
            f"this model has {n_labels} labels, and none for {some(unknown)}: name its labels (or "
            "their numbers, or set model.labels) in prompts.classes; prompts.templates is ['{}']"
        )
    name_of: dict[int, str] = {}
    for name, found in meant.items():
        if len(found) > 1:
            numbers = " and ".join(str(number) for number in sorted(found))
            raise UserError(f"{name} may be the labels {numbers} of this model: give the number")
        (number,) = found
        other = name_of.setdefault(number, name)
        if other != name:
            raise UserError(f"{other} and {name} are the same label {number} of this model")
    return np.asarray([next(iter(meant[name])) for name in names], dtype=np.int64)


Table = Mapping[str, set[int]]


def _meant(name: str, tables: Sequence[Table], n_labels: int) -> set[int]:
    for table, key in zip(tables, (name, name, name.lower(), name.lower()), strict=True):
        if key in table:
            return table[key]
    return {int(name)} if name.isdecimal() and int(name) < n_labels else set()


def _tables(texts: Mapping[int, str]) -> tuple[Table, Table, Table, Table]:
    """Return labels by whole text and by synonym, then by either in lower case."""
    whole, whole_small, synonym, synonym_small = (defaultdict(set) for _ in range(4))
    for number, text in texts.items():
        whole[text.strip()].add(number)
        whole_small[text.strip().lower()].add(number)
        for part in text.split(","):
            synonym[part.strip()].add(number)
            synonym_small[part.strip().lower()].add(number)
    return whole, synonym, whole_small, synonym_small


def label_count(folder: Path, config: ModelConfig) -> int:
    """Return the number of labels of the network; DiT has a null label beyond its configured
    number."""
    transformer, unet = (_network(folder / part) for part in ("transformer", "unet"))
    if transformer.get("num_embeds_ada_norm"):
        return int(transformer["num_embeds_ada_norm"])
    embedding = unet.get("class_embed_type")
    if embedding == "timestep":
        if config.labels is None:
            raise UserError(
                f"model.path {folder} embeds any number as a label: set model.labels, which says "
                "how many there are"
            )
        return len(config.labels)
    if embedding == "identity":
        raise UserError(f"model.path {folder} takes vectors for classes, and no labels")
    if unet.get("num_class_embeds"):
        return int(unet["num_class_embeds"])
    raise UserError(
        f"model.path {folder} holds an unconditional model: it has no labels to tell classes apart"
    )


def null_label(folder: Path, config: ModelConfig) -> int | None:
    """Return the label that stands for no class (Ho & Salimans 2022); None: the model has none.

    DiT has one more than its classes. So has a U-Net whose pipeline names all its labels but the
    last, as `zsd-ray train` writes it after a training with label_dropout.
    """
    n_labels = label_count(folder, config)
    if _network(folder / "transformer").get("num_embeds_ada_norm"):
        return n_labels
    named = _named_by_the_pipeline(folder, n_labels)
    return n_labels - 1 if named and set(named) == set(range(n_labels - 1)) else None


def labels_or_null(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    """Like `label_numbers`, but the empty name is the null label, which the model must have."""
    numbers = np.empty(len(names), dtype=np.int64)
    told = np.array([name != "" for name in names], dtype=bool)
    numbers[told] = label_numbers(folder, config, [name for name in names if name])
    if not told.all():
        null = null_label(folder, config)
        assert null is not None
        numbers[~told] = null
    return numbers


def is_unconditional(folder: Path) -> bool:
    """Whether the network of a pipeline folder is conditioned on nothing but the time."""
    unet = _network(folder / "unet")
    return unet.get("_class_name") == "UNet2DModel" and not (
        unet.get("class_embed_type") or unet.get("num_class_embeds")
    )


def label_names(folder: Path, config: ModelConfig) -> list[str]:
    """Return a name for each class of the model, in label order: its own, or its number if the name
    is not unique."""
    n_labels = label_count(folder, config)
    named = _named_by_the_pipeline(folder, n_labels)
    n_classes = n_labels - (null_label(folder, config) == n_labels - 1)
    texts = config.labels or [named.get(n, str(n)) for n in range(n_classes)]
    counts = Counter(texts)
    return [text if counts[text] == 1 else str(n) for n, text in enumerate(texts)]


def _network(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    return read_object(path)


def _named_by_the_pipeline(folder: Path, n_labels: int) -> dict[int, str]:
    path = folder / "model_index.json"
    content = read_object(path)
    if not content.get("id2label"):
        return {}
    named = part_of(content, "id2label", path)
    if odd := [number for number in named if not number.isdecimal()]:
        raise UserError(f"{path}: id2label holds {odd[0]!r}, where the number of a label stands")
    return {int(number): str(text) for number, text in named.items() if int(number) < n_labels}
