"""Lite-HRNet and its naive siblings: top-down networks whose branches of four sizes exchange what they see.

Yu et al., "Lite-HRNet: A Lightweight High-Resolution Network", CVPR 2021; HRNet/Lite-HRNet@7b9049d
(models/backbones/litehrnet.py). The function is the authors'; what differs is how it is computed: pools of fixed
kernels instead of pools to the size of another map, the paths down from the first branch once instead of twice
(`Inflow`), a channel shuffle in one copy, nothing summed in place. So it exports without a shape in its graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.errors import SettingError, nearest_name
from litepose.models.layers import ConvNorm, FamilyDefault, PoseNetwork, check_input_size

STEM_CHANNELS = 32
BLOCKS_PER_MODULE = 2
CROSS_REDUCTION = 8  # hidden channels of the weights that all branches share
SPATIAL_REDUCTION = 4  # of the weights of one branch
INIT_STD = 0.001
TWICE_MOMENTUM = 0.19  # 1 - 0.9 * 0.9: two steps of PyTorch's 0.1


class LiteHRNet(PoseNetwork):
    """Pictures to heatmaps at stride 4.

    channels, depths, block: of the trunk, see `Trunk`.
    """

    output_strides = (4,)
    input_stride = 32

    def __init__(
        self, *, num_keypoints: int, channels: int = 40, depths: Sequence[int] = (2, 4, 2), block: str = "lite"
    ) -> None:
        super().__init__()
        self.output_channels = (num_keypoints,)
        self.trunk = Trunk(channels=channels, depths=depths, block=block)
        # The authors' naive configuration says 40 channels here, which cannot run; its branch has 30.
        self.final = nn.Conv2d(channels, num_keypoints, 1)
        start_weights(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) RGB, normalised, to ((B, K, H/4, W/4),)."""
        refined, _ = self.features(images)
        return (self.final(refined[0]),)

    def features(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the trunk's two pyramids."""
        check_input_size(images, self.input_stride)
        return self.trunk(images)


class Trunk(nn.Module):
    """Pictures to two pyramids of maps, each at strides 4, 8, 16, 32.

    channels: of the branch at stride 4; each coarser one has twice as many.
    depths: how many modules the stages with two, three and four branches have.
    block: "lite" (conditional channel weighting) or "naive" (ShuffleNet units).
    """

    def __init__(self, *, channels: int, depths: Sequence[int], block: str) -> None:
        super().__init__()
        _check_shape(channels, depths, block)
        self.channels = channels
        self.stem = Stem(STEM_CHANNELS)
        self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
        widths: tuple[int, ...] = (STEM_CHANNELS,)
        for depth in depths:
            before, widths = widths, tuple(channels * 2**i for i in range(len(widths) + 1))
            self.transitions.append(Transition(before, widths))
            self.stages.append(nn.Sequential(*(FusedModule(widths, BLOCKS[block]) for _ in range(depth))))
        self.head = IterativeHead(widths)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return (maps refined from coarse to fine, the branches they came from).

        Channels for C = `channels`: refined C, C, 2C, 4C; branches C, 2C, 4C, 8C.
        """
        maps = [self.stem(images)]
        for transition, stage in zip(self.transitions, self.stages, strict=True):
            maps = stage(transition(maps))
        return self.head(maps), maps


class SeparableConv(nn.Module):
    """Depthwise 3x3 with normalisation only, then 1x1 with normalisation and, if it is the end of a step, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, rectified: bool = True) -> None:
        super().__init__()
        self.depthwise = depthwise(in_channels, stride=stride)
        self.pointwise = ConvNorm(in_channels, out_channels, activation=nn.ReLU if rectified else None)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class Stem(nn.Module):
    """Pictures to a map at stride 4: a strided convolution, then a strided ShuffleNet unit on its two halves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.halves = [half, half]
        self.reduce = ConvNorm(3, channels, kernel=3, stride=2, activation=nn.ReLU)
        self.plain = SeparableConv(half, half, stride=2)
        self.expand = ConvNorm(half, channels, activation=nn.ReLU)
        self.wide = SeparableConv(channels, half, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        a, b = self.reduce(images).split(self.halves, dim=1)
        return interleave(self.plain(a), self.wide(self.expand(b)))


class Transition(nn.Module):
    """Add a branch of half the size, made from the last one; adjust the channels of the others."""

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Identity() if old == new else SeparableConv(old, new) for old, new in zip(before, after, strict=False)
        )
        self.branches.append(SeparableConv(before[-1], after[-1], stride=2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [branch(x) for branch, x in zip(self.branches, [*maps, maps[-1]], strict=True)]


class LiteBlock(nn.Module):
    """Conditional channel weighting: half of each branch is weighted by all branches, filtered, weighted by itself."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.halves = halves = [width // 2 for width in widths]
        self.cross_weights = CrossResolutionWeights(halves)
        self.depthwise = nn.ModuleList(depthwise(half) for half in halves)
        self.spatial_weights = nn.ModuleList(_spatial_weights(half) for half in halves)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        kept, changed = split_halves(maps, self.halves)
        out = []
        for i, (x, weights) in enumerate(zip(changed, self.cross_weights(changed), strict=True)):
            x = self.depthwise[i](x * weights)
            out.append(interleave(kept[i], x * self.spatial_weights[i](x)))
        return out


