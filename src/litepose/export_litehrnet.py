"""Lite-HRNet for engines: the same function of one input size, without splitting, shuffling or joining halves of maps.

A block of Lite-HRNet changes one half of the channels, passes the other and shuffles both. Engines spend more time on
that than on the arithmetic (ONNX Runtime reorders memory around every split). Here a channel stays where it is: only
the `Places` at which its successors find it change, and are known before the graph is written. A block works on whole
maps, with weights that let the passed half through: depthwise kernels of a single 1, weights in (0, 1) that are 1.
Widths are filled up with zeros to a multiple of what engines compute at once, so that their own layout lasts from the
first convolution to the last. What else changes no value but the time: the weights of a branch by its mean wait until
the next block's weights, which are coarse, are multiplied by them; maps on their way up are added before they grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.models.layers import fuse_batchnorm
from litepose.models.litehrnet import (
    FusedModule,
    Inflow,
    LiteBlock,
    LiteHRNet,
    NaiveBlock,
    SeparableConv,
    Stem,
    Transition,
)

ALIGNMENT = 16  # channels that an engine computes at once: ONNX Runtime 16 with AVX-512, 8 with AVX2
OPEN = 30.0  # sigmoid(30) = 1 - 1e-13, which is 1 in float32


@dataclass(frozen=True)
class Places:
    """Where a map holds its channels: channel i of the trained network lies at index[i] of `width`; the rest is 0."""

    index: Tensor
    width: int

    @classmethod
    def in_order(cls, channels: int) -> Places:
        return cls(torch.arange(channels), -(-channels // ALIGNMENT) * ALIGNMENT)

    def halves(self) -> tuple[Places, Places]:
        """Return the places of the first and of the second half of the channels, in the same map."""
        first, second = self.index.chunk(2)
        return Places(first, self.width), Places(second, self.width)

    def shuffled(self) -> Places:
        """Return the places after a shuffle of two groups, for which nothing moves."""
        return Places(torch.stack(self.index.chunk(2), dim=1).flatten(), self.width)

    @staticmethod
    def concatenated(maps: Sequence[Places]) -> Places:
        starts = [sum(one.width for one in maps[:i]) for i in range(len(maps) + 1)]
        return Places(torch.cat([one.index + start for one, start in zip(maps, starts, strict=False)]), starts[-1])


class FixedLiteHRNet(nn.Module):
    """(B, 3, H, W) of the (w, h) `size` -> ((B, K, H/4, W/4),), equal to `network` in eval mode up to rounding."""

    def __init__(self, network: LiteHRNet, size: tuple[int, int]) -> None:
        super().__init__()
        fused = fuse_batchnorm(network)
        assert isinstance(fused, LiteHRNet)
        trunk = fused.trunk
        self.stem = _PlacedStem(trunk.stem)
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        places = [self.stem.places]
        pairs: Any = zip(trunk.transitions, trunk.stages, strict=True)
        for transition, modules in pairs:
            self.transitions.append(placed := _PlacedTransition(transition, places))
            places = placed.places
            shapes = [(size[1] // 2**i, size[0] // 2**i) for i in range(2, 2 + len(places))]
            self.stages.append(stage := nn.Sequential())
            for module in modules:
                stage.append(one := _PlacedModule(module, places, shapes))
                places = one.places
        last = Places.in_order(fused.final.in_channels)
        projections: Any = trunk.head.projections
        self.head = nn.ModuleList(
            _separable(projection, into, out)
            for projection, into, out in zip(projections, places[::-1], [*places[-2::-1], last], strict=True)
        )
        self.final = _placed(fused.final, last, None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = [self.stem(images)]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            maps = stage(transition(maps))
        *finer, refined = maps
        refined = self.head[0](refined)
        for projection, x in zip(list(self.head)[1:], reversed(finer), strict=True):
            refined = projection(x + F.interpolate(refined, scale_factor=2.0, mode="bilinear", align_corners=True))
        return (self.final(refined),)


class _PlacedStem(nn.Module):
    """The first convolution is split, not its map."""

    def __init__(self, stem: Stem) -> None:
        super().__init__()
        halves = [Places.in_order(half) for half in stem.halves]
        first, second = _split(stem.reduce.conv, stem.halves)
        self.plain = nn.Sequential(
            _placed(first, None, halves[0]), nn.ReLU(), _separable(stem.plain, halves[0], halves[0])
        )
        wide = Places.in_order(stem.expand.conv.out_channels)
        self.wide = nn.Sequential(
            _placed(second, None, halves[1]), nn.ReLU(), _placed(stem.expand.conv, halves[1], wide), nn.ReLU(),
            _separable(stem.wide, wide, halves[1]),
        )  # fmt: skip
        self.places = Places.concatenated(halves).shuffled()

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat((self.plain(images), self.wide(images)), dim=1)


class _PlacedTransition(nn.Module):
    def __init__(self, transition: Transition, before: Sequence[Places]) -> None:
        super().__init__()
        self.places: list[Places] = []
        self.branches = nn.ModuleList()
        for branch, into in zip(transition.branches, [*before, before[-1]], strict=True):
            out = Places.in_order(branch.pointwise.conv.out_channels) if isinstance(branch, SeparableConv) else into
            self.branches.append(_separable(branch, into, out) if isinstance(branch, SeparableConv) else branch)
            self.places.append(out)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [branch(x) for branch, x in zip(self.branches, [*maps, maps[-1]], strict=True)]


class _PlacedModule(nn.Module):
    """shapes: (h, w) of each branch."""

    def __init__(self, module: FusedModule, places: Sequence[Places], shapes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.shapes = shapes
        self.blocks = nn.ModuleList()
        blocks: Any = module.blocks
        for block in blocks:
            self.blocks.append(
                _PlacedLiteBlock(block, places, shapes[-1])
                if isinstance(block, LiteBlock)
                else _PlacedNaiveBlock(block, places)
            )
            places = [one.shuffled() for one in places]
        self.places = list(places)
        inflows: Any = module.inflows
        self.inflows = nn.ModuleList(_PlacedInflow(inflow, end, places) for end, inflow in enumerate(inflows))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        scales: list[Tensor] | None = None
        for block in self.blocks:
            maps, scales = block(maps, scales)
        # See litepose.models.litehrnet.FusedModule: the first branch counts twice, and the paths down read the sum.
        if scales is None:
            maps = [maps[0] + maps[0], *maps[1:]]
        else:
            scales = [scales[0] + scales[0], *scales[1:]]
            maps = [x * _spread(scale, shape) for x, scale, shape in zip(maps, scales, self.shapes, strict=True)]
        first = self.inflows[0](maps)
        maps = [first, *maps[1:]]
        return [torch.relu(first), *(torch.relu(inflow(maps)) for inflow in list(self.inflows)[1:])]


class _PlacedLiteBlock(nn.Module):
    """Maps, and the weights by which the block before would have multiplied them, to such a pair.

    coarsest: (h, w) of the last branch.
    """

    def __init__(self, block: LiteBlock, places: Sequence[Places], coarsest: tuple[int, int]) -> None:
        super().__init__()
        self.coarsest, self.factors = coarsest, block.cross_weights.factors
        changed = [one.halves()[1] for one in places]
        reduce, expand = block.cross_weights.reduce.conv, block.cross_weights.expand.conv
        hidden = Places.in_order(reduce.out_channels)
        self.reduce = _placed(reduce, Places.concatenated(changed), hidden)
        parts = _split(expand, block.halves)
        self.expand = nn.ModuleList(
            _placed(part, hidden, out, others=OPEN) for part, out in zip(parts, changed, strict=True)
        )
        self.depthwise, self.weights = nn.ModuleList(), nn.ModuleList()
        branches: Any = zip(block.depthwise, block.spatial_weights, changed, strict=True)
        for norm, (mean, narrow, relu, widen, sigmoid), half in branches:
            self.depthwise.append(_placed_depthwise(norm.conv, half, passing=True))
            few = Places.in_order(narrow.out_channels)
            self.weights.append(
                nn.Sequential(mean, _placed(narrow, half, few), relu, _placed(widen, few, half, others=OPEN), sigmoid)
            )

    def forward(self, maps: list[Tensor], scales: list[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        pooled = [F.avg_pool2d(x, k) if k > 1 else x for x, k in zip(maps, self.factors, strict=True)]
        spread = None if scales is None else [_spread(scale, self.coarsest) for scale in scales]
        if spread is not None:
            pooled = [x * scale for x, scale in zip(pooled, spread, strict=True)]
        hidden = torch.relu(self.reduce(torch.cat(pooled, dim=1)))
        changed = []
        for i, (x, k) in enumerate(zip(maps, self.factors, strict=True)):
            weights = torch.sigmoid(self.expand[i](hidden))
            if spread is not None:
                weights = weights * spread[i]
            changed.append(self.depthwise[i](x * _enlarged(weights, k)))
        return changed, [weights(x) for weights, x in zip(self.weights, changed, strict=True)]


class _PlacedNaiveBlock(nn.Module):
    """ShuffleNet units. What passes is never negative (rectified before), so it may go through the unit's last ReLU."""

    def __init__(self, block: NaiveBlock, places: Sequence[Places]) -> None:
        super().__init__()
        self.units, self.widen, self.passing = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        branches: Any = zip(block.units, places, strict=True)
        for (first, separable), place in branches:
            kept, changed = place.halves()
            inner = Places.in_order(len(changed.index))
            self.units.append(
                nn.Sequential(
                    _placed(first.conv, changed, inner), nn.ReLU(), _placed_depthwise(separable.depthwise.conv, inner)
                )
            )
            self.widen.append(_placed(separable.pointwise.conv, inner, changed))
            mask = first.conv.weight.new_zeros(place.width, 1, 1, 1)
            mask[kept.index] = 1
            self.passing.append(_conv(mask, mask.new_zeros(place.width), groups=place.width))

    def forward(self, maps: list[Tensor], scales: None) -> tuple[list[Tensor], None]:
        return [
            torch.relu(widen(unit(x)) + passing(x))
            for x, unit, widen, passing in zip(maps, self.units, self.widen, self.passing, strict=True)
        ], None


