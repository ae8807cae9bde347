"""A picture's truth and what was found in it, side by side, with what is wrong marked.

Both show the part of the picture in which something is wrong. Frames: a person missed (on the truth), a person who is
nobody (on what was found). Marks on found keypoints: ring = inversion, square = swap, cross = miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from litepose.drawing import RIM_COLOUR, draw
from litepose.geometry import Warp, size_of
from litepose.metrics.keypoint_errors import INVERSION, MISS, SWAP, PictureErrors
from litepose.metrics.pairing import boxes_of
from litepose.page import picture_uri
from litepose.poses import Poses
from litepose.skeleton import Skeleton

LONGEST_PX = 480
LARGEST_ZOOM = 3.0
MARGIN = 0.2  # around what is shown, of its longer side
QUALITY = 75
HIDDEN_SCORE = 0.3  # with which labelled but hidden keypoints are drawn, so that they are faint
FOUND_SCORE = 1e-6  # keypoints from here on are drawn: COCO counts them all

# BGR. The limbs are orange and blue; these stay apart from them by lightness and, among each other, by shape.
FRAME, INVERTED, SWAPPED, MISSED = (110, 220, 60), (66, 228, 240), (200, 130, 250), (255, 255, 255)
MARK_PX = 6


@dataclass(frozen=True)
class Pair:
    """The pictures as "data:" addresses."""

    truth: str
    found: str


@dataclass(frozen=True)
class Marks:
    """What to draw on one side: people, frames (F, 4) xyxy, and for each mark its keypoints, (M, 2)."""

    people: Poses
    frames: np.ndarray
    rings: np.ndarray
    squares: np.ndarray
    crosses: np.ndarray


def draw_errors(errors: PictureErrors, image: np.ndarray) -> Pair:
    """Draw one picture with everybody in `errors`."""
    people, kinds = errors.people, errors.kinds
    true_boxes, found_boxes = boxes_of(people.truth), people.poses.keypoint_boxes
    false_boxes = found_boxes[people.false]
    points, nothing = people.poses.keypoints, np.zeros((0, 2))
    truth = Marks(true_poses(people.truth.keypoints, people.poses.skeleton, ~people.truth.crowd),
                  true_boxes[people.missed], nothing, nothing, nothing)  # fmt: skip
    found = Marks(people.poses, false_boxes, points[kinds == INVERSION], points[kinds == SWAP],
                  points[kinds == MISS])  # fmt: skip
    wrong = ((kinds >= INVERSION).any(axis=1)) & people.paired
    region = np.concatenate(
        [true_boxes[people.missed], false_boxes, found_boxes[wrong], true_boxes[people.partner[wrong]]]
    )
    return draw_pair(image, truth, found, region)


def draw_pair(image: np.ndarray, truth: Marks, found: Marks, region: np.ndarray) -> Pair:
    """Draw both sides. region: (B, 4) xyxy boxes that are to be seen; without any the whole picture is."""
    part, warp = cut_out(image, region)
    return Pair(
        *(picture_uri(_drawn(part, one, warp), longest_px=LONGEST_PX, quality=QUALITY) for one in (truth, found))
    )


def true_poses(keypoints: np.ndarray, skeleton: Skeleton, chosen: np.ndarray) -> Poses:
    """Return annotated people, (M, K, 3) x, y, visible, as people found; hidden keypoints are unsure."""
    scores = np.choose(np.clip(keypoints[chosen, :, 2], 0, 2).astype(np.int64), [0.0, HIDDEN_SCORE, 1.0])
    return Poses(skeleton, keypoints[chosen, :, :2], scores, np.ones(int(chosen.sum())))


def cut_out(image: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, Warp]:
    """Return the part of the picture around all boxes, its longer side zoomed to LONGEST_PX, and the way there."""
    size = np.array(size_of(image), dtype=np.float64)
    low, high = np.zeros(2), size - 1
    if len(region):
        margin = MARGIN * np.max(region[:, 2:].max(axis=0) - region[:, :2].min(axis=0)) + 8
        low = np.clip(np.floor(region[:, :2].min(axis=0) - margin), 0, size - 2)
        high = np.clip(np.ceil(region[:, 2:].max(axis=0) + margin), low + 1, size - 1)
    left, top, right, bottom = (int(value) for value in (*low, *high))
    part = image[top : bottom + 1, left : right + 1]
    zoom = min(LONGEST_PX / max(size_of(part)), LARGEST_ZOOM)
    target = (max(1, round(zoom * part.shape[1])), max(1, round(zoom * part.shape[0])))
    shift = Warp(np.array([[1, 0, -left], [0, 1, -top]], dtype=np.float64), size_of(part))
    part = cv2.resize(part, target, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    return part, shift.then(Warp.resize(shift.size, target))


def _drawn(part: np.ndarray, marks: Marks, warp: Warp) -> np.ndarray:
    canvas = draw(part, marks.people.warped(warp), min_score=FOUND_SCORE)
    for box in warp.points(np.asarray(marks.frames, dtype=np.float32).reshape(-1, 2, 2)).reshape(-1, 2, 2):
        _outlined(canvas, "frame", box, FRAME)
    for shape, points, colour in (
        ("ring", marks.rings, INVERTED), ("square", marks.squares, SWAPPED), ("cross", marks.crosses, MISSED),
    ):  # fmt: skip
        for point in warp.points(np.asarray(points, dtype=np.float32).reshape(-1, 2)):
            _outlined(canvas, shape, point[None] + [[-MARK_PX, -MARK_PX], [MARK_PX, MARK_PX]], colour)
    return canvas


def _outlined(canvas: np.ndarray, shape: str, box: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw a mark into the box, (2, 2) corners, with a dark rim."""
    limits = np.array(size_of(canvas)) * 4
    (left, top), (right, bottom) = np.clip(np.round(box), -limits, limits).astype(int).tolist()
    for paint, width in ((RIM_COLOUR, 4), (colour, 2)):
        if shape == "ring":
            middle = ((left + right) // 2, (top + bottom) // 2)
            cv2.circle(canvas, middle, MARK_PX, paint, width, cv2.LINE_AA)
        elif shape == "cross":
            cv2.line(canvas, (left, top), (right, bottom), paint, width, cv2.LINE_AA)
            cv2.line(canvas, (left, bottom), (right, top), paint, width, cv2.LINE_AA)
        else:
            cv2.rectangle(canvas, (left, top), (right, bottom), paint, width, cv2.LINE_AA)