class CrossResolutionWeights(nn.Module):
    """A weight in (0, 1) for each cell and channel of each branch, from all branches at the coarsest size."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.widths = list(widths)
        self.factors = [2 ** (len(widths) - 1 - i) for i in range(len(widths))]  # cells of a branch per coarsest cell
        total = sum(widths)
        self.reduce = ConvNorm(total, total // CROSS_REDUCTION, activation=nn.ReLU)
        self.expand = ConvNorm(total // CROSS_REDUCTION, total, activation=None)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        # The authors pool to the size of the coarsest map. Sides are multiples of 32, so that is a fixed kernel.
        pooled = [F.avg_pool2d(x, k) if k > 1 else x for x, k in zip(maps, self.factors, strict=True)]
        weights = torch.sigmoid(self.expand(self.reduce(torch.cat(pooled, dim=1))))
        parts = weights.split(self.widths, dim=1)
        return [
            F.interpolate(part, scale_factor=float(k), mode="nearest") if k > 1 else part
            for part, k in zip(parts, self.factors, strict=True)
        ]


class NaiveBlock(nn.Module):
    """A ShuffleNet V2 unit (Ma et al. 2018) on each branch: half of the channels pass, half are filtered."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.halves = [width // 2 for width in widths]
        self.units = nn.ModuleList(
            nn.Sequential(ConvNorm(half, half, activation=nn.ReLU), SeparableConv(half, half)) for half in self.halves
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        kept, changed = split_halves(maps, self.halves)
        return [interleave(a, unit(b)) for a, unit, b in zip(kept, self.units, changed, strict=True)]


class FusedModule(nn.Module):
    """Blocks, then every branch receives every other.

    The authors sum in place into the first branch's own map, so it counts twice, and what goes down from it reads
    the fused, not yet rectified sum and is added twice. The published weights are trained with that; mmpose found
    that repairing it costs 0.5 to 1 AP (mmpose@v0.13.0, models/backbones/litehrnet.py). So it is kept here.
    """

    def __init__(self, widths: Sequence[int], block: type[LiteBlock] | type[NaiveBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(block(widths) for _ in range(BLOCKS_PER_MODULE)))
        self.inflows = nn.ModuleList(Inflow(widths, end) for end in range(len(widths)))
        self.activation = nn.ReLU()

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = self.blocks(maps)
        first = self.inflows[0](maps)
        maps = [first, *maps[1:]]  # the authors' y = x[0]; y += ...: from here on x[0] is the sum
        return [self.activation(first), *(self.activation(inflow(maps)) for inflow in list(self.inflows)[1:])]


class Inflow(nn.Module):
    """What one branch receives: twice a path from the first branch, and a path from each other."""

    def __init__(self, widths: Sequence[int], end: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(_path(widths, start, end) for start in range(len(widths)))
        for module in self.paths[0].modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = TWICE_MOMENTUM  # the authors run these twice in every training step

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        total = 2 * self.paths[0](maps[0])  # lite_hrnet: y = fuse[0](x[0]), then y += fuse[0](x[0])
        for path, x in zip(list(self.paths)[1:], maps[1:], strict=True):
            total = total + path(x)
        return total


class IterativeHead(nn.Module):
    """From the coarsest branch to the finest: add the doubled map of the branch before, then a separable convolution.

    Each gives the channels that the next finer branch has.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        coarse_first = list(reversed(widths))
        finer = [*coarse_first[1:], coarse_first[-1]]
        self.projections = nn.ModuleList(SeparableConv(a, b) for a, b in zip(coarse_first, finer, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        refined: list[Tensor] = []
        for projection, x in zip(self.projections, reversed(maps), strict=True):
            if refined:
                x = x + F.interpolate(refined[0], scale_factor=2.0, mode="bilinear", align_corners=True)
            refined.insert(0, projection(x))
        return refined


def depthwise(channels: int, *, stride: int = 1) -> ConvNorm:
    """Return a depthwise 3x3 convolution with normalisation and no activation."""
    return ConvNorm(channels, channels, kernel=3, stride=stride, groups=channels, activation=None)


def split_halves(maps: Sequence[Tensor], halves: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the first and the second half of each map's channels; `halves` are plain numbers, so none is traced."""
    pairs = [x.split([half, half], dim=1) for x, half in zip(maps, halves, strict=True)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def interleave(a: Tensor, b: Tensor) -> Tensor:
    """Return the channels a0, b0, a1, b1, ...: concatenation and channel shuffle of two groups in one copy."""
    batch, _, height, width = a.shape
    return torch.cat((a, b), dim=2).reshape(batch, -1, height, width)  # (B, C, 2H, W) -> (B, 2C, H, W)


def _spatial_weights(channels: int) -> nn.Sequential:
    """A weight in (0, 1) for each channel from its mean: squeeze and excitation, with biases and no normalisation."""
    hidden = channels // SPATIAL_REDUCTION
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), nn.Sigmoid()
    )


def _path(widths: Sequence[int], start: int, end: int) -> nn.Module:
    """Return what leads from one branch to another: 1x1 and up, nothing, or strided steps down."""
    if start > end:
        factor = 2 ** (start - end)
        return nn.Sequential(ConvNorm(widths[start], widths[end], activation=None), nn.Upsample(scale_factor=factor))
    steps = [SeparableConv(widths[start], widths[start], stride=2) for _ in range(end - start - 1)]
    if start < end:
        steps.append(SeparableConv(widths[start], widths[end], stride=2, rectified=False))
    return nn.Sequential(*steps) if steps else nn.Identity()


def start_weights(network: nn.Module) -> None:
    """Normal weights of the authors' 0.001, biases 0; their networks see no ImageNet."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check_shape(channels: int, depths: Sequence[int], block: str) -> None:
    if block not in BLOCKS:
        raise SettingError(f"Lite-HRNet has no block {block!r}. {nearest_name(block, BLOCKS)}")
    if not isinstance(channels, int) or channels < 8 or channels % 2:
        raise SettingError(f"Lite-HRNet needs an even number of channels, 8 or more; found {channels!r}.")
    if len(depths) != 3 or min(depths) < 1:
        raise SettingError(f"Lite-HRNet needs 3 depths, each 1 or more; found {depths!r}.")


BLOCKS: dict[str, type[LiteBlock] | type[NaiveBlock]] = {"lite": LiteBlock, "naive": NaiveBlock}

NETWORK = LiteHRNet

VARIANTS: dict[str, dict[str, Any]] = {
    "litehrnet_18": {},
    "litehrnet_30": {"depths": (3, 8, 3)},
    "litehrnet_naive_18": {"channels": 30, "block": "naive"},
    "litehrnet_wider_naive_18": {"block": "naive"},
}

DEFAULT = FamilyDefault(
    codec="heatmap",
    outputs=("heatmap",),
    sizes=dict.fromkeys(VARIANTS, (192, 256)),
    resize="box",
    counting="torchstat",
)

_MODULE = r"stage(\d)\.(\d+)\."
_OUR_MODULE = r"trunk.stages.\1.\2."
# The authors' name of a convolution with its normalisation (conv, bn) -> ours (conv, norm).
_CONV_NORMS = (
    (r"stem\.conv1", "trunk.stem.reduce"),
    (r"stem\.branch1\.0", "trunk.stem.plain.depthwise"),
    (r"stem\.branch1\.1", "trunk.stem.plain.pointwise"),
    (r"stem\.expand_conv", "trunk.stem.expand"),
    (r"stem\.depthwise_conv", "trunk.stem.wide.depthwise"),
    (r"stem\.linear_conv", "trunk.stem.wide.pointwise"),
    (_MODULE + r"layers\.(\d)\.cross_resolution_weighting\.conv1", _OUR_MODULE + r"blocks.\3.cross_weights.reduce"),
    (_MODULE + r"layers\.(\d)\.cross_resolution_weighting\.conv2", _OUR_MODULE + r"blocks.\3.cross_weights.expand"),
    (_MODULE + r"layers\.(\d)\.depthwise_convs\.(\d)", _OUR_MODULE + r"blocks.\3.depthwise.\4"),
    (_MODULE + r"layers\.(\d)\.(\d)\.branch2\.0", _OUR_MODULE + r"blocks.\4.units.\3.0"),
    (_MODULE + r"layers\.(\d)\.(\d)\.branch2\.1", _OUR_MODULE + r"blocks.\4.units.\3.1.depthwise"),
    (_MODULE + r"layers\.(\d)\.(\d)\.branch2\.2", _OUR_MODULE + r"blocks.\4.units.\3.1.pointwise"),
    (r"head_layer\.projects\.(\d)\.(depthwise|pointwise)_conv", r"trunk.head.projections.\1.\2"),
)
# The same for numbered sequences: convolution 0 with normalisation 1, and 2 with 3 where it is separable.
_SEPARABLES = (
    (r"transition(\d)\.(\d)(?:\.0)?", r"trunk.transitions.\1.branches.\2"),
    (_MODULE + r"fuse_layers\.(\d)\.(\d)\.(\d)", _OUR_MODULE + r"inflows.\3.paths.\4.\5"),
)
_PARTS = {"0": "depthwise.conv", "1": "depthwise.norm", "2": "pointwise.conv", "3": "pointwise.norm"}
_WEIGHT = r"(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)"

# Both the authors' files and mmpose's put backbone. in front; the final layer is keypoint_head's, in mmpose 1 head's.
OFFICIAL_KEYS: tuple[tuple[str, str], ...] = tuple(
    (rf"(?:backbone\.|keypoint_head\.|head\.)?{theirs}\.{_WEIGHT}", rf"{ours}.\g<leaf>")
    for theirs, ours in (
        *((rf"{a}\.{x}", f"{b}.{y}") for a, b in _CONV_NORMS for x, y in (("conv", "conv"), ("bn", "norm"))),
        *((rf"{a}\.{x}", f"{b}.{y}") for a, b in _SEPARABLES for x, y in _PARTS.items()),
        (_MODULE + r"fuse_layers\.(\d)\.(\d)\.0", _OUR_MODULE + r"inflows.\3.paths.\4.0.conv"),
        (_MODULE + r"fuse_layers\.(\d)\.(\d)\.1", _OUR_MODULE + r"inflows.\3.paths.\4.0.norm"),
        (
            _MODULE + r"layers\.(\d)\.spatial_weighting\.(\d)\.conv1\.conv",
            _OUR_MODULE + r"blocks.\3.spatial_weights.\4.1",
        ),
        (
            _MODULE + r"layers\.(\d)\.spatial_weighting\.(\d)\.conv2\.conv",
            _OUR_MODULE + r"blocks.\3.spatial_weights.\4.3",
        ),
        (r"final_layer", "final"),
    )
)

_COCO, _MPII = "COCO val2017, boxes of person AP .564, flip test", "MPII val, flip test"
_M = 2**20  # of the authors' counting tool


def _coco(macs: float, ap: float, ap50: float, ap75: float, ar: float, ar50: float) -> dict[str, Any]:
    return {"macs": round(macs * _M), "AP": ap, "AP50": ap50, "AP75": ap75, "AR": ar, "AR50": ar50}


def _mpii(macs: float, mean: float, mean_at_11: float) -> dict[str, Any]:
    """The column printed as Mean@0.1 is measured at 0.11 (HRNet's evaluation takes the wrong row)."""
    return {"data": _MPII, "sizes": {(256, 256): {"macs": round(macs * _M), "PCKh": mean, "PCKh@0.11": mean_at_11}}}


# Printed by the authors (README): variant -> number of keypoints of the skeleton -> figures, by input size (w, h). MACs
# by the rule "torchstat".
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "litehrnet_18": {
        17: {
            "data": _COCO,
            "sizes": {
                (192, 256): _coco(205.2, 0.648, 0.867, 0.730, 0.712, 0.911),
                (288, 384): _coco(461.6, 0.676, 0.878, 0.750, 0.737, 0.921),
            },
        },
        16: _mpii(273.4, 0.854, 0.295),
    },
    "litehrnet_30": {
        17: {
            "data": _COCO,
            "sizes": {
                (192, 256): _coco(319.2, 0.672, 0.880, 0.750, 0.733, 0.922),
                (288, 384): _coco(717.8, 0.704, 0.887, 0.777, 0.762, 0.928),
            },
        },
        16: _mpii(425.3, 0.870, 0.313),
    },
    "litehrnet_naive_18": {
        17: {"data": _COCO, "sizes": {(192, 256): _coco(194.8, 0.628, 0.855, 0.699, 0.691, 0.901)}},
        16: _mpii(259.6, 0.853, 0.305),
    },
    "litehrnet_wider_naive_18": {
        17: {"data": _COCO, "sizes": {(192, 256): _coco(311.1, 0.660, 0.871, 0.737, 0.721, 0.913)}},
        16: {**_mpii(418.7, 0.868, 0.311), "note": "418.7 is probably a misprint: the authors' tool gives 414.6"},
    },
}
