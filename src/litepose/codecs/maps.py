"""Gaussians drawn onto maps and peaks read from them: what heatmap codecs have in common.

Source: HigherHRNet's target generators and parser as mit-han-lab/litepose@00b702d uses them. Positions are map cells; a
keypoint at (x, y) belongs to the cell (trunc x, trunc y), so an x of -0.7 counts as inside.
"""

from __future__ import annotations

import functools
import itertools

import cv2
import numpy as np

from litepose.codecs.topk import topk_order

HOLE_SIGMAS = 3.0  # radius of a hole in a mask: as far as the patch of a gaussian reaches


@functools.lru_cache(maxsize=256)
def gaussian_patch(sigma: float) -> np.ndarray:
    """Return the square gaussian of side ceil(6 sigma + 3), its top at 3 sigma + 1: (side, side) float64."""
    axis = np.arange(0, 6 * sigma + 3, 1.0) - (3 * sigma + 1)
    square = axis**2
    patch = np.exp(-(square[:, None] + square[None, :]) / (2 * sigma**2))
    patch.setflags(write=False)
    return patch


def auto_sigma(size: tuple[int, int]) -> float:
    """Return the sigma in cells that a map of `size` (w, h) cells gets where none is set."""
    return min(size) / 64


def box_sigmas(
    boxes: np.ndarray, *, base_size: float = 256.0, base_sigma: float = 2.0, whole: bool = False
) -> np.ndarray:
    """Return a sigma for each person that grows with the longer side of the box: (N, 4) xyxy -> (N,) float64.

    whole: round up to whole cells (the reference's INT_SIGMA: round(sigma + 0.5), half to even).
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    sigmas = sides / base_size * base_sigma
    return np.round(sigmas + 0.5) if whole else sigmas


def cells_of(points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells that points lie in and whether these are on the map.

    points: (..., 2) float, map coordinates. size: (w, h) in cells.
    Returns (..., 2) int64 truncated towards zero and (...) bool; NaN and infinity are outside, at cell 0.
    """
    truncated = np.trunc(points)
    inside = ((truncated >= 0) & (truncated < np.asarray(size))).all(axis=-1)
    return np.where(inside[..., None], truncated, 0).astype(np.int64), inside


