"""A LitePose as the parts whose costs add up: stem, inverted bottlenecks, the branches of deconvolutions and heads.

A part is known by its numbers alone, so equal parts of different networks are counted and timed once. Where the network
adds two branches (a deconvolution's or a head's `refined` and `raw`), each branch is a part and the addition belongs to
`raw`; else a table of every pair of widths would be needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from litepose.models.layers import ConvNorm, DeconvNorm, SeparableHead, doubling_deconv
from litepose.models.litepose import (
    HEAD_KERNEL,
    STAGE_STRIDES,
    STEM_CHANNELS,
    InvertedBottleneck,
    LitePose,
    arch_from_json,
)
from litepose.search.space import SearchSpace


@dataclass(frozen=True)
class Part:
    """A piece of a network. side: of its square input map, cells. What a kind does not have is 0."""

    kind: str
    in_channels: int
    out_channels: int
    side: int
    kernel: int = 0
    stride: int = 0
    expansion: float = 0

    @property
    def key(self) -> str:
        """Its name in tables: "block 16-24 side 64 kernel 7 stride 2 expansion 6"."""
        more = [f"{name} {getattr(self, name):g}" for name in ("kernel", "stride", "expansion") if getattr(self, name)]
        return " ".join([self.kind, f"{self.in_channels}-{self.out_channels}", f"side {self.side}", *more])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.in_channels, self.side, self.side)

    def build(self) -> nn.Module:
        """Return the part as a module with fresh weights."""
        return BUILDERS[self.kind](self)


@dataclass(frozen=True)
class Head:
    """What of a LitePose is no choice of its arch. output_channels: of both outputs. fused: with raw branches."""

    output_channels: tuple[int, ...]
    deconv_kernels: tuple[int, ...]
    fused: bool


class Added(nn.Module):
    """A branch whose result is added to a map of its own size."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        return y + y


def _stem(part: Part) -> nn.Module:
    return nn.Sequential(
        ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2),
        ConvNorm(STEM_CHANNELS, STEM_CHANNELS, kernel=3, groups=STEM_CHANNELS),
        ConvNorm(STEM_CHANNELS, part.out_channels, activation=None),
    )


def _block(part: Part) -> nn.Module:
    return InvertedBottleneck(
        part.in_channels, part.out_channels, expansion=part.expansion, kernel=part.kernel, stride=part.stride
    )


BUILDERS = {
    "stem": _stem,
    "block": _block,
    "deconv": lambda part: DeconvNorm(part.in_channels, part.out_channels, kernel=part.kernel),
    "raw deconv": lambda part: Added(doubling_deconv(part.in_channels, part.out_channels, kernel=part.kernel)),
    "head": lambda part: SeparableHead(part.in_channels, part.out_channels, kernel=part.kernel),
    "raw head": lambda part: Added(SeparableHead(part.in_channels, part.out_channels, kernel=part.kernel)),
}


def head_of(settings: Mapping[str, Any]) -> Head:
    """Return what the keyword arguments of `LitePose` beside the arch say. Raises SettingError."""
    tiny = {
        "img_size": 16, "input_channel": 8, "deconv_setting": [8] * 3,
        "backbone_setting": [
            {"num_blocks": 1, "stride": stride, "channel": 8, "block_setting": [[1, 1]]} for stride in STAGE_STRIDES
        ],
    }  # fmt: skip
    with torch.device("meta"):
        channels = LitePose(tiny, **settings).output_channels
    return Head(channels, tuple(settings.get("deconv_kernels", (4, 4, 4))), not settings.get("simple_head", False))


def parts_of(arch: Mapping[str, Any], head: Head) -> tuple[Part, ...]:
    """Return the parts of a network, for an input of the arch's own size. Raises ModelError for a broken arch."""
    shape = arch_from_json(arch)
    side = shape.input_size // 2
    parts = [Part("stem", 3, shape.first_channels, shape.input_size)]
    widths = [shape.first_channels]
    for stage in shape.stages:
        for i, (expansion, kernel) in enumerate(stage.blocks):
            stride = stage.stride if i == 0 else 1
            in_channels = widths[-1] if i == 0 else stage.channels
            parts.append(Part("block", in_channels, stage.channels, side, kernel, stride, expansion))
            side //= stride
        widths.append(stage.channels)
    options = [[width] for width in widths], [[channels] for channels in shape.deconv_channels]
    return (*parts, *_head_parts(*options, side, head))


def parts_of_space(space: SearchSpace, head: Head) -> tuple[Part, ...]:
    """Return every part that a network of the space may have, once each."""
    parts: dict[Part, None] = {}
    firsts = sorted(set(space.first_channels))
    widths = [firsts, *(sorted(set(channels)) for channels in space.stage_channels)]
    deconvs = [sorted(set(channels)) for channels in space.deconv_channels]
    for size in sorted(set(space.input_sizes)):
        parts |= dict.fromkeys(Part("stem", 3, first, size) for first in firsts)
        side = size // 2
        for i, stride in enumerate(STAGE_STRIDES):
            for expansion, kernel in product(sorted(set(space.expansions)), sorted(set(space.kernels))):
                for before, channels in product(widths[i], widths[i + 1]):
                    parts[Part("block", before, channels, side, kernel, stride, expansion)] = None
                    if max(space.depths[i]) > 1:
                        parts[Part("block", channels, channels, side // stride, kernel, 1, expansion)] = None
            side //= stride
        parts |= dict.fromkeys(_head_parts(widths, deconvs, side, head))
    return tuple(parts)


def _head_parts(widths: Sequence[Sequence[int]], deconvs: Sequence[Sequence[int]], side: int, head: Head) -> list[Part]:
    """Return deconvolutions and heads of all these widths.

    widths: what the backbone's maps at strides 2, 4, 8, 16, 16 may have; deconvs: the deconvolutions. side: at 16.
    """
    outputs, parts, deeper = head.output_channels, [], widths[4]
    for i, (deconv, kernel) in enumerate(zip(deconvs, head.deconv_kernels, strict=True)):
        parts += [Part("deconv", one, channels, side, kernel, 2) for one, channels in product(deeper, deconv)]
        if head.fused:
            raw = product(widths[3 - i], deconv)
            parts += [Part("raw deconv", one, channels, side, kernel, 2) for one, channels in raw]
        deeper, side = deconv, 2 * side
        if i > 0:
            parts += [Part("head", one, outputs[i - 1], side, HEAD_KERNEL) for one in deeper]
            if head.fused:
                parts += [Part("raw head", one, outputs[i - 1], side, HEAD_KERNEL) for one in widths[2 - i]]
    return parts
