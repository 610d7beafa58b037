"""Checks, before loading, that a diffusers pipeline folder is whole and of its family.

Only headers and configurations are read: an error is reported in milliseconds, at the driver, and
    not after a cluster has started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zsd_ray.config.family import Family
from zsd_ray.config.run import ModelConfig
from zsd_ray.models.conditioning import tokenizer_files
from zsd_ray.models.conditioning.tokenizer_tokens import OF_CLIP, special_token
from zsd_ray.models.files import source
from zsd_ray.models.files.model_json import read_object, refuse_code
from zsd_ray.models.files.network_config import check_network
from zsd_ray.models.files.scheduler_config import check_numbers
from zsd_ray.models.files.weight_files import check_whole, files_of_part
from zsd_ray.models.samplers import is_flow, scheduler_file
from zsd_ray.records.errors import UserError

_LARGEST_IS_END, _DEFAULT_END = 2, 49407
"""An `eos_token_id` that names no token, and the one of a CLIP that does not say it."""
_Configs = dict[str, dict[str, Any]]


def check(folder: Path, family: Family, config: ModelConfig) -> None:
    """Check that a folder is a whole pipeline of a family.

    Raises:
        UserError: what is missing, damaged or does not fit.
    """
    _check_index(folder, family, config)
    missing = [name for name in family.components if not (folder / name).is_dir()]
    if missing:
        raise UserError(f"model.path {folder} lacks the folders {', '.join(missing)}")
    parts = [name for name in (*family.components, *family.optional) if (folder / name).is_dir()]
    state = _state(folder, parts, config)
    if state in _whole:
        return
    for name in parts:
        refuse_code(folder / name)
    networks = [part for part in parts if not part.startswith(("tokenizer", "scheduler"))]
    configs = {name: _check_network(folder / name, config) for name in networks}
    for name in parts:
        if name.startswith("tokenizer"):
            encoder = configs.get(name.replace("tokenizer", "text_encoder"), {})
            if name in family.t5_tokenizers:
                tokenizer_files.check_t5(folder / name, encoder.get("vocab_size"))
                continue
            vocabulary = tokenizer_files.check_clip(folder / name, encoder.get("vocab_size"))
            _check_end(folder / name, vocabulary, encoder)
    _check_channels(folder, config, configs)
    _check_image_size(folder, config, configs)
    _check_schedule(scheduler_file(folder), family)
    _whole.add(state)


_whole: set[int] = set()
"""Folders that this process has found whole: a plan asks for the same one several times."""


def _state(folder: Path, parts: Sequence[str], config: ModelConfig) -> int:
    """Return what a check depends on: the files, by size and time, and the settings that select
    them."""
    files = sorted(path for part in parts for path in (folder / part).rglob("*"))
    seen = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.exists()]
    keys = (config.family, config.variant, config.pickle, config.image_size)
    return hash((folder, keys, *seen))


def _check_index(folder: Path, family: Family, config: ModelConfig) -> None:
    """Check the pipeline and its parts in model_index.json."""
    index = folder / source.INDEX
    if not index.is_file():
        raise UserError(
            f"model.path {folder} is not a diffusers pipeline folder: it has no {source.INDEX}"
        )
    content = read_object(index)
    pipeline = content.get("_class_name")
    if family.pipelines and pipeline not in family.pipelines:
        raise UserError(
            f"model.path {folder} holds a {pipeline}, and model.family {config.family} takes "
            f"{', '.join(family.pipelines)}"
        )
    kinds = {name: kind[-1] for name, kind in content.items() if isinstance(kind, list) and kind}
    for name, allowed in family.classes:
        if kinds.get(name) not in allowed:
            raise UserError(
                f"model.path {folder} has {kinds.get(name)} as its {name}, and model.family "
                f"{config.family} takes {', '.join(allowed)}"
            )
    parts = {name for name, kind in kinds.items() if kind}
    absent = [name for name in family.optional if name in parts and not (folder / name).is_dir()]
    if absent:
        raise UserError(
            f"{index} names {', '.join(absent)}, and model.path {folder} lacks these folders; take "
            "another copy of the model, or set each to [null, null] to go without"
        )
    if not family.pipelines and parts - set(family.components):
        raise UserError(
            f"model.path {folder} holds {', '.join(sorted(parts - set(family.components)))} too, "
            f"which model.family {config.family} has no use for: it is of another family"
        )


def _check_network(folder: Path, config: ModelConfig) -> dict[str, Any]:
    """Check one network's files; return its configuration."""
    path = folder / "config.json"
    content = read_object(path)
    of_transformers = folder.name.startswith("text_encoder")
    quantised = bool(content.get("quantization_config"))
    shapes = check_whole(files_of_part(folder, of_transformers, config), quantised)
    # Quantised weights have other tensors than the network that the configuration describes.
    check_network(path, content, {} if quantised else shapes)
    return content


