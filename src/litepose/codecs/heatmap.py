"""One heatmap for each keypoint of the one person in a crop: what the top-down networks say.

Sources: HRNet/Lite-HRNet@7b9049d with mmpose 0.13 (targets, decoding, flip test), zhang943/lpn-pytorch@f397525.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from litepose.codecs.base import Found, Pass
from litepose.errors import SettingError, nearest_name
from litepose.geometry import check_input_size
from litepose.poses import Poses, Sample, concatenate
from litepose.skeleton import Skeleton

MODES = ("exact", "fast")


@dataclass(frozen=True)
class HeatmapTargets:
    """What a network should say about one person; batched, both arrays have a leading B.

    heatmaps: (K, h, w) float32. weights: (K,) float32, 0 where the keypoint's map must not be learned.
    """

    heatmaps: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class HeatmapCodec:
    """Settings of top-down heatmaps; the defaults are Lite-HRNet's."""

    name: ClassVar[str] = "heatmap"

    mode: str = "exact"
    output_stride: int = 4
    sigma: float = 2.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SettingError(f"No decoding mode {self.mode!r}. {nearest_name(self.mode, MODES)}")

    def channels(self, skeleton: Skeleton) -> tuple[int, ...]:
        """Return how many channels each network output needs."""
        return (skeleton.num_keypoints,)

    def strides(self) -> tuple[int, ...]:
        """Return input px per map cell of each network output."""
        return (self.output_stride,)

    def encode(self, sample: Sample, input_size: tuple[int, int]) -> HeatmapTargets:
        """Return the training targets of the sample's first person."""
        check_input_size(input_size, self.output_stride, name=f"A map of stride {self.output_stride}")
        width, height = input_size[0] // self.output_stride, input_size[1] // self.output_stride
        num_keypoints = sample.skeleton.num_keypoints
        heatmaps = np.zeros((num_keypoints, height, width), dtype=np.float32)
        if not len(sample):
            return HeatmapTargets(heatmaps, np.zeros(num_keypoints, dtype=np.float32))
        weights = (sample.keypoints[0, :, 2] > 0).astype(np.float32)
        if sample.keypoint_weights is not None:
            weights *= sample.keypoint_weights[0] > 0
        if sample.labelled is not None:
            weights *= sample.labelled
        center = (sample.keypoints[0, :, :2] / self.output_stride + 0.5).astype(int)  # truncates towards zero
        reach = int(3 * self.sigma)
        x, y = np.arange(width), np.arange(height)
        for k in np.flatnonzero(weights):
            dx, dy = x - center[k, 0], y - center[k, 1]
            across = np.exp(-(dx**2) / (2 * self.sigma**2)) * (abs(dx) <= reach)
            down = np.exp(-(dy**2) / (2 * self.sigma**2)) * (abs(dy) <= reach)
            heatmaps[k] = down[:, None] * across[None]
            weights[k] = heatmaps[k].any()
        return HeatmapTargets(heatmaps, weights)

    def plan(self, sample: Sample, input_size: tuple[int, int]) -> HeatmapTargets:
        """Return the targets; they are drawn before they travel."""
        return self.encode(sample, input_size)

    def aggregate(self, passes: Sequence[Pass], size: tuple[int, int], skeleton: Skeleton) -> np.ndarray:
        """Return the mean of the plain and mirrored maps: (K, h, w) float32."""
        return np.mean([one.outputs[0] for one in passes], axis=0)

    def decode(self, maps: np.ndarray, skeleton: Skeleton) -> Poses:
        """Return the one person of a crop, in px of the network input."""
        num_keypoints, height, width = maps.shape
        cells = maps.reshape(num_keypoints, -1).argmax(axis=1)
        scores = np.maximum(maps.reshape(num_keypoints, -1).max(axis=1), 0)
        x, y = cells % width, cells // width
        points = np.stack([x, y], axis=1).astype(np.float32)
        for k in range(num_keypoints):
            if 1 < x[k] < width - 1 and 1 < y[k] < height - 1:
                points[k, 0] += 0.25 * np.sign(maps[k, y[k], x[k] + 1] - maps[k, y[k], x[k] - 1])
                points[k, 1] += 0.25 * np.sign(maps[k, y[k] + 1, x[k]] - maps[k, y[k] - 1, x[k]])
        good = scores[scores > 0.2]
        return Poses(
            skeleton, points[None] * self.output_stride, scores[None], np.array([good.mean() if len(good) else 0.0])
        )

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return the people of all crops, each scored by person and box."""
        if not found:
            return Poses.empty(skeleton)
        people = concatenate([one.poses for one in found])
        return Poses(
            skeleton, people.keypoints, people.keypoint_scores,
            people.scores * np.array([one.score for one in found]), people.boxes,
        )  # fmt: skip
