"""LitePose's ResNet: LitePose with dense convolutions in its blocks, upsampling and convolution as its deconvolutions.

mit-han-lab/litepose@00b702d (lib/models/pose_resnet.py; experiments/crowd_pose/resnet/resnet.yaml), an experiment of
LitePose's authors without published figures. Nothing differs from the authors' arithmetic; the names of the parts do
(`OFFICIAL_KEYS`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.layers import (
    ConvNorm,
    FamilyDefault,
    Keys,
    PoseNetwork,
    ae_output_channels,
    check_input_size,
    conv_norm_keys,
    make_divisible,
    norm_as_affine,
)

STEM_CHANNELS = 32
STEM_KERNEL = 7
STAGE_STRIDES = (2, 2, 2, 1)  # the head adds maps of equal size, so no other strides work
STAGE_KERNELS = (7, 7, 5, 3)
EXPANSION = 4
HEAD_KERNEL = 3


class LitePoseResNet(PoseNetwork):
    """Pictures to heatmaps and tags at stride 4, heatmaps at stride 2.

    first_channels, channels, depths: of the first map; width and number of blocks of the four stages.
    deconv_channels: of the maps at strides 8, 4, 2 that lead back.
    tag_per_keypoint, center_keypoint, heatmap_outputs, tag_outputs: see `layers.ae_output_channels`.
    """

    output_strides = (4, 2)
    input_stride = 16

    def __init__(
        self,
        *,
        num_keypoints: int,
        first_channels: int = 16,
        channels: Sequence[int] = (16, 32, 48, 80),
        depths: Sequence[int] = (4, 6, 8, 8),
        deconv_channels: Sequence[int] = (16, 24, 24),
        tag_per_keypoint: bool = True,
        center_keypoint: bool = False,
        heatmap_outputs: Sequence[bool] = (True, True),
        tag_outputs: Sequence[bool] = (True, False),
    ) -> None:
        super().__init__()
        _check_shape(channels, depths, deconv_channels)
        self.output_channels = ae_output_channels(
            num_keypoints,
            tag_per_keypoint=tag_per_keypoint,
            center_keypoint=center_keypoint,
            heatmap_outputs=heatmap_outputs,
            tag_outputs=tag_outputs,
        )
        self.stem = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, kernel=STEM_KERNEL, stride=2),
            ConvNorm(STEM_CHANNELS, first_channels, kernel=STEM_KERNEL),
        )
        widths = (first_channels, *channels)
        self.stages = nn.ModuleList(
            _stage(widths[i], widths[i + 1], depth=depth, stride=stride, kernel=kernel)
            for i, (depth, stride, kernel) in enumerate(zip(depths, STAGE_STRIDES, STAGE_KERNELS, strict=True))
        )
        self.deconvs = nn.ModuleList()
        in_channels = widths[4]
        for i, out_channels in enumerate(deconv_channels):
            self.deconvs.append(FusionUpsample(in_channels, widths[3 - i], out_channels))
            in_channels = out_channels
        self.heads = nn.ModuleList(
            PlainFusionHead(deconv_channels[k + 1], widths[1 - k], out) for k, out in enumerate(self.output_channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) RGB, normalised, to ((B, C0, H/4, W/4), (B, C1, H/2, W/2))."""
        check_input_size(images, self.input_stride)
        maps = [self.stem(images)]  # strides 2, then 4, 8, 16, 16
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x = maps[4]
        outputs = []
        for i, deconv in enumerate(self.deconvs):  # strides 8, 4, 2
            x = deconv(x, maps[3 - i])
            if i > 0:
                outputs.append(self.heads[i - 1](x, maps[2 - i]))
        return tuple(outputs)


