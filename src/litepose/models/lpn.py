"""LPN: SimpleBaseline made light, with depthwise bottlenecks, global context and grouped deconvolutions; top-down.

Zhang et al., "Simple and Lightweight Human Pose Estimation", 2019 (arXiv 1911.10346);
zhang943/lpn-pytorch@f397525 (lib/models/lpn.py). Nothing differs from the authors' arithmetic; the names of the parts
do (`OFFICIAL_KEYS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from litepose.errors import SettingError, nearest_name
from litepose.models.layers import (
    ConvNorm,
    DeconvNorm,
    FamilyDefault,
    Keys,
    PoseNetwork,
    check_input_size,
    conv_norm_keys,
)

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 1)  # the last stage keeps the size: two deconvolutions lead back to stride 4
DECONV_CHANNELS = 256
ATTENTION_RATIO, MIN_HIDDEN = 16, 16
START_STD = 0.001

ATTENTIONS = ("gc", "se", "none")
INITS = ("normal", "torch")


class LPN(PoseNetwork):
    """Crops of one person each to heatmaps at stride 4.

    blocks: number of bottlenecks in each of the four stages.
    attention: at the end of every bottleneck "gc" (global context), "se" (squeeze and excitation) or "none".
    init: where fresh weights start. "normal", as for COCO: every convolution, also those of the global context, draws
        from N(0, 0.001); the biases of `reduce` and of the last layer stay as PyTorch draws them. "torch", as for
        MPII: all as PyTorch draws it, but each global context begins as the identity.
    """

    output_strides = (4,)
    input_stride = 16  # the smallest at which two doublings of the last map give exactly a quarter of the input

    def __init__(
        self, blocks: Sequence[int], *, num_keypoints: int, attention: str = "gc", init: str = "normal"
    ) -> None:
        super().__init__()
        _check_choice("attention", attention, ATTENTIONS)
        _check_choice("init", init, INITS)
        if len(blocks) != len(STAGE_CHANNELS):
            raise SettingError(f"LPN has {len(STAGE_CHANNELS)} stages of blocks; found blocks={list(blocks)}.")
        self.output_channels = (num_keypoints,)
        self.stem = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, kernel=7, stride=2, activation=nn.ReLU),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList()
        in_channels = STEM_CHANNELS
        for channels, stride, depth in zip(STAGE_CHANNELS, STAGE_STRIDES, blocks, strict=True):
            self.stages.append(_stage(in_channels, channels, stride=stride, depth=depth, attention=attention))
            in_channels = channels
        self.deconvs = nn.Sequential()
        for _ in range(2):  # groups: the greatest common divisor of both widths, 256
            self.deconvs.append(DeconvNorm(in_channels, DECONV_CHANNELS, groups=DECONV_CHANNELS))
            self.deconvs.append(ConvNorm(DECONV_CHANNELS, DECONV_CHANNELS, activation=nn.ReLU))
            in_channels = DECONV_CHANNELS
        self.head = nn.Conv2d(DECONV_CHANNELS, num_keypoints, 1)
        if init == "normal":
            start_small(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W), normalised, to ((B, K, H/4, W/4),)."""
        check_input_size(images, self.input_stride)
        x = self.stem(images)  # stride 4
        for stage in self.stages:
            x = stage(x)  # strides 4, 8, 16, 16
        return (self.head(self.deconvs(x)),)


