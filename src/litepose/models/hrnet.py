"""HRNet: branches of four resolutions side by side, the finest kept from end to end; top-down, one map a keypoint.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019;
leoxiaobin/deep-high-resolution-net.pytorch@00d7bf7 (lib/models/pose_hrnet.py). `hrnet_w16_small` is the Small HRNet of
Yu et al. 2021 (Lite-HRNet): the layout of HRNetV2-W18-Small-v1 (HRNet/HRNet-Semantic-Segmentation) with width 16, the
one layout that has the paper's 1.3M parameters and 0.54 G. Nothing differs from the authors' arithmetic; the names of
the parts do (`OFFICIAL_KEYS`). HigherHRNet takes `Trunk`, `BasicBlock`, their keys and `start_small` from here,
EfficientHRNet `Exchange` and `exchange_keys`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.layers import (
    ConvNorm,
    FamilyDefault,
    Keys,
    PoseNetwork,
    check_input_size,
    conv_norm_keys,
)

STEM_CHANNELS = 64
BOTTLENECK_EXPANSION = 4
NUM_STAGES = 3  # after the first; each adds a branch
START_STD = 0.001


class HRNet(PoseNetwork):
    """Crops of one person each to heatmaps at stride 4.

    width: channels of the finest branch; each coarser one has twice as many.
    bottleneck_channels, bottlenecks: inner channels and number of the blocks of the first stage.
    modules: exchange modules of the three stages after it. blocks: basic blocks of each branch in each module.
    """

    output_strides = (4,)
    input_stride = 32

    def __init__(
        self,
        *,
        num_keypoints: int,
        width: int = 32,
        bottleneck_channels: int = 64,
        bottlenecks: int = 4,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int = 4,
    ) -> None:
        super().__init__()
        self.output_channels = (num_keypoints,)
        self.trunk = Trunk(
            width,
            bottleneck_channels=bottleneck_channels,
            bottlenecks=bottlenecks,
            modules=modules,
            blocks=blocks,
        )
        self.head = nn.Conv2d(width, num_keypoints, 1)
        start_small(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) RGB, normalised, to ((B, K, H/4, W/4),)."""
        check_input_size(images, self.input_stride)
        return (self.head(self.trunk(images)[0]),)


class Trunk(nn.Module):
    """Everything before the heads: (B, 3, H, W) -> maps at strides 4, 8, 16, 32 with width, 2, 4, 8 times width.

    blocks: of every branch, or of each one: ((2 numbers), (3), (4)) for the stages with 2, 3 and 4 branches, 0 as in
        `Exchange`.
    num_outputs: how many of the four are computed, the finest first (HRNet and HigherHRNet read only that one).
    The other arguments: as in `HRNet`. Raises SettingError.
    """

    def __init__(
        self,
        width: int,
        *,
        bottleneck_channels: int = 64,
        bottlenecks: int = 4,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int | Sequence[Sequence[int]] = 4,
        num_outputs: int = 1,
    ) -> None:
        super().__init__()
        _check_counts(width, bottleneck_channels, bottlenecks, *modules)
        if len(modules) != NUM_STAGES:
            raise SettingError(f"HRNet has {NUM_STAGES} stages of modules; found modules={list(modules)}.")
        depths = blocks_of_branches(blocks)
        self.stem = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2, activation=nn.ReLU),
            ConvNorm(STEM_CHANNELS, STEM_CHANNELS, kernel=3, stride=2, activation=nn.ReLU),
        )
        channels = BOTTLENECK_EXPANSION * bottleneck_channels
        self.stage1 = nn.Sequential(
            *(Bottleneck(channels if i else STEM_CHANNELS, bottleneck_channels) for i in range(bottlenecks))
        )
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        before = [channels]
        for number, count in enumerate(modules):
            widths = [width * 2**i for i in range(number + 2)]
            outputs = [len(widths)] * count
            if number == NUM_STAGES - 1:
                outputs[-1] = num_outputs
            self.transitions.append(Transition(before, widths))
            self.stages.append(
                nn.Sequential(*(Exchange(widths, blocks=depths[number], num_outputs=n) for n in outputs))
            )
            before = widths

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps: tuple[Tensor, ...] = (self.stage1(self.stem(images)),)
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            maps = stage(transition(maps))
        return maps