class _PlacedInflow(nn.Module):
    """Expects the first branch's own map doubled where it is the branch that receives."""

    def __init__(self, inflow: Inflow, end: int, places: Sequence[Places]) -> None:
        super().__init__()
        self.end = end
        self.paths = nn.ModuleList()
        paths: Any = inflow.paths
        for start, path in enumerate(paths):
            if start < end:
                self.paths.append(_down(list(path), places[start], places[end], gain=1.0 if start else 2.0))
            else:
                self.paths.append(_placed(path[0].conv, places[start], places[end]) if start > end else path)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        total = None
        for start in range(len(maps) - 1, self.end, -1):  # nearest neighbours: doubled sums are sums of doubled maps
            arrived = self.paths[start](maps[start])
            total = _enlarged(arrived if total is None else total + arrived, 2)
        total = maps[self.end] if total is None else total + maps[self.end]
        for start in range(self.end):
            total = total + self.paths[start](maps[start])
        return total


def _down(steps: Sequence[SeparableConv], into: Places, out: Places, *, gain: float) -> nn.Sequential:
    """Return strided steps, of which the last, which no ReLU ends, goes to the new places and is multiplied."""
    *first, last = steps
    return nn.Sequential(*(_separable(step, into, into) for step in first), _separable(last, into, out, gain=gain))


