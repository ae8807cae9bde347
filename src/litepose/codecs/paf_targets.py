"""What heatmaps and part affinity fields are to say about the people of a picture.

Source: datasets/coco.py of Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284, oddities kept because
weights depend on them: heats of several people add up, a cell of a heatmap stands for its middle but one of a field for
its corner, and where two people's limbs cross the later one is written. Different: a keypoint that must not be learned
from leaves a hole, and what a picture's annotation does not know is masked.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from litepose.codecs.paf_limbs import Limbs
from litepose.poses import Sample

REACH_SIGMAS = 4  # the patch around a keypoint in which cells are looked at
MAX_EXPONENT = 4.6052  # a heat below 0.01 is 0
SHORTEST = 1e-7  # cells: a shorter limb has no direction
HOLE_SIGMAS = 3.0


@dataclass(frozen=True)
class PafTargets:
    """What a network should say about one sample; batched, every array has a leading B.

    heatmaps: (K + 1, h, w) float32, the last one the background: 1 where nobody's keypoint is.
    pafs: (2L, h, w) float32, x and y of each limb's unit vector.
    heatmap_mask: (1, h, w) or (K + 1, h, w) float32, paf_mask: (1, h, w) or (2L, h, w); 0 where nothing may be learned.
    """

    heatmaps: np.ndarray
    pafs: np.ndarray
    heatmap_mask: np.ndarray
    paf_mask: np.ndarray


def draw_targets(
    sample: Sample, limbs: Limbs, *, size: tuple[int, int], stride: int, sigma_px: float, limb_reach: float
) -> PafTargets:
    """Return the targets on maps of `size` (w, h) cells.

    sample: in the frame of the network input. limb_reach: cells to each side of a limb in which its vector is written.
    """
    keypoints = np.asarray(sample.keypoints, dtype=np.float64)
    labelled = keypoints[..., 2] > 0
    learned = labelled
    if sample.keypoint_weights is not None:
        learned = labelled & (sample.keypoint_weights > 0)
    heatmaps = _heatmaps(keypoints, learned, size=size, stride=stride, sigma_px=sigma_px)
    pafs = np.zeros((2 * len(limbs), size[1], size[0]), dtype=np.float32)
    for limb, (a, b) in enumerate(limbs.ends):
        for person in np.flatnonzero(learned[:, a] & learned[:, b]).tolist():
            ends = keypoints[person, [a, b], :2] / stride
            _draw_limb(pafs[2 * limb : 2 * limb + 2], ends, limb_reach)
    mask = _mask(sample, size)
    heatmap_mask, paf_mask = mask, mask
    if (labelled & ~learned).any() or (sample.labelled is not None and not sample.labelled.all()):
        heatmap_mask = np.repeat(mask, len(heatmaps), axis=0)
        paf_mask = np.repeat(mask, len(pafs), axis=0)
        _leave_out_unknown(sample, limbs, heatmap_mask, paf_mask)
        _cut_holes(keypoints, labelled & ~learned, limbs, heatmap_mask, paf_mask, stride, sigma_px)
    return PafTargets(heatmaps, pafs, heatmap_mask, paf_mask)


def _heatmaps(
    keypoints: np.ndarray, learned: np.ndarray, *, size: tuple[int, int], stride: int, sigma_px: float
) -> np.ndarray:
    width, height = size
    heatmaps = np.zeros((keypoints.shape[1] + 1, height, width), dtype=np.float32)
    middle = stride / 2 - 0.5
    for person, keypoint in zip(*np.nonzero(learned), strict=True):
        x, y = keypoints[person, keypoint, :2].tolist()
        columns, rows = _covered(x, width, stride, sigma_px), _covered(y, height, stride, sigma_px)
        across = (columns * stride + middle - x) ** 2
        down = (rows * stride + middle - y) ** 2
        exponent = (down[:, None] + across[None]) / 2 / sigma_px / sigma_px
        heats = np.where(exponent > MAX_EXPONENT, 0, np.exp(-exponent))
        if heats.size:
            patch = heatmaps[keypoint, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            patch += heats.astype(np.float32)
            np.minimum(patch, 1, out=patch)
    heatmaps[-1] = 1 - heatmaps[:-1].max(axis=0)
    return heatmaps


def _covered(at: float, length: int, stride: int, sigma_px: float) -> np.ndarray:
    """Return the cells along one axis that a keypoint's patch covers: (n,) int64."""
    first = max(int(at - REACH_SIGMAS * sigma_px), 0) // stride
    end = min(int(at + REACH_SIGMAS * sigma_px), length * stride) // stride
    return np.arange(first, max(first, end))