class LightBottleneck(nn.Module):
    """1x1, 3x3 depthwise, 1x1, all of one width, then attention; the input, brought to shape if need be, is added."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, attention: str) -> None:
        super().__init__()
        self.reduce = ConvNorm(in_channels, channels, activation=nn.ReLU)
        self.spatial = ConvNorm(channels, channels, kernel=3, stride=stride, groups=channels, activation=nn.ReLU)
        self.expand = ConvNorm(channels, channels, activation=None)
        self.attention = _attention(attention, channels)
        changes = stride != 1 or in_channels != channels
        self.shortcut = ConvNorm(in_channels, channels, stride=stride, activation=None) if changes else nn.Identity()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.attention(self.expand(self.spatial(self.reduce(x))))
        return self.activation(y + self.shortcut(x))


class GlobalContext(nn.Module):
    """Add to every pixel the same vector: the map's mean, weighted by a softmax over its pixels, sent through a neck.

    Cao et al. 2019, "GCNet", the simplified block with fusion by addition; starts as the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = _hidden(channels)
        self.mask = nn.Conv2d(channels, 1, 1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm((hidden, 1, 1))
        self.activation = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(hidden, channels, 1)
        nn.init.kaiming_normal_(self.mask.weight, nonlinearity="relu")
        for parameter in (self.mask.bias, self.expand.weight, self.expand.bias):
            assert parameter is not None
            nn.init.zeros_(parameter)
        assert self.mask.bias is not None
        self.mask.bias.requires_grad_(False)  # a softmax does not see an offset common to all pixels

    def forward(self, x: Tensor) -> Tensor:
        batch, channels = x.shape[:2]  # numbers where sizes are fixed, so that an exported graph computes no shape
        weights = torch.softmax(self.mask(x).reshape(batch, 1, -1), dim=2)  # (B, 1, H W)
        context = torch.matmul(x.reshape(batch, channels, -1), weights.transpose(1, 2)).unsqueeze(3)  # (B, C, 1, 1)
        return x + self.expand(self.activation(self.norm(self.reduce(context))))


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number in (0, 1) computed from the map's mean. Hu et al. 2018."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, _hidden(channels), bias=False)
        self.activation = nn.ReLU(inplace=True)
        self.expand = nn.Linear(_hidden(channels), channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.sigmoid(self.expand(self.activation(self.reduce(x.mean(dim=(2, 3))))))  # (B, C)
        return x * scale.unsqueeze(2).unsqueeze(3)


def start_small(network: nn.Module) -> None:
    """Give every convolution weights of N(0, 0.001) and leave its bias, as the authors do with INIT_WEIGHTS."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=START_STD)


def _stage(in_channels: int, channels: int, *, stride: int, depth: int, attention: str) -> nn.Sequential:
    first = LightBottleneck(in_channels, channels, stride=stride, attention=attention)
    rest = (LightBottleneck(channels, channels, stride=1, attention=attention) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def _attention(name: str, channels: int) -> nn.Module:
    if name == "none":
        return nn.Identity()
    return GlobalContext(channels) if name == "gc" else SqueezeExcitation(channels)


def _hidden(channels: int) -> int:
    return max(channels // ATTENTION_RATIO, MIN_HIDDEN)


def _check_choice(setting: str, value: str, possible: Sequence[str]) -> None:
    if value not in possible:
        raise SettingError(f"LPN has no {setting} {value!r}. {nearest_name(str(value), possible)}")


NETWORK = LPN

VARIANTS: dict[str, dict[str, Any]] = {
    "lpn_50": {"blocks": (3, 4, 6, 3)},
    "lpn_101": {"blocks": (3, 4, 23, 3)},
    "lpn_152": {"blocks": (3, 8, 36, 3)},
}

DEFAULT = FamilyDefault(
    codec="heatmap",
    outputs=("heatmap",),
    sizes=dict.fromkeys(VARIANTS, (192, 256)),
    resize="box",
    official_colour="BGR",
    # The configurations for MPII say COLOR_RGB: true and TEST.BIAS: 1.0.
    official_colour_by_keypoints={16: "RGB"},
    official_codec_by_keypoints={16: {"bias_px": 1.0}},
    counting="lpn",
    codec_settings={"refinement": "soft_argmax"},
)

_ATTENTION = (
    ("conv_mask", "mask"), (r"channel_add_conv\.0", "reduce"), (r"channel_add_conv\.1", "norm"),
    (r"channel_add_conv\.3", "expand"), (r"fc\.0", "reduce"), (r"fc\.2", "expand"),
)  # fmt: skip


def _official_keys() -> Keys:
    keys = [*conv_norm_keys("conv1", "bn1", "stem.0"), (r"final_layer\.(\w+)", r"head.\1")]
    for i in range(len(STAGE_CHANNELS)):
        theirs, ours = rf"layer{i + 1}\.(\d+)", rf"stages.{i}.\1"
        for n, part in enumerate(("reduce", "spatial", "expand"), start=1):
            keys += conv_norm_keys(rf"{theirs}\.conv{n}", rf"{theirs}\.bn{n}", f"{ours}.{part}")
        keys += conv_norm_keys(rf"{theirs}\.downsample\.0", rf"{theirs}\.downsample\.1", f"{ours}.shortcut")
        keys += [(rf"{theirs}\.att\.{name}\.(\w+)", rf"{ours}.attention.{part}.\2") for name, part in _ATTENTION]
    for i in range(2):  # six modules each: deconvolution, norm, ReLU, convolution, norm, ReLU
        deconv, norm, conv, conv_norm = (rf"deconv_layers\.{6 * i + n}" for n in (0, 1, 3, 4))
        keys += [(rf"{deconv}\.(\w+)", rf"deconvs.{2 * i}.deconv.\1"), (rf"{norm}\.(\w+)", rf"deconvs.{2 * i}.norm.\1")]
        keys += conv_norm_keys(conv, conv_norm, f"deconvs.{2 * i + 1}")
    return tuple(keys)


OFFICIAL_KEYS: Keys = _official_keys()

_COCO, _MPII = "COCO val2017, boxes of person AP .564, flip test", "MPII val, flip test"
_G = 2**30  # of the authors' summary
_PARTS = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def _coco(macs: float, *figures: float) -> dict[str, Any]:
    return {"data": _COCO, "sizes": {(192, 256): {"macs": round(macs * _G), **dict(zip(_STATS, figures, strict=True))}}}


# Printed by the authors (README): variant -> number of keypoints of the skeleton -> figures, by input size (w, h). MACs
# by the rule "lpn"; the column printed as Mean@0.1 is measured at 0.11 (HRNet's evaluation takes the wrong row).
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "lpn_50": {
        17: _coco(1.0, 0.691, 0.881, 0.766, 0.659, 0.757, 0.749, 0.923, 0.818, 0.707, 0.810),
        16: {
            "data": _MPII,
            "sizes": {
                (256, 256): {
                    "macs": round(1.3 * _G),
                    **dict(zip(_PARTS, (0.9656, 0.9533, 0.8851, 0.8350, 0.8884, 0.8400, 0.7981), strict=True)),
                    "PCKh": 0.8864,
                    "PCKh@0.11": 0.3412,
                }
            },
        },
    },
    "lpn_101": {17: _coco(1.4, 0.704, 0.886, 0.781, 0.672, 0.772, 0.762, 0.929, 0.831, 0.721, 0.822)},
    "lpn_152": {17: _coco(1.8, 0.710, 0.892, 0.786, 0.678, 0.777, 0.768, 0.933, 0.834, 0.726, 0.827)},
}
