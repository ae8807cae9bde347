"""Lightweight OpenPose: a MobileNet trunk, then stages of heatmaps and part affinity fields that refine each other.

Osokin, "Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose", 2018;
Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284 (models/with_mobilenet.py). Nothing differs from the
author's arithmetic; the names of the parts do (`OFFICIAL_KEYS`). In train mode the earlier stages are outputs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.layers import ConvNorm, FamilyDefault, PoseNetwork, check_input_size, norm_as_affine

# MobileNet v1's blocks after the stem: output channels, stride, dilation. From 512 channels on the stride stays 8.
BLOCKS = (
    (64, 1, 1), (128, 2, 1), (128, 1, 1), (256, 2, 1), (256, 1, 1), (512, 1, 1), (512, 1, 2),
    (512, 1, 1), (512, 1, 1), (512, 1, 1), (512, 1, 1),
)  # fmt: skip
STEM_CHANNELS, WIDTH, INITIAL_HEAD_WIDTH = 32, 128, 512
REFINING_BLOCKS = 5


class OpenPoseLight(PoseNetwork):
    """Pictures to heatmaps (the last one is the background) and x, y of each limb's field, at stride 8.

    num_refinement_stages: 0 or more stages after the first.
    num_limbs: None = one more than keypoints, as the author's 19 limbs of 18 keypoints.
    """

    output_strides = (8, 8)
    input_stride = 8

    def __init__(self, num_refinement_stages: int, *, num_keypoints: int, num_limbs: int | None = None) -> None:
        super().__init__()
        if not isinstance(num_refinement_stages, int) or num_refinement_stages < 0:
            raise SettingError(f"num_refinement_stages is {num_refinement_stages!r}; give a whole number from 0 on.")
        limbs = num_keypoints + 1 if num_limbs is None else num_limbs
        if not isinstance(limbs, int) or limbs < 1:
            raise SettingError(f"num_limbs is {num_limbs!r}; part affinity fields need at least one limb.")
        self.output_channels = (num_keypoints + 1, 2 * limbs)
        widths = (STEM_CHANNELS, *(channels for channels, _, _ in BLOCKS))
        self.trunk = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2, activation=nn.ReLU),
            *(
                SeparableBlock(before, channels, stride=stride, dilation=dilation)
                for before, (channels, stride, dilation) in zip(widths, BLOCKS, strict=False)
            ),
        )
        self.reduce = Reduction(widths[-1])
        self.initial = InitialStage(self.output_channels)
        self.refinements = nn.ModuleList(RefinementStage(self.output_channels) for _ in range(num_refinement_stages))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W), normalised, to ((B, K + 1, H/8, W/8), (B, 2L, H/8, W/8)) of the last stage.

        In train mode those of the stage before it follow, and so on, for the loss.
        """
        stages = self.stages(images)
        return tuple(maps for stage in reversed(stages) for maps in stage) if self.training else stages[-1]

    def stages(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return heatmaps and fields of each stage, in order."""
        check_input_size(images, self.input_stride)
        features = self.reduce(self.trunk(images))
        stages = [self.initial(features)]
        for refinement in self.refinements:
            stages.append(refinement(torch.cat((features, *stages[-1]), dim=1)))
        return stages


class SeparableBlock(nn.Module):
    """Depthwise 3x3 convolution, then a 1x1 one, each with norm and ReLU; `dilation` spreads the first."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(
            in_channels, in_channels, kernel=3, stride=stride, groups=in_channels, activation=nn.ReLU
        )
        self.depthwise.conv.dilation = (dilation, dilation)
        self.depthwise.conv.padding = (dilation, dilation)
        self.pointwise = ConvNorm(in_channels, out_channels, activation=nn.ReLU)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Reduction(nn.Module):
    """Bring the trunk's features to the width of the stages (the author's "cpm")."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.align = _conv(in_channels, WIDTH, 1)
        self.blocks = nn.Sequential(*(_separable_elu(WIDTH) for _ in range(3)))
        self.mix = _conv(WIDTH, WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.align(x)
        return self.mix(x + self.blocks(x))


class InitialStage(nn.Module):
    """The first guess, from the features alone."""

    def __init__(self, output_channels: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_conv(WIDTH, WIDTH, 3) for _ in range(3)))
        self.heatmaps, self.pafs = (_head(WIDTH, INITIAL_HEAD_WIDTH, channels) for channels in output_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(x)
        return self.heatmaps(x), self.pafs(x)


class RefinementStage(nn.Module):
    """A better guess, from the features and the guess before."""

    def __init__(self, output_channels: tuple[int, ...]) -> None:
        super().__init__()
        widths = (WIDTH + sum(output_channels), *(WIDTH,) * (REFINING_BLOCKS - 1))
        self.blocks = nn.Sequential(*(RefiningBlock(width) for width in widths))
        self.heatmaps, self.pafs = (_head(WIDTH, WIDTH, channels) for channels in output_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.blocks(x)
        return self.heatmaps(x), self.pafs(x)


class RefiningBlock(nn.Module):
    """1x1 convolution, and added to it two 3x3 ones, the second of dilation 2."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.align = _conv(in_channels, WIDTH, 1)
        self.first = BiasedConvNorm(WIDTH, dilation=1)
        self.second = BiasedConvNorm(WIDTH, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.align(x)
        return x + self.second(self.first(x))


class BiasedConvNorm(nn.Module):
    """3x3 convolution with a bias, which the norm after it makes superfluous but weights have; norm, ReLU."""

    def __init__(self, channels: int, *, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm: nn.Module = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x)))

    def fold_norm(self) -> None:
        """Move the normalisation's scale and offset into the convolution."""
        scale, offset = norm_as_affine(self.norm)
        assert self.conv.bias is not None
        self.conv.weight = nn.Parameter(self.conv.weight * scale.reshape(-1, 1, 1, 1))
        self.conv.bias = nn.Parameter(self.conv.bias * scale + offset)
        self.norm = nn.Identity()


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True))


