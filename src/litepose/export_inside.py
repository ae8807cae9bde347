"""What an exported graph can do beside the network: take 8-bit pixels, and find the peaks in its own maps.

Pixels are normalised by subtracting and multiplying, not by changed weights: convolutions pad with zeros, which stand
for the mean colour only after the normalisation. Peaks are those of `AECodec` in mode "fast" (`codecs/ae_peaks.py`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.codecs.ae import AECodec
from litepose.codecs.ae_peaks import HEAT, TAGS, X
from litepose.errors import SettingError
from litepose.spec import InputSpec, OutputSpec, PoseSpec

CLEAR = 1e-3  # of the highest heat: peaks nearer to each other may change places from engine to engine


def inside_spec(spec: PoseSpec, *, pixels: bool, peaks: bool) -> PoseSpec:
    """Return the spec of a file with that inside. Raises SettingError where its codec has no such peaks."""
    if pixels:
        spec = dataclasses.replace(spec, input=dataclasses.replace(spec.input, pixels=True))
    if not peaks:
        return spec
    codec = spec.codec
    if not isinstance(codec, AECodec) or codec.grouping != "people" or codec.center_keypoint:
        raise SettingError(
            f"{spec.model} was to be exported with its peaks found inside; its codec is {codec.name!r} with settings "
            "for which that is not built. Possible: associative embedding, grouped by people, without a centre. "
            "Export it without --peaks."
        )
    codec = dataclasses.replace(codec, peaks=codec.max_people, mode="fast", refine=False)
    outputs = (OutputSpec("peaks", 0, spec.skeleton.num_keypoints),)
    return dataclasses.replace(spec, codec=codec, outputs=outputs)


def with_inside(network: nn.Module, spec: PoseSpec) -> nn.Module:
    """Return the network with what its file's spec says is inside, in eval mode."""
    if isinstance(spec.codec, AECodec) and spec.codec.peaks:
        network = PeaksOut(network, spec.codec, spec.skeleton.num_keypoints)
    return (PixelsIn(network, spec.input) if spec.input.pixels else network).eval()


class PixelsIn(nn.Module):
    """A network that takes (B, 3, H, W) uint8, in the colour order of its spec."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, spec: InputSpec) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(spec.std).reshape(1, 3, 1, 1)))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return self.network((pixels.float() - self.mean) * self.scale)


class PeaksOut(nn.Module):
    """A network that gives the highest peaks of its maps: ((B, K, M, 3 + T),), see `AEPeaks`."""

    def __init__(self, network: nn.Module, codec: AECodec, num_keypoints: int) -> None:
        super().__init__()
        self.network, self.codec, self.num_keypoints = network, codec, num_keypoints

    def forward(self, images: Tensor) -> tuple[Tensor]:
        outputs = self.network(images)
        codec, count = self.codec, self.num_keypoints
        finest = outputs[-1].shape[2:]
        heats = [out[:, :count] for out, here in zip(outputs, codec.heatmap_outputs, strict=True) if here]
        heatmap = sum(F.interpolate(one, finest, mode="bilinear") for one in heats[:-1]) + _enlarged(heats[-1], finest)
        heatmap = heatmap * (1 / len(heats))
        highest = F.max_pool2d(heatmap, codec.nms_kernel, stride=1, padding=codec.nms_kernel // 2)
        peaks = torch.where(heatmap == highest, heatmap, torch.zeros_like(heatmap)).flatten(2)
        values, cells = peaks.topk(codec.peaks, dim=2)  # (B, K, M)
        y, x = cells // finest[1], cells % finest[1]
        place = torch.stack([x, y], dim=3).float()
        if codec.adjust:
            place = place + (_quarter_shift(heatmap, x, y) + 0.5)
        tags = [
            out[:, count * heat :]
            for out, heat, tag in zip(outputs, codec.heatmap_outputs, codec.tag_outputs, strict=True)
            if tag
        ]
        size = max((one.shape[2:] for one in tags), key=lambda shape: int(shape[0]))
        read = [_bilinear(_enlarged(one, size), x, y, finest, count) for one in tags]
        return (torch.cat([values[..., None], place, torch.stack(read, dim=3)], dim=3),)


def peak_differences(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return how (B, K, M, 3 + T) peaks differ, in units of heats and tags.

    All heats count; places and tags of those peaks whose heat lies clear of their neighbours', as others may change
    places. A place that differs by a cell counts as the largest heat.
    """
    heats = expected[..., HEAT]
    largest = float(np.abs(heats).max())
    gaps = np.diff(heats, axis=2, append=0.0)
    clear = (heats > 0) & (np.abs(gaps) > CLEAR * largest)
    clear[:, :, 1:] &= np.abs(gaps[:, :, :-1]) > CLEAR * largest
    difference = np.abs(expected.astype(np.float64) - found)
    places, tags = difference[..., X:TAGS][clear] * largest, difference[..., TAGS:][clear]
    return np.concatenate([difference[..., HEAT].ravel(), places.ravel(), tags.ravel()])


def _enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    return maps if maps.shape[2:] == size else F.interpolate(maps, size, mode="bilinear")


def _quarter_shift(heatmap: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return +-0.25 cell per axis towards the higher neighbour; see `maps.quarter_shift`. (B, K, M, 2)."""
    height, width = heatmap.shape[2:]
    flat = heatmap.flatten(2)

    def at(column: Tensor, row: Tensor) -> Tensor:
        return flat.gather(2, row * width + column)

    right = at((x + 1).clamp(max=width - 1), y) > at((x - 1).clamp(min=0), y)
    below = at(x, (y + 1).clamp(max=height - 1)) > at(x, (y - 1).clamp(min=0))
    return torch.stack([right, below], dim=3).float() * 0.5 - 0.25


def _bilinear(tags: Tensor, x: Tensor, y: Tensor, size: torch.Size, num_keypoints: int) -> Tensor:
    """Return (B, K or 1, h', w') tags at cells of their enlargement to `size` (h, w): (B, K, M)."""
    height, width = tags.shape[2:]
    flat = tags.expand(-1, num_keypoints, -1, -1).flatten(2)
    (x0, x1, right), (y0, y1, below) = _taps(x, width, size[1]), _taps(y, height, size[0])
    upper = flat.gather(2, y0 * width + x0) * (1 - right) + flat.gather(2, y0 * width + x1) * right
    lower = flat.gather(2, y1 * width + x0) * (1 - right) + flat.gather(2, y1 * width + x1) * right
    return upper * (1 - below) + lower * below


def _taps(cells: Tensor, length: int, enlarged: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return between which two of `length` cells each of `enlarged` ones lies, and the share of the second."""
    at = ((cells.float() + 0.5) * (length / enlarged) - 0.5).clamp(0, length - 1)
    low = at.long()
    return low, (low + 1).clamp(max=length - 1), at - low.float()