def _draw_limb(planes: np.ndarray, ends: np.ndarray, reach: float) -> None:
    """Write a limb's unit vector into its two planes. ends: (2, 2) x, y in cells."""
    (ax, ay), (bx, by) = ends.tolist()
    length = ((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5
    if length < SHORTEST:
        return
    dx, dy = (bx - ax) / length, (by - ay) / length
    height, width = planes.shape[1:]
    x0, x1 = int(max(min(ax, bx) - reach, 0)), int(min(max(ax, bx) + reach, width))
    y0, y1 = int(max(min(ay, by) - reach, 0)), int(min(max(ay, by) + reach, height))
    if x1 <= x0 or y1 <= y0:
        return
    along, down = np.arange(x0, x1) - ax, np.arange(y0, y1) - ay
    near = np.abs(along[None] * dy - down[:, None] * dx) <= reach
    planes[0, y0:y1, x0:x1][near] = dx
    planes[1, y0:y1, x0:x1][near] = dy


def _mask(sample: Sample, size: tuple[int, int]) -> np.ndarray:
    """Return the share of each cell that may be learned from: (1, h, w) float32."""
    if sample.ignore is None:
        return np.ones((1, size[1], size[0]), dtype=np.float32)
    return cv2.resize((~sample.ignore).astype(np.float32), size, interpolation=cv2.INTER_AREA)[None]


def _leave_out_unknown(sample: Sample, limbs: Limbs, heatmap_mask: np.ndarray, paf_mask: np.ndarray) -> None:
    """Mask the channels of keypoints that the annotation does not know, of their limbs, and the background."""
    if sample.labelled is None or sample.labelled.all():
        return
    heatmap_mask[:-1][~sample.labelled] = 0
    heatmap_mask[-1] = 0
    for limb, (a, b) in enumerate(limbs.ends):
        if not (sample.labelled[a] and sample.labelled[b]):
            paf_mask[2 * limb : 2 * limb + 2] = 0


def _cut_holes(
    keypoints: np.ndarray,
    unlearned: np.ndarray,
    limbs: Limbs,
    heatmap_mask: np.ndarray,
    paf_mask: np.ndarray,
    stride: int,
    sigma_px: float,
) -> None:
    """Mask the surroundings of keypoints that must not be learned from, and all along their limbs."""
    height, width = heatmap_mask.shape[1:]
    rows, columns = (np.arange(length) * stride + stride / 2 - 0.5 for length in (height, width))
    for person, keypoint in zip(*np.nonzero(unlearned), strict=True):
        x, y = keypoints[person, keypoint, :2]
        hole = (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2 <= (HOLE_SIGMAS * sigma_px) ** 2
        heatmap_mask[keypoint][hole] = 0
        heatmap_mask[-1][hole] = 0
        for limb, pair in enumerate(limbs.ends):
            other = pair[1] if pair[0] == keypoint else pair[0]
            if keypoint in pair and keypoints[person, other, 2] > 0:
                box = keypoints[person, [keypoint, other], :2] / stride
                x0, y0 = np.maximum(np.floor(box.min(axis=0)) - 1, 0).astype(int)
                x1, y1 = np.maximum(np.ceil(box.max(axis=0)) + 2, 0).astype(int)
                paf_mask[2 * limb : 2 * limb + 2, y0:y1, x0:x1] = 0
