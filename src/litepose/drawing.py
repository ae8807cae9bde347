"""People onto pictures: limbs coloured by side with a dark rim, dots on keypoints, all scaled to the person.

Each person is painted on a layer of its own (colour and coverage), so that rims join instead of crossing limbs and
uncertain parts fade as a whole. Colours, widths and visibility belong here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

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
CORNERS = 12  # of each round end
SHIFT = 4  # fractional bits of the coordinates that cv2 draws
FARTHEST_PX = 2.0**20  # beyond, those coordinates would leave 32 bits


def draw(
    image: np.ndarray,
    poses: Poses,
    *,
    min_score: float = MIN_SCORE,
    boxes: bool = False,
    scores: bool = False,
    ids: bool = False,
) -> np.ndarray:
    """Return a copy of `image` ((H, W, 3) uint8 BGR) with the people drawn, the best one on top.

    min_score: a limb is drawn where both its keypoints reach it.
    boxes, scores, ids: also a box around each person, its score, its track id where it has one, on its own colour.
    """
    canvas = image.copy()
    for n in np.argsort(poses.scores, kind="stable").tolist():
        visible = visible_keypoints(poses, n, min_score)
        if not visible.any():
            continue
        points, opacity = poses.keypoints[n], _opacity(poses.keypoint_scores[n], min_score)
        width = _limb_width(points[visible], image.shape)
        _paint_person(canvas, poses.skeleton, points, visible, opacity, width)
        track_id = -1 if poses.track_ids is None or not ids else int(poses.track_ids[n])
        label = " ".join(
            [*([f"#{track_id}"] if track_id >= 0 else []), *([f"{poses.scores[n]:.2f}"] if scores else [])]
        )
        if boxes or label:
            plate = RIM_COLOUR if track_id < 0 else PERSON_COLOURS[track_id % len(PERSON_COLOURS)]
            _paint_box(canvas, points[visible], label, width, box=boxes, plate=plate)
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
    paint = cv2.merge([np.full(part.shape[:2], level, dtype=np.uint8) for level in RIM_COLOUR])
    cover = np.zeros(part.shape[:2], dtype=np.uint8)
    points = points - np.array([left, top], dtype=np.float32)

    shapes = _limbs(skeleton, points, visible, opacity, width).then(_dots(skeleton, points, visible, opacity, width))
    for outline, alpha in zip(shapes.outlines(shapes.rims), shapes.opacities, strict=True):
        cv2.fillConvexPoly(cover, outline, alpha, cv2.LINE_AA, SHIFT)
    for outline, colour, alpha in zip(shapes.outlines(), shapes.colours, shapes.opacities, strict=True):
        cv2.fillConvexPoly(paint, outline, colour, cv2.LINE_AA, SHIFT)
        cv2.fillConvexPoly(cover, outline, alpha, cv2.LINE_AA, SHIFT)
    weight = cover.astype(np.float32) / 255
    canvas[top:bottom, left:right] = cv2.blendLinear(paint, np.ascontiguousarray(part), weight, 1 - weight)


@dataclass(frozen=True)
class _Shapes:
    """Lines with round ends, dots among them, the uppermost last.

    starts, ends: (S, 2) px. radii, rims: (S,) px. opacities: of each, 0 to 255. colours: BGR of each.
    """

    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray
    rims: np.ndarray
    opacities: list[int]
    colours: list[tuple[int, int, int]]

    def then(self, above: _Shapes) -> _Shapes:
        """Return these with others on top."""

        def joined(name: str) -> np.ndarray:
            return np.concatenate([getattr(self, name), getattr(above, name)])

        return _Shapes(
            joined("starts"), joined("ends"), joined("radii"), joined("rims"),
            self.opacities + above.opacities, self.colours + above.colours,
        )  # fmt: skip

    def outlines(self, wider: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the outline of each, wider by so many px, as cv2 draws it: (S, 2 * CORNERS, 2) int32."""
        along = np.arctan2(*(self.ends - self.starts).T[::-1])[:, None]
        half = np.linspace(-np.pi / 2, np.pi / 2, CORNERS)
        angles = np.concatenate([along + half, along + half + np.pi], axis=1)
        centres = np.repeat(np.stack([self.ends, self.starts], axis=1), CORNERS, axis=1)
        radii = (self.radii + wider)[:, None, None]
        outline = centres + radii * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        return np.round(np.clip(outline, -FARTHEST_PX, FARTHEST_PX) * (1 << SHIFT)).astype(np.int32)


def _limbs(skeleton: Skeleton, points: np.ndarray, visible: np.ndarray, opacity: np.ndarray, width: float) -> _Shapes:
    drawn = [
        (min(opacity[a], opacity[b]), a, b, names)
        for (a, b), names in zip(skeleton.limb_indices, skeleton.limbs, strict=True)
        if visible[a] and visible[b]
    ]
    drawn.sort(key=lambda limb: limb[0])  # surest on top
    fine = np.array([FACE_SHARE if set(names) & set(FACE) else 1.0 for *_, names in drawn])
    return _Shapes(
        starts=points[[a for _, a, _, _ in drawn]],
        ends=points[[b for _, _, b, _ in drawn]],
        radii=0.5 * width * fine,
        rims=RIM_SHARE * width * fine,
        opacities=[round(255 * alpha) for alpha, *_ in drawn],
        colours=[COLOURS[side_of(*names)] for *_, names in drawn],
    )


def _dots(skeleton: Skeleton, points: np.ndarray, visible: np.ndarray, opacity: np.ndarray, width: float) -> _Shapes:
    drawn = np.flatnonzero(visible)
    names = [skeleton.keypoints[k] for k in drawn]
    return _Shapes(
        starts=points[drawn],
        ends=points[drawn],
        radii=DOT_SHARE * width * np.array([FACE_SHARE if name in FACE else 1.0 for name in names]),
        rims=np.full(len(drawn), RIM_SHARE * width),
        opacities=[round(255 * alpha) for alpha in opacity[drawn]],
        colours=[COLOURS[side_of(name)] for name in names],
    )


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


def _paint_box(
    canvas: np.ndarray, points: np.ndarray, label: str, width: float, *, box: bool, plate: tuple[int, int, int]
) -> None:
    left, top, right, bottom = _rectangle(points, margin=4 * width, shape=canvas.shape)
    line = max(1, round(width / 2.5))
    if box:
        for colour, thickness in ((RIM_COLOUR, line + 2), (COLOURS["centre"], line)):
            cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), colour, thickness, cv2.LINE_AA)
    if label:
        _paint_label(canvas, label, (left, top), max(0.35, width / 10), plate)


def _paint_label(
    canvas: np.ndarray, text: str, corner: tuple[int, int], size: float, plate: tuple[int, int, int]
) -> None:
    """Paint text on a plate whose bottom left is `corner`; within the picture where it would leave it."""
    thickness = max(1, round(1.5 * size))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    pad = max(2, height // 3)
    left, bottom = corner[0], max(corner[1], height + 2 * pad)
    cv2.rectangle(canvas, (left, bottom - height - 2 * pad), (left + width + 2 * pad, bottom), plate, -1)
    place = (left + pad, bottom - pad)
    ink = COLOURS["centre"] if plate == RIM_COLOUR else RIM_COLOUR
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink, thickness, cv2.LINE_AA)
