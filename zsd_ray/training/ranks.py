"""Data parallel training: each rank has a share of every batch, and all make the same step.

Gradients are sums over the whole batch, not means of the ranks' means, and so are the moments of
batch normalisation: the curve of the loss is that of one process, up to float rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any, cast

import torch
from torch import distributed
from torch.nn.modules.batchnorm import _BatchNorm


@dataclass(frozen=True)
class Ranks:
    """The rank of this process and their number; torch.distributed connects them."""

    rank: int = 0
    count: int = 1

    def share(self, n: int) -> range:
        """Return this rank's places of a batch of n; shares differ by at most one."""
        return range(self.rank * n // self.count, (self.rank + 1) * n // self.count)

    def sum_gradients(self, parameters: Sequence[torch.Tensor], loss: torch.Tensor) -> torch.Tensor:
        """Sum gradients over the ranks, in place; returns the summed loss."""
        if self.count == 1:
            return loss
        gradients = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in parameters
        ]  # a parameter without a part in the loss has no gradient on any rank
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), loss.reshape(1)])
        distributed.all_reduce(flat)
        sizes = [*(gradient.numel() for gradient in gradients), 1]
        *summed, total = torch.split(flat, sizes)
        for parameter, gradient in zip(parameters, summed, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(gradient.view_as(parameter))
        return total[0]

    def agree(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every rank the values of the first one, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def join_batch_norms(self, network: torch.nn.Module) -> None:
        """Make batch normalisation use the whole batch in training mode."""
        if self.count == 1:
            return
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.forward = MethodType(_whole_batch_norm, module)  # type: ignore[method-assign]


def _whole_batch_norm(norm: Any, x_BCHW: torch.Tensor) -> torch.Tensor:
    """Batch normalisation (Ioffe & Szegedy 2015, Algorithm 1) over all ranks' rows.

    torch's own SyncBatchNorm runs on GPUs only.
    """
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        x = x_BCHW.float()
        dims = [0, *range(2, x.ndim)]
        ones = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = _sum_over_ranks(torch.cat([x.sum(dims), ones]))
        n = sums[-1]
        mean = sums[:-1] / n
        centred = x - mean.view(-1, *[1] * (x.ndim - 2))
        # Not from the sum of squares, which cancels.
        var = _sum_over_ranks(centred.square().sum(dims)) / n
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(var * n / (n - 1), norm.momentum)
    shape = (-1, *[1] * (x_BCHW.ndim - 2))
    scale = norm.weight * (var + norm.eps).rsqrt()
    y = x_BCHW * scale.view(shape) + (norm.bias - mean * scale).view(shape)
    if hasattr(norm, "drop"):  # timm's, with its activation
        y = norm.act(norm.drop(y))
    return cast(torch.Tensor, y.to(x_BCHW.dtype))


class _Sum(torch.autograd.Function):
    """The sum over ranks; each rank's loss depends on every rank's part, so gradients sum, too."""

    @staticmethod
    def forward(context: Any, part: torch.Tensor) -> torch.Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def _sum_over_ranks(part: torch.Tensor) -> torch.Tensor:
    return cast(torch.Tensor, _Sum.apply(part))  # type: ignore[no-untyped-call]
