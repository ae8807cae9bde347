"""The smallest LitePose: one block a stage, random weights with random batch statistics, for the ways of a model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from litepose import checkpoints
from litepose.skeleton import COCO17, Skeleton
from litepose.spec import PoseSpec

STRIDES = (2, 2, 2, 1)
ARCH = {
    "img_size": 64,
    "input_channel": 8,
    "deconv_setting": [8, 8, 8],
    "backbone_setting": [
        {"num_blocks": 1, "stride": stride, "channel": 8, "block_setting": [[2, 3]]} for stride in STRIDES
    ],
}


def tiny_network(*, skeleton: Skeleton = COCO17, seed: int = 0, **settings) -> tuple[nn.Module, PoseSpec]:
    """Return (network in eval mode, spec)."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    spec = checkpoints.default_spec("litepose_xs", skeleton, arch=ARCH, **settings)
    network = checkpoints.build_network(spec).eval()
    for module in network.modules():  # statistics as after training, or folding them would be no test
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
    return network, spec


def write_tiny_checkpoint(path: Path, **settings) -> Path:
    network, spec = tiny_network(**settings)
    return checkpoints.save(path, network.state_dict(), spec)