def _separable_elu(channels: int) -> nn.Sequential:
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(depthwise, nn.ELU(inplace=True), pointwise, nn.ELU(inplace=True))


def _head(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, out_channels, 1)
    )  # fmt: skip


def first_stages(state: Mapping[str, Tensor], num_refinement_stages: int) -> dict[str, Tensor]:
    """Return a state without the refinement stages from this number on.

    The author trains three and keeps one, whose outputs are then the network's.
    """
    kept = tuple(f"refinements.{i}." for i in range(num_refinement_stages))
    return {
        name: tensor for name, tensor in state.items() if not name.startswith("refinements.") or name.startswith(kept)
    }


NETWORK = OpenPoseLight

VARIANTS: dict[str, dict[str, Any]] = {
    f"openpose_light_{stages}": {"num_refinement_stages": stages} for stages in range(4)
}

DEFAULT = FamilyDefault(
    codec="paf",
    outputs=("heatmaps", "pafs"),
    sizes=dict.fromkeys(VARIANTS, (368, 368)),
    resize="height",
    official_colour="BGR",
    mean=(128 / 255,) * 3,  # (pixel - 128) / 256
    std=(256 / 255,) * 3,
    counting="elements",
)

# The author's name of a tensor (a whole-name pattern) -> ours. MobileNet's ImageNet weights have the trunk's names too.
OFFICIAL_KEYS: tuple[tuple[str, str], ...] = (
    (r"model\.0\.0\.(\w+)", r"trunk.0.conv.\1"),
    (r"model\.0\.1\.(\w+)", r"trunk.0.norm.\1"),
    (r"model\.(\d+)\.0\.(\w+)", r"trunk.\1.depthwise.conv.\2"),
    (r"model\.(\d+)\.1\.(\w+)", r"trunk.\1.depthwise.norm.\2"),
    (r"model\.(\d+)\.3\.(\w+)", r"trunk.\1.pointwise.conv.\2"),
    (r"model\.(\d+)\.4\.(\w+)", r"trunk.\1.pointwise.norm.\2"),
    (r"cpm\.align\.0\.(\w+)", r"reduce.align.0.\1"),
    (r"cpm\.trunk\.(\d)\.([02])\.weight", r"reduce.blocks.\1.\2.weight"),
    (r"cpm\.conv\.0\.(\w+)", r"reduce.mix.0.\1"),
    (r"initial_stage\.trunk\.(\d)\.0\.(\w+)", r"initial.blocks.\1.0.\2"),
    (r"initial_stage\.(heatmaps|pafs)\.0\.0\.(\w+)", r"initial.\1.0.\2"),
    (r"initial_stage\.(heatmaps|pafs)\.1\.0\.(\w+)", r"initial.\1.2.\2"),
    (r"refinement_stages\.(\d)\.trunk\.(\d)\.initial\.0\.(\w+)", r"refinements.\1.blocks.\2.align.0.\3"),
    (r"refinement_stages\.(\d)\.trunk\.(\d)\.trunk\.0\.0\.(\w+)", r"refinements.\1.blocks.\2.first.conv.\3"),
    (r"refinement_stages\.(\d)\.trunk\.(\d)\.trunk\.0\.1\.(\w+)", r"refinements.\1.blocks.\2.first.norm.\3"),
    (r"refinement_stages\.(\d)\.trunk\.(\d)\.trunk\.1\.0\.(\w+)", r"refinements.\1.blocks.\2.second.conv.\3"),
    (r"refinement_stages\.(\d)\.trunk\.(\d)\.trunk\.1\.1\.(\w+)", r"refinements.\1.blocks.\2.second.norm.\3"),
    (r"refinement_stages\.(\d)\.(heatmaps|pafs)\.0\.0\.(\w+)", r"refinements.\1.\2.0.\3"),
    (r"refinement_stages\.(\d)\.(heatmaps|pafs)\.1\.0\.(\w+)", r"refinements.\1.\2.2.\3"),
)
# Parts of an official file that a shorter variant leaves out: the author's own loader does the same.
LEFT_OUT = r"refinements\..*"

# The paper's AP is of "a COCO validation subset" whose size it does not say, the repository's of val2017 whole; both
# are of the network that was trained with three refinement stages and cut to one. MACs: the paper's rounded parts add
# up to exactly 9.0. The latency is that of LitePose's table.
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "openpose_light_1": {
        18: {
            "macs": 9_000_000_000,
            "data": "COCO val2017",
            "AP": 0.40,
            "AP_paper_on_a_subset": 0.428,
            "AP_repository_on_250_pictures": 0.386,
            "latency_ms": {"Snapdragon 855": 97},
        }
    }
}
