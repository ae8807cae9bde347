"""DaniAffCH's LitePose: the idea of LitePose with plain convolutions and tags at both scales.

DaniAffCH/litepose-pose-estimation@3e45d28 (lp_model, lp_config). 25 million parameters and 11.65 G multiply-accumulates
at 256x256: ten times LitePose-XS. Kept because weights depend on it: a block's inner width is in + out // 2, where
surely (in + out) // 2 was meant; its three convolutions have no activation between them; sums of deconvolutions have
neither norm nor activation; every branch ends in ReLU6, so heat and tags lie in [0, 12]. Not kept, as nothing depends on it:
training, validation and test all on the validation file, augmentation while judging, and batch statistics at inference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from litepose.errors import ModelError, nearest_name
from litepose.models.layers import (
    ConvNorm,
    FamilyDefault,
    PoseNetwork,
    check_input_size,
    conv_norm_keys,
    doubling_deconv,
)

STAGE_STRIDES = (2, 2, 2, 1)  # the head adds maps of equal size, so no other strides work
HEAD_KERNEL = 5
ARCH_FIELDS = ("img_size", "stem", "stages", "deconvs")


@dataclass(frozen=True)
class Arch:
    """The shape of the network.

    input_size: px. stem: widths of the two first convolutions. stages: four; (width, kernel) of each block.
    deconvs: (width, kernel) of the three deconvolutions.
    """

    input_size: int
    stem: tuple[int, int]
    stages: tuple[tuple[tuple[int, int], ...], ...]
    deconvs: tuple[tuple[int, int], ...]


class LitePoseDani(PoseNetwork):
    """Pictures to heatmaps and tags at stride 4 and at stride 2.

    arch: {"img_size": px, "stem": [32, 16], "stages": [[[width, kernel], ...], ...], "deconvs": [[width, kernel], ...]}
        with four stages and three deconvolutions (`VARIANTS` has two).
    """

    output_strides = (4, 2)
    input_stride = 16

    def __init__(self, arch: Mapping[str, Any], *, num_keypoints: int) -> None:
        super().__init__()
        shape = arch_from_json(arch)
        self.output_channels = (2 * num_keypoints, 2 * num_keypoints)
        first, second = shape.stem
        self.stem = nn.Sequential(ConvNorm(3, first, kernel=3, stride=2), ConvNorm(first, second, kernel=3))
        widths = (second, *(blocks[-1][0] for blocks in shape.stages))
        self.stages = nn.ModuleList(
            _stage(width, blocks, stride)
            for width, blocks, stride in zip(widths, shape.stages, STAGE_STRIDES, strict=False)
        )
        self.deconvs = nn.ModuleList()
        in_channels = widths[4]
        for i, (width, kernel) in enumerate(shape.deconvs):
            self.deconvs.append(SumDeconv(in_channels, widths[3 - i], width, kernel=kernel))
            in_channels = width
        self.heads = nn.ModuleList(
            SumHead(shape.deconvs[i + 1][0], widths[1 - i], channels) for i, channels in enumerate(self.output_channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 3, H, W) RGB from 0 to 1 to ((B, 2K, H/4, W/4), (B, 2K, H/2, W/2)), heatmaps first."""
        check_input_size(images, self.input_stride)
        maps = [self.stem(images)]  # strides 2, then 4, 8, 16, 16
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        coarse = self.deconvs[0](maps[4], maps[3])  # stride 8
        middle = self.deconvs[1](coarse, maps[2])  # stride 4
        fine = self.deconvs[2](middle, maps[1])  # stride 2
        return self.heads[0](middle, maps[1]), self.heads[1](fine, maps[0])


class Block(nn.Module):
    """1x1, k x k and 1x1 convolution with norms, one ReLU6 at the end; the input is added after it where it fits."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = in_channels + out_channels // 2
        self.narrow = ConvNorm(in_channels, hidden, activation=None)
        self.wide = ConvNorm(hidden, hidden, kernel=kernel, stride=stride, activation=None)
        self.project = ConvNorm(hidden, out_channels)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.wide(self.narrow(x)))
        return x + y if self.adds_input else y


class SumDeconv(nn.Module):
    """Double the map: deconvolution of the deeper map + deconvolution of the backbone's own map of that size."""

    def __init__(self, in_channels: int, raw_channels: int, out_channels: int, *, kernel: int) -> None:
        super().__init__()
        self.refined = doubling_deconv(in_channels, out_channels, kernel=kernel)
        self.raw = doubling_deconv(raw_channels, out_channels, kernel=kernel)

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        return self.refined(x) + self.raw(raw)


class SumHead(nn.Module):
    """One output: two 5x5 convolutions on the deconvolved map plus two on the backbone's own map of that size."""

    def __init__(self, in_channels: int, raw_channels: int, out_channels: int) -> None:
        super().__init__()
        self.refined, self.raw = (
            nn.Sequential(ConvNorm(width, width, kernel=HEAD_KERNEL), ConvNorm(width, out_channels, kernel=HEAD_KERNEL))
            for width in (in_channels, raw_channels)
        )

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        return self.refined(x) + self.raw(raw)


