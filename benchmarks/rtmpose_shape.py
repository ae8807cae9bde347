"""A network of RTMPose-s's shape with random weights, for its time: benchmarks/peers.py compares ours with it.

Layers as the public descriptions have them (Jiang et al. 2023; mmdetection's CSPNeXt, mmpose's RTMCC head), the lines
are ours. Depth 0.33, width 0.5, 256x192, 17 keypoints: 5.47 M parameters and 0.68 G multiply-adds are published, and
peers.py prints what this one has. It is no RTMPose: nothing was trained, and nothing here can load its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = (192, 256)
STAGES = ((64, 1, False), (128, 2, False), (256, 2, False), (512, 1, True))  # channels, blocks, the last stage
STEM, KEYPOINTS, HIDDEN, ATTENTION = 32, 17, 256, 128


def rtmpose_s() -> nn.Module:
    """Return the network in eval mode: (B, 3, 256, 192) to the logits of x (B, 17, 384) and y (B, 17, 512)."""
    return RTMPoseShape().eval()


class RTMPoseShape(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3, STEM // 2, 3, 2), conv(STEM // 2, STEM // 2, 3), conv(STEM // 2, STEM, 3)]
        before = STEM
        for channels, blocks, last in STAGES:
            layers.append(conv(before, channels, 3, 2))
            layers += [Pyramid(channels)] if last else []
            layers.append(CrossStage(channels, blocks, residual=not last))
            before = channels
        self.backbone = nn.Sequential(*layers)
        self.last = nn.Conv2d(before, KEYPOINTS, 7, padding=3)
        cells = SIZE[0] * SIZE[1] // 32**2
        self.embed = nn.Sequential(ScaleNorm(cells), nn.Linear(cells, HIDDEN, bias=False))
        self.attention = GatedAttention()
        self.x, self.y = (nn.Linear(HIDDEN, 2 * side, bias=False) for side in SIZE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.attention(self.embed(self.last(self.backbone(images)).flatten(2)))
        return self.x(tokens), self.y(tokens)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.SiLU())


class CrossStage(nn.Module):
    """Half of the channels pass through blocks of 3x3 and separable 5x5, all are weighed, and a 1x1 joins them."""

    def __init__(self, channels: int, blocks: int, *, residual: bool) -> None:
        super().__init__()
        half, self.residual = channels // 2, residual
        self.main, self.short, self.joined = (
            conv(channels, half, 1),
            conv(channels, half, 1),
            conv(channels, channels, 1),
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(half, half, 3), conv(half, half, 5, groups=half), conv(half, half, 1))
            for _ in range(blocks)
        )
        self.weigh = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        main = self.main(x)
        for block in self.blocks:
            main = main + block(main) if self.residual else block(main)
        both = torch.cat([main, self.short(x)], dim=1)
        return self.joined(both * self.weigh(both))


class Pyramid(nn.Module):
    """Maxima over squares of three sizes beside the map itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.joined = conv(channels, channels // 2, 1), conv(2 * channels, channels, 1)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.joined(torch.cat([x, *(pool(x) for pool in self.pools)], dim=1))


class ScaleNorm(nn.Module):
    def __init__(self, length: int) -> None:
        super().__init__()
        self.scale, self.gain = length**-0.5, nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.norm(dim=2, keepdim=True) * self.scale).clamp(min=1e-5) * self.gain


class GatedAttention(nn.Module):
    """Keypoints look at each other: a gated attention unit with squared ReLU in softmax's place."""

    def __init__(self) -> None:
        super().__init__()
        wide = 2 * HIDDEN
        self.norm, self.sizes = ScaleNorm(HIDDEN), [wide, wide, ATTENTION]
        self.inner, self.outer = nn.Linear(HIDDEN, sum(self.sizes), bias=False), nn.Linear(wide, HIDDEN, bias=False)
        self.gamma, self.beta = nn.Parameter(torch.rand(2, ATTENTION)), nn.Parameter(torch.rand(2, ATTENTION))
        self.kept = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = nn.functional.silu(self.inner(self.norm(x))).split(self.sizes, dim=2)
        query, key = (base[:, :, None] * self.gamma + self.beta).unbind(dim=2)
        weights = torch.relu(query @ key.transpose(1, 2) / ATTENTION**0.5) ** 2
        return x * self.kept + self.outer(gate * (weights @ value))
