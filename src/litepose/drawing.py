"""People onto pictures: limbs coloured by side with a dark rim, dots on keypoints, all scaled to the person.

Each person is painted on a layer of its own (colour and coverage), so that rims join instead of crossing limbs and
uncertain parts fade as a whole. Colours, widths and visibility belong here and nowhere else.
"""

from __future__ import annotations

import cv2
import numpy as np

from litepose.geometry import Warp
from litepose.poses import Poses
from litepose.skeleton import FACE, Skeleton, keypoint_side

MIN_SCORE = 0.25  # keypoints below are not drawn
SURE_SCORE = 0.5  # keypoints from here on are drawn opaque
FAINTEST = 0.45  # opacity at MIN_SCORE

# BGR. Blue and orange stay apart for the colour-blind (Okabe and Ito 2008); the middle is a warm white.
COLOURS = {"left": (60, 165, 255), "right": (255, 175, 50), "centre": (225, 240, 245)}
RIM_COLOUR = (45, 30, 25)
# One for each person where people are to be told apart: Okabe and Ito's eight without black.
PERSON_COLOURS = (
    (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240), (167, 121, 204), (0, 94, 213), (178, 114, 0)
)  # fmt: skip
HATCH_PX = 7  # from one stroke of a hatching to the next

WIDTH_SHARE = 0.019  # limb width as a share of the person's extent
MIN_WIDTH_PX = 1.6
MAX_WIDTH_SHARE = 0.016  # of the picture's longer side
FACE_SHARE = 0.55  # of the body's widths: faces are drawn finer
RIM_SHARE = 0.35  # of the limb's width, on each side
DOT_SHARE = 0.95  # dot radius over limb width
SHIFT = 4  # fractional bits of the coordinates that cv2 draws
FARTHEST_PX = 2.0**20  # beyond, those coordinates would leave 32 bits


def draw(
    image: np.ndarray,
    poses: Poses,
    *,
    min_score: float = MIN_SCORE,
    boxes: bool = False,
    scores: bool = False,
) -> np.ndarray:
    """Return a copy of `image` ((H, W, 3) uint8 BGR) with the people drawn, the best one on top.

    min_score: a limb is drawn where both its keypoints reach it.
    boxes, scores: also a box around each person, and its score.
    """
    canvas = image.copy()
    for n in np.argsort(poses.scores, kind="stable").tolist():
        visible = visible_keypoints(poses, n, min_score)
        if not visible.any():
            continue
        points, opacity = poses.keypoints[n], _opacity(poses.keypoint_scores[n], min_score)
        width = _limb_width(points[visible], image.shape)
        _paint_person(canvas, poses.skeleton, points, visible, opacity, width)
        if boxes or scores:
            _paint_box(canvas, points[visible], float(poses.scores[n]), width, box=boxes, label=scores)
    return canvas


