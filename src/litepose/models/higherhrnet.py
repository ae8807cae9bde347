"""HigherHRNet: HRNet's finest branch, doubled once more; bottom-up, heatmaps at two strides and tags at the coarser.

Cheng et al., "HigherHRNet: Scale-Aware Representation Learning for Bottom-Up Human Pose Estimation", CVPR 2020;
HRNet/HigherHRNet-Human-Pose-Estimation@aa23881 (w32, w48). The small ones are those of Wang et al. 2022, "Lite Pose"
(mit-han-lab/litepose@00b702d, lib/models/pose_higher_hrnet.py and the slides), whose gradual shrinking takes blocks
from the fine branches. The trunk is the sibling family `hrnet`'s. Nothing differs from the authors' arithmetic; the
names of the parts do (`OFFICIAL_KEYS`).

Of the small ones only `higherhrnet_w16_shrink3` has a configuration file. `NOTES` says what of the others is inferred.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from litepose.errors import SettingError, nearest_name
from litepose.models.hrnet import BLOCK_PARTS, TRUNK_KEYS, BasicBlock, Trunk, start_small
from litepose.models.layers import (
    DeconvNorm,
    FamilyDefault,
    Keys,
    PoseNetwork,
    ae_output_channels,
    check_input_size,
)

INITS = ("normal", "torch")


class HigherHRNet(PoseNetwork):
    """Pictures to heatmaps and tags at stride 4, heatmaps at stride 2.

    width, bottleneck_channels, modules, blocks: of the trunk, see `hrnet.Trunk`.
    deconv_channels, deconv_blocks: of the head, see `HigherHead`.
    tag_per_keypoint, center_keypoint, heatmap_outputs, tag_outputs: see `layers.ae_output_channels`.
    init: where fresh weights start. "normal": every convolution draws from N(0, 0.001), as in HigherHRNet's own code.
        "torch": as PyTorch draws them, as LitePose's copy of that code never calls its initialisation.
    """

    output_strides = (4, 2)
    input_stride = 32

    def __init__(
        self,
        *,
        num_keypoints: int,
        width: int = 32,
        bottleneck_channels: int = 64,
        modules: Sequence[int] = (1, 4, 3),
        blocks: int | Sequence[Sequence[int]] = 4,
        deconv_channels: int = 32,
        deconv_blocks: int = 4,
        tag_per_keypoint: bool = True,
        center_keypoint: bool = False,
        heatmap_outputs: Sequence[bool] = (True, True),
        tag_outputs: Sequence[bool] = (True, False),
        init: str = "normal",
    ) -> None:
        super().__init__()
        if init not in INITS:
            raise SettingError(f"HigherHRNet has no init {init!r}. {nearest_name(str(init), INITS)}")
        self.output_channels = ae_output_channels(
            num_keypoints,
            tag_per_keypoint=tag_per_keypoint,
            center_keypoint=center_keypoint,
            heatmap_outputs=heatmap_outputs,
            tag_outputs=tag_outputs,
        )
        self.trunk = Trunk(width, bottleneck_channels=bottleneck_channels, modules=modules, blocks=blocks)
        self.head = HigherHead(width, self.output_channels, deconv_channels=deconv_channels, blocks=deconv_blocks)
        if init == "normal":
            start_small(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map (B, 3, H, W) RGB, normalised, to ((B, C0, H/4, W/4), (B, C1, H/2, W/2))."""
        check_input_size(images, self.input_stride)
        return self.head(self.trunk(images)[0])


