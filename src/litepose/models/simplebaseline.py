"""SimpleBaseline: a classifier's trunk and three deconvolutions; top-down, one map a keypoint.

Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018;
microsoft/human-pose-estimation.pytorch (lib/models/pose_resnet.py), read as zhang943/lpn-pytorch@f397525 carries it.
The two light ones are open-mmlab/mmpose's (configs/body/2d_kpt_sview_rgb_img/topdown_heatmap/coco/), which the paper
of Lite-HRNet compares with; their trunks lie in `light_trunks`. Weights start as in the sibling family `lpn`, of the
same code. Nothing differs from the authors' arithmetic; the names of the parts do (`OFFICIAL_KEYS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
from litepose.models.light_trunks import LIGHT_TRUNK_KEYS, MobileNetV2, ShuffleNetV2
from litepose.models.lpn import start_small

STEM_CHANNELS = 64
STAGE_CHANNELS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
EXPANSION = 4
DECONV_CHANNELS = 256
NUM_DECONVS = 3


class SimpleBaseline(PoseNetwork):
    """Crops of one person each to heatmaps at stride 4.

    trunk: one of `TRUNKS`. Fresh weights draw from N(0, 0.001), as the authors' do without an ImageNet file.
    """

    output_strides = (4,)
    input_stride = 32  # the smallest at which three doublings of the last map give exactly a quarter of the input

    def __init__(self, trunk: str, *, num_keypoints: int) -> None:
        super().__init__()
        if trunk not in TRUNKS:
            raise SettingError(f"SimpleBaseline has no trunk {trunk!r}. {nearest_name(str(trunk), TRUNKS)}")
        self.output_channels = (num_keypoints,)
        self.trunk = TRUNKS[trunk]()
        in_channels = self.trunk.out_channels
        self.deconvs = nn.Sequential()
        for _ in range(NUM_DECONVS):
            self.deconvs.append(DeconvNorm(in_channels, DECONV_CHANNELS))
            in_channels = DECONV_CHANNELS
        self.head = nn.Conv2d(DECONV_CHANNELS, num_keypoints, 1)
        start_small(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W), normalised, to ((B, K, H/4, W/4),)."""
        check_input_size(images, self.input_stride)
        return (self.head(self.deconvs(self.trunk(images))),)


class ResNet(nn.Module):
    """(B, 3, H, W) -> (B, 512 or 2048, H/32, W/32). He et al., CVPR 2016; the stride lies on the 3x3 convolution.

    blocks: number of residual blocks in each of the four stages.
    """

    def __init__(self, blocks: Sequence[int], *, bottleneck: bool) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=7, stride=2, activation=nn.ReLU)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stages = nn.Sequential()
        in_channels = STEM_CHANNELS
        for channels, stride, depth in zip(STAGE_CHANNELS, STAGE_STRIDES, blocks, strict=True):
            stage = nn.Sequential()
            for i in range(depth):
                block = ResidualBlock(in_channels, channels, stride=1 if i else stride, bottleneck=bottleneck)
                stage.append(block)
                in_channels = block.out_channels
            self.stages.append(stage)
        self.out_channels = in_channels

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(self.pool(self.stem(images)))


