"""What a network costs: parameters and multiply-accumulates, layer by layer, under two stated conventions.

`macs` counts convolutions and linear layers as they are executed: a transposed convolution does its work at each
INPUT position. `macs_reference` is the rule under which the LitePose authors' published figures come out (ptflops
with transposed convolutions charged at each OUTPUT position, 4 times as much at stride 2; plus 2 for each element of
a batch normalisation, 1 of a ReLU6, 2 of a ReLU). A bias is counted in neither.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

REFERENCE_COST = {nn.BatchNorm2d: 2, nn.ReLU6: 1, nn.ReLU: 2}  # for each output element


@dataclass(frozen=True)
class LayerCount:
    """One executed layer: its module name, class, output shape without the batch, parameters, MACs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    macs_reference: int


@dataclass(frozen=True)
class Counts:
    """Of one picture through a network; `layers` in the order of execution."""

    params: int
    macs: int
    macs_reference: int
    layers: tuple[LayerCount, ...]


def count(network: nn.Module, size: tuple[int, int]) -> Counts:
    """Count one forward pass over an input of `size` (w, h); nothing is computed, only shapes run."""
    network = copy.deepcopy(network).to("meta").eval()
    layers: list[LayerCount] = []
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_hook(_recorder(name, layers))
    with torch.no_grad():
        network(torch.empty(1, 3, size[1], size[0], device="meta"))
    return Counts(
        params=sum(parameter.numel() for parameter in network.parameters()),
        macs=sum(layer.macs for layer in layers),
        macs_reference=sum(layer.macs_reference for layer in layers),
        layers=tuple(layers),
    )


def _recorder(name: str, layers: list[LayerCount]):
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs, macs_reference = layer_macs(module, inputs[0], output)
        params = sum(parameter.numel() for parameter in module.parameters())
        if macs_reference or params:
            shape = tuple(output.shape[1:])
            layers.append(LayerCount(name, type(module).__name__, shape, params, macs, macs_reference))

    return record


def layer_macs(module: nn.Module, x: Tensor, output: Tensor) -> tuple[int, int]:
    """Return (macs, macs_reference) of one leaf module for what it got and gave."""
    if isinstance(module, nn.Conv2d):
        macs = output.numel() * module.weight[0].numel()  # (out, in / groups, k, k)
        return macs, macs
    if isinstance(module, nn.ConvTranspose2d):
        per_position = module.weight.numel()  # (in, out / groups, k, k)
        return x[:, 0].numel() * per_position, output[:, 0].numel() * per_position
    if isinstance(module, nn.Linear):
        macs = output.numel() * module.in_features
        return macs, macs
    return 0, REFERENCE_COST.get(type(module), 0) * output.numel()
