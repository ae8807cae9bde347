"""EfficientHRNet: HigherHRNet on an EfficientNet, all of it scaled down together; bottom-up, as HigherHRNet.

Neff et al., "EfficientHRNet: Efficient and Scalable High-Resolution Networks for Real-Time Multi-Person 2D Human Pose
Estimation", 2021 (arXiv 2007.08090); mit-han-lab/litepose@00b702d (lib/models/pose_efficient_hrnet.py). Every branch
begins at the backbone's map of its size. Exchange modules come from the sibling family `hrnet`, the head from
`higherhrnet`. Nothing differs from the authors' arithmetic; the names of the parts do (`OFFICIAL_KEYS`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.higherhrnet import HEAD_KEYS, HigherHead
from litepose.models.hrnet import NUM_STAGES, Exchange, exchange_keys, start_small
from litepose.models.layers import (
    ConvNorm,
    FamilyDefault,
    Keys,
    PoseNetwork,
    ae_output_channels,
    check_input_size,
    conv_norm_keys,
    make_divisible,
)

# EfficientNet-B0's groups of blocks: expansion, channels, blocks, stride of the first, kernel (Tan and Le, table 1).
GROUPS = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
)  # fmt: skip
STEM_CHANNELS = 32
TAPPED_GROUPS = (1, 2, 4, 6)  # their last maps begin the branches of strides 4, 8, 16, 32
ATTENTION_RATIO = 4
BRANCH_CHANNELS = 32  # of the finest branch at scale 0, and of the head
SCALE_BASE = 1.2455
BLOCKS = 2  # on each branch of an exchange module, and in the head


class EfficientHRNet(PoseNetwork):
    """Pictures to heatmaps and tags at stride 4, heatmaps at stride 2.

    width, depth: factors of the EfficientNet's channels and blocks.
    scale: of the branches; each step down divides their channels by 1.2455.
    modules: exchange modules of the stages with two, three and four branches.
    dropped_share: of the pictures of a batch for which a block of the backbone passes its input alone, in training; the
        authors train with 0.2.
    tag_per_keypoint, center_keypoint, heatmap_outputs, tag_outputs: see `layers.ae_output_channels`.
    """

    output_strides = (4, 2)
    input_stride = 32

    def __init__(
        self,
        *,
        num_keypoints: int,
        width: float = 0.909,
        depth: float = 0.833,
        scale: int = -1,
        modules: Sequence[int] = (1, 3, 3),
        dropped_share: float = 0.0,
        tag_per_keypoint: bool = True,
        center_keypoint: bool = False,
        heatmap_outputs: Sequence[bool] = (True, True),
        tag_outputs: Sequence[bool] = (True, False),
    ) -> None:
        super().__init__()
        _check_factors(width, depth, dropped_share, modules)
        self.output_channels = ae_output_channels(
            num_keypoints,
            tag_per_keypoint=tag_per_keypoint,
            center_keypoint=center_keypoint,
            heatmap_outputs=heatmap_outputs,
            tag_outputs=tag_outputs,
        )
        widths = [math.ceil(BRANCH_CHANNELS * 2**i * SCALE_BASE**scale) for i in range(NUM_STAGES + 1)]
        self.backbone = EfficientNet(width, depth, dropped_share=dropped_share)
        self.trunk = Branches(self.backbone.out_channels, widths, modules=modules)
        self.head = HigherHead(widths[0], self.output_channels, deconv_channels=widths[0], blocks=BLOCKS)
        start_small(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) RGB, normalised, to ((B, C0, H/4, W/4), (B, C1, H/2, W/2))."""
        check_input_size(images, self.input_stride)
        return self.head(self.trunk(self.backbone(images)))