def _check_end(folder: Path, vocabulary: Mapping[str, int], encoder: Mapping[str, Any]) -> None:
    """Refuse a CLIP that reads another token than its tokenizer's end of text.

    The embedding of a whole prompt is the state at that token; without it, the state at the first
    token, which is the same for all prompts. transformers takes the largest number for
    `_LARGEST_IS_END`, as the configurations of its first years have it.

    Args:
        folder: of the tokenizer; vocabulary: the number of each of its tokens.
        encoder: the text encoder's configuration; one of a whole CLIP has its own inside.
    """
    text = special_token(folder, "eos_token", OF_CLIP)
    end = vocabulary.get(text or "")
    if end is None or "text_config" in encoder:
        return
    came = encoder.get("eos_token_id", _DEFAULT_END)
    largest = end == max(vocabulary.values())
    if type(came) is int and (largest if came == _LARGEST_IS_END else came == end):
        return
    also = f" (or {_LARGEST_IS_END}, which stands for the largest number)" if largest else ""
    path = folder.with_name(folder.name.replace("tokenizer", "text_encoder")) / "config.json"
    raise UserError(
        f"{path}: eos_token_id is {came!r}, and {end}{also} is expected, the number of {text} in "
        f"{folder.name}: they are not of one model; take another copy of it"
    )


def _check_channels(folder: Path, config: ModelConfig, configs: _Configs) -> None:
    """Refuse parts of different models: a network for other latents than the VAE's."""
    network = "transformer" if "transformer" in configs else "unet"
    takes = configs[network].get("in_channels")
    gives = configs.get("vae", {}).get("latent_channels")
    if takes is None or gives is None:
        return
    if config.family == "flux":  # patches of 2 x 2 are its channels
        gives *= 4
    if takes != gives:
        raise UserError(
            f"{folder}: the {network} takes {takes} channels, and the vae's latents have {gives}: "
            f"not of one model, or of another kind than model.family {config.family}"
        )


def _check_image_size(folder: Path, config: ModelConfig, configs: _Configs) -> None:
    """Refuse an image size without a whole number of latents or patches."""
    if config.image_size is None or "vae" not in configs:
        return
    step = 2 ** (len(configs["vae"].get("block_out_channels") or [1]) - 1)
    if "transformer" in configs:
        patch = configs["transformer"].get("patch_size") or 1
        if isinstance(patch, list):
            raise UserError(
                f"{folder / 'transformer' / 'config.json'}: patch_size is {patch!r}, and a whole "
                "number, and no list, is expected; take another copy of the model"
            )
        # FLUX packs 2 x 2 latents, and says that its patches are of 1.
        step *= 2 if config.family == "flux" else int(patch)
    if config.image_size % step:
        raise UserError(f"model.image_size {config.image_size} must be a multiple of {step}")


def _check_schedule(path: Path, family: Family) -> None:
    """Refuse a schedule that would be read wrongly: the library silently fills in defaults."""
    config = read_object(path)
    check_numbers(path, config)
    if not family.predictions:
        return
    named = read_object(path.parent.parent / source.INDEX).get("scheduler")
    flow = is_flow(config) and named == ["diffusers", config["_class_name"]]
    if not flow:
        _refuse_flow_in_a_chain(path, config)
    prediction = "flow" if flow else config.get("prediction_type", "epsilon")
    if prediction not in family.predictions:
        raise UserError(
            f"{path}: prediction_type {prediction!r} is not one of {', '.join(family.predictions)}"
        )
    absent = [key for key in family.schedule if config.get(key) is None and not flow]
    if absent and config.get("trained_betas") is None:
        raise UserError(f"{path} names no {', '.join(absent)}: not a schedule of this family")


def _refuse_flow_in_a_chain(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse a scheduler of flow matching where the family reads a chain of betas."""
    kind = config.get("_class_name")
    if (isinstance(kind, str) and kind.startswith("FlowMatch")) or config.get("use_flow_sigmas"):
        came = f"_class_name {kind}" if not config.get("use_flow_sigmas") else "use_flow_sigmas"
        raise UserError(
            f"{path}: {came} is a scheduler of flow matching in a folder of a chain, which is read "
            "as a chain of betas; set model.family to one of flow matching, or take another copy"
        )
