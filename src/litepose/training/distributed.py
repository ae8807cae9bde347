"""What the processes of one training tell each other; with one process everything here does nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import torch
import torch.distributed as processes
from torch import nn

T = TypeVar("T")


def are_several() -> bool:
    """Return whether this process trains with others that it is connected with."""
    return processes.is_available() and processes.is_initialized() and processes.get_world_size() > 1


def agreed(value: T) -> T:
    """Return the first process's value to all; it travels as a pickle between processes of this one job."""
    if not are_several():
        return value
    told = [value]
    processes.broadcast_object_list(told, src=0)
    return told[0]


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every parameter the mean of all processes' gradients, so that all take the same step.

    The same parameters must have one everywhere.
    """
    if not are_several():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])  # one message
    processes.all_reduce(flat)
    flat /= processes.get_world_size()
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
