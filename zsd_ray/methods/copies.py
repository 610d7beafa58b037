"""Copies of arrays to a device, in parallel with its computations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray


class Copies:
    """Sends arrays from any thread; on CUDA by a stream of its own, from pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, array: NDArray[Any]) -> torch.Tensor:
        """Start a copy; the tensor may be used after `arrived`."""
        tensor = torch.from_numpy(array)
        if self._stream is None:
            return tensor.to(self._device)
        with torch.cuda.stream(self._stream):
            return tensor.pin_memory().to(self._device, non_blocking=True)

    def arrived(self, tensors: Sequence[torch.Tensor]) -> None:
        """Make the device's next work, not the host, wait for the copies."""
        if self._stream is None:
            return
        present = torch.cuda.current_stream(self._device)
        present.wait_stream(self._stream)
        for tensor in tensors:
            tensor.record_stream(present)  # its memory belongs to the other stream