class DenseBottleneck(nn.Module):
    """A dense convolution to four times the channels, 1x1 back; the input is added where the shape allows it."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = make_divisible(EXPANSION * in_channels)
        self.expand = ConvNorm(in_channels, hidden, kernel=kernel, stride=stride)
        self.project = ConvNorm(hidden, out_channels, activation=None)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.expand(x))
        return x + y if self.adds_input else y


class FusionUpsample(nn.Module):
    """Double the map: ReLU(norm(conv of the deeper map, doubled + conv of the backbone's own map, doubled))."""

    def __init__(self, in_channels: int, raw_channels: int, out_channels: int) -> None:
        super().__init__()
        self.upsample = nn.UpsamplingNearest2d(scale_factor=2.0)
        self.refined = nn.Conv2d(in_channels, out_channels, HEAD_KERNEL, padding=HEAD_KERNEL // 2, bias=False)
        self.raw = nn.Conv2d(raw_channels, out_channels, HEAD_KERNEL, padding=HEAD_KERNEL // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        return self.activation(self.norm(self.refined(self.upsample(x)) + self.raw(self.upsample(raw))))

    def fold_norm(self) -> None:
        """Scale both convolutions; the offset goes into `refined` alone, as it is added once."""
        scale, offset = norm_as_affine(self.norm)
        for conv in (self.refined, self.raw):
            conv.weight = nn.Parameter(conv.weight * scale.reshape(-1, 1, 1, 1))
        self.refined.bias = nn.Parameter(offset)
        self.norm = nn.Identity()


class PlainFusionHead(nn.Module):
    """One output: a 3x3 convolution of the deconvolved map plus one of the backbone's own map of that size."""

    def __init__(self, in_channels: int, raw_channels: int, out_channels: int) -> None:
        super().__init__()
        self.refined = nn.Conv2d(in_channels, out_channels, HEAD_KERNEL, padding=HEAD_KERNEL // 2)
        self.raw = nn.Conv2d(raw_channels, out_channels, HEAD_KERNEL, padding=HEAD_KERNEL // 2)

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        return self.refined(x) + self.raw(raw)


def _stage(in_channels: int, channels: int, *, depth: int, stride: int, kernel: int) -> nn.Sequential:
    first = DenseBottleneck(in_channels, channels, kernel=kernel, stride=stride)
    rest = (DenseBottleneck(channels, channels, kernel=kernel, stride=1) for _ in range(depth - 1))
    return nn.Sequential(first, *rest)


def _check_shape(channels: Sequence[int], depths: Sequence[int], deconv_channels: Sequence[int]) -> None:
    lengths = (len(channels), len(depths), len(deconv_channels))
    if lengths != (4, 4, 3) or min(*channels, *depths, *deconv_channels) < 1:
        raise SettingError(
            "litepose_resnet needs 4 channels, 4 depths and 3 deconv_channels, each 1 or more; found "
            f"{list(channels)}, {list(depths)} and {list(deconv_channels)}."
        )


NETWORK = LitePoseResNet

VARIANTS: dict[str, dict[str, Any]] = {"litepose_resnet": {}}

DEFAULT = FamilyDefault(
    codec="ae",
    outputs=("maps_stride4", "maps_stride2"),
    sizes={"litepose_resnet": (256, 256)},
)

# The authors' name of a tensor (a whole-name pattern) -> ours.
OFFICIAL_KEYS: Keys = (
    *conv_norm_keys(r"first\.([01])\.0", r"first\.([01])\.1", r"stem.\1"),
    *conv_norm_keys(r"stage\.(\d+)\.(\d+)\.inv\.0", r"stage\.(\d+)\.(\d+)\.inv\.1", r"stages.\1.\2.expand"),
    *conv_norm_keys(
        r"stage\.(\d+)\.(\d+)\.point_conv\.0", r"stage\.(\d+)\.(\d+)\.point_conv\.1", r"stages.\1.\2.project"
    ),
    (r"deconv_(refined|raw)\.(\d+)\.conv\.(\w+)", r"deconvs.\2.\1.\3"),
    (r"deconv_bnrelu\.(\d+)\.0\.(\w+)", r"deconvs.\1.norm.\2"),
    (r"final_(refined|raw)\.(\d+)\.(\w+)", r"heads.\2.\1.\3"),
)
