"""Where the boxes of people come from, around which a top-down model looks: any callable picture -> boxes.

Here: another pose model, the whole picture, an annotated sample. The rule for annotated boxes is HRNet's
(leoxiaobin/deep-high-resolution-net.pytorch, lib/dataset/coco.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from litepose.errors import SettingError
from litepose.geometry import clean_coco_boxes, size_of, xywh_to_xyxy, xyxy_to_xywh
from litepose.poses import Poses, Sample
from litepose.skeleton import MPII16


class Detector(Protocol):
    """A callable that finds people: (H, W, 3) uint8 BGR -> (M, 5) float32 x1, y1, x2, y2, score in picture px."""

    def __call__(self, picture: np.ndarray, /) -> np.ndarray: ...


def whole_picture(picture: np.ndarray) -> np.ndarray:
    """Return one box: all of the picture. For pictures that show one person, large."""
    return np.array([[0, 0, *size_of(picture), 1]], dtype=np.float32)


class PoseDetector:
    """Boxes around the people whom a pose model finds.

    find: (H, W, 3) uint8 BGR -> Poses, such as the Predictor of a bottom-up model.
    min_score: of people; those below get no box.
    margin: what is added on each side, as a share of the box of the keypoints: heads, hands and feet end outside it.
    """

    def __init__(self, find: Callable[[np.ndarray], Poses], *, min_score: float = 0.1, margin: float = 0.15) -> None:
        self.find, self.min_score, self.margin = find, min_score, margin

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See Detector. Scores are the people's, at most 1."""
        poses = self.find(picture)
        poses = poses[poses.scores >= self.min_score]
        boxes = poses.keypoint_boxes
        extent = boxes[:, 2:] - boxes[:, :2]
        boxes = boxes + np.concatenate([-extent, extent], axis=1) * np.float32(self.margin)
        scores = np.minimum(poses.scores, 1)
        return np.column_stack([boxes, scores])[extent.max(axis=1, initial=0) > 0].astype(np.float32)


def truth_boxes(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotated people's boxes as HRNet's loader takes them, (M, 5) float32, and who they are, (M,) int64.

    A person counts where a keypoint is labelled, and the area and the cleaned box are not empty; the score is 1.
    MPII's boxes stand for its centres and scales, and are not cleaned.
    """
    boxes, kept = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4), sample.visible.any(axis=1)
    if sample.skeleton != MPII16:
        cleaned, usable = clean_coco_boxes(xyxy_to_xywh(boxes), sample.areas, sample.size)
        boxes, kept = xywh_to_xyxy(cleaned), kept & usable & (cleaned[:, 2:] > 0).all(axis=1)  # as mmpose; HRNet: >= 0
    people = np.flatnonzero(kept)
    return np.column_stack([boxes[people], np.ones(len(people))]).astype(np.float32), people


def checked_boxes(boxes: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Return boxes that somebody gave for a (w, h) picture as (M, 5) float32, scores 1 where there are none.

    Raises SettingError where an array or a box in it cannot be meant.
    """
    array = np.asarray(boxes)
    if array.size == 0:
        return np.zeros((0, 5), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] not in (4, 5) or array.dtype.kind not in "iuf":
        raise SettingError(
            f"Boxes must be an (M, 4) array of x1, y1, x2, y2 in picture px, or (M, 5) with a score; found "
            f"{array.dtype} of {array.shape}. One box is an array of one row."
        )
    array = array.astype(np.float32)
    wrong = ~_usable(array, picture_size)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise SettingError(
            f"Boxes were given for a picture of {picture_size[0]}x{picture_size[1]}, and {int(wrong.sum())} of "
            f"{len(array)} cannot be looked at; the first is row {row}: "
            f"{', '.join(f'{value:g}' for value in array[row])}. A box is x1, y1, x2, y2 (corners, not width and "
            "height) with x1 < x2 and y1 < y2, and some of it lies in the picture."
        )
    return _with_scores(array)


def usable_boxes(boxes: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Return those of a detector's boxes for a (w, h) picture that can be looked at: (M, 5) float32.

    Raises SettingError where it gave no boxes at all but something else.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size and (array.ndim != 2 or array.shape[1] not in (4, 5)):
        raise SettingError(
            f"A detector must give (M, 4) boxes x1, y1, x2, y2 or (M, 5) with scores; found an array of {array.shape}."
        )
    array = array.reshape(-1, array.shape[-1] if array.size else 5)
    return _with_scores(array[_usable(array, picture_size)])


def _usable(boxes: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Return which boxes are finite, not empty, and lie at least partly in the picture: (M,) bool."""
    x1, y1, x2, y2 = boxes[:, :4].T
    with np.errstate(invalid="ignore"):
        placed = (x2 > x1) & (y2 > y1) & (x2 > 0) & (y2 > 0) & (x1 < picture_size[0]) & (y1 < picture_size[1])
    return np.isfinite(boxes).all(axis=1) & placed


def _with_scores(boxes: np.ndarray) -> np.ndarray:
    return boxes if boxes.shape[1] == 5 else np.column_stack([boxes, np.ones(len(boxes), dtype=np.float32)])
