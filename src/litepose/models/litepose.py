"""LitePose: a single-branch, bottom-up network for phones and boards, its fusion deconv head, its searched variants.

Wang et al., "Lite Pose: Efficient Architecture Design for 2D Human Pose Estimation", CVPR 2022;
mit-han-lab/litepose@00b702d (lib/models/pose_mobilenet.py, pose_simplenet.py). Nothing differs from the authors'
arithmetic; the names of the parts do (`OFFICIAL_KEYS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from litepose.errors import ModelError, SettingError, nearest_name
from litepose.models.layers import (
    ConvNorm,
    FamilyDefault,
    FusionDeconv,
    PoseNetwork,
    SeparableHead,
    ae_output_channels,
    check_input_size,
    make_divisible,
)

STEM_CHANNELS = 32
STAGE_STRIDES = (2, 2, 2, 1)  # the head adds maps of equal size, so no other strides work
STAGE_DEPTHS = (6, 8, 10, 10)
EXPANSION, KERNEL = 6, 7
HEAD_KERNEL = 5


@dataclass(frozen=True)
class Stage:
    """One backbone stage: its width, the stride of its first block, (expansion, kernel) of each block."""

    channels: int
    stride: int
    blocks: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Arch:
    """The shape of a LitePose: input side (px), width of the first map, three deconvolutions, four stages."""

    input_size: int
    first_channels: int
    deconv_channels: tuple[int, int, int]
    stages: tuple[Stage, Stage, Stage, Stage]


class LitePose(PoseNetwork):
    """Pictures to heatmaps and tags at stride 4, heatmaps at stride 2.

    arch: as the authors' JSON files (`arch_from_json`).
    tag_per_keypoint, center_keypoint, heatmap_outputs, tag_outputs: see `ae_output_channels`.
    deconv_kernels: of the three deconvolutions, each 4, 3 or 2.
    simple_head: plain deconvolutions and no raw branches (the authors' ablation, `simplenet`).
    """

    output_strides = (4, 2)
    input_stride = 16

    def __init__(
        self,
        arch: Mapping[str, Any],
        *,
        num_keypoints: int,
        tag_per_keypoint: bool = True,
        center_keypoint: bool = False,
        heatmap_outputs: Sequence[bool] = (True, True),
        tag_outputs: Sequence[bool] = (True, False),
        deconv_kernels: Sequence[int] = (4, 4, 4),
        simple_head: bool = False,
    ) -> None:
        super().__init__()
        shape = arch_from_json(arch)
        self.output_channels = ae_output_channels(
            num_keypoints,
            tag_per_keypoint=tag_per_keypoint,
            center_keypoint=center_keypoint,
            heatmap_outputs=heatmap_outputs,
            tag_outputs=tag_outputs,
        )

        self.stem = nn.Sequential(
            ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2),
            ConvNorm(STEM_CHANNELS, STEM_CHANNELS, kernel=3, groups=STEM_CHANNELS),
            ConvNorm(STEM_CHANNELS, shape.first_channels, activation=None),
        )
        widths = (shape.first_channels, *(stage.channels for stage in shape.stages))
        self.stages = nn.ModuleList(
            _stage(in_channels, stage) for in_channels, stage in zip(widths, shape.stages, strict=False)
        )
        self.deconvs = nn.ModuleList()
        in_channels = widths[4]
        for i, (out_channels, kernel) in enumerate(zip(shape.deconv_channels, _three(deconv_kernels), strict=True)):
            raw_channels = None if simple_head else widths[3 - i]
            self.deconvs.append(FusionDeconv(in_channels, raw_channels, out_channels, kernel=kernel))
            in_channels = out_channels
        self.heads = nn.ModuleList(
            FusionHead(shape.deconv_channels[k + 1], None if simple_head else widths[1 - k], channels)
            for k, channels in enumerate(self.output_channels)
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


class FusionHead(nn.Module):
    """One output: a separable head on the deconvolved map plus one on the backbone's own map of that size."""

    def __init__(self, in_channels: int, raw_channels: int | None, out_channels: int) -> None:
        super().__init__()
        self.refined = SeparableHead(in_channels, out_channels, kernel=HEAD_KERNEL)
        self.raw = SeparableHead(raw_channels, out_channels, kernel=HEAD_KERNEL) if raw_channels else None

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        out = self.refined(x)
        return out if self.raw is None else out + self.raw(raw)


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution, 1x1 projection; the input is added where the shape allows it."""

    def __init__(self, in_channels: int, out_channels: int, *, expansion: float, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = make_divisible(round(in_channels * expansion))
        self.expand = ConvNorm(in_channels, hidden)
        self.depthwise = ConvNorm(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = ConvNorm(hidden, out_channels, activation=None)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds_input else y


def arch_from_json(data: Mapping[str, Any]) -> Arch:
    """Read an architecture as the authors' JSON files hold it. Raises ModelError."""
    _check_keys(data, ("img_size", "input_channel", "deconv_setting", "backbone_setting"), "A LitePose arch")
    deconvs, stages = data["deconv_setting"], data["backbone_setting"]
    if not isinstance(deconvs, Sequence) or len(deconvs) != 3:
        raise ModelError(f"A LitePose arch needs 3 widths in deconv_setting; found {deconvs!r}.")
    if not isinstance(stages, Sequence) or len(stages) != 4:
        found = len(stages) if isinstance(stages, Sequence) else stages
        raise ModelError(f"A LitePose arch needs 4 stages in backbone_setting; found {found!r}.")
    size = _count(data["img_size"], "img_size")
    if size % LitePose.input_stride:
        raise ModelError(f"img_size of a LitePose arch must be a multiple of {LitePose.input_stride}; found {size}.")
    return Arch(
        input_size=size,
        first_channels=_count(data["input_channel"], "input_channel"),
        deconv_channels=tuple(_count(c, f"deconv_setting[{i}]") for i, c in enumerate(deconvs)),  # type: ignore[arg-type]
        stages=tuple(_stage_from_json(stage, i) for i, stage in enumerate(stages)),  # type: ignore[arg-type]
    )


def arch_to_json(arch: Arch) -> dict[str, Any]:
    """Return the architecture in the authors' JSON layout."""
    return {
        "img_size": arch.input_size,
        "input_channel": arch.first_channels,
        "deconv_setting": list(arch.deconv_channels),
        "backbone_setting": [
            {
                "num_blocks": len(stage.blocks),
                "stride": stage.stride,
                "channel": stage.channels,
                "block_setting": [list(block) for block in stage.blocks],
            }
            for stage in arch.stages
        ],
    }


def uniform_arch(
    input_size: int, first_channels: int, channels: Sequence[int], deconv_channels: Sequence[int]
) -> dict[str, Any]:
    """Return the arch JSON with the depths, kernels and expansions that all published variants share."""
    return arch_to_json(
        Arch(
            input_size=input_size,
            first_channels=first_channels,
            deconv_channels=tuple(deconv_channels),  # type: ignore[arg-type]
            stages=tuple(
                Stage(width, stride, ((EXPANSION, KERNEL),) * depth)
                for width, stride, depth in zip(channels, STAGE_STRIDES, STAGE_DEPTHS, strict=True)
            ),  # type: ignore[arg-type]
        )
    )


def _stage_from_json(stage: Any, i: int) -> Stage:
    where = f"backbone_setting[{i}]"
    _check_keys(stage, ("num_blocks", "stride", "channel", "block_setting"), where)
    if stage["stride"] != STAGE_STRIDES[i]:
        raise ModelError(f"{where} has stride {stage['stride']!r}; the head fits only {STAGE_STRIDES[i]} there.")
    depth = _count(stage["num_blocks"], f"{where}.num_blocks")
    blocks = stage["block_setting"]
    if not isinstance(blocks, Sequence) or len(blocks) != depth:
        raise ModelError(f"{where} says num_blocks {depth}; block_setting must list as many, found {blocks!r}.")
    return Stage(
        _count(stage["channel"], f"{where}.channel"), STAGE_STRIDES[i], tuple(_block(b, where) for b in blocks)
    )


def _block(block: Any, where: str) -> tuple[float, int]:
    if not isinstance(block, Sequence) or len(block) != 2 or not all(isinstance(v, int | float) for v in block):
        raise ModelError(f"A block in {where} is [expansion, kernel]; found {block!r}.")
    expansion, kernel = block
    if not expansion > 0 or kernel != int(kernel) or kernel < 1 or kernel % 2 == 0:
        raise ModelError(f"A block in {where} needs a positive expansion and an odd kernel; found {block!r}.")
    return expansion, int(kernel)


def _check_keys(data: Any, wanted: Sequence[str], what: str) -> None:
    if not isinstance(data, Mapping):
        raise ModelError(f"{what} must be a JSON object with {', '.join(wanted)}; found {type(data).__name__}.")
    for key in wanted:
        if key not in data:
            raise ModelError(f"{what} lacks {key!r}; found {sorted(data)}. It needs {', '.join(wanted)}.")
    for key in data:
        if key not in wanted:
            raise ModelError(f"{what} has no field {key!r}. {nearest_name(str(key), wanted)}")


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ModelError(f"{what} of a LitePose arch must be a positive whole number; found {value!r}.")
    return value


def _stage(in_channels: int, stage: Stage) -> nn.Sequential:
    blocks = nn.Sequential()
    for i, (expansion, kernel) in enumerate(stage.blocks):
        stride = stage.stride if i == 0 else 1
        blocks.append(
            InvertedBottleneck(in_channels, stage.channels, expansion=expansion, kernel=kernel, stride=stride)
        )
        in_channels = stage.channels
    return blocks


def _three(kernels: Sequence[int]) -> Sequence[int]:
    if len(kernels) != 3:
        raise SettingError(f"deconv_kernels must be 3 kernels; found {kernels!r}.")
    return kernels


NETWORK = LitePose

VARIANTS: dict[str, dict[str, Any]] = {
    "litepose_xs": {"arch": uniform_arch(256, 16, (16, 32, 48, 80), (16, 24, 24))},
    "litepose_s": {"arch": uniform_arch(448, 16, (16, 32, 48, 120), (32, 24, 32))},
    "litepose_m": {"arch": uniform_arch(448, 16, (24, 48, 72, 120), (64, 40, 32))},
    "litepose_l": {"arch": uniform_arch(512, 24, (24, 64, 96, 160), (64, 40, 32))},
    "litepose_prune_s": {"arch": uniform_arch(512, 16, (16, 32, 48, 80), (32, 24, 16))},
    "litepose_prune_m": {"arch": uniform_arch(512, 24, (24, 48, 72, 120), (48, 40, 24))},
    "litepose_prune_l": {"arch": uniform_arch(512, 24, (32, 64, 96, 160), (64, 48, 32))},
}

DEFAULT = FamilyDefault(
    codec="ae",
    outputs=("maps_stride4", "maps_stride2"),
    sizes={name: (kwargs["arch"]["img_size"],) * 2 for name, kwargs in VARIANTS.items()},
)

# The authors' name of a tensor (a whole-name pattern) -> ours.
OFFICIAL_KEYS: tuple[tuple[str, str], ...] = (
    (r"first\.([01])\.0\.(\w+)", r"stem.\1.conv.\2"),
    (r"first\.([01])\.1\.(\w+)", r"stem.\1.norm.\2"),
    (r"first\.2\.(\w+)", r"stem.2.conv.\1"),
    (r"first\.3\.(\w+)", r"stem.2.norm.\1"),
    (r"stage\.(\d+)\.(\d+)\.inv\.0\.(\w+)", r"stages.\1.\2.expand.conv.\3"),
    (r"stage\.(\d+)\.(\d+)\.inv\.1\.(\w+)", r"stages.\1.\2.expand.norm.\3"),
    (r"stage\.(\d+)\.(\d+)\.depth_conv\.0\.(\w+)", r"stages.\1.\2.depthwise.conv.\3"),
    (r"stage\.(\d+)\.(\d+)\.depth_conv\.1\.(\w+)", r"stages.\1.\2.depthwise.norm.\3"),
    (r"stage\.(\d+)\.(\d+)\.point_conv\.0\.(\w+)", r"stages.\1.\2.project.conv.\3"),
    (r"stage\.(\d+)\.(\d+)\.point_conv\.1\.(\w+)", r"stages.\1.\2.project.norm.\3"),
    (r"deconv_(refined|raw)\.(\d+)\.(\w+)", r"deconvs.\2.\1.\3"),
    (r"deconv_bnrelu\.(\d+)\.0\.(\w+)", r"deconvs.\1.norm.\2"),
    (r"final_(refined|raw)\.(\d+)\.conv\.0\.(\w+)", r"heads.\2.\1.depthwise.conv.\3"),
    (r"final_(refined|raw)\.(\d+)\.conv\.1\.(\w+)", r"heads.\2.\1.depthwise.norm.\3"),
    (r"final_(refined|raw)\.(\d+)\.conv\.3\.(\w+)", r"heads.\2.\1.pointwise.\3"),
)

_CROWDPOSE, _COCO = "CrowdPose test", "COCO val2017"


def _latency(nano: int, snapdragon: int, pi: int) -> dict[str, int]:
    return {"Jetson Nano": nano, "Snapdragon 855": snapdragon, "Raspberry Pi 4B+": pi}


# Printed by the authors (README; prune_s: slides): variant -> number of keypoints of the skeleton -> figures. MACs by
# `macs_reference`'s rule; AP with flip test; the latencies as claimed, what they include is not said.
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "litepose_xs": {
        14: {"macs": 1_200_000_000, "data": _CROWDPOSE, "AP": 0.495, "latency_ms": _latency(22, 27, 109)},
        17: {"macs": 1_200_000_000, "data": _COCO, "AP": 0.406},
    },
    "litepose_s": {
        14: {"macs": 5_000_000_000, "data": _CROWDPOSE, "AP": 0.583, "latency_ms": _latency(97, 76, 420)},
        17: {"macs": 5_000_000_000, "data": _COCO, "AP": 0.568},
    },
    "litepose_m": {
        14: {"macs": 7_800_000_000, "data": _CROWDPOSE, "AP": 0.599},
        17: {
            "macs": 7_800_000_000,
            "data": _COCO,
            "AP": 0.598,
            "AP_test_dev": 0.597,
            "latency_ms": _latency(144, 97, 588),
        },
    },
    "litepose_l": {
        14: {"macs": 13_700_000_000, "data": _CROWDPOSE, "AP": 0.619},
        17: {"macs": 13_800_000_000, "data": _COCO, "AP": 0.625},
    },
    "litepose_prune_s": {14: {"macs": 4_690_000_000, "data": _CROWDPOSE, "AP": 0.547}},
}