class HigherHead(nn.Module):
    """The first output from the map itself; the second from it and the first output together, doubled.

    output_channels: of both outputs. deconv_channels, blocks: width of the doubled map, basic blocks on it.
    """

    def __init__(self, in_channels: int, output_channels: Sequence[int], *, deconv_channels: int, blocks: int) -> None:
        super().__init__()
        if min(deconv_channels, blocks + 1) < 1:
            raise SettingError(
                f"The head needs 1 or more channels and 0 or more blocks; found {deconv_channels} and {blocks}."
            )
        coarse, fine = output_channels
        self.coarse = nn.Conv2d(in_channels, coarse, 1)
        deconv = DeconvNorm(in_channels + coarse, deconv_channels)
        self.refine = nn.Sequential(deconv, *(BasicBlock(deconv_channels) for _ in range(blocks)))
        self.fine = nn.Conv2d(deconv_channels, fine, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        coarse = self.coarse(x)
        return coarse, self.fine(self.refine(torch.cat((x, coarse), dim=1)))


NETWORK = HigherHRNet


def _small(width: int, blocks: int | Sequence[Sequence[int]] = 4) -> dict[str, Any]:
    """Return the settings that w16_512_adam_lr1e-3.yaml has beside its width and blocks: stem of twice the width."""
    return {
        "width": width,
        "bottleneck_channels": 2 * width,
        "blocks": blocks,
        "deconv_channels": 32,
        "deconv_blocks": 0,
        "init": "torch",
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "higherhrnet_w16": _small(16),
    "higherhrnet_w16_shrink1": _small(16, ((3, 4), (2, 3, 4), (1, 2, 3, 4))),
    "higherhrnet_w16_shrink2": _small(18, ((1, 4), (1, 1, 4), (1, 1, 1, 4))),
    "higherhrnet_w16_shrink3": _small(18, ((0, 4), (0, 0, 4), (0, 0, 0, 4))),
    "higherhrnet_w24": _small(24),
    "higherhrnet_w32": {"width": 32, "deconv_channels": 32},
    "higherhrnet_w48": {"width": 48, "deconv_channels": 48},
}

_UNPUBLISHED = "No configuration is published"
_INFERRED = (
    "The stem of twice the width and the head of 32 channels without blocks are inferred: the authors' one small "
    "configuration (of shrink3) has them, and so each small network costs within 0.5 % of the MACs they print for it."
)
_DRAWN = (
    f"{_UNPUBLISHED}. The blocks of each branch are read from a drawing in the authors' slides; they agree with "
    f"the shares of blocks removed that stand there. {_INFERRED}"
)

NOTES = {
    "higherhrnet_w16": f"{_UNPUBLISHED}. {_INFERRED}",
    "higherhrnet_w16_shrink1": _DRAWN,
    "higherhrnet_w16_shrink2": f"{_DRAWN} The base width is 18, as the slides say.",
    "higherhrnet_w16_shrink3": "The authors' file is called w16 (w16_512_adam_lr1e-3.yaml); its base width is 18.",
    "higherhrnet_w24": (
        f"{_UNPUBLISHED}; this may not be the network of the paper's table. {_INFERRED} "
        "Others come as near to its MACs alone."
    ),
}

DEFAULT = FamilyDefault(
    codec="ae",
    outputs=("maps_stride4", "maps_stride2"),
    sizes={name: (640, 640) if name == "higherhrnet_w48" else (512, 512) for name in VARIANTS},
    counting_by_variant={"higherhrnet_w32": "higherhrnet", "higherhrnet_w48": "higherhrnet"},
    notes=NOTES,
)

# Names of the head's tensors -> ours; EfficientHRNet's are the same.
HEAD_KEYS: Keys = (
    (r"final_layers\.0\.(\w+)", r"head.coarse.\1"),
    (r"final_layers\.1\.(\w+)", r"head.fine.\1"),
    (r"deconv_layers\.0\.0\.0\.(\w+)", r"head.refine.0.deconv.\1"),
    (r"deconv_layers\.0\.0\.1\.(\w+)", r"head.refine.0.norm.\1"),
    *((rf"deconv_layers\.0\.(\d+)\.0\.{theirs}\.(\w+)", rf"head.refine.\1.{ours}.\2") for theirs, ours in BLOCK_PARTS),
)

# The authors' name of a tensor (a whole-name pattern) -> ours.
OFFICIAL_KEYS: Keys = (*TRUNK_KEYS, *HEAD_KEYS)

_COCO, _SLIDES = "COCO val2017", "CrowdPose test (authors' slides)"


def _coco(macs: float, ap: float, ap50: float, ap75: float, apm: float, apl: float, **more: float) -> dict[str, Any]:
    return {"macs": round(macs * 1e9), "AP": ap, "AP50": ap50, "AP75": ap75, "APM": apm, "APL": apl, **more}


def _slides(macs: float, ap: float) -> dict[int, dict[str, Any]]:
    return {14: {"macs": round(macs * 1e9), "data": _SLIDES, "AP": ap}}


# Printed by the authors: w32 and w48 in the README of HigherHRNet (one scale, flip test), the small ones by those of
# LitePose: variant -> number of keypoints of the skeleton -> figures, where needed by input size (w, h).
PUBLISHED: dict[str, dict[int, dict[str, Any]]] = {
    "higherhrnet_w16": _slides(12.50, 0.504),
    "higherhrnet_w16_shrink1": _slides(10.12, 0.510),
    "higherhrnet_w16_shrink2": _slides(10.02, 0.518),
    "higherhrnet_w16_shrink3": _slides(9.15, 0.530),
    "higherhrnet_w24": {
        14: {
            "macs": round(25.3e9),
            "data": "CrowdPose test",
            "AP": 0.574,
            "latency_ms": {"Jetson Nano": 330, "Snapdragon 855": 289, "Raspberry Pi 4B+": 1414},
        },
    },
    "higherhrnet_w32": {
        17: {
            "data": _COCO,
            "sizes": {
                (512, 512): _coco(47.9, 0.671, 0.862, 0.730, 0.615, 0.761, AP_test_dev=0.664),
                (640, 640): _coco(74.8, 0.685, 0.871, 0.747, 0.643, 0.753),
            },
        },
    },
    "higherhrnet_w48": {
        17: {
            "data": _COCO,
            "sizes": {(640, 640): _coco(154.3, 0.699, 0.872, 0.761, 0.654, 0.764, AP_test_dev=0.684)},
        },
    },
}