class Bottleneck(nn.Module):
    """1x1 to few channels, 3x3, 1x1 to four times as many; the input, brought to that width if need be, is added."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        out_channels = BOTTLENECK_EXPANSION * channels
        self.reduce = ConvNorm(in_channels, channels, activation=nn.ReLU)
        self.spatial = ConvNorm(channels, channels, kernel=3, activation=nn.ReLU)
        self.expand = ConvNorm(channels, out_channels, activation=None)
        widens = in_channels != out_channels
        self.shortcut = ConvNorm(in_channels, out_channels, activation=None) if widens else nn.Identity()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.expand(self.spatial(self.reduce(x))) + self.shortcut(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels, kernel=3, activation=nn.ReLU)
        self.second = ConvNorm(channels, channels, kernel=3, activation=None)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.second(self.first(x)) + x)


class Transition(nn.Module):
    """From the branches of one stage to those of the next: one more, half as fine, made from the coarsest."""

    def __init__(self, before: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for i, width in enumerate(widths):
            if i < len(before) and before[i] == width:
                self.branches.append(nn.Identity())
                continue
            in_channels, stride = (before[i], 1) if i < len(before) else (before[-1], 2)
            self.branches.append(ConvNorm(in_channels, width, kernel=3, stride=stride, activation=nn.ReLU))

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(branch(maps[min(i, len(maps) - 1)]) for i, branch in enumerate(self.branches))


class Exchange(nn.Module):
    """Basic blocks on each branch; then each output is the rectified sum of all branches brought to its size.

    blocks: how many on each branch; 0 = one 3x3 convolution instead (mit-han-lab/litepose@00b702d, NUM_BLOCKS 0).
    paths[i][j] leads from branch j to output i.
    """

    def __init__(self, widths: Sequence[int], *, blocks: Sequence[int], num_outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(width, count) for width, count in zip(widths, blocks, strict=True))
        self.paths = nn.ModuleList(
            nn.ModuleList(_path(widths, j, i) for j in range(len(widths))) for i in range(num_outputs)
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        maps = tuple(branch(x) for branch, x in zip(self.branches, maps, strict=True))
        outputs = []
        for paths in self.paths:
            arrived = [path(x) for path, x in zip(paths, maps, strict=True)]  # type: ignore[call-overload]
            outputs.append(self.activation(reduce(torch.add, arrived)))
        return tuple(outputs)


def start_small(network: nn.Module) -> None:
    """Give every convolution weights of N(0, 0.001) and a bias of 0, as the authors' `init_weights` does."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=START_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def blocks_of_branches(blocks: int | Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the number of blocks of each branch of the stages with 2, 3 and 4 branches. Raises SettingError."""
    branches = range(2, NUM_STAGES + 2)
    if isinstance(blocks, int):
        _check_counts(blocks)
        return [[blocks] * count for count in branches]
    if not isinstance(blocks, Sequence) or [len(one) for one in blocks] != list(branches):
        raise SettingError(
            f"blocks is one number, or 2, 3 and 4 numbers for the branches of each stage; found {blocks}."
        )
    _check_counts(*(count for one in blocks for count in one), least=0)
    return [list(one) for one in blocks]


def _branch(width: int, blocks: int) -> nn.Module:
    if blocks == 0:
        return ConvNorm(width, width, kernel=3)
    return nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))