class EfficientNet(nn.Module):
    """(B, 3, H, W) -> maps at strides 4, 8, 16, 32, of `out_channels`. Tan and Le, ICML 2019."""

    def __init__(self, width: float, depth: float, *, dropped_share: float) -> None:
        super().__init__()
        channels = make_divisible(STEM_CHANNELS * width)
        self.features = nn.ModuleList([_swish(3, channels, kernel=3, stride=2)])
        self.taps, self.out_channels = [], []
        for number, (expansion, out_channels, blocks, stride, kernel) in enumerate(GROUPS):
            for i in range(math.ceil(blocks * depth)):
                block = AttentionBottleneck(
                    channels,
                    make_divisible(out_channels * width),
                    expansion=expansion,
                    kernel=kernel,
                    stride=1 if i else stride,
                    dropped_share=dropped_share,
                )
                self.features.append(block)
                channels = block.out_channels
            if number in TAPPED_GROUPS:
                self.taps.append(len(self.features) - 1)
                self.out_channels.append(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        x, maps = images, []
        for i, feature in enumerate(self.features):
            x = feature(x)
            if i in self.taps:
                maps.append(x)
        return maps


class AttentionBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, channel weights, 1x1 projection; the input is added where it fits."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        kernel: int,
        stride: int,
        dropped_share: float,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.out_channels, self.dropped_share = out_channels, dropped_share
        self.expand = _swish(in_channels, hidden) if expansion != 1 else nn.Identity()
        self.depthwise = _swish(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.attention = ChannelWeights(hidden, in_channels // ATTENTION_RATIO)
        self.project = ConvNorm(hidden, out_channels, activation=None)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.attention(self.depthwise(self.expand(x))))
        if not self.adds_input:
            return y
        if (
            self.training and self.dropped_share
        ):  # drop connect, Tan and Le 2019: the rest is enlarged so that the mean stays
            y = y * F.dropout(y.new_ones(len(y), 1, 1, 1), self.dropped_share)
        return x + y


class ChannelWeights(nn.Module):
    """Scale each channel by a number in (0, 1) computed from the map's mean. Hu et al. 2018, with swish."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.activation = nn.SiLU()
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.sigmoid(self.expand(self.activation(self.reduce(self.pool(x)))))


class Branches(nn.Module):
    """The backbone's four maps -> the finest branch.

    A new branch begins at the backbone's map, an old one goes on; both through a convolution before every stage.
    """

    def __init__(self, in_channels: Sequence[int], widths: Sequence[int], *, modules: Sequence[int]) -> None:
        super().__init__()
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        old = 0
        for number, count in enumerate(modules):
            new = number + 2  # branches of this stage
            sources = [*widths[:old], *in_channels[old:new]]
            convs = (
                ConvNorm(a, b, kernel=3, bias=True, activation=nn.ReLU) for a, b in zip(sources, widths, strict=False)
            )
            self.transitions.append(nn.ModuleList(convs))
            outputs = [new] * count
            if number == NUM_STAGES - 1:
                outputs[-1] = 1
            exchanges = (Exchange(widths[:new], blocks=[BLOCKS] * new, num_outputs=n) for n in outputs)
            self.stages.append(nn.Sequential(*exchanges))
            old = new

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        branches: tuple[Tensor, ...] = ()
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            sources = [*branches, *maps[len(branches) : len(transition)]]  # type: ignore[arg-type]
            branches = stage(tuple(conv(x) for conv, x in zip(transition, sources, strict=True)))  # type: ignore[call-overload]
        return branches[0]


def _swish(in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> ConvNorm:
    return ConvNorm(
        in_channels,
        out_channels,
        kernel=kernel,
        stride=stride,
        groups=groups,
        tensorflow_padding=True,
        activation=nn.SiLU,
    )


def _check_factors(width: float, depth: float, dropped_share: float, modules: Sequence[int]) -> None:
    if not width > 0 or not depth > 0 or not 0 <= dropped_share < 1:
        raise SettingError(
            f"EfficientHRNet needs a positive width and depth and a dropped_share from 0 to below 1; found {width}, "
            f"{depth} and {dropped_share}."
        )
    if len(modules) != NUM_STAGES or min(modules) < 1:
        raise SettingError(f"EfficientHRNet has {NUM_STAGES} stages of 1 or more modules; found {list(modules)}.")


NETWORK = EfficientHRNet

VARIANTS: dict[str, dict[str, Any]] = {
    "efficienthrnet_h1": {"width": 0.909, "depth": 0.833, "scale": -1, "modules": (1, 3, 3)},
    "efficienthrnet_h2": {"width": 0.826, "depth": 0.694, "scale": -2, "modules": (1, 2, 3)},
    "efficienthrnet_h3": {"width": 0.751, "depth": 0.578, "scale": -3, "modules": (1, 1, 3)},
    "efficienthrnet_h4": {"width": 0.684, "depth": 0.483, "scale": -4, "modules": (1, 1, 2)},
}
_SIZES = {"efficienthrnet_h1": 480, "efficienthrnet_h2": 448, "efficienthrnet_h3": 416, "efficienthrnet_h4": 384}

DEFAULT = FamilyDefault(
    codec="ae",
    outputs=("maps_stride4", "maps_stride2"),
    sizes={name: (side, side) for name, side in _SIZES.items()},
)


def _official_keys() -> Keys:
    """Return the rules; the authors number all blocks of the backbone from 1, of which the first has no expansion."""
    keys: list[tuple[str, str]] = list(conv_norm_keys(r"features\.0\.1", r"features\.0\.2", "backbone.features.0"))
    for theirs, ours, first in (
        (r"features\.1", "backbone.features.1", 0),
        (r"features\.(\d+)", r"backbone.features.\1", 1),
    ):
        conv = rf"{theirs}\.conv"
        if first:
            keys += conv_norm_keys(rf"{conv}\.0\.1", rf"{conv}\.0\.2", f"{ours}.expand")
        keys += conv_norm_keys(rf"{conv}\.{first}\.1", rf"{conv}\.{first}\.2", f"{ours}.depthwise")
        for layer, part in ((1, "reduce"), (3, "expand")):
            keys.append((rf"{conv}\.{first + 1}\.se\.{layer}\.(?P<tensor>\w+)", rf"{ours}.attention.{part}.\g<tensor>"))
        keys += conv_norm_keys(rf"{conv}\.{first + 2}", rf"{conv}\.{first + 3}", f"{ours}.project")
    for i in range(NUM_STAGES):
        for branch in range(i + 2):
            theirs = rf"trans{i + 1}_branch{branch + 1}"
            keys += conv_norm_keys(rf"{theirs}\.0", rf"{theirs}\.1", f"trunk.transitions.{i}.{branch}")
    return (*keys, *exchange_keys(), *HEAD_KEYS)


# The authors' name of a tensor (a whole-name pattern) -> ours.
OFFICIAL_KEYS: Keys = _official_keys()

_CROWDPOSE, _COCO = "CrowdPose test", "COCO val2017"
_POINT = "a point of a curve in LitePose's slides; that it is this variant is inferred from its MACs"

# As printed by the authors of LitePose (README; h2, h3: slides): variant -> number of keypoints of the skeleton ->
# figures. MACs at the size in their configurations; their test rounds its sides up to multiples of 64, as ours does.
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "efficienthrnet_h1": {
        14: {
            "macs": round(14.2e9),
            "data": _CROWDPOSE,
            "AP": 0.563,
            "latency_ms": {"Jetson Nano": 283, "Snapdragon 855": 267, "Raspberry Pi 4B+": 1229},
        },
        17: {
            "macs": round(14.4e9),
            "data": _COCO,
            "AP": 0.592,
            "AP_test_dev": 0.591,
            "latency_ms": {"Jetson Nano": 283, "Snapdragon 855": 267, "Raspberry Pi 4B+": 1229},
        },
    },
    "efficienthrnet_h2": {14: {"data": _CROWDPOSE, "AP": 0.536, "note": _POINT}},
    "efficienthrnet_h3": {14: {"data": _CROWDPOSE, "AP": 0.461, "note": _POINT}},
}
