"""The best number of rows per forward, measured and cached on this machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zsd_ray.config.run import UNMEASURED
from zsd_ray.methods.diffusion_classifier import DiffusionClassifier
from zsd_ray.models.denoiser import Denoiser

_SMALLEST, _LARGEST = 8, 2048
_WORTH = 1.03  # a batch twice as large must be this much faster per row
_MEMORY_SHARE = 0.85
_MOST_ELEMENTS = 2**31 - 1
"""Of a tensor that kernels can address by 32-bit numbers; beyond, some are slow and some wrong."""


def measured_rows(method: DiffusionClassifier, denoiser: Denoiser, gpu_share: float) -> int:
    """Measure the rows per forward of a bound denoiser, with few classes left in each draw."""
    device, shape = denoiser.device, denoiser.sample_shape
    # Allocated memory distinguishes networks, their dtypes and kept prompts.
    taken = torch.cuda.memory_allocated(device) >> 26 if device.type == "cuda" else 0

    def seconds(n_rows: int) -> float:
        """Return the time of the second of two batches."""
        n_draws = -(-n_rows // 4)
        x = torch.randn(n_draws, *shape, device=device)
        one = torch.full((n_draws,), 0.5, device=device)
        draw = torch.arange(n_rows, device=device) // 4
        for _ in range(2):
            start = time.perf_counter()
            method.errors(x, x, one, one, one, draw, torch.zeros_like(draw)).cpu()
        return time.perf_counter() - start

    with torch.no_grad():
        kind = f"{type(denoiser).__name__} {shape} {taken}"
        return automatic(seconds, device, kind, gpu_share)


def automatic(
    seconds: Callable[[int], float], device: torch.device, key: str, share: float = 1.0
) -> int:
    """Return the batch size for a network on a device: cached, or else measured.

    Sizes double until memory is short, a tensor gets too large or rows get no cheaper.

    Args:
        seconds: runs a batch of a number of rows and returns its time; it may raise
            torch.OutOfMemoryError.
        key: what the size depends on, besides the kind of device and torch's version.
        share: of the device that this process has.
    """
    if device.type != "cuda":
        return UNMEASURED
    properties = torch.cuda.get_device_properties(device)
    memory = int(properties.total_memory * share)
    key = f"{properties.name} {memory} torch {torch.__version__} {key}"
    known = _read()
    if key not in known:
        with _Largest() as largest:
            seconds(_SMALLEST)
        most = _MOST_ELEMENTS * _SMALLEST // max(1, largest.n_elements)
        # Other contents of this process, such as text encoders, are freed.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        known[key] = measured(seconds, lambda: _peak(device) / memory, most)
        _write(known)
        torch.cuda.empty_cache()
    return known[key]


def measured(
    seconds: Callable[[int], float], memory_share: Callable[[], float], most: int = _LARGEST
) -> int:
    """Return the first size at which doubling the rows is not faster per row, or does not fit.

    Args:
        memory_share: the peak share of this process's memory in use since the last call.
        most: upper limit of rows, unless the smallest batch exceeds it.

    Raises:
        torch.OutOfMemoryError: not even the smallest batch fits.
    """
    size, each = _SMALLEST, seconds(_SMALLEST) / _SMALLEST
    while 2 * size <= min(most, _LARGEST) and memory_share() < _MEMORY_SHARE / 2:
        try:
            larger = seconds(2 * size) / (2 * size)
        except torch.OutOfMemoryError:
            break
        if larger * _WORTH > each:
            break
        size, each = 2 * size, larger
    return size


def _peak(device: torch.device) -> int:
    """Return the peak number of bytes in use since the last call."""
    peak = torch.cuda.max_memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the number of elements of the largest tensor made inside this context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [of.numel() for of in tree_leaves(made) if isinstance(of, torch.Tensor)]
        self.n_elements = max([self.n_elements, *sizes])
        return made


def _file() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "zsd_ray" / "batch_sizes.json"


def _read() -> dict[str, int]:
    try:
        known: dict[str, int] = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or another process is writing it
        return {}
    return known


def _write(known: dict[str, int]) -> None:
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(known, indent=1), encoding="utf-8")
    part.replace(path)