def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Return the way from one branch to another: 1x1 and repeat pixels upwards, one 3x3 for each halving downwards."""
    if source == target:
        return nn.Identity()
    if source > target:
        narrow = ConvNorm(widths[source], widths[target], activation=None)
        return nn.Sequential(narrow, nn.Upsample(scale_factor=float(2 ** (source - target)), mode="nearest"))
    steps = nn.Sequential()
    for number in range(source, target):
        last = number == target - 1
        out_channels, activation = (widths[target], None) if last else (widths[source], nn.ReLU)
        steps.append(ConvNorm(widths[source], out_channels, kernel=3, stride=2, activation=activation))
    return steps


def _check_counts(*values: Any, least: int = 1) -> None:
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise SettingError(f"Widths and counts of an HRNet are whole numbers from {least} on; found {value!r}.")


NETWORK = HRNet

VARIANTS: dict[str, dict[str, Any]] = {
    "hrnet_w32": {"width": 32},
    "hrnet_w48": {"width": 48},
    "hrnet_w16_small": {
        "width": 16, "bottleneck_channels": 32, "bottlenecks": 1, "modules": (1, 1, 1), "blocks": 2,
    },
}  # fmt: skip

DEFAULT = FamilyDefault(
    codec="heatmap",
    outputs=("heatmap",),
    sizes=dict.fromkeys(VARIANTS, (192, 256)),
    resize="box",
    counting="lpn",
    counting_by_variant={"hrnet_w16_small": "torchstat"},  # it is printed by the authors of Lite-HRNet
)

BLOCK_PARTS = (("conv1", "first.conv"), ("bn1", "first.norm"), ("conv2", "second.conv"), ("bn2", "second.norm"))
_BOTTLENECK = (
    ("conv1", "reduce.conv"), ("bn1", "reduce.norm"), ("conv2", "spatial.conv"), ("bn2", "spatial.norm"),
    ("conv3", "expand.conv"), ("bn3", "expand.norm"),
    (r"downsample\.0", "shortcut.conv"), (r"downsample\.1", "shortcut.norm"),
)  # fmt: skip
_CONV_NORM = (("0", "conv"), ("1", "norm"))


def exchange_keys() -> Keys:
    """Return the rules for the exchange modules; the authors count the stages from 2."""
    rules: list[tuple[str, str]] = []
    for i in range(NUM_STAGES):
        theirs, ours = rf"stage{i + 2}\.(\d+)", rf"trunk.stages.{i}.\1"
        branch = rf"{theirs}\.branches\.(\d+)"
        rules += [
            (rf"{branch}\.(\d+)\.{part}\.(\w+)", rf"{ours}.branches.\2.\3.{our_part}.\4")
            for part, our_part in BLOCK_PARTS
        ]
        for part, our_part in _CONV_NORM:
            fuse = rf"{theirs}\.fuse_layers\.(\d+)\.(\d+)"
            rules += [
                (rf"{branch}\.{part}\.(\w+)", rf"{ours}.branches.\2.{our_part}.\3"),  # in place of blocks
                # up: one convolution; down: a chain of them
                (rf"{fuse}\.{part}\.(\w+)", rf"{ours}.paths.\2.\3.0.{our_part}.\4"),
                (rf"{fuse}\.(\d+)\.{part}\.(\w+)", rf"{ours}.paths.\2.\3.\4.{our_part}.\5"),
            ]
    return tuple(rules)


def _trunk_keys() -> Keys:
    """Return the rules for the trunk; the authors count transitions from 1."""
    rules: list[tuple[str, str]] = []
    for i in (0, 1):
        rules += conv_norm_keys(f"conv{i + 1}", f"bn{i + 1}", f"trunk.stem.{i}")
    rules += [(rf"layer1\.(\d+)\.{theirs}\.(\w+)", rf"trunk.stage1.\1.{ours}.\2") for theirs, ours in _BOTTLENECK]
    for i in range(NUM_STAGES):
        transition = rf"transition{i + 1}\.(\d+)"
        for theirs, ours in _CONV_NORM:
            rules.append((rf"{transition}\.(?:0\.)?{theirs}\.(\w+)", rf"trunk.transitions.{i}.branches.\1.{ours}.\2"))
    return (*rules, *exchange_keys())


# The authors' name of a tensor (a whole-name pattern) -> ours.
TRUNK_KEYS: Keys = _trunk_keys()
OFFICIAL_KEYS: Keys = (*TRUNK_KEYS, (r"final_layer\.(\w+)", r"head.\1"))

_COCO, _MPII = "COCO val2017, boxes of person AP .564, flip test", "MPII val, flip test"
_G = 2**30  # of the authors' summary, and of Lite-HRNet's

# Printed by the authors (README of leoxiaobin/deep-high-resolution-net.pytorch; small: table 2 of Yu et al. 2021):
# variant -> number of keypoints of the skeleton -> figures, by input size (w, h).
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "hrnet_w32": {
        17: {
            "data": _COCO,
            "sizes": {(192, 256): {"macs": round(7.1 * _G), "AP": 0.744}, (288, 384): {"AP": 0.758}},
        },
        16: {"data": _MPII, "sizes": {(256, 256): {"PCKh": 0.903, "PCKh@0.11": 0.377}}},
    },
    "hrnet_w48": {
        17: {
            "data": _COCO,
            "sizes": {(192, 256): {"macs": round(14.6 * _G), "AP": 0.751}, (288, 384): {"AP": 0.763}},
        },
    },
    "hrnet_w16_small": {
        17: {
            "data": _COCO,
            "sizes": {
                (192, 256): {"macs": round(0.54 * _G), "AP": 0.552},
                (288, 384): {"macs": round(1.21 * _G), "AP": 0.560},
            },
        },
    },
}
