"""Loading networks from untrusted files: whole, or refused with one line."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from zsd_ray.models.files.weight_files import Shapes
from zsd_ray.records.errors import UserError, some
from zsd_ray.records.redaction import redact

_LONGEST = 300
_MOST_TIMES = 4
_USELESS = re.compile(r"(^|\.)(position_ids|num_batches_tracked)$")
"""Tensors that hold no weights, and that only some versions of the libraries save."""
_MAY_BE_MORE = {
    True: re.compile(
        r"^(vision_model|visual_projection|text_projection|decoder|lm_head)\.|^logit_scale$"
    ),
    False: re.compile(r"^pos_embed\.pos_embed$"),
}
"""Tensors that a network may have been saved with, by whether transformers loads it: those of a
whole CLIP or T5, of which a pipeline reads the text encoder; sines of places, which DiT computes.
None of them may be missing where a network has it."""


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn any exception of a library that loads `what` into a UserError.

    Out of memory and device errors are not the files' fault and pass unchanged: another attempt, or
    another worker, may succeed.

    Raises:
        UserError: what failed, and why, in one line.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:  # each library, and each kind of file, has errors of its own
        if "CUDA" in str(error):
            raise
        raise UserError(
            f"{what} cannot be loaded ({_said(error)}); its files may be damaged, or of another "
            "model: take another copy"
        ) from error


def refuse_incomplete(where: Path, info: Mapping[str, Any], of_transformers: bool) -> None:
    """Refuse a network some of whose tensors were not in its files, or were of other shapes.

    The libraries give those random values, and only warn.

    Args:
        where: the weights file, or the folder of several.
        info: the library's report (`output_loading_info`).
        of_transformers: whether transformers loaded it, else diffusers.

    Raises:
        UserError: which tensors.
    """
    mismatched = [
        f"{name} ({_by(came)} in place of {_by(wanted)})"
        for name, came, wanted in info.get("mismatched_keys", ())
    ]
    refuse_tensors(
        where,
        missing=info.get("missing_keys", ()),
        unexpected=[
            name
            for name in info.get("unexpected_keys", ())
            if not _MAY_BE_MORE[of_transformers].search(name)
        ],
        mismatched=mismatched,
    )
    if errors := info.get("error_msgs"):
        text = " ".join(str(next(iter(errors))).split())[:_LONGEST]
        raise UserError(f"{where}: its weights cannot be used ({text}); take another copy")


def refuse_tensors(
    where: Path,
    *,
    missing: Iterable[str] = (),
    unexpected: Iterable[str] = (),
    mismatched: Iterable[str] = (),
) -> None:
    """Refuse weights that are not those of their network; raises UserError with their names."""
    for what, names in (
        ("lack the tensors", _weights_among(missing)),
        ("have other shapes than config.json says for the tensors", sorted(mismatched)),
        ("hold tensors that are none of this network's:", _weights_among(unexpected)),
    ):
        if names:
            raise UserError(
                f"{where}: its weights {what} {some(names)} ({len(names):,} of them): damaged, or "
                "of another model; take another copy"
            )


def refuse_not_finite(where: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not finite: every output of such a network is NaN.

    Args:
        where: the weights file, or the folder of several.
        tensors: of the loaded network (`state_dict()`), so without its masks, which hold -inf.

    Raises:
        UserError: which tensors.
    """
    real = {name: of for name, of in tensors.items() if of.is_floating_point() and of.numel()}
    # The least and the largest are NaN where anything is; it takes one pass, and no memory.
    ends = {name: torch.stack(of.detach().aminmax()).float() for name, of in real.items()}
    if not ends or torch.stack(list(ends.values())).isfinite().all():
        return
    odd = sorted(name for name, of in ends.items() if not of.isfinite().all())
    dtype = str(real[odd[0]].dtype).removeprefix("torch.")
    narrow = ", or set model.dtype: float32" if dtype == "float16" else ""
    raise UserError(
        f"{where}: its weights hold NaN or infinity, as {dtype}, in the tensors {some(odd)} "
        f"({len(odd):,} of them), and only finite numbers are allowed; take another copy of the "
        f"model{narrow}"
    )


def refuse_other_shapes(
    path: Path, network: torch.nn.Module, shapes: Shapes, but: Collection[str] = ()
) -> None:
    """Refuse weights that a library silently resized to fit its network.

    Args:
        shapes: of the tensors of the file `path`. Names that the network does not have are ignored:
            the library has renamed them, or refused the file.
        but: tensors that may differ.
    """
    own = network.state_dict()
    refuse_tensors(
        path,
        mismatched=[
            f"{name} ({_by(shape)} in place of {_by(own[name].shape)})"
            for name, shape in shapes.items()
            if name in own and name not in but and tuple(own[name].shape) != shape
        ],
    )


def refuse_larger(
    path: Path, make: Callable[[], torch.nn.Module], shapes: Shapes, what: str
) -> None:
    """Refuse a configuration of a network that is far larger than its weights, before it is made.

    Args:
        make: makes the network, without its weights; called here without allocating memory.
        what: the configuration's name in messages.
    """
    if not shapes:
        return
    n_wanted, level = 0, logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # open_clip warns that the network has no weights
    # Not every network can be made so; what is wrong with it shows when it is made in earnest.
    with suppress(Exception), torch.device("meta"):
        n_wanted = sum(parameter.numel() for parameter in make().parameters())
    logging.disable(level)
    n_there = sum(math.prod(shape) for shape in shapes.values())
    if n_wanted > _MOST_TIMES * n_there:
        raise UserError(
            f"{what} describes a network of {n_wanted:,} numbers, and {path} holds {n_there:,}: "
            "damaged, or of other weights; take another copy of the model"
        )


def _weights_among(names: Iterable[str]) -> list[str]:
    return sorted(name for name in map(str, names) if not _USELESS.search(name))


def _by(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return redact(f"{type(error).__name__}: {text}" if text else type(error).__name__)[:_LONGEST]
