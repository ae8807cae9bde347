"""Regions of a picture: COCO's run lengths and polygons, and the shape of a person known by keypoints only.

Source: the COCO API's mask rules (cocodataset/cocoapi@8c9bcc3, common/maskApi.c): runs go down the columns, a polygon
is rasterised on a grid five times finer, a pixel belongs to it where its column's centre line lies inside.
Written anew for numpy; equal to pycocotools bit for bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from litepose.errors import AnnotationError
from litepose.geometry import size_of
from litepose.skeleton import Skeleton

POLYGON_FINENESS = 5  # maskApi.c, rleFrPoly
LIMB_WIDTH = 0.22  # of the torso's length: about a thigh
HEAD_WIDTH = 0.33  # of the torso's length: half a head
GRABCUT_SIDE_PX = 200  # larger crops are shrunk first: its time grows with the area


def mask_from_segmentation(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return COCO's segmentation (polygons, or run lengths as a list or a string) as an (h, w) bool mask.

    size: (w, h) of the picture; a run-length mask of another size is resized to it. Raises AnnotationError.
    """
    width, height = size
    if isinstance(segmentation, dict):
        mask = decode_runs(segmentation)
        if mask.shape == (height, width):
            return mask
        return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    mask = np.zeros((height, width), dtype=bool)
    try:
        polygons = [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation or ()]
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"A segmentation is a list of polygons [x, y, x, y, ...] or run lengths; found {str(segmentation)[:60]}."
        ) from error
    for polygon in polygons:
        mask |= _fill_polygon(polygon, size)
    return mask


def encode_runs(mask: np.ndarray) -> dict[str, Any]:
    """Return an (h, w) mask as COCO's uncompressed run lengths: {"size": [h, w], "counts": [...]}."""
    flat = np.asarray(mask, dtype=bool).T.ravel()  # down the columns
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]  # the first run is always outside
    return {"size": [int(side) for side in mask.shape], "counts": counts}


