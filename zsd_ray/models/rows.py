"""A denoiser over rows, each of them one draw with one prompt; many rows share a draw."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from zsd_ray.models.denoiser import Denoiser

Compiled = Callable[[Callable[..., Any]], Callable[..., Any]]
"""What is done to a function of tensors before it is called again and again."""


class RowNetwork(Protocol):
    """A network bound to the N prompts of a run."""

    def __call__(
        self,
        x_UCHW: torch.Tensor,
        time_U: torch.Tensor,
        draw_B: torch.Tensor,
        prompt_B: torch.Tensor,
    ) -> torch.Tensor:
        """Run one forward for B rows, (B, C, H, W) float32; see `Denoiser.predict`.

        Args:
            x, time: of U draws; float32.
            draw, prompt: of each row, which of the draws and which of the prompts; int64.
        """


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """Not compiled."""
    return function


@runtime_checkable
class BindsRows(Protocol):
    """A denoiser that computes the common part of rows only once."""

    def row_network(
        self, conditioning: Mapping[str, torch.Tensor], wrap: Compiled
    ) -> RowNetwork | None:
        """Bind it to its prompts; None if nothing can be shared."""


def row_network(
    denoiser: Denoiser, conditioning: Mapping[str, torch.Tensor], compile: bool | None
) -> RowNetwork:
    """Bind a denoiser to its prompts.

    Args:
        conditioning: of all prompts, on the device.
        compile: whether to compile the network; None: if there is CUDA.
    """
    wrap = wrapper(denoiser, compile)
    if isinstance(denoiser, BindsRows):
        network = denoiser.row_network(conditioning, wrap)
        if network is not None:
            return network
    return plain_rows(denoiser, conditioning, wrap)


def wrapper(denoiser: Denoiser, compile: bool | None) -> Compiled:
    """Return a function that compiles a denoiser's functions, or leaves them; None: compile with
    CUDA."""
    compiled = compile if compile is not None else denoiser.device.type == "cuda"
    return compile_or_warn if compiled else as_it_is


def plain_rows(
    denoiser: Denoiser,
    conditioning: Mapping[str, torch.Tensor],
    wrap: Compiled = as_it_is,
) -> RowNetwork:
    """Bind a denoiser to its prompts without sharing: one `predict` per row."""
    predict = wrap(denoiser.predict)

    def gather(
        x_UCHW: torch.Tensor, time_U: torch.Tensor, draw_B: torch.Tensor, prompt_B: torch.Tensor
    ) -> torch.Tensor:
        rows = {name: of[prompt_B] for name, of in conditioning.items()}
        result: torch.Tensor = predict(x_UCHW[draw_B], time_U[draw_B], rows)
        return result

    return gather


def compile_or_warn(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function when it is first called; if that fails, warn and call it uncompiled.

    The compiled code is kept on this machine's disk, so that the next process starts faster.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsd_ray" / "inductor"
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    from torch._dynamo import config as limits
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    chosen = compiled = _compiled(function)
    fails_at_limit: AbstractContextManager[Any] = limits.patch(fail_on_recompile_limit_hit=True)

    def call(*arguments: Any) -> Any:
        nonlocal chosen, fails_at_limit
        try:
            with fails_at_limit:
                return chosen(*arguments)
        except FailOnRecompileLimitHit:
            # What it has compiled so far stays compiled; other shapes are left to the library,
            # which runs them plainly and says so to nobody.
            fails_at_limit = nullcontext()
            reason = f"{limits.recompile_limit} shapes are compiled, and this is another"
            warnings.warn(f"the network runs uncompiled, slower ({reason})", stacklevel=2)
            return chosen(*arguments)
        except TorchDynamoException as error:
            if chosen is not compiled:
                raise
            inner = getattr(error, "inner_exception", None) or error.__cause__
            if isinstance(inner, torch.OutOfMemoryError):
                raise inner from error
            reason = str(error).strip().split("\n")[0]
            warnings.warn(f"the network runs uncompiled, slower ({reason})", stacklevel=2)
            chosen = function
            return chosen(*arguments)

    return call


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function with a counter of its own.

    torch counts compilations by code, which all U-Nets share, and stops compiling after eight.
    """
    options: dict[str, Any] = {"dynamic": False}  # torch's own types know not all of them
    if "isolate_recompiles" in signature(torch.compile).parameters:
        options["isolate_recompiles"] = True
    else:  # torch before 2.13
        from torch._dynamo import config as limits

        limits.recompile_limit = max(64, limits.recompile_limit)
    compiled: Callable[..., Any] = torch.compile(function, **options)
    return compiled
