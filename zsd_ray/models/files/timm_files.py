"""The files of a timm model, and the names of its labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import ModelFiles
from zsd_ray.models.conditioning.labels import match
from zsd_ray.models.files import single_file as checkpoint
from zsd_ray.models.files import source
from zsd_ray.models.files.input_config import check_input
from zsd_ray.models.files.model_json import part_of, read_object
from zsd_ray.models.files.network_config import check_network
from zsd_ray.models.files.single_file import SAFE, Layout, nearest
from zsd_ray.models.files.weight_files import Shapes, check_whole
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

LAYOUT = Layout(
    config="config.json", weights=("model.safetensors",), pickled=("pytorch_model.bin",)
)
"""As timm's `save_for_hf` writes it, with safe_serialization."""


_PLAIN_NAME = re.compile(r"[\w.]+")
_NOT_OF_NETWORK = (
    "cache_dir",
    "checkpoint_path",
    "feature_cfg",
    "features_only",
    "kwargs_filter",
    "model_cfg",
)
"""Arguments of timm's builders that a folder's configuration may not give."""

BETWEEN_LABELS = " | "
"""Between the labels of a class that is several of them."""


class TimmFiles(ModelFiles):
    """A folder, or a name of timm's."""

    def check(self, config: ModelConfig, store: Store) -> Path:
        """Return the folder of a model, or the weights file of an architecture.

        Raises:
            UserError: there is no such model, or its weights may not be loaded.
        """
        folder = checkpoint.folder(config, LAYOUT, store)
        if folder is not None:
            shapes = check_whole([checkpoint.weights_in(folder, config, LAYOUT)])
            _check_architecture(folder / LAYOUT.config, shapes)
            return folder
        library, name = timm(), config.path
        try:
            published = library.get_pretrained_cfg(name, allow_unregistered=False)
        except RuntimeError as error:
            names = [*library.list_models(), *library.list_models(pretrained=True)]
            raise UserError(
                f"model.path {name} is neither a folder nor a name of timm's{nearest(name, names)}"
            ) from error
        if config.pretrained is not None:
            file = checkpoint.file(config)
            if file is None:
                raise UserError(
                    f"model.pretrained {config.pretrained} is not a file; give one, or leave it "
                    "out for the weights that timm publishes"
                )
            return file
        if not published.hf_hub_id or not published.num_classes:
            raise UserError(
                f"model.path {name} has no published weights with classes; set model.pretrained to "
                "a file"
            )
        return checkpoint.hub_weights(published.hf_hub_id, config, LAYOUT)

    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the weights, the architecture, and the input format of its tag."""
        if folder.is_dir():
            return source.fingerprint(folder)
        return source.file_fingerprint(config.path, folder)

    def label_numbers(self, folder: Path, config: ModelConfig, prompts: Sequence[str]) -> list[int]:
        numbers = {*label_numbers(folder, config, prompts).ravel().tolist()}
        return sorted(number for number in numbers if number >= 0)

    def takes_null_prompt(self, folder: Path, config: ModelConfig) -> bool:
        return False


def _check_architecture(path: Path, shapes: Shapes) -> None:
    """Refuse a configuration that makes the library load other weights than the checked ones.

    Args:
        shapes: of the tensors of its weights; none: they are not known.

    Raises:
        UserError: it does so, is damaged, or names no architecture.
    """
    content = read_object(path)
    check_network(path, content, shapes)
    name = content.get("architecture")
    if not (isinstance(name, str) and _PLAIN_NAME.fullmatch(name)):
        raise UserError(f"{path} names no architecture of timm's (architecture: {name!r})")
    if "pretrained_cfg" in content:
        check_input(path, "pretrained_cfg", part_of(content, "pretrained_cfg", path))
    else:
        check_input(path, "", content)
    if content.get("model_args") is not None:
        options = part_of(content, "model_args", path)
        check_network(path, options, shapes)
        if not options.get("global_pool", "default"):
            raise UserError(
                f"{path}: model_args.global_pool is {options['global_pool']!r}, by which a picture "
                "has a score for each of its places, and the name of a way of pooling is expected; "
                "remove it"
            )
        for key in options:
            if key.startswith("pretrained") or key in _NOT_OF_NETWORK:
                raise UserError(
                    f"{path}: model_args.{key} is about loading, and not about the network; "
                    "remove it"
                )


def label_numbers(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the labels of each name, (N, M) int64, padded with -1.

    A name may be several labels, with ` | ` between them: a class of ObjectNet is up to three of
    ImageNet's. The names of labels are those of `model.labels`, else of the model's configuration,
    else, if there are as many as in a version of ImageNet, its names by WordNet, timm or open_clip.

    Raises:
        UserError: the model has no such labels.
    """
    parts = [name.split(BETWEEN_LABELS) for name in names]
    numbers = iter(_numbers(folder, config, [part for each in parts for part in each]))
    found = np.full((len(parts), max(map(len, parts))), -1, dtype=np.int64)
    for row, each in zip(found, parts, strict=True):
        row[: len(each)] = [next(numbers) for _ in each]
    return found