def arch_from_json(data: Mapping[str, Any]) -> Arch:
    """Read an architecture, see `LitePoseDani`. Raises ModelError."""
    if not isinstance(data, Mapping):
        raise ModelError(f"A litepose_dani arch is an object with {', '.join(ARCH_FIELDS)}; found {data!r}.")
    for key in data:
        if key not in ARCH_FIELDS:
            raise ModelError(f"A litepose_dani arch has no field {key!r}. {nearest_name(str(key), ARCH_FIELDS)}")
    for key in ARCH_FIELDS:
        if key not in data:
            raise ModelError(f"A litepose_dani arch lacks {key!r}; found {sorted(data)}.")
    size = _counts([data["img_size"]], "img_size", 1)[0]
    if size % LitePoseDani.input_stride:
        raise ModelError(f"img_size of a litepose_dani arch is {size}; give a multiple of {LitePoseDani.input_stride}.")
    stem = _counts(data["stem"], "stem", 2)
    stages = _listed(data["stages"], "stages", 4)
    deconvs = [_counts(one, f"deconvs[{i}]", 2) for i, one in enumerate(_listed(data["deconvs"], "deconvs", 3))]
    blocks = tuple(
        tuple(_block(block, f"stages[{i}][{j}]") for j, block in enumerate(_listed(stage, f"stages[{i}]")))
        for i, stage in enumerate(stages)
    )
    return Arch(size, (stem[0], stem[1]), blocks, tuple((width, kernel) for width, kernel in deconvs))


def _block(block: Any, where: str) -> tuple[int, int]:
    width, kernel = _counts(block, where, 2)
    if kernel % 2 == 0:
        raise ModelError(f"{where} of a litepose_dani arch has kernel {kernel}; it must be odd.")
    return width, kernel


def _listed(value: Any, where: str, count: int | None = None) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value or (count is not None and len(value) != count):
        wanted = "at least one entry" if count is None else f"{count} entries"
        raise ModelError(f"{where} of a litepose_dani arch must be a list of {wanted}; found {value!r}.")
    return value


def _counts(values: Any, where: str, count: int) -> list[int]:
    values = _listed(values, where, count)
    if not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in values):
        raise ModelError(f"{where} of a litepose_dani arch must be positive whole numbers; found {values!r}.")
    return list(values)


def _stage(in_channels: int, blocks: Sequence[tuple[int, int]], stride: int) -> nn.Sequential:
    stage = nn.Sequential()
    for width, kernel in blocks:
        stage.append(Block(in_channels, width, kernel=kernel, stride=stride))
        in_channels, stride = width, 1
    return stage


def _arch(*stages: Sequence[int]) -> dict[str, Any]:
    """Return an arch of 7x7 blocks with the stem and the deconvolutions that all of them share."""
    return {
        "img_size": 256,
        "stem": [32, 16],
        "stages": [[[width, 7] for width in stage] for stage in stages],
        "deconvs": [[48, 4], [24, 4], [24, 4]],
    }


NETWORK = LitePoseDani

# The first is the one that its published weights have ("arch2"), the second stands unused beside it ("arch1").
VARIANTS: dict[str, dict[str, Any]] = {
    "litepose_dani": {
        "arch": _arch((24,) * 6, (64,) * 8, (64, 64, *(72,) * 6), (72, 80, 100, 120, *(140,) * 5, 160)),
    },
    "litepose_dani_small": {
        "arch": _arch((16, 32, 32, 24), (64,) * 5, (64, 64, 72, 72, 72), (72, 80, 100, 120, 140, 160)),
    },
}

DEFAULT = FamilyDefault(
    codec="ae",
    codec_settings={"tag_outputs": (True, True)},
    outputs=("maps_stride4", "maps_stride2"),
    sizes=dict.fromkeys(VARIANTS, (256, 256)),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    counting="elements",
)

# The original's name of a tensor (a whole-name pattern) -> ours.
OFFICIAL_KEYS: tuple[tuple[str, str], ...] = (
    *conv_norm_keys(r"c1\.([01])\.0", r"c1\.([01])\.1", r"stem.\1"),
    *conv_norm_keys(
        r"backbone\.(\d)\.stage\.(\d+)\.s\.0\.0", r"backbone\.(\d)\.stage\.(\d+)\.s\.0\.1", r"stages.\1.\2.narrow"
    ),
    *conv_norm_keys(
        r"backbone\.(\d)\.stage\.(\d+)\.s\.1\.0", r"backbone\.(\d)\.stage\.(\d+)\.s\.1\.1", r"stages.\1.\2.wide"
    ),
    *conv_norm_keys(
        r"backbone\.(\d)\.stage\.(\d+)\.s\.2\.0", r"backbone\.(\d)\.stage\.(\d+)\.s\.2\.1", r"stages.\1.\2.project"
    ),
    (r"refineLayers\.(\d)\.weight", r"deconvs.\1.refined.weight"),
    (r"loopLayers\.(\d)\.weight", r"deconvs.\1.raw.weight"),
    *conv_norm_keys(r"refineFinal\.(\d)\.(\d)\.0", r"refineFinal\.(\d)\.(\d)\.1", r"heads.\1.refined.\2"),
    *conv_norm_keys(r"loopFinal\.(\d)\.(\d)\.0", r"loopFinal\.(\d)\.(\d)\.1", r"heads.\1.raw.\2"),
)

# No AP was ever measured. Its "56.0 %" averages exp(-d^2 / 98) over paired peaks of heatmaps on pictures that it was
# trained on; misses and surplus cost nothing. Its "584e9" MACs are 12.2 G times 48 pictures.
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "litepose_dani": {14: {"data": "CrowdPose val, trained on it", "paired_peak_score": 0.560}}
}