def _separable(step: SeparableConv, into: Places, out: Places, *, gain: float = 1.0) -> nn.Sequential:
    placed = nn.Sequential(
        _placed_depthwise(step.depthwise.conv, into), _placed(step.pointwise.conv, into, out, gain=gain)
    )
    if isinstance(step.pointwise.activation, nn.ReLU):
        placed.append(nn.ReLU())
    return placed


def _placed(
    conv: nn.Conv2d, into: Places | None, out: Places | None, *, gain: float = 1.0, others: float = 0.0
) -> nn.Conv2d:
    """Return a dense convolution that reads and writes its channels at places; None: as it does.

    gain: factor of the result. others: what is written at all other places.
    """
    inputs = into or Places(torch.arange(conv.in_channels), conv.in_channels)
    outputs = out or Places(torch.arange(conv.out_channels), conv.out_channels)
    weight = conv.weight.new_zeros(outputs.width, inputs.width, *conv.kernel_size)
    bias = conv.weight.new_full((outputs.width,), others)
    weight[outputs.index[:, None], inputs.index] = gain * conv.weight.detach()
    bias[outputs.index] = gain * _bias(conv)
    return _conv(weight, bias, like=conv)


def _placed_depthwise(conv: nn.Conv2d, places: Places, *, passing: bool = False) -> nn.Conv2d:
    """Return a depthwise convolution of the channels at places; the others are passed or become 0."""
    weight = conv.weight.new_zeros(places.width, 1, *conv.kernel_size)
    weight[:, :, conv.kernel_size[0] // 2, conv.kernel_size[1] // 2] = float(passing)
    bias = weight.new_zeros(places.width)
    weight[places.index], bias[places.index] = conv.weight.detach(), _bias(conv)
    return _conv(weight, bias, like=conv, groups=places.width)


def _conv(weight: Tensor, bias: Tensor, *, like: nn.Conv2d | None = None, groups: int = 1) -> nn.Conv2d:
    out_channels, inputs, *kernel = weight.shape
    step: Any = like or nn.Conv2d(1, 1, 1)
    conv = nn.Conv2d(
        inputs * groups, out_channels, (kernel[0], kernel[1]), stride=step.stride, padding=step.padding, groups=groups
    )
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv


def _split(conv: nn.Conv2d, counts: Sequence[int]) -> list[nn.Conv2d]:
    """Return the convolutions that compute `counts` of the output channels each."""
    pairs = zip(conv.weight.detach().split(counts), _bias(conv).split(counts), strict=True)  # type: ignore[arg-type]
    return [_conv(weight, bias, like=conv) for weight, bias in pairs]


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None  # of a network without batch normalisation
    return conv.bias.detach()


def _spread(x: Tensor, shape: tuple[int, int]) -> Tensor:
    """Repeat (B, C, 1, 1) over (h, w): engines multiply maps of one shape in their own layout, others not."""
    return F.interpolate(x, scale_factor=(float(shape[0]), float(shape[1])), mode="nearest")


def _enlarged(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="nearest") if factor > 1 else x
