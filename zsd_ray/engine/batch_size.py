"""How many rows a forward should have, found by trying and remembered on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import torch

UNMEASURED = 64
"""On a processor, whose speed hardly depends on it, and where nothing is known yet."""

_SMALLEST, _LARGEST = 8, 2048
_WORTH = 1.03  # a batch twice as large must be this much faster a row
_MEMORY_SHARE = 0.85


def automatic(seconds: Callable[[int], float], device: torch.device, key: str) -> int:
    """Return the batch size for a network on a device: remembered, or else measured.

    Sizes double until memory is short or a row gets no cheaper.

    Args:
        seconds: runs a batch of so many rows and returns the time that it took; it may raise
            torch.OutOfMemoryError.
        key: what the size depends on, besides the kind of device.
    """
    if device.type != "cuda":
        return UNMEASURED
    properties = torch.cuda.get_device_properties(device)
    key = f"{properties.name} {properties.total_memory} {key}"
    known = _read()
    if key not in known:
        known[key] = measured(seconds, lambda: _memory_share(device))
        _write(known)
        torch.cuda.empty_cache()
    return known[key]


def measured(seconds: Callable[[int], float], memory_share: Callable[[], float]) -> int:
    """Return the first size that twice as many rows would not make faster, or not fit.

    Args:
        memory_share: the most of the device's memory that was in use since the last call.

    Raises:
        torch.OutOfMemoryError: not even the smallest batch fits.
    """
    size, each = _SMALLEST, seconds(_SMALLEST) / _SMALLEST
    while size < _LARGEST and memory_share() < _MEMORY_SHARE / 2:
        try:
            larger = seconds(2 * size) / (2 * size)
        except torch.OutOfMemoryError:
            break
        if larger * _WORTH > each:
            break
        size, each = 2 * size, larger
    return size


def _memory_share(device: torch.device) -> float:
    peak = torch.cuda.max_memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    return peak / torch.cuda.get_device_properties(device).total_memory


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
