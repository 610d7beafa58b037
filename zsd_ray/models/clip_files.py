"""Which files an open_clip model is: a folder, or an architecture with a tag or file of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zsd_ray.models import checkpoint, source
from zsd_ray.models.checkpoint import Layout, nearest
from zsd_ray.spec.config import ModelConfig
from zsd_ray.spec.errors import UserError

LAYOUT = Layout(
    config="open_clip_config.json",
    weights=("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    pickled=("open_clip_pytorch_model.bin",),
)
"""As open_clip's `push_to_hf_hub.save_for_hf` writes it; it looks for these, in this order."""


def check(config: ModelConfig) -> Path:
    """The folder of a model, or the file of an architecture's weights.

    A published tag is fetched here, so that a network that is away is found out at once.

    Raises:
        UserError: there is no such model, or its weights may not be loaded.
    """
    folder = checkpoint.folder(config, LAYOUT)
    if folder is not None:
        return folder
    name, library = config.path, open_clip()
    architecture = library.get_model_config(name)
    if architecture is None:
        raise UserError(
            f"model.path {name} is neither a folder nor a name of open_clip's"
            f"{nearest(name, library.list_models())}"
        )
    tags = library.list_pretrained_tags_by_model(name)
    allowed = f"a .safetensors file{' or one of: ' + ', '.join(tags) if tags else ''}"
    if config.pretrained is None:
        raise UserError(f"model.path {name} names no weights; set model.pretrained to {allowed}")
    tag = library.get_pretrained_cfg(name, config.pretrained)
    if not tag:
        file = checkpoint.file(config)
        if file is None:
            raise UserError(
                f"model.pretrained {config.pretrained} is no file, and no tag of {name}; set "
                f"{allowed}"
            )
        return file
    if tag.get("quick_gelu") and not architecture.get("quick_gelu"):
        # The library only warns, and then scores a few points too low.
        raise UserError(
            f"model.pretrained {config.pretrained} was trained with QuickGELU, and model.path "
            f"{name} is without; set model.path: {name}-quickgelu"
        )
    try:
        file = Path(library.download_pretrained(tag))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"model.pretrained {config.pretrained} of {name} cannot be fetched ({reason})"
        ) from error
    return checkpoint.check_file(file, config)


def fingerprint(config: ModelConfig) -> str:
    """Hash the weights, and what they do not say: the architecture and, by the tag, the input."""
    found = check(config)
    if found.is_dir():
        return source.fingerprint(found)
    library = open_clip()
    tag = library.get_pretrained_cfg(config.path, config.pretrained)
    preprocessing = sorted((key, tag[key]) for key in tag if key not in ("url", "hf_hub", "file"))
    return source.file_fingerprint(f"{config.path}\0{preprocessing}", found)


def open_clip() -> Any:
    """The library; it imports torch."""
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import open_clip

    return open_clip
