"""Trackers that remember one frame: whoever is most like somebody of the frame before has his id.

`similar_keypoints` is Lightweight OpenPose's rule (Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284,
modules/pose.py, track_poses): its ids are ours, counted from 0. `box_overlap` is what is usually done with boxes. One
missed frame is a new id with either; `tracking.Tracker` is what to use.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from litepose.poses import Poses
from litepose.similarity import iou

Likeness = Callable[[Poses, Poses], np.ndarray]  # (N people now, M people before) -> (N, M)


class LastFrameTracker:
    """Gives ids by the frame before alone: people choose greedily, best score first.

    likeness: of the people now and before. least: what a person must reach to be the same.
    """

    def __init__(self, likeness: Likeness, least: float) -> None:
        self.likeness = likeness
        self.least = least
        self._before: Poses | None = None
        self._next_id = 0

    def update(self, poses: Poses) -> Poses:
        """Return the people of the next frame with `track_ids`, counted from 0."""
        ids = np.full(len(poses), -1, dtype=np.int64)
        before = self._before
        alike = np.zeros((len(poses), 0)) if before is None else self.likeness(poses, before).astype(np.float64)
        for n in np.argsort(-poses.scores, kind="stable").tolist():
            best = int(alike[n].argmax()) if alike.shape[1] else -1
            if best >= 0 and alike[n, best] >= self.least:
                assert before is not None and before.track_ids is not None
                ids[n] = before.track_ids[best]
                alike[:, best] = -1
            else:
                ids[n] = self._next_id
                self._next_id += 1
        self._before = dataclasses.replace(poses, track_ids=ids)
        return self._before

    def remember(self, poses: Poses) -> None:
        """Compare the next frame with these people, the last ones after smoothing, as the reference does."""
        assert poses.track_ids is not None
        self._before = poses


def similar_keypoints(poses: Poses, before: Poses) -> np.ndarray:
    """Return how many keypoints of two people are at places of an OKS above 0.5: (N, M). Three make a person."""
    squared = ((poses.keypoints[:, None].astype(np.float64) - before.keypoints[None]) ** 2).sum(axis=-1)  # (N, M, K)
    area = np.maximum(_pixel_areas(poses)[:, None], _pixel_areas(before)[None])
    variances = (2 * np.array(poses.skeleton.oks_sigmas)) ** 2
    likeness = np.exp(-squared / (2 * (area + np.spacing(1))[..., None] * variances))
    return ((likeness > 0.5) & poses.found[:, None] & before.found[None]).sum(axis=-1)


def box_overlap(poses: Poses, before: Poses) -> np.ndarray:
    """Return the IoU of the boxes around found keypoints: (N, M)."""
    return iou(poses.keypoint_boxes, before.keypoint_boxes)


def _pixel_areas(poses: Poses) -> np.ndarray:
    """Return the area of the box around each person, both ends counted, as cv2.boundingRect does."""
    boxes = poses.keypoint_boxes.astype(np.float64)
    return (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=-1)
