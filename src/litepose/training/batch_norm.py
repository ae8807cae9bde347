"""Batch normalisation over the pictures of all processes, as if each step were one batch on one device.

As torch.nn.SyncBatchNorm, which works on GPUs only: this one works wherever processes can talk, with two messages a
layer. Every process has the same number of pictures.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as processes
from torch import Tensor, nn


def synchronise(network: nn.Module) -> None:
    """Make every 2D batch normalisation of the network one over all processes; weights and names stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose statistics in training are those of all processes' pictures."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, h, w); statistics are float32."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
        together: Tensor = _Mean.apply(mean)
        spread: Tensor = _Mean.apply(variance + (mean - together).square())
        self._remember(together.detach(), spread.detach(), input.numel() // len(mean))
        factor = self.weight * torch.rsqrt(spread + self.eps)
        shift = self.bias - together * factor
        return torch.addcmul(shift.view(1, -1, 1, 1), values, factor.view(1, -1, 1, 1)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        total = count * processes.get_world_size()
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (total / (total - 1)), momentum)  # unbiased, as torch keeps it


class _Mean(torch.autograd.Function):
    """The mean of all processes' tensors; each one's gradient is the mean of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _averaged(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _averaged(gradient)


def _averaged(value: Tensor) -> Tensor:
    total = value.clone()
    processes.all_reduce(total)
    return total / processes.get_world_size()
