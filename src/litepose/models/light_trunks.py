"""Two classifiers' trunks for phones, MobileNetV2 and ShuffleNetV2 at width 1: pictures to one map at stride 32.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018; Ma et al., "ShuffleNet V2:
Practical Guidelines for Efficient CNN Architecture Design", ECCV 2018; as in open-mmlab/mmpose@v0.13.0
(mmpose/models/backbones/{mobilenet_v2,shufflenet_v2}.py). No family of its own: `simplebaseline` puts its head on them.
Pieces come from the sibling families `litepose` (inverted bottleneck, here with 3x3 kernels) and `litehrnet` (depthwise
convolution, interleaving of channels).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from litepose.models.layers import ConvNorm, Keys, conv_norm_keys
from litepose.models.litehrnet import depthwise, interleave
from litepose.models.litepose import InvertedBottleneck

# Of each stage: expansion, channels, blocks, stride of the first (MobileNetV2, table 2, without its first row).
MOBILE_STAGES = ((6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
MOBILE_STEM, MOBILE_FIRST, MOBILE_LAST = 32, 16, 1280
# Of each stage: channels, units (ShuffleNetV2, table 5, 1x).
SHUFFLE_STAGES = ((116, 4), (232, 8), (464, 4))
SHUFFLE_STEM, SHUFFLE_LAST = 24, 1024


class MobileNetV2(nn.Module):
    """(B, 3, H, W) -> (B, 1280, H/32, W/32)."""

    out_channels = MOBILE_LAST

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, MOBILE_STEM, kernel=3, stride=2)
        first = nn.Sequential(  # a bottleneck of expansion 1
            ConvNorm(MOBILE_STEM, MOBILE_STEM, kernel=3, groups=MOBILE_STEM),
            ConvNorm(MOBILE_STEM, MOBILE_FIRST, activation=None),
        )
        self.stages = nn.Sequential(nn.Sequential(first))
        in_channels = MOBILE_FIRST
        for expansion, channels, blocks, stride in MOBILE_STAGES:
            stage = nn.Sequential()
            for i in range(blocks):
                step = 1 if i else stride
                stage.append(InvertedBottleneck(in_channels, channels, expansion=expansion, kernel=3, stride=step))
                in_channels = channels
            self.stages.append(stage)
        self.last = ConvNorm(in_channels, MOBILE_LAST)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.stages(self.stem(images)))


class ShuffleNetV2(nn.Module):
    """(B, 3, H, W) -> (B, 1024, H/32, W/32)."""

    out_channels = SHUFFLE_LAST

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, SHUFFLE_STEM, kernel=3, stride=2, activation=nn.ReLU)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.Sequential()
        in_channels = SHUFFLE_STEM
        for channels, units in SHUFFLE_STAGES:
            rest = (ShuffleUnit(channels) for _ in range(units - 1))
            self.stages.append(nn.Sequential(HalvingUnit(in_channels, channels), *rest))
            in_channels = channels
        self.last = ConvNorm(in_channels, SHUFFLE_LAST, activation=nn.ReLU)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.stages(self.pool(self.stem(images))))


class ShuffleUnit(nn.Module):
    """One half of the channels goes through 1x1, 3x3 depthwise, 1x1; the other stays; both are interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half_channels = channels // 2
        self.changed = _shuffle_branch(self.half_channels, self.half_channels, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = torch.split(x, self.half_channels, dim=1)
        return interleave(kept, self.changed(changed))


class HalvingUnit(nn.Module):
    """Half the size, more channels: one half of them through 3x3 depthwise and 1x1, the other as in a shuffle unit."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.short = nn.Sequential(
            depthwise(in_channels, stride=2),
            ConvNorm(in_channels, half, activation=nn.ReLU),
        )
        self.changed = _shuffle_branch(in_channels, half, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return interleave(self.short(x), self.changed(x))


def _shuffle_branch(in_channels: int, channels: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(in_channels, channels, activation=nn.ReLU),
        depthwise(channels, stride=stride),
        ConvNorm(channels, channels, activation=nn.ReLU),
    )


def _mobile_keys() -> Keys:
    """Return the rules for mmpose's `layerS.B.conv.N` and torchvision's `features.N`; N goes through all stages."""
    keys = [
        *conv_norm_keys(r"layer1\.0\.conv\.0\.conv", r"layer1\.0\.conv\.0\.bn", "trunk.stages.0.0.0"),
        *conv_norm_keys(r"layer1\.0\.conv\.1\.conv", r"layer1\.0\.conv\.1\.bn", "trunk.stages.0.0.1"),
        *conv_norm_keys(r"conv2\.conv", r"conv2\.bn", "trunk.last"),
        *conv_norm_keys(r"features\.0\.0", r"features\.0\.1", "trunk.stem"),
        *conv_norm_keys(r"features\.1\.conv\.0\.0", r"features\.1\.conv\.0\.1", "trunk.stages.0.0.0"),
        *conv_norm_keys(r"features\.1\.conv\.1", r"features\.1\.conv\.2", "trunk.stages.0.0.1"),
        *conv_norm_keys(r"features\.18\.0", r"features\.18\.1", "trunk.last"),
    ]
    number = 2
    for stage, (_, _, blocks, _) in enumerate(MOBILE_STAGES, start=1):
        for n, part in enumerate(("expand", "depthwise", "project")):
            conv = rf"layer{stage + 1}\.(\d+)\.conv\.{n}"
            keys += conv_norm_keys(rf"{conv}\.conv", rf"{conv}\.bn", rf"trunk.stages.{stage}.\1.{part}")
        for block in range(blocks):
            conv, ours = rf"features\.{number}\.conv", f"trunk.stages.{stage}.{block}"
            keys += conv_norm_keys(rf"{conv}\.0\.0", rf"{conv}\.0\.1", f"{ours}.expand")
            keys += conv_norm_keys(rf"{conv}\.1\.0", rf"{conv}\.1\.1", f"{ours}.depthwise")
            keys += conv_norm_keys(rf"{conv}\.2", rf"{conv}\.3", f"{ours}.project")
            number += 1
    return tuple(keys)


def _shuffle_keys() -> Keys:
    """Return the rules for mmpose's `layers.S.U.branchN` and torchvision's `stageS.U.branchN`."""
    keys = [
        *conv_norm_keys(r"conv1\.0", r"conv1\.1", "trunk.stem"),
        *conv_norm_keys(r"layers\.3\.conv", r"layers\.3\.bn", "trunk.last"),
        *conv_norm_keys(r"conv5\.0", r"conv5\.1", "trunk.last"),
    ]
    places = {"branch1": ("short", (0, 2)), "branch2": ("changed", (0, 3, 5))}  # torchvision counts the ReLUs too
    for stage in range(len(SHUFFLE_STAGES)):
        for theirs, (ours, indices) in places.items():
            mmpose, torchvision = rf"layers\.{stage}\.(\d+)\.{theirs}", rf"stage{stage + 2}\.(\d+)\.{theirs}"
            for n, index in enumerate(indices):
                part = rf"trunk.stages.{stage}.\1.{ours}.{n}"
                keys += conv_norm_keys(rf"{mmpose}\.{n}\.conv", rf"{mmpose}\.{n}\.bn", part)
                keys += conv_norm_keys(rf"{torchvision}\.{index}", rf"{torchvision}\.{index + 1}", part)
    return tuple(keys)


# Names of tensors (whole-name patterns) -> ours: mmpose's, and torchvision's for a start from ImageNet weights.
LIGHT_TRUNK_KEYS: Keys = (
    *conv_norm_keys(r"conv1\.conv", r"conv1\.bn", "trunk.stem"),
    *_mobile_keys(),
    *_shuffle_keys(),
)
