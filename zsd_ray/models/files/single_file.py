"""Models that are one weights file: finding it, and checking that it may be loaded."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files import source
from zsd_ray.models.files.model_json import refuse_code
from zsd_ray.models.files.weight_files import check_whole
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

SAFE = ".safetensors"
_PICKLED = (".bin", ".pt", ".pth")
_PREFIX = "hf-hub:"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TEXTS = ("*.json", "*.txt", "*.model")


@dataclass(frozen=True)
class Layout:
    """The layout of a library's folder: its configuration, and its weights by preference."""

    config: str
    weights: tuple[str, ...]
    pickled: tuple[str, ...]


def folder(config: ModelConfig, layout: Layout, store: Store) -> Path | None:
    """Return the checked local folder of `model.path`; None: it is the name of an architecture.

    Raises:
        UserError: the folder is missing or incomplete.
    """
    path = config.path
    hub_name = path.removeprefix(_PREFIX)
    if os.path.isdir(os.path.expanduser(path)) or "://" in path or path.startswith("builtin:"):
        found = source.resolve(config, (), store)
    elif _HUB_NAME.fullmatch(hub_name):
        found = _of_hub(hub_name, config, layout)
    else:
        if config.revision:
            raise UserError(
                f"model.revision is of a model on the hub, and model.path is {path}; remove it"
            )
        return None
    if config.pretrained is not None:
        raise UserError(
            f"model.path {path} has weights of its own; remove model.pretrained, or give the name "
            "of an architecture as model.path"
        )
    if not (found / layout.config).is_file():
        raise UserError(
            f"model.path {found} has no {layout.config}; give a folder that has, or the name of an "
            "architecture with model.pretrained"
        )
    refuse_code(found)
    weights_in(found, config, layout)
    return found


def weights_in(found: Path, config: ModelConfig, layout: Layout) -> Path:
    """Return the weights file of a folder; raises UserError."""
    for name in _accepted(config, layout):
        if (found / name).exists():
            check_whole([found / name])
            return found / name
    wanted = " or ".join(_accepted(config, layout))
    raise UserError(f"model.path {found} has no {wanted}{_advice(config)}")


def file(config: ModelConfig) -> Path | None:
    """Return the file that `model.pretrained` names, if it is one; raises UserError."""
    path = Path(os.path.expanduser(config.pretrained or ""))
    return check_file(path, config) if config.pretrained and path.is_file() else None


def check_file(path: Path, config: ModelConfig) -> Path:
    """Refuse weights of a kind that may not be loaded, and damaged ones."""
    allowed = (SAFE, *_PICKLED) if config.pickle else (SAFE,)
    if path.suffix not in allowed:
        raise UserError(
            f"the weights {path.name} are not a {' or '.join(allowed)} file{_advice(config)}"
        )
    check_whole([path])
    return path


def hub_weights(name: str, config: ModelConfig, layout: Layout) -> Path:
    """Fetch only the weights of a model on the hub; raises UserError."""
    return weights_in(_of_hub(name, config, layout), config, layout)


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _of_hub(name: str, config: ModelConfig, layout: Layout) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name,
                revision=config.revision,
                allow_patterns=[*_TEXTS, *_accepted(config, layout)],
            )
        )
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"model.path {config.path} is not a folder here, and the hub does not give it "
            f"({reason})"
        ) from error


def _accepted(config: ModelConfig, layout: Layout) -> tuple[str, ...]:
    return (*layout.weights, *layout.pickled) if config.pickle else layout.weights


def _advice(config: ModelConfig) -> str:
    kinds = "/".join(_PICKLED)
    return "" if config.pickle else f"; {kinds} files can run code, and need model.pickle: true"