def _numbers(folder: Path, config: ModelConfig, names: Sequence[str]) -> NDArray[np.int64]:
    n = n_labels(folder, config)
    if config.labels is not None and len(config.labels) > n:
        raise UserError(f"model.labels has {len(config.labels)} names for {n} labels")
    failure = None
    for texts in _namings(folder, config, n):
        if list(names) == list(texts.values()):  # two labels of ImageNet are called crane
            return np.asarray(list(texts), dtype=np.int64)
        try:
            return match(texts, n, names)
        except UserError as error:
            failure = failure or error
    if failure is None:
        return match({}, n, names)
    raise failure


def n_labels(folder: Path, config: ModelConfig) -> int:
    """Return the number of labels of the model."""
    if folder.is_dir():
        content = _content(folder)
        count = content.get("num_classes") or _published(content).get("num_classes")
        if type(count) is not int or count < 1:
            raise UserError(
                f"{folder / LAYOUT.config} says no num_classes of 1 or more: not a classifier"
            )
        return count
    published = timm().get_pretrained_cfg(config.path)
    classifier = published.classifier
    first = classifier[0] if isinstance(classifier, tuple | list) else classifier
    if config.pretrained is not None and folder.suffix == SAFE:
        shape = check_whole([folder]).get(f"{first}.weight")
        if shape is None or not shape:
            raise UserError(
                f"model.pretrained {config.pretrained} has no {first}.weight: not the weights of a "
                f"{config.path} classifier"
            )
        return shape[0]
    return len(config.labels) if config.labels else int(published.num_classes)


def timm() -> Any:
    """Import the library, and with it torch."""
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import timm

    return timm


def _namings(folder: Path, config: ModelConfig, n: int) -> Iterator[dict[int, str]]:
    """Return the model's labels in each of their naming schemes."""
    if config.labels is not None:
        yield dict(enumerate(config.labels))
        return
    content = _content(folder) if folder.is_dir() else {}
    own = {**_published(content), **content}
    names = own.get("label_names") or _published(content).get("labels")
    if names:
        path = folder / LAYOUT.config
        named, descriptions = _named(path, names, n), _described(path, own)
        yield {number: descriptions.get(name, name) for number, name in named.items()}
        yield named
        return
    timm()
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": n})
    if subset is None:
        return
    info = ImageNetInfo(subset)
    yield dict(enumerate(info.label_descriptions()))
    yield dict(enumerate(info.label_names()))
    if n == 1000:
        import open_clip

        yield dict(enumerate(open_clip.IMAGENET_CLASSNAMES))


def _named(path: Path, names: Any, n: int) -> dict[int, str]:
    """Return the labels that a configuration names: a list, or by number if numbers have gaps."""
    numbered = names if isinstance(names, dict) else {}
    if isinstance(names, list):
        numbered = {str(number): name for number, name in enumerate(names)}
    odd = [number for number in numbered if not number.isdecimal() or int(number) >= n]
    if not numbered or odd or not all(isinstance(name, str) for name in numbered.values()):
        came = f"has the number {odd[0]!r}" if odd else f"is {str(names)[:80]}"
        raise UserError(
            f"{path}: label_names {came}, and a list of texts, or an object of texts by number, is "
            f"expected, of {n} labels; mend it, or set model.labels"
        )
    return {int(number): name for number, name in numbered.items()}


def _described(path: Path, own: Mapping[str, Any]) -> dict[str, str]:
    """Return the descriptions of labels in a configuration, by their names."""
    found = own.get("label_descriptions") or {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise UserError(
            f"{path}: label_descriptions is {str(found)[:80]}, and an object of texts by name is "
            "expected; mend it, or set model.labels"
        )
    return found


def _content(folder: Path) -> dict[str, Any]:
    return read_object(folder / LAYOUT.config)


def _published(content: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a model's configuration that describes its weights; early ones have it at
    the top."""
    part = content.get("pretrained_cfg", content)
    return part if isinstance(part, dict) else {}
