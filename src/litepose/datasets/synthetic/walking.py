"""People who walk through a picture, keypoint by keypoint over time: true tracks, and what a network would find.

For tests and benchmarks of tracking and smoothing, without pixels: a flat walker swings arms and legs; whoever stands
nearer hides the keypoints behind his trunk, pillars hide all; found keypoints tremble, hidden ones are missing or
unsure, people are missed now and then or found twice, and nobody is found where nobody is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.poses import Poses, concatenate
from litepose.skeleton import COCO17

# COCO's 17 keypoints of a standing figure, in heights from the ground up; x to the picture's right.
STANDING = np.array([
    (0.0, 0.92), (0.02, 0.94), (-0.02, 0.94), (0.045, 0.93), (-0.045, 0.93), (0.11, 0.81), (-0.11, 0.81),
    (0.14, 0.63), (-0.14, 0.63), (0.15, 0.46), (-0.15, 0.46), (0.07, 0.50), (-0.07, 0.50), (0.08, 0.27),
    (-0.08, 0.27), (0.08, 0.04), (-0.08, 0.04)])  # fmt: skip
# Keypoint -> (how far it swings, in heights; the sign is the phase).
SWING = {7: -0.05, 8: 0.05, 9: -0.12, 10: 0.12, 13: 0.07, 14: -0.07, 15: 0.15, 16: -0.15}
TRUNK_SHARE = 0.13  # half the width that hides others, in heights
MISSED = 0.02  # share of frames in which a person who is seen is not found
PHANTOMS = 0.04  # share of frames in which nobody is found as somebody
DOUBLE_JITTER = 0.035  # of a double's keypoints, in heights: an OKS of about 0.6
LEAST_SEEN = 4  # keypoints of a person who counts as seen


@dataclass(frozen=True)
class Walker:
    """One person: from `start_s` to `end_s` at constant speed, unless `turns_s` says when to turn round.

    x, y: px, of the feet at `start_s`; a larger y is nearer. height: px. speed: px/s.
    """

    x: float
    y: float
    height: float
    speed: float
    start_s: float = 0.0
    end_s: float = np.inf
    turns_s: float = np.inf
    stride_hz: float = 0.9
    phase: float = 0.0

    def keypoints(self, time_s: float) -> np.ndarray:
        """Return the true places at a time: (17, 2) px."""
        walked = time_s - self.start_s
        there = min(walked, max(self.turns_s - self.start_s, 0.0))
        swings = np.zeros((17, 2))
        swings[list(SWING), 0] = list(SWING.values())
        shape = STANDING + swings * np.sin(2 * np.pi * self.stride_hz * walked + self.phase)
        feet = np.array([self.x + self.speed * (2 * there - walked), self.y])
        return feet + shape * np.array([self.height, -self.height])


@dataclass(frozen=True)
class Walk:
    """A scene over time. pillars: (left, right) px, which hide everybody; rate: frames a second."""

    name: str
    walkers: tuple[Walker, ...]
    seconds: float
    rate: float = 25.0
    size: tuple[int, int] = (640, 360)
    pillars: tuple[tuple[float, float], ...] = ()
    jitter: float = 0.006  # of found keypoints, in heights
    doubles: float = 0.0  # share of the found who are found again, less well, as bottom-up networks do

    @property
    def times_s(self) -> np.ndarray:
        return np.arange(round(self.seconds * self.rate)) / self.rate


@dataclass(frozen=True)
class WalkFrame:
    """truth: who is seen, ids in `track_ids`, hidden keypoints scored 0; found: as a network would, without ids."""

    time_s: float
    truth: Poses
    found: Poses


def walk_frames(walk: Walk, *, seed: int = 0) -> list[WalkFrame]:
    """Return the scene frame by frame."""
    rng = np.random.default_rng(seed)
    frames = []
    for time_s in walk.times_s.tolist():
        truth = _truth(walk, time_s)
        frames.append(WalkFrame(time_s, truth, _found(walk, truth, rng)))
    return frames


def _truth(walk: Walk, time_s: float) -> Poses:
    there = [n for n, walker in enumerate(walk.walkers) if walker.start_s <= time_s <= walker.end_s]
    places = {n: walk.walkers[n].keypoints(time_s) for n in there}
    visible = {n: _visible(walk, places, n) for n in there}
    seen = [n for n in there if visible[n].sum() >= LEAST_SEEN]
    return Poses(
        COCO17,
        np.array([places[n] for n in seen]).reshape(-1, 17, 2),
        np.array([visible[n] for n in seen]).reshape(-1, 17),
        np.ones(len(seen)),
        track_ids=np.array(seen, dtype=np.int64),
    )


def _visible(walk: Walk, places: dict[int, np.ndarray], person: int) -> np.ndarray:
    points = places[person]
    inside: np.ndarray = np.all((points >= 0) & (points < walk.size), axis=-1)
    for left, right in walk.pillars:
        inside &= ~((points[:, 0] >= left) & (points[:, 0] <= right))
    for other, others in places.items():
        nearer = walk.walkers[other].y > walk.walkers[person].y
        if other != person and nearer:
            half = TRUNK_SHARE * walk.walkers[other].height
            middle, top = others[[11, 12], 0].mean(), others[:5, 1].min()
            inside &= ~((np.abs(points[:, 0] - middle) < half) & (points[:, 1] > top))
    return inside


def _found(walk: Walk, truth: Poses, rng: np.random.Generator) -> Poses:
    assert truth.track_ids is not None
    heights = np.array([walk.walkers[n].height for n in truth.track_ids])
    noise = rng.normal(0, walk.jitter, truth.keypoints.shape) * heights[:, None, None]
    wild = rng.normal(0, 0.05, truth.keypoints.shape) * heights[:, None, None]  # guesses at what is hidden
    seen = truth.found
    points = truth.keypoints + np.where(seen[..., None], noise, wild)
    sure, unsure = rng.uniform(0.55, 0.95, seen.shape), rng.uniform(0.0, 0.25, seen.shape)
    scores = np.where(seen, sure, np.where(rng.random(seen.shape) < 0.5, unsure, 0))
    kept = rng.random(len(truth)) >= MISSED
    people = Poses(COCO17, points[kept], scores[kept], scores[kept].mean(axis=1))
    people = concatenate([people, _doubles(people, heights[kept], walk.doubles, rng)])
    return people if rng.random() >= PHANTOMS else _with_phantom(people, walk, rng)


def _doubles(people: Poses, heights: np.ndarray, share: float, rng: np.random.Generator) -> Poses:
    twice = rng.random(len(people)) < share
    count = int(twice.sum())
    off = rng.normal(0, DOUBLE_JITTER, (count, 17, 2)) * heights[twice, None, None]
    less = rng.uniform(0.3, 0.6, (count, 1))
    scores = people.keypoint_scores[twice] * less
    return Poses(COCO17, people.keypoints[twice] + off, scores, scores.mean(axis=1) if count else [])


def _with_phantom(people: Poses, walk: Walk, rng: np.random.Generator) -> Poses:
    feet = rng.uniform((0, 0.5 * walk.size[1]), walk.size)
    points = feet + STANDING * np.array([1, -1]) * rng.uniform(60, 150)
    scores = rng.uniform(0.1, 0.6, 17)
    return Poses(
        COCO17,
        np.concatenate([people.keypoints, points[None]]),
        np.concatenate([people.keypoint_scores, scores[None]]),
        np.append(people.scores, scores.mean()),
    )


CROSSING = Walk(
    "crossing",
    (
        Walker(60, 300, 170, 95),
        Walker(580, 310, 180, -90, phase=1.0),
        Walker(120, 290, 160, 55, phase=2.0),
        Walker(600, 320, 190, -70, phase=3.0),
        Walker(330, 280, 150, 12),
    ),
    6.0,
)
OCCLUSION = Walk(
    "occlusion",
    (
        Walker(40, 310, 180, 100),
        Walker(120, 300, 170, 70, phase=1.0),
        Walker(600, 320, 185, -85, phase=2.0),
        Walker(420, 290, 160, -45, turns_s=4.0, phase=0.5),
    ),
    8.0,
    pillars=((220, 285), (400, 470)),
)
ENTRIES = Walk(
    "entries",
    tuple(
        Walker(
            -30 if n % 2 else 670,
            280 + 10 * (n % 5),
            140 + 12 * (n % 4),
            (80 + 9 * n) * (1 if n % 2 else -1),
            start_s=0.7 * n,
            end_s=0.7 * n + 700 / (80 + 9 * n),
            phase=n,
        )
        for n in range(10)
    ),
    10.0,
)
SLOW_RATE = Walk("8 a second", CROSSING.walkers, 6.0, rate=8.0)
FOUND_TWICE = Walk("found twice", CROSSING.walkers, 6.0, doubles=0.4)
RUNNERS = Walk(
    "runners",
    (
        Walker(20, 310, 180, 310),
        Walker(620, 300, 170, -280, phase=1.0),
        Walker(300, 320, 190, 20, phase=2.0),
        Walker(-40, 290, 160, 350, start_s=1.0, phase=3.0),
        Walker(680, 330, 200, -330, start_s=0.6, phase=0.5),
    ),
    2.6,
    rate=15.0,
)
WALKS = (CROSSING, OCCLUSION, ENTRIES, SLOW_RATE, RUNNERS, FOUND_TWICE)