def decode_runs(runs: dict[str, Any]) -> np.ndarray:
    """Return run lengths (`counts` a list, or COCO's compressed string) as an (h, w) bool mask."""
    try:
        height, width = (int(side) for side in runs["size"])
        counts = runs["counts"]
        lengths = np.asarray(_decompress(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64)
    except (LookupError, TypeError, ValueError, OverflowError) as error:  # LookupError: also a string cut off
        raise AnnotationError(
            f"A run-length mask needs 'size' [h, w] and 'counts'; found {str(runs)[:80]} ({error!r})."
        ) from error
    inside = np.arange(len(lengths)) % 2 == 1
    if lengths.sum() != height * width or lengths.min(initial=0) < 0:
        raise AnnotationError(
            f"A run-length mask of {width}x{height} needs runs that add up to {height * width}; they give "
            f"{int(lengths.sum())}. The segmentation is broken."
        )
    return np.repeat(inside, lengths).reshape(width, height).T


def limb_mask(
    keypoints: np.ndarray, visible: np.ndarray, skeleton: Skeleton, size: tuple[int, int], *, grow: float = 1.0
) -> np.ndarray:
    """Return roughly where one person is, from keypoints alone: (h, w) bool.

    keypoints: (K, 2) picture px; visible: (K,) bool. Limbs become capsules, torso and head are filled; `grow`
    multiplies the widths.
    """
    canvas = np.zeros((size[1], size[0]), dtype=np.uint8)
    points = {name: keypoints[k] for k, name in enumerate(skeleton.keypoints) if visible[k]}
    if not points:
        return canvas > 0
    torso_px = torso_length(points)
    thickness = max(1, round(2 * LIMB_WIDTH * torso_px * grow))
    for a, b in skeleton.limbs:
        if a in points and b in points:
            cv2.line(canvas, _pixel(points[a]), _pixel(points[b]), 1, thickness)
    for point in points.values():
        cv2.circle(canvas, _pixel(point), (thickness + 1) // 2, 1, -1)
    trunk = [points[n] for n in ("left_shoulder", "right_shoulder", "right_hip", "left_hip") if n in points]
    if len(trunk) >= 3:
        hull = cv2.convexHull(np.array([_pixel(point) for point in trunk], dtype=np.int32))
        cv2.fillConvexPoly(canvas, hull, 1)
    for name in ("nose", "left_ear", "right_ear", "head_top"):
        if name in points:
            centre = points[name]
            if name == "head_top" and "neck" in points:
                centre = 0.55 * centre + 0.45 * points["neck"]
            cv2.circle(canvas, _pixel(centre), max(1, round(HEAD_WIDTH * torso_px * grow)), 1, -1)
    return canvas > 0


def person_mask(image: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return where one person is, its limbs' shape refined by the colours around: (h, w) bool, some 25 ms.

    Source: GrabCut (Rother et al. 2004), started from thin limbs as surely the person, wide ones as perhaps.
    keypoints: (K, 2) picture px; visible: (K,) bool.
    """
    height, width = image.shape[:2]
    rough = limb_mask(keypoints, visible, skeleton, (width, height))
    rows, columns = np.flatnonzero(rough.any(axis=1)), np.flatnonzero(rough.any(axis=0))
    if len(rows) < 8 or len(columns) < 8:
        return rough
    margin = max(rows[-1] - rows[0], columns[-1] - columns[0]) // 6
    x0, y0 = max(0, columns[0] - margin), max(0, rows[0] - margin)
    x1, y1 = min(width, columns[-1] + 1 + margin), min(height, rows[-1] + 1 + margin)
    factor = min(1.0, GRABCUT_SIDE_PX / max(x1 - x0, y1 - y0))
    size = max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor))
    crop = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA)
    refined = _grab(crop, (keypoints - (x0, y0)) * factor, visible, skeleton)
    if refined is None:
        return rough
    mask = np.zeros((height, width), dtype=bool)
    whole = cv2.resize(refined.astype(np.uint8) * np.uint8(255), (int(x1 - x0), int(y1 - y0)))
    mask[y0:y1, x0:x1] = whole > 127
    return mask


def _grab(crop: np.ndarray, keypoints: np.ndarray, visible: np.ndarray, skeleton: Skeleton) -> np.ndarray | None:
    """Return the refined mask of a crop, or None where colours do not tell the person from the rest."""
    size = size_of(crop)
    guess = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    for grow, label in ((1.4, cv2.GC_PR_BGD), (1.0, cv2.GC_PR_FGD), (0.35, cv2.GC_FGD)):
        guess[limb_mask(keypoints, visible, skeleton, size, grow=grow)] = label
    sure = int((guess == cv2.GC_FGD).sum())
    if sure < 20 or not (guess == cv2.GC_BGD).any():
        return None
    cv2.setRNGSeed(0)  # its colour clusters start at random; the same picture must give the same mask
    cv2.grabCut(crop, guess, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
    found = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    _, parts, table, _ = cv2.connectedComponentsWithStats(found)
    small = np.flatnonzero(table[:, cv2.CC_STAT_AREA] < 0.02 * found.sum())
    found[np.isin(parts, small)] = 0
    return found > 0 if found.sum() > 1.2 * sure else None


def torso_length(points: dict[str, np.ndarray]) -> float:
    """Return the length from shoulders to hips in px; where they are missing, a share of the extent seen."""
    sides = [
        float(np.hypot(*(points[f"{a}_shoulder"] - points[f"{b}_hip"])))
        for a, b in itertools.product(("left", "right"), repeat=2)
        if f"{a}_shoulder" in points and f"{b}_hip" in points
    ]
    extent = float(np.ptp(np.array(list(points.values())), axis=0).max())
    return max(float(np.mean(sides)) if sides else 0.0, 0.3 * extent, 2.0)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    # cv2 draws with 16 bits beside the shift; annotated points may lie far outside.
    return round(min(max(float(point[0]), -32000.0), 32000.0)), round(min(max(float(point[1]), -32000.0), 32000.0))


def _fill_polygon(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the (h, w) bool mask of one polygon of (n, 2) px."""
    width, height = size
    if len(polygon) < 3 or not np.isfinite(polygon).all():
        return np.zeros((height, width), dtype=bool)
    fine = (POLYGON_FINENESS * polygon + 0.5).astype(np.int64)
    x, y = _outline(fine, np.roll(fine, -1, axis=0))
    step = np.flatnonzero(np.diff(x))  # where the outline crosses from one fine column to the next
    column = (np.minimum(x[step], x[step + 1]) + 0.5) / POLYGON_FINENESS - 0.5
    row = (np.minimum(y[step], y[step + 1]) + 0.5) / POLYGON_FINENESS - 0.5
    kept = (column == np.floor(column)) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[kept], 0, height)).astype(np.int64)
    crossings = np.bincount(column[kept].astype(np.int64) * height + row, minlength=width * height + 1)
    return (np.cumsum(crossings[: width * height]) % 2 == 1).reshape(width, height).T


def _outline(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all fine grid points on the edges, in order: x and y."""
    xs, ys = [], []
    for (x0, y0), (x1, y1) in zip(starts, ends, strict=True):
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        # Each edge is walked along its longer axis from its lower end, so both directions give the same points.
        backwards = (dx >= dy and x0 > x1) or (dx < dy and y0 > y1)
        (xa, ya), (xb, yb) = ((x1, y1), (x0, y0)) if backwards else ((x0, y0), (x1, y1))
        steps = np.arange(max(dx, dy) + 1)
        if dx >= dy:
            slope = (yb - ya) / dx if dx else 0.0
            x, y = xa + steps, (ya + slope * steps + 0.5).astype(np.int64)
        else:
            slope = (xb - xa) / dy
            x, y = (xa + slope * steps + 0.5).astype(np.int64), ya + steps
        xs.append(x[::-1] if backwards else x)
        ys.append(y[::-1] if backwards else y)
    return np.concatenate(xs), np.concatenate(ys)


def _decompress(text: str | bytes) -> Sequence[int]:
    """Return the run lengths of COCO's string: 5 bits a character, differences to the run two before."""
    data = text.encode() if isinstance(text, str) else text
    lengths: list[int] = []
    position = 0
    while position < len(data):
        value, shift, more = 0, 0, True
        while more:
            digit = data[position] - 48
            value |= (digit & 0x1F) << shift
            more, shift, position = bool(digit & 0x20), shift + 5, position + 1
            if not more and digit & 0x10:
                value |= -1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    return lengths