class ResidualBlock(nn.Module):
    """Convolutions to which the input, brought to shape if need be, is added.

    bottleneck: 1x1 to `channels`, 3x3, 1x1 to four times as many; else two 3x3 to `channels`.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        self.out_channels = EXPANSION * channels if bottleneck else channels
        if bottleneck:
            self.convs = nn.Sequential(
                ConvNorm(in_channels, channels, activation=nn.ReLU),
                ConvNorm(channels, channels, kernel=3, stride=stride, activation=nn.ReLU),
                ConvNorm(channels, self.out_channels, activation=None),
            )
        else:
            self.convs = nn.Sequential(
                ConvNorm(in_channels, channels, kernel=3, stride=stride, activation=nn.ReLU),
                ConvNorm(channels, channels, kernel=3, activation=None),
            )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != self.out_channels:
            self.shortcut = ConvNorm(in_channels, self.out_channels, stride=stride, activation=None)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.convs(x) + self.shortcut(x))


NETWORK = SimpleBaseline

TRUNKS: dict[str, Callable[[], ResNet | MobileNetV2 | ShuffleNetV2]] = {
    "resnet_18": partial(ResNet, (2, 2, 2, 2), bottleneck=False),
    "resnet_34": partial(ResNet, (3, 4, 6, 3), bottleneck=False),
    "resnet_50": partial(ResNet, (3, 4, 6, 3), bottleneck=True),
    "resnet_101": partial(ResNet, (3, 4, 23, 3), bottleneck=True),
    "resnet_152": partial(ResNet, (3, 8, 36, 3), bottleneck=True),
    "mobilenetv2": MobileNetV2,
    "shufflenetv2": ShuffleNetV2,
}

VARIANTS: dict[str, dict[str, Any]] = {
    f"simplebaseline_{trunk.removeprefix('resnet_')}": {"trunk": trunk} for trunk in TRUNKS
}

DEFAULT = FamilyDefault(
    codec="heatmap",
    outputs=("heatmap",),
    sizes=dict.fromkeys(VARIANTS, (192, 256)),
    resize="box",
    official_colour="BGR",  # the light ones have no official files, only mmpose's
    counting="lpn",
    counting_by_variant={"simplebaseline_mobilenetv2": "torchstat", "simplebaseline_shufflenetv2": "torchstat"},
)


def _official_keys() -> Keys:
    """Return the rules for a ResNet, named alike by the authors and torchvision, the head, the light trunks."""
    keys = [*conv_norm_keys("conv1", "bn1", "trunk.stem"), (r"final_layer\.(\w+)", r"head.\1")]
    for i in range(len(STAGE_CHANNELS)):
        theirs, ours = rf"layer{i + 1}\.(\d+)", rf"trunk.stages.{i}.\1"
        for n in range(3):
            keys += conv_norm_keys(rf"{theirs}\.conv{n + 1}", rf"{theirs}\.bn{n + 1}", rf"{ours}.convs.{n}")
        keys += conv_norm_keys(rf"{theirs}\.downsample\.0", rf"{theirs}\.downsample\.1", f"{ours}.shortcut")
    for i in range(NUM_DECONVS):  # three modules each: deconvolution, norm, ReLU
        keys.append((rf"deconv_layers\.{3 * i}\.(\w+)", rf"deconvs.{i}.deconv.\1"))
        keys.append((rf"deconv_layers\.{3 * i + 1}\.(\w+)", rf"deconvs.{i}.norm.\1"))
    return (*keys, *LIGHT_TRUNK_KEYS)


OFFICIAL_KEYS: Keys = _official_keys()

_COCO, _MPII = "COCO val2017, boxes of person AP .564, flip test", "MPII val, flip test"
_G = 2**30  # of the authors' summary, and of Lite-HRNet's
_PARTS = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")
_STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def _coco(
    macs: float, figures: tuple[float, ...], ap_at_384: float, macs_at_384: float | None = None
) -> dict[str, Any]:
    larger: dict[str, float] = {"AP": ap_at_384}
    if macs_at_384 is not None:
        larger["macs"] = round(macs_at_384 * _G)
    usual = {"macs": round(macs * _G), **dict(zip(_STATS, figures, strict=False))}
    return {"data": _COCO, "sizes": {(192, 256): usual, (288, 384): larger}}


def _mpii(mean: float, parts: tuple[float, ...] = (), **more: float) -> dict[str, Any]:
    return {"data": _MPII, "sizes": {(256, 256): {**dict(zip(_PARTS, parts, strict=False)), "PCKh": mean, **more}}}


# Printed by the authors, as zhang943/lpn-pytorch repeats it in its README and figure; the light ones: accuracy in
# mmpose's tables, MACs in those of Yu et al. 2021, "Lite-HRNet". Variant -> number of keypoints of the skeleton ->
# figures, by input size (w, h), all with a trunk from ImageNet. The column printed as Mean@0.1 is measured at 0.11
# (HRNet's evaluation takes the wrong row); which of both mmpose's is, is not said.
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "simplebaseline_50": {
        17: _coco(8.9, (0.704, 0.886, 0.783, 0.671, 0.772, 0.763, 0.929, 0.834, 0.721, 0.824), 0.722),
        16: _mpii(
            0.885, (0.964, 0.953, 0.890, 0.832, 0.884, 0.840, 0.796), macs=round(12.0 * _G), **{"PCKh@0.11": 0.340}
        ),
    },
    "simplebaseline_101": {
        17: _coco(12.4, (0.714, 0.893, 0.793, 0.681, 0.781, 0.771, 0.934, 0.840, 0.730, 0.832), 0.736),
    },
    "simplebaseline_152": {
        17: _coco(15.7, (0.720, 0.893, 0.798, 0.687, 0.789, 0.778, 0.934, 0.846, 0.736, 0.839), 0.743),
    },
    "simplebaseline_mobilenetv2": {17: _coco(1.48, (0.646,), 0.673, 3.33), 16: _mpii(0.854)},
    "simplebaseline_shufflenetv2": {17: _coco(1.28, (0.599,), 0.636, 2.87), 16: _mpii(0.828)},
}