def draw_apart(image: np.ndarray, poses: Poses, *, min_score: float = MIN_SCORE) -> np.ndarray:
    """Return a copy of `image` with the people drawn in thin lines, each in a colour of its own, in turn."""
    canvas = image.copy()
    for n in range(len(poses)):
        visible = visible_keypoints(poses, n, min_score)
        if not visible.any():
            continue
        points = np.round(poses.keypoints[n]).astype(int)
        limbs = [(a, b) for a, b in poses.skeleton.limb_indices if visible[a] and visible[b]]
        for colour, width in ((RIM_COLOUR, 3), (PERSON_COLOURS[n % len(PERSON_COLOURS)], 1)):
            for a, b in limbs:
                cv2.line(canvas, points[a].tolist(), points[b].tolist(), colour, width, cv2.LINE_AA)
            for x, y in points[visible].tolist():
                cv2.circle(canvas, (x, y), 1 + width // 2 + 1, colour, -1, cv2.LINE_AA)
    return canvas


def hatch(image: np.ndarray, region: np.ndarray, *, colour: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """Return a copy of `image` with a region, (H, W) bool, darkened and hatched."""
    diagonals = np.add.outer(np.arange(region.shape[0]), np.arange(region.shape[1]))
    strokes = region & (diagonals % HATCH_PX < 2)
    canvas = np.where(region[..., None], image // 2, image)
    canvas[strokes] = canvas[strokes] // 2 + np.array(colour, dtype=np.uint8) // 2
    return canvas


def draw_heatmap(image: np.ndarray, heatmap: np.ndarray, warp: Warp, *, strength: float = 0.8) -> np.ndarray:
    """Return a copy of `image` with heat laid over it in colours: transparent at 0, strongest from 1 on.

    heatmap: (h, w) float32, covers the network input that `warp` leads to (take the maximum over keypoints).
    """
    height, width = image.shape[:2]
    cells = Warp.resize((heatmap.shape[1], heatmap.shape[0]), warp.size).then(warp.inverse)
    heat = Warp(cells.matrix, (width, height)).image(np.clip(heatmap, 0, 1).astype(np.float32))
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    cover = (strength * np.sqrt(heat)).astype(np.float32)
    return cv2.blendLinear(colours, np.ascontiguousarray(image), cover, 1 - cover)


def visible_keypoints(poses: Poses, person: int, min_score: float = MIN_SCORE) -> np.ndarray:
    """Return which keypoints of one person are drawn: (K,) bool; found, sure enough and at a finite place."""
    score = poses.keypoint_scores[person]
    return (score > 0) & (score >= min_score) & np.isfinite(poses.keypoints[person]).all(axis=-1)


def side_of(*keypoints: str) -> str:
    """Return "left", "right" or "centre" for a keypoint or a limb; the middle line yields to a side."""
    sides = {keypoint_side(name) for name in keypoints} - {None}
    return str(sides.pop()) if len(sides) == 1 else "centre"


def _paint_person(
    canvas: np.ndarray, skeleton: Skeleton, points: np.ndarray, visible: np.ndarray, opacity: np.ndarray, width: float
) -> None:
    """Paint limbs and dots into `canvas`, in place, within the person's own rectangle."""
    left, top, right, bottom = _rectangle(points[visible], margin=3 * width + 2, shape=canvas.shape)
    if left >= right or top >= bottom:
        return
    part = canvas[top:bottom, left:right]
    paint = np.full(part.shape, RIM_COLOUR, dtype=np.uint8)
    cover = np.zeros(part.shape[:2], dtype=np.uint8)
    points = points - np.array([left, top], dtype=np.float32)

    shapes = [*_limbs(skeleton, points, visible, opacity, width), *_dots(skeleton, points, visible, opacity, width)]
    for outline, _, rim, alpha in shapes:
        cv2.fillConvexPoly(cover, _fixed(_grown(outline, rim)), round(255 * alpha), cv2.LINE_AA, SHIFT)
    for outline, colour, _, alpha in shapes:
        cv2.fillConvexPoly(paint, _fixed(outline), colour, cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(cover, _fixed(outline), round(255 * alpha), cv2.LINE_AA, SHIFT)

    weight = cover.astype(np.float32) / 255
    canvas[top:bottom, left:right] = cv2.blendLinear(paint, np.ascontiguousarray(part), weight, 1 - weight)


# A shape is (outline (M, 2) px, BGR colour, rim px, opacity); shapes later in a list lie on top.
_Shape = tuple[np.ndarray, tuple[int, int, int], float, float]


def _limbs(
    skeleton: Skeleton, points: np.ndarray, visible: np.ndarray, opacity: np.ndarray, width: float
) -> list[_Shape]:
    shapes = []
    for (a, b), names in zip(skeleton.limb_indices, skeleton.limbs, strict=True):
        if visible[a] and visible[b]:
            fine = FACE_SHARE if set(names) & set(FACE) else 1.0
            outline = _capsule(points[a], points[b], 0.5 * width * fine)
            alpha = float(min(opacity[a], opacity[b]))
            shapes.append((outline, COLOURS[side_of(*names)], RIM_SHARE * width * fine, alpha))
    return sorted(shapes, key=lambda shape: shape[3])  # surest on top


def _dots(
    skeleton: Skeleton, points: np.ndarray, visible: np.ndarray, opacity: np.ndarray, width: float
) -> list[_Shape]:
    shapes = []
    for k, name in enumerate(skeleton.keypoints):
        if visible[k]:
            radius = DOT_SHARE * width * (FACE_SHARE if name in FACE else 1.0)
            outline = _capsule(points[k], points[k], radius)
            shapes.append((outline, COLOURS[side_of(name)], RIM_SHARE * width, float(opacity[k])))
    return shapes


def _capsule(start: np.ndarray, end: np.ndarray, radius: float, *, corners: int = 12) -> np.ndarray:
    """Return the outline of a line with round ends: (2 * corners, 2); a circle where both ends are one point."""
    along = float(np.arctan2(end[1] - start[1], end[0] - start[0]))
    half = np.linspace(-np.pi / 2, np.pi / 2, corners)
    angles = np.concatenate([along + half, along + half + np.pi])
    centres = np.repeat(np.stack([end, start]), corners, axis=0)
    return centres + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def _grown(outline: np.ndarray, by: float) -> np.ndarray:
    """Return a `_capsule` whose radius is larger: each half circle's corners move away from its centre."""
    halves = outline.reshape(2, -1, 2)
    centres = (halves[:, :1] + halves[:, -1:]) / 2  # a half circle's ends lie opposite each other
    away = halves - centres
    radius = np.linalg.norm(away, axis=-1, keepdims=True)
    return (halves + away / np.maximum(radius, 1e-6) * by).reshape(-1, 2)


def _fixed(outline: np.ndarray) -> np.ndarray:
    return np.round(np.clip(outline, -FARTHEST_PX, FARTHEST_PX) * (1 << SHIFT)).astype(np.int32)


def _opacity(scores: np.ndarray, min_score: float) -> np.ndarray:
    sureness = (scores - min_score) / max(SURE_SCORE - min_score, 1e-6)
    return FAINTEST + (1 - FAINTEST) * np.clip(sureness, 0, 1)


def _limb_width(points: np.ndarray, shape: tuple[int, ...]) -> float:
    """Return the limb width in px for a person whose visible keypoints are `points`, in a picture of `shape`."""
    extent = float(np.ptp(points, axis=0).max())
    widest = max(MIN_WIDTH_PX, MAX_WIDTH_SHARE * max(shape[:2]))
    return float(np.clip(WIDTH_SHARE * extent, MIN_WIDTH_PX, widest))


def _rectangle(points: np.ndarray, margin: float, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom around points, within a picture of `shape`."""
    low = np.floor(points.min(axis=0) - margin)
    high = np.ceil(points.max(axis=0) + margin) + 1
    limits = np.array([shape[1], shape[0]])
    (left, top), (right, bottom) = np.clip(low, 0, limits).astype(int), np.clip(high, 0, limits).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _paint_box(canvas: np.ndarray, points: np.ndarray, score: float, width: float, *, box: bool, label: bool) -> None:
    left, top, right, bottom = _rectangle(points, margin=4 * width, shape=canvas.shape)
    line = max(1, round(width / 2.5))
    if box:
        for colour, thickness in ((RIM_COLOUR, line + 2), (COLOURS["centre"], line)):
            cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, thickness, cv2.LINE_AA)
    if label:
        _paint_label(canvas, f"{score:.2f}", (left, top), max(0.35, width / 10))


def _paint_label(canvas: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    """Paint light text on a dark plate whose bottom left is `corner`; within the picture where it would leave it."""
    thickness = max(1, round(1.5 * size))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    pad = max(2, height // 3)
    left, bottom = corner[0], max(corner[1], height + 2 * pad)
    cv2.rectangle(canvas, (left, bottom - height - 2 * pad), (left + width + 2 * pad, bottom), RIM_COLOUR, -1)
    place = (left + pad, bottom - pad)
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, COLOURS["centre"], thickness, cv2.LINE_AA)
