"""Lite-HRNet computed step by step as its paper and its authors' graph have it, for comparison of exported files.

Written for the benchmark, on the layers and weights of our network: pools and enlargements to the size of another map,
the paths from the first branch computed twice, the shuffle as concatenation, reshape, transposition and reshape.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.models import litehrnet


def reference_style(network: litehrnet.LiteHRNet) -> nn.Module:
    """Return a copy in eval mode that computes the same by the steps of the authors' network."""
    copied = copy.deepcopy(network).eval()
    ways = {
        litehrnet.Stem: stem,
        litehrnet.LiteBlock: lite_block,
        litehrnet.NaiveBlock: naive_block,
        litehrnet.CrossResolutionWeights: cross_resolution_weights,
        litehrnet.Inflow: inflow,
    }
    for module in copied.modules():
        if type(module) in ways:
            module.forward = MethodType(ways[type(module)], module)
    return copied


def stem(self: litehrnet.Stem, images: Tensor) -> Tensor:
    a, b = self.reduce(images).chunk(2, dim=1)
    return shuffle(torch.cat((self.plain(a), self.wide(self.expand(b))), dim=1))


def lite_block(self: litehrnet.LiteBlock, maps: Sequence[Tensor]) -> list[Tensor]:
    halves = [x.chunk(2, dim=1) for x in maps]
    changed = [x * weights for (_, x), weights in zip(halves, self.cross_weights([b for _, b in halves]), strict=True)]
    changed = [convolution(x) for convolution, x in zip(self.depthwise, changed, strict=True)]
    changed = [x * weights(x) for weights, x in zip(self.spatial_weights, changed, strict=True)]
    return [shuffle(torch.cat((a, b), dim=1)) for (a, _), b in zip(halves, changed, strict=True)]


def naive_block(self: litehrnet.NaiveBlock, maps: Sequence[Tensor]) -> list[Tensor]:
    halves = [x.chunk(2, dim=1) for x in maps]
    return [shuffle(torch.cat((a, unit(b)), dim=1)) for (a, b), unit in zip(halves, self.units, strict=True)]


def cross_resolution_weights(self: litehrnet.CrossResolutionWeights, maps: Sequence[Tensor]) -> list[Tensor]:
    coarsest = maps[-1].shape[2:]
    pooled = [F.adaptive_avg_pool2d(x, coarsest) for x in maps[:-1]]
    weights = torch.sigmoid(self.expand(self.reduce(torch.cat((*pooled, maps[-1]), dim=1))))
    parts = weights.split(self.widths, dim=1)
    return [F.interpolate(part, size=x.shape[2:], mode="nearest") for part, x in zip(parts, maps, strict=True)]


def inflow(self: litehrnet.Inflow, maps: Sequence[Tensor]) -> Tensor:
    first, *others = self.paths
    total = first(maps[0])
    total = total + first(maps[0])
    for path, x in zip(others, maps[1:], strict=True):
        total = total + path(x)
    return total


def shuffle(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    pairs = x.reshape(batch, 2, channels // 2, height, width).transpose(1, 2)
    return pairs.reshape(batch, channels, height, width)
