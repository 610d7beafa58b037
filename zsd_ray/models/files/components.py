"""Loading the parts of a diffusers pipeline folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zsd_ray.config.run import ModelConfig
from zsd_ray.models.files.loading import loading, refuse_incomplete, refuse_not_finite
from zsd_ray.models.files.weight_files import files_of_part
from zsd_ray.models.torchvision_ops import declare_missing_operators
from zsd_ray.records.errors import some

_PROMPTS_AT_ONCE = 64


def load_network(kind: str, folder: Path, config: ModelConfig, dtype: torch.dtype) -> Any:
    """Load a diffusers model, by the name of its class, from one folder of a pipeline.

    Host memory holds it once, plus the pages of one file; a network on a GPU takes none.

    Raises:
        UserError: its files are damaged, or not all of its tensors are there.
    """
    declare_missing_operators()
    import diffusers

    from zsd_ray.models.registry import device_of  # which imports this module's users

    options: dict[str, Any] = {"torch_dtype": dtype, "low_cpu_mem_usage": True}
    device = device_of(config)
    if device.type == "cuda":
        options["device_map"] = {"": device}  # from the file, and never whole on the host
    return _loaded(getattr(diffusers, kind), folder, config, **options)


def load_text_encoder(kind: str, folder: Path, config: ModelConfig, dtype: torch.dtype) -> Any:
    """Load a transformers model, by the name of its class; raises UserError as `load_network`."""
    declare_missing_operators()
    import transformers

    return _loaded(getattr(transformers, kind), folder, config, dtype=dtype)


def _loaded(kind: Any, folder: Path, config: ModelConfig, **options: Any) -> Any:
    of_transformers = folder.name.startswith("text_encoder")
    weights = files_of_part(folder, of_transformers, config)
    with loading(str(folder)):
        network, info = kind.from_pretrained(
            str(folder),
            use_safetensors=not config.pickle or None,
            variant=config.variant,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which `refuse_incomplete` names
            **options,
        )
        where = weights[0] if len(weights) == 1 else folder
        refuse_incomplete(where, info, of_transformers)
        refuse_not_finite(where, network.state_dict())
        return network.eval().requires_grad_(False)


def load_tokenizer(kind: str, folder: Path) -> Any:
    """Load a transformers tokenizer; no code that comes with it is run.

    Raises:
        UserError: its files are damaged.
    """
    import transformers

    with loading(str(folder)):
        return getattr(transformers, kind).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )


def tokenized(tokenizer: Any, prompts: list[str], length: int) -> Any:
    """Return tokens and mask of prompts, cut or padded to `length`; warns of cutting, which loses
    text."""
    tokens = tokenizer(
        prompts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    whole = tokenizer(prompts, verbose=False).input_ids
    cut = [prompt for prompt, ids in zip(prompts, whole, strict=True) if len(ids) > length]
    if cut:
        warnings.warn(
            f"prompts are cut to the {length} tokens of this text encoder: {some(cut)}",
            stacklevel=2,
        )
    return tokens


def network_dtype(config: ModelConfig) -> torch.dtype:
    """Return the dtype that the network runs in."""
    dtype: torch.dtype = getattr(torch, _name(config))
    return dtype


def as_rows(hidden: Sequence[torch.Tensor], config: ModelConfig) -> NDArray[Any]:
    """Concatenate encoded prompts on the CPU, in the dtype of a Conditioning."""
    dtype = row_dtype(config)
    return np.concatenate([part.float().cpu().numpy().astype(dtype) for part in hidden])


def row_dtype(config: ModelConfig) -> np.dtype[Any]:
    """Return the dtype of floats in a Conditioning."""
    return np.dtype("float32" if _name(config) == "float32" else "float16")


def _name(config: ModelConfig) -> str:
    """Return the dtype's name; float32 for a model that is not configured for workers."""
    return "float32" if config.dtype == "auto" else config.dtype


def chunks(prompts: Sequence[str], at_once: int = _PROMPTS_AT_ONCE) -> Iterator[list[str]]:
    """Split prompts into batches for the encoder; no prompts give no batches."""
    for start in range(0, len(prompts), at_once):
        yield list(prompts[start : start + at_once])


def placed(network: Any, device: torch.device) -> Any:
    """Move a text encoder to the device, or leave it on the CPU if it does not fit there."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if sum(p.numel() * p.element_size() for p in network.parameters()) * 1.3 > free:
            return network
    return network.to(device)
