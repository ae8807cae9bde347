"""How alike two people or two boxes are: OKS, IoU, and the suppression of people found twice.

Sources: OKS as the COCO keypoint evaluation computes it (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py,
computeOks); OKS-NMS as HRNet and mmpose use it, where the area of a pair is the mean of both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from litepose.poses import Poses

AREA_OF_BOX = 0.53  # crowdposetools: a person's area as a share of its box, where no mask and no area is known


def oks(
    keypoints: np.ndarray,
    truth: np.ndarray,
    *,
    areas: np.ndarray,
    sigmas: Sequence[float],
    counted: np.ndarray | None = None,
) -> np.ndarray:
    """Return the object keypoint similarity of N people to M others: (N, M) float64, 1 = the same place.

    keypoints: (N, K, 2) and truth: (M, K, 2), x then y, in the same pixels.
    areas: (M,) px^2 of the others, or (N, M) of each pair.
    counted: (M, K) bool, the keypoints that count (of truth: the labelled ones), or (N, M, K), those of each pair;
        None = all. A person of whom none counts has similarity 0 with everyone.
    """
    found, wanted = np.asarray(keypoints, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if counted is None:
        counted = np.ones(wanted.shape[:2], dtype=bool)
    area = np.asarray(areas, dtype=np.float64) + np.spacing(1)  # as cocoapi: an area of 0 divides by something
    area = np.broadcast_to(area, (len(found), len(wanted)))
    variances = (2 * np.asarray(sigmas, dtype=np.float64)) ** 2
    squared = ((found[:, None] - wanted[None]) ** 2).sum(axis=-1)  # (N, M, K)
    likeness = np.exp(-squared / variances / area[..., None] / 2) * counted
    return likeness.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)


def oks_between(poses: Poses) -> np.ndarray:
    """Return the OKS of every two of the people, each pair measured by its mean area: (N, N) float64."""
    return _oks_of_pairs(poses.keypoints, pose_areas(poses), poses.skeleton.oks_sigmas)


def oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    *,
    areas: np.ndarray,
    sigmas: Sequence[float],
    threshold: float,
    found: np.ndarray | None = None,
) -> np.ndarray:
    """Return which people stay when each suppresses the lower-scored ones that are more alike than `threshold`.

    keypoints: (N, K, 2); areas: (N,) px^2. found: (N, K) bool, where only keypoints count that both of a pair have;
    None = all count. Returns indices, best score first: (M,) int64. Of equal scores the later person comes first, as in
    mmpose's reversed sort.
    """
    alike = _oks_of_pairs(keypoints, areas, sigmas, found)
    waiting = np.argsort(scores, kind="stable")[::-1]
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        waiting = waiting[alike[best, waiting] <= threshold]
    return np.array(kept, dtype=np.int64)


def soft_oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    *,
    areas: np.ndarray,
    sigmas: Sequence[float],
    threshold: float,
    most: int,
) -> np.ndarray:
    """Return the first `most` people when each that is taken lowers the scores of those like it.

    A score falls by the factor exp(-oks^2 / threshold), the gaussian penalty of Bodla et al. 2017. As in
    LPN and mmpose the lowered scores only decide the order and so who is cut off: up to `most` people all stay.
    keypoints, areas: as in `oks_nms`. Returns indices in the order of the taking: (M,) int64.
    """
    alike = _oks_of_pairs(keypoints, areas, sigmas)
    waiting = np.argsort(scores, kind="stable")[::-1]
    left = np.asarray(scores, dtype=np.float64)[waiting]
    kept: list[int] = []
    while len(waiting) and len(kept) < most:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        left = left[1:] * np.exp(-(alike[best, waiting] ** 2) / threshold)
        order = np.argsort(left, kind="stable")[::-1]
        waiting, left = waiting[order], left[order]
    return np.array(kept, dtype=np.int64)


def _oks_of_pairs(
    keypoints: np.ndarray, areas: np.ndarray, sigmas: Sequence[float], found: np.ndarray | None = None
) -> np.ndarray:
    areas = np.asarray(areas, dtype=np.float64)
    both = None if found is None else found[:, None] & found[None]
    return oks(keypoints, keypoints, areas=(areas[:, None] + areas[None]) / 2, sigmas=sigmas, counted=both)


def pose_areas(poses: Poses) -> np.ndarray:
    """Return the area of each person's box (around the found keypoints where there is none): (N,) float32, px^2."""
    return box_areas(poses.keypoint_boxes if poses.boxes is None else poses.boxes)


def box_areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return the areas of (..., 4) boxes, 0 for those turned inside out."""
    boxes = np.asarray(boxes_xyxy)
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(axis=-1)


def iou(boxes_xyxy: np.ndarray, others_xyxy: np.ndarray) -> np.ndarray:
    """Return intersection over union of (N, 4) with (M, 4) boxes: (N, M), 0 where both are empty."""
    boxes, others = np.asarray(boxes_xyxy, dtype=np.float64), np.asarray(others_xyxy, dtype=np.float64)
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)  # (N, M)
    total = box_areas(boxes)[:, None] + box_areas(others)[None] - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