def patch_corners(cells: np.ndarray, sigmas: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return where `gaussian_patch` of each sigma lies around each cell: (M, 6) int64.

    Columns: left, top of the whole patch; then x0, y0, x1, y1 of its part on the map (x1, y1 excluded).
    cells: (M, 2) int x, y. sigmas: (M,) above 0. size: (w, h) of the map in cells.
    """
    sigmas = np.asarray(sigmas, dtype=np.float64)[:, None]
    start = np.round(cells - 3 * sigmas - 1)  # half to even, as the reference rounds
    end = np.minimum(np.round(cells + 3 * sigmas + 2), start + np.ceil(6 * sigmas + 3))
    return np.concatenate([start, np.maximum(start, 0), np.minimum(end, size)], axis=1).astype(np.int64)


def draw_gaussians(heatmaps: np.ndarray, cells: np.ndarray, present: np.ndarray, sigmas: float | np.ndarray) -> None:
    """Draw everybody's keypoints into `heatmaps` ((K, h, w) float32), the maximum where gaussians overlap.

    cells: (N, K, 2) int. present: (N, K) bool, which to draw. sigmas: one for all, or one for each person; who has one
        of 0 or less, a person without extent, is not drawn.
    """
    height, width = heatmaps.shape[1:]
    each = np.broadcast_to(np.asarray(sigmas, dtype=np.float64), (len(cells),))
    persons, keypoints = np.nonzero(present & (each > 0)[:, None])
    corners = patch_corners(cells[persons, keypoints], each[persons], (width, height))
    for keypoint, sigma, (left, top, x0, y0, x1, y1) in zip(
        keypoints.tolist(), each[persons].tolist(), corners.tolist(), strict=True
    ):
        target = heatmaps[keypoint, y0:y1, x0:x1]
        patch = gaussian_patch(sigma)[y0 - top : y1 - top, x0 - left : x1 - left]
        np.maximum(target, patch, out=target, casting="same_kind")


def cut_holes(
    masks: np.ndarray, cells: np.ndarray, unlearned: np.ndarray, learned: np.ndarray, sigmas: float | np.ndarray
) -> None:
    """Take the surroundings of keypoints that must not be learned from out of `masks` ((K, h, w) float32).

    A cell leaves where it lies within 3 sigma of an unlearned keypoint and strictly nearer to it than to every learned
    keypoint of the same kind, so that nobody else's keypoint loses its top.
    cells: (N, K, 2) int. unlearned, learned: (N, K) bool, disjoint.
    """
    height, width = masks.shape[1:]
    radii = HOLE_SIGMAS * np.broadcast_to(np.asarray(sigmas, dtype=np.float64), (len(cells),))
    for person, keypoint in zip(*np.nonzero(unlearned), strict=True):
        x, y = cells[person, keypoint]
        reach = int(np.ceil(radii[person]))
        rows = np.arange(max(0, y - reach), min(height, y + reach + 1))[:, None]
        columns = np.arange(max(0, x - reach), min(width, x + reach + 1))[None, :]
        own = (columns - x) ** 2 + (rows - y) ** 2
        hole = own <= radii[person] ** 2
        for other_x, other_y in cells[learned[:, keypoint], keypoint]:
            hole &= own < (columns - other_x) ** 2 + (rows - other_y) ** 2
        area = masks[keypoint, rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[0, -1] + 1]
        area[hole] = 0


def resize_maps(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return `maps` ((C, h, w) float32) at `size` (w, h), bilinear with half-pixel centres (align_corners=False)."""
    if maps.shape[:0:-1] == tuple(size):
        return maps
    resized = np.empty((len(maps), size[1], size[0]), dtype=np.float32)
    for source, target in zip(maps, resized, strict=True):
        cv2.resize(source, size, dst=target, interpolation=cv2.INTER_LINEAR)
    return resized


def find_peaks(heatmaps: np.ndarray, *, kernel: int, most: int, above: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the channels and flat cells of the `most` highest peaks of each map, by channel, highest first.

    A peak is at least as high as everything in the kernel x kernel square around it, so each cell of a plateau is one.
    Equal peaks come in torch.topk's order, which counts all other cells as 0 (see codecs/topk.py). NaN is no peak.
    heatmaps: (K, h, w) float32. kernel: odd, 3 or more. above: only peaks higher than this, which is at least 0.
    Returns twice (M,) int64.
    """
    area = heatmaps.shape[1] * heatmaps.shape[2]
    places = _local_maxima(heatmaps, kernel // 2, above)
    channels, cells = np.divmod(places, area)
    heats = heatmaps.ravel()[places]
    order = np.lexsort((-heats, channels))
    channels, cells, heats = channels[order], cells[order], heats[order]
    same_channel = channels[1:] == channels[:-1]
    ties = same_channel & (heats[1:] == heats[:-1])
    tied = np.unique(channels[1:][ties]).tolist() if ties.any() else []
    starts = np.searchsorted(channels, np.arange(len(heatmaps) + 1)).tolist()
    if not tied and max(end - start for start, end in itertools.pairwise(starts)) <= most:
        return channels, cells
    kept = [cells[start : min(end, start + most)] for start, end in itertools.pairwise(starts)]
    for channel in tied:
        heatmap = heatmaps[channel]
        highest_around = cv2.dilate(heatmap, np.ones((kernel, kernel), np.uint8))
        peaks_only = np.where(heatmap == highest_around, heatmap, 0).ravel()
        ranked = np.array(topk_order(peaks_only, min(most, area)))
        kept[channel] = ranked[peaks_only[ranked] > above]
    return np.repeat(np.arange(len(kept)), [len(one) for one in kept]), np.concatenate(kept)


def _local_maxima(heatmaps: np.ndarray, reach: int, above: float) -> np.ndarray:
    """Return the flat indices of cells higher than `above` and at least as high as all within `reach`: (M,) ascending.

    Few cells are high and fewer survive each look at a neighbour, so this touches less memory than dilating all maps.
    """
    _, height, width = heatmaps.shape
    flat = heatmaps.ravel()
    high = np.flatnonzero(flat > above)
    heats = flat[high]
    rows = high // width  # numpy takes remainders far more slowly
    in_row = (high[1:] - high[:-1] == 1) & (rows[1:] == rows[:-1])  # the next high cell is the right neighbour
    is_peak = np.ones(len(high), dtype=bool)
    is_peak[:-1] &= ~(in_row & (heats[1:] > heats[:-1]))
    is_peak[1:] &= ~(in_row & (heats[1:] < heats[:-1]))
    kept = np.flatnonzero(is_peak)
    places, heats, rows = high[kept], heats[kept], rows[kept]

    y = rows % height
    for step in (-1, 1):
        beside = np.minimum(np.maximum(y + step, 0), height - 1)
        lower = flat[places + (beside - y) * width] <= heats
        places, heats, y = places[lower], heats[lower], y[lower]

    x = places % width
    steps = np.arange(-reach, reach + 1)[:, None]
    down = np.minimum(np.maximum(y + steps, 0), height - 1) - y  # (kernel, M); at the border cells repeat
    right = np.minimum(np.maximum(x + steps, 0), width - 1) - x
    around = flat[(places + down * width)[:, None] + right[None]]  # (kernel, kernel, M)
    return places[around.reshape(len(steps) ** 2, len(places)).max(axis=0) <= heats]


def quarter_shift(heatmaps: np.ndarray, keypoints: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return +-0.25 cell per axis towards the higher neighbour, minus where both are equal: (M, 2) float32.

    keypoints: (M,) channel of each cell. cells: (M, 2) int x, y. At the border a cell is its own neighbour.
    """
    height, width = heatmaps.shape[1:]
    x, y = cells[:, 0], cells[:, 1]
    flat = heatmaps.ravel()
    here = (keypoints * height + y) * width + x
    right = flat[here + (x < width - 1)] > flat[here - (x > 0)]
    below = flat[here + width * (y < height - 1)] > flat[here - width * (y > 0)]
    shift = np.empty((len(here), 2), dtype=np.float32)
    np.multiply(right, np.float32(0.5), out=shift[:, 0])
    np.multiply(below, np.float32(0.5), out=shift[:, 1])
    shift -= np.float32(0.25)
    return shift


@functools.lru_cache(maxsize=64)
def blur_matrix(length: int, kernel: int, border: int = cv2.BORDER_REFLECT_101) -> np.ndarray:
    """Return what a gaussian blur of `kernel` cells does along an axis: (length, length) float32, blurred = matrix @ x.

    The gaussian is the one that cv2.GaussianBlur takes for the kernel's size where no sigma is given. border: OpenCV's.
    """
    gaussian = cv2.getGaussianKernel(kernel, 0, cv2.CV_32F)
    cells = np.eye(length, dtype=np.float32)
    matrix = cv2.sepFilter2D(cells, -1, np.ones(1, dtype=np.float32), gaussian, borderType=border)
    matrix.setflags(write=False)
    return matrix
