"""Where people are in a scene: on a common ground, scattered, or as in a real picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.datasets.synthetic.body import Figure, random_proportions
from litepose.datasets.synthetic.lifting import lift_person, mirrored
from litepose.datasets.synthetic.pose_files import PoseFile
from litepose.datasets.synthetic.priors import random_figure

ATTEMPTS = 12
MOST_SHARED = 0.5  # of the smaller of two boxes
LEAST_INSIDE = 0.45  # of a person's box


@dataclass(frozen=True)
class Layout:
    """The figures of a scene in picture px, far ones first, and the share of the height where the ground begins."""

    figures: tuple[Figure, ...]
    horizon: float


def lay_out(
    rng: np.random.Generator, size: tuple[int, int], people: tuple[int, int], poses: PoseFile | None = None
) -> Layout:
    """Draw how many people there are, what they do and where they are.

    With a file of poses, half of the scenes are whole pictures of it and the others are made of its people.
    """
    count = int(rng.integers(people[0], people[1] + 1))
    if poses is not None and count in poses.pictures_with and rng.random() < 0.5:
        figures = _as_in_a_picture(rng, size, poses, count)
        if len(figures) == count:
            figures.sort(key=lambda figure: figure.height * (0.9 + 0.2 * rng.random()))
            return Layout(tuple(figures), float(rng.uniform(0.2, 0.8)))
    figures = [_one_figure(rng, poses) for _ in range(count)]
    if rng.random() < 0.7:
        return _on_the_ground(rng, size, figures)
    return _scattered(rng, size, figures)


def _one_figure(rng: np.random.Generator, poses: PoseFile | None) -> Figure:
    """Return somebody of height 1."""
    if poses is not None:
        for _ in range(4):
            keypoints = poses.keypoints[poses.whole[int(rng.integers(len(poses.whole)))]][None]
            keypoints = mirrored(keypoints, 0.0) if rng.random() < 0.5 else keypoints
            figure = lift_person(rng, keypoints[0])
            if figure is not None:
                return figure.moved(1 / figure.height, np.zeros(2))
    return random_figure(rng, random_proportions(rng))[1]


def _as_in_a_picture(rng: np.random.Generator, size: tuple[int, int], poses: PoseFile, count: int) -> list[Figure]:
    """Return the people of a real picture with `count` people, fitted into `size`, mirrored half of the time."""
    pictures = poses.pictures_with[count]
    picture = int(pictures[int(rng.integers(len(pictures)))])
    people, whole = poses.people_of(picture), poses.size_wh[picture].astype(np.float64)
    if rng.random() < 0.5:
        people = mirrored(people, float(whole[0]))
    ratios = np.array(size) / whole
    factor = float(rng.uniform(ratios.min(), max(ratios.max(), ratios.min() * 1.2)))
    slack = np.array(size) - whole * factor
    shift = slack * rng.uniform(0.2, 0.8, 2)
    lifted = [lift_person(rng, keypoints) for keypoints in people]
    figures = [figure.moved(factor, shift) for figure in lifted if figure is not None]
    return [figure for figure in figures if _inside(figure.box, size) > 0.15 and figure.height > 16]


def _on_the_ground(rng: np.random.Generator, size: tuple[int, int], figures: list[Figure]) -> Layout:
    """Stand people on a plane: the lower their feet, the nearer and larger they are."""
    width, height = size
    horizon = float(rng.uniform(0.12, 0.55))
    eye_level = float(rng.uniform(0.75, 1.7))  # of the camera, in body heights above the ground
    typical = _typical_height(rng, len(figures), height)
    placed: list[Figure] = []
    for figure in figures:
        x1, _, x2, y2 = figure.box
        for attempt in range(ATTEMPTS):
            tall = typical * float(np.exp(rng.normal(0, 0.35))) * 0.94**attempt
            feet = height * horizon + eye_level * tall
            x = _next_to(rng, placed, tall, width)
            candidate = figure.moved(tall, np.array([x - (x1 + x2) / 2 * tall, feet - y2 * tall]))
            if _fits(candidate, placed, size):
                break
        placed.append(candidate)
    placed.sort(key=lambda figure: figure.height)
    return Layout(tuple(placed), horizon)


def _scattered(rng: np.random.Generator, size: tuple[int, int], figures: list[Figure]) -> Layout:
    """Put people anywhere, in sizes that are alike."""
    width, height = size
    typical = _typical_height(rng, len(figures), height)
    placed: list[Figure] = []
    for figure in figures:
        x1, y1, x2, y2 = figure.box
        for attempt in range(ATTEMPTS):
            tall = typical * float(np.exp(rng.normal(0, 0.28))) * 0.93**attempt
            spot = np.array([rng.uniform(0.02, 0.98) * width, rng.uniform(0.12, 0.92) * height])
            candidate = figure.moved(tall, spot - np.array([x1 + x2, y1 + y2]) / 2 * tall)
            if _fits(candidate, placed, size):
                break
        placed.append(candidate)
    placed.sort(key=lambda figure: figure.height * (0.85 + 0.3 * rng.random()))
    return Layout(tuple(placed), float(rng.uniform(0.2, 0.9)))


def _typical_height(rng: np.random.Generator, count: int, height: int) -> float:
    """Draw how tall a standing person of this scene is, in px."""
    least, most = (0.4, 1.3) if count < 3 else (0.28, 0.9) if count < 7 else (0.2, 0.6)
    return height * float(rng.uniform(least, most))


def _next_to(rng: np.random.Generator, placed: list[Figure], tall: float, width: int) -> float:
    """Draw where somebody stands: one time in three beside somebody else."""
    if placed and rng.random() < 0.35:
        other = placed[int(rng.integers(len(placed)))]
        side = 1.0 if rng.random() < 0.5 else -1.0
        return float(other.point("pelvis")[0] + side * rng.uniform(0.18, 0.4) * tall)
    return float(rng.uniform(0.02, 0.98) * width)


def _fits(figure: Figure, placed: list[Figure], size: tuple[int, int]) -> bool:
    box = figure.box
    return _inside(box, size) > LEAST_INSIDE and all(_shared(box, other.box) < MOST_SHARED for other in placed)


def _inside(box: np.ndarray, size: tuple[int, int]) -> float:
    """Return the share of a box that lies in the picture."""
    low, high = np.maximum(box[:2], 0), np.minimum(box[2:], size)
    return float(np.prod(np.maximum(high - low, 0)) / max(float(np.prod(box[2:] - box[:2])), 1e-6))


def _shared(box: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the smaller box that the other covers."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    least = min(float(np.prod(box[2:] - box[:2])), float(np.prod(other[2:] - other[:2])))
    return float(np.prod(np.maximum(high - low, 0)) / max(least, 1e-6))
