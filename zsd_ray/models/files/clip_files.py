"""The files of an open_clip model: a folder, or an architecture with a tag or weights file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.adapter import ModelFiles
from zsd_ray.models.files import single_file as checkpoint
from zsd_ray.models.files import source
from zsd_ray.models.files.input_config import check_input
from zsd_ray.models.files.model_json import part_of, read_object
from zsd_ray.models.files.network_config import check_network
from zsd_ray.models.files.single_file import Layout, nearest
from zsd_ray.models.files.weight_files import Shapes, check_file, check_whole
from zsd_ray.records.errors import UserError
from zsd_ray.storage.store import Store

LAYOUT = Layout(
    config="open_clip_config.json",
    weights=("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"),
    pickled=("open_clip_pytorch_model.bin",),
)
"""As open_clip's `push_to_hf_hub.save_for_hf` writes it; it looks for these, in this order."""


class ClipFiles(ModelFiles):
    """A folder, or an architecture with weights."""

    def check(self, config: ModelConfig, store: Store) -> Path:
        """Return the folder of a model, or the weights file of an architecture.

        A published tag is fetched here, so that a missing network connection is noticed at once.

        Raises:
            UserError: there is no such model, or its weights may not be loaded.
        """
        folder = checkpoint.folder(config, LAYOUT, store)
        if folder is not None:
            shapes = check_whole([checkpoint.weights_in(folder, config, LAYOUT)])
            _check_architecture(folder / LAYOUT.config, shapes)
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
            raise UserError(
                f"model.path {name} names no weights; set model.pretrained to {allowed}"
            )
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

    def fingerprint(self, folder: Path, config: ModelConfig, store: Store) -> str:
        """Hash the weights, the architecture, and the input format of the tag."""
        if folder.is_dir():
            return source.fingerprint(folder)
        library = open_clip()
        tag = library.get_pretrained_cfg(config.path, config.pretrained)
        preprocessing = sorted(
            (key, tag[key]) for key in tag if key not in ("url", "hf_hub", "file")
        )
        return source.file_fingerprint(f"{config.path}\0{preprocessing}", folder)


def reads_text_by_transformers(folder: Path) -> bool:
    """Whether a checked folder's tokenizer is one of transformers', and not CLIP's own."""
    return bool(read_object(folder / LAYOUT.config)["model_cfg"]["text_cfg"].get(_TOKENIZER))


def embedding_size(folder: Path, config: ModelConfig) -> int:
    """Return the length of a checked model's embeddings of images and texts."""
    if folder.is_dir():
        return int(read_object(folder / LAYOUT.config)["model_cfg"]["embed_dim"])
    return int(open_clip().get_model_config(config.path)["embed_dim"])


def _check_architecture(path: Path, shapes: Shapes) -> None:
    """Refuse a configuration that makes the library fetch files or run code.

    Args:
        shapes: of the tensors of its weights; none: they are not known.

    Raises:
        UserError: it does so, or is damaged.
    """
    content = read_object(path)
    model = part_of(content, "model_cfg", path)
    if content.get("preprocess_cfg") is not None:
        check_input(path, "preprocess_cfg", part_of(content, "preprocess_cfg", path))
    if type(model.get("embed_dim")) is not int:
        raise UserError(
            f"{path}: model_cfg.embed_dim is {model.get('embed_dim')!r}, and a whole number is "
            "expected; take another copy of the model"
        )
    text, vision = part_of(model, "text_cfg", path), part_of(model, "vision_cfg", path)
    for part in (model, text, vision):
        check_network(path, part, shapes)
    pooled = text.get("pool_type", "argmax")
    # Of the first token, a tower that reads from left to right knows nothing but that it is first.
    allowed = (*_TEXT_POOLS, "first") if text.get("no_causal_mask") else _TEXT_POOLS
    if pooled not in allowed:
        raise UserError(
            f"{path}: text_cfg.pool_type is {pooled!r}, by which this text tower tells no prompts "
            f"apart, and one of {', '.join(allowed)} is expected; mend it, or take another copy of "
            "the model"
        )
    options = text.get("tokenizer_kwargs", {})
    odd = sorted(set(options) - set(_TOKENIZER_OPTIONS)) if isinstance(options, dict) else [options]
    if odd:
        raise UserError(
            f"{path}: text_cfg.tokenizer_kwargs holds {odd[0]!r}, and may hold "
            f"{', '.join(_TOKENIZER_OPTIONS)}; remove it"
        )
    if "hf_model_name" in text:
        raise UserError(
            f"{path}: text_cfg.hf_model_name {text['hf_model_name']!r} is a model elsewhere, which "
            "a folder may not name; give the name of an architecture of open_clip's as model.path, "
            "and this folder's weights as model.pretrained"
        )
    backbone = vision.get("timm_model_name", "")
    if not (isinstance(backbone, str) and _PLAIN_NAME.fullmatch(backbone)):
        raise UserError(
            f"{path}: vision_cfg.timm_model_name {backbone!r} is not the plain name of an "
            "architecture of timm's"
        )
    if text.get(_TOKENIZER):
        _check_tokenizer(path.parent)


def _check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer of transformers' without a vocabulary: the library would invent one."""
    there = [folder / name for name in _VOCABULARIES if (folder / name).exists()]
    if not there:
        raise UserError(
            f"{folder / LAYOUT.config} names a tokenizer ({_TOKENIZER}), and the folder has none "
            f"of {', '.join(_VOCABULARIES)}; take another copy of the model"
        )
    for path in there:
        check_file(path)
        if path.suffix == ".json":
            read_object(path)


_TEXT_POOLS = ("argmax", "last", "eos")
_TOKENIZER = "hf_tokenizer_name"
_TOKENIZER_OPTIONS = ("clean", "strip_sep_token", "language")
"""Those of open_clip's own configurations; all others reach what loads a tokenizer."""
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
_PLAIN_NAME = re.compile(r"[\w.]*")


def open_clip() -> Any:
    """Import the library, and with it torch."""
    from zsd_ray.models.torchvision_ops import declare_missing_operators

    declare_missing_operators()
    import open_clip

    return open_clip
