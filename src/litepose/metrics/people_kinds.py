"""Kinds of annotated people: how large, how crowded, how much of them is labelled, hidden, upright or cut off.

Each function returns a `Sorting` of N people. Sources: areas of cocoapi; overlap of boxes and numbers of labelled
keypoints after Ronchi and Perona 2017; levels of CrowdPose (`crowdpose.level_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.metrics.crowdpose import LEVELS
from litepose.similarity import iou
from litepose.skeleton import Skeleton

TORSO = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
BORDER_PX = 2.0  # a box that comes so near to the picture's border is cut off by it
SMALL_PX, LARGE_PX = 32, 96  # square roots of cocoapi's areas
MUCH_OVERLAP = 0.2


@dataclass(frozen=True)
class Sorting:
    """What people are sorted by, the names of the kinds, and each one's kind: (N,) int64, -1 = none of them."""

    title: str
    names: tuple[str, ...]
    kinds: np.ndarray

    def inhabited(self) -> list[tuple[str, np.ndarray]]:
        """Return each kind that somebody is of, and who: (N,) bool; nothing where there is one only."""
        masks = [(name, self.kinds == number) for number, name in enumerate(self.names)]
        masks = [(name, mask) for name, mask in masks if mask.any()]
        return masks if len(masks) > 1 else []


def by_coco_size(areas: np.ndarray) -> Sorting:
    """Sort by cocoapi's ranges of the area, (N,) px^2."""
    small, large = SMALL_PX, LARGE_PX
    names = (f"small: below {small} px", f"medium: {small} to {large} px", f"large: from {large} px")
    return Sorting("size (square root of the area)", names, _reached(np.sqrt(areas), (small, large)))


def by_quarters(values: np.ndarray, title: str) -> Sorting:
    """Sort into four kinds of equally many, by (N,) values in px."""
    limits = np.quantile(values, (0.25, 0.5, 0.75)) if len(values) else np.zeros(3)
    low, middle, high = (f"{limit:.0f}" for limit in limits)
    names = (f"below {low} px", f"{low} to {middle} px", f"{middle} to {high} px", f"from {high} px")
    return Sorting(title, names, _reached(values, limits))


def by_overlap(boxes_of_pictures: Sequence[np.ndarray]) -> Sorting:
    """Sort by the greatest IoU with another's box. boxes_of_pictures: (M, 4) xyxy of each picture."""
    most = [np.zeros(0)]
    for boxes in boxes_of_pictures:
        overlap = iou(boxes, boxes)
        np.fill_diagonal(overlap, 0)
        most.append(overlap.max(axis=1, initial=0.0))
    values = np.concatenate(most)
    names = ("touches nobody's box", f"IoU up to {MUCH_OVERLAP}", f"IoU above {MUCH_OVERLAP}")
    kinds = (values > 0).astype(np.int64) + (values > MUCH_OVERLAP)
    return Sorting("crowding (greatest overlap with another's box)", names, kinds)


def by_level(levels: Sequence[str | None]) -> Sorting:
    """Sort by CrowdPose's level of each one's picture, None = unknown."""
    kinds = np.array([LEVELS.index(level) if level in LEVELS else -1 for level in levels], dtype=np.int64)
    return Sorting("CrowdPose's level of the picture", LEVELS, kinds)


def by_labelled(labelled: np.ndarray) -> Sorting:
    """Sort by the number of labelled keypoints, (N, K) bool."""
    names = ("1 to 5", "6 to 10", "11 to 15", "16 or more")
    return Sorting("labelled keypoints", names, _reached(labelled.sum(axis=1), (6, 11, 16)))


def by_hidden(visible: np.ndarray) -> Sorting:
    """Sort by the share of labelled keypoints that are hidden; visible: (N, K) 0, 1, 2 as in COCO."""
    share = (visible == 1).sum(axis=1) / np.maximum((visible > 0).sum(axis=1), 1)
    kinds = (share > 0).astype(np.int64) + (share > 1 / 3)
    return Sorting("hidden keypoints (labelled, not seen)", ("none", "up to a third", "more than a third"), kinds)


def by_attitude(keypoints: np.ndarray, labelled: np.ndarray, skeleton: Skeleton) -> Sorting:
    """Sort by the angle of the line from shoulders to hips with straight down; who lacks one of the four is no kind.

    keypoints: (N, K, 2); labelled: (N, K) bool.
    """
    names = ("upright: within 45 degrees", "leaning or lying: 45 to 135", "head down: from 135")
    kinds = np.full(len(keypoints), -1)
    if all(name in skeleton.keypoints for pair in TORSO for name in pair):
        shoulders, hips = ([skeleton.index(name) for name in pair] for pair in TORSO)
        known = labelled[:, shoulders + hips].all(axis=1)
        down = keypoints[:, hips].mean(axis=1) - keypoints[:, shoulders].mean(axis=1)  # (N, 2)
        angles = np.degrees(np.abs(np.arctan2(down[:, 0], down[:, 1])))
        kinds = np.where(known, _reached(angles, (45, 135)), -1)
    return Sorting("torso", names, kinds)


def by_border(boxes_xyxy: np.ndarray, sizes: np.ndarray) -> Sorting:
    """Sort by whether the picture's border cuts somebody off.

    sizes: (N, 2) w, h of each one's picture, NaN = unknown.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    inside = (boxes[:, :2] > BORDER_PX).all(axis=1) & (boxes[:, 2:] < sizes - BORDER_PX).all(axis=1)
    kinds = np.where(np.isnan(sizes).any(axis=1), -1, np.where(inside, 0, 1))
    return Sorting("picture border", ("inside the picture", "cut off by its border"), kinds)


def _reached(values: np.ndarray, limits: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return how many of the limits each value reaches."""
    return np.searchsorted(np.asarray(limits), values, side="right")
