"""Steadier keypoints while a video runs: One-Euro filters on the keypoints of each track.

Source: Casiez, Roussel and Vogel, CHI 2012: a low-pass filter whose cutoff rises with speed, so that who stands still
does not tremble and who moves is not late. As in Lightweight OpenPose (@d23c284, modules/one_euro_filter.py) speed
comes from raw values and a first value passes. What differs: real timestamps instead of a fixed rate; speeds are in
the person's own sizes a second, so settings fit people near and far; `OPENPOSE` turns both off.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from litepose.errors import SettingError
from litepose.poses import Poses

SHORTEST_S = 1e-4  # between two values, where timestamps repeat
FORGET_S = 5.0  # a person unseen for so long takes no memory any more
SIZE_SHARE = 0.1  # of a new size of a person, against the old one


@dataclass(frozen=True)
class SmoothSettings:
    """How strongly keypoints are smoothed.

    min_cutoff: Hz, of a keypoint at rest; lower is steadier. speed_factor: by how many Hz the cutoff rises with a
        speed of 1 size/s (1 px/s where `by_size` is off); higher is less late. speed_cutoff: Hz, of the speed itself.
    by_size: measure speeds in sizes of the person, the square root of the box's area.
    max_gap_s: a keypoint not found for longer starts anew; offline, gaps up to this are filled.
    """

    min_cutoff: float = 1.0
    speed_factor: float = 6.0
    speed_cutoff: float = 1.0
    by_size: bool = True
    max_gap_s: float = 0.25

    def __post_init__(self) -> None:
        for name in ("min_cutoff", "speed_cutoff"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingError(f"Smoothing wants {name} above 0; found {getattr(self, name)}.")
        for name in ("speed_factor", "max_gap_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingError(f"Smoothing wants {name} of at least 0; found {getattr(self, name)}.")


OPENPOSE = SmoothSettings(min_cutoff=1.0, speed_factor=0.05, speed_cutoff=1.0, by_size=False, max_gap_s=0.0)


class OneEuro:
    """One-Euro filters of one shape: each value has its own memory and may be absent at times."""

    def __init__(self, shape: tuple[int, ...], settings: SmoothSettings) -> None:
        self.settings = settings
        self._raw = np.zeros(shape)
        self._value = np.zeros(shape)
        self._speed = np.zeros(shape)
        self._seen_s = np.full(shape, -np.inf)

    def update(self, values: np.ndarray, time_s: float, *, found: np.ndarray, size: float = 1.0) -> np.ndarray:
        """Return the values filtered: float64. Where not `found` (bool, the same shape) they pass, unseen.

        size: what speeds are measured in.
        """
        values = np.asarray(values, dtype=np.float64)
        gap = np.maximum(time_s - self._seen_s, SHORTEST_S)
        fresh = np.isinf(self._seen_s)
        gap = np.where(fresh, 1.0, gap)
        speed = self._speed + _alpha(self.settings.speed_cutoff, gap) * ((values - self._raw) / gap - self._speed)
        cutoff = self.settings.min_cutoff + self.settings.speed_factor * np.abs(speed) / size
        filtered = self._value + _alpha(cutoff, gap) * (values - self._value)
        self._keep(found, values, np.where(fresh, 0, speed), np.where(fresh, values, filtered), time_s)
        return np.where(found, self._value, values)

    def forget(self, before_s: float) -> None:
        """Let values that were last seen before a time start anew."""
        self._seen_s = np.where(self._seen_s < before_s, -np.inf, self._seen_s)

    def _keep(self, found: np.ndarray, raw: np.ndarray, speed: np.ndarray, value: np.ndarray, time_s: float) -> None:
        self._raw = np.where(found, raw, self._raw)
        self._speed = np.where(found, speed, self._speed)
        self._value = np.where(found, value, self._value)
        self._seen_s = np.where(found, time_s, self._seen_s)


def _alpha(cutoff: np.ndarray | float, gap_s: np.ndarray) -> np.ndarray:
    return 1 / (1 + 1 / (2 * math.pi * np.asarray(cutoff) * gap_s))


class PoseSmoother:
    """Smooths the people of one stream, frame by frame; who is who says `track_ids` (see tracking.Tracker)."""

    def __init__(self, settings: SmoothSettings | None = None) -> None:
        self.settings = SmoothSettings() if settings is None else settings
        self._people: dict[int, PersonFilter] = {}
        self._before_s = -math.inf  # the last frame's time

    def update(self, poses: Poses, time_s: float) -> Poses:
        """Return the people with steadier keypoints; those without an id (below 0) as they are.

        time_s: of the frame. Raises SettingError for people who are not tracked.
        """
        keypoints = poses.keypoints.astype(np.float64)
        oldest = min(self._before_s, time_s - self.settings.max_gap_s)
        for n, track_id in enumerate(ids_of(poses)):
            if track_id >= 0:
                person = self._people.setdefault(track_id, PersonFilter(poses.skeleton.num_keypoints, self.settings))
                found = poses.found[n] & np.isfinite(keypoints[n]).all(axis=-1)
                keypoints[n] = person.update(keypoints[n], found, time_s, oldest_s=oldest)
        self._people = {key: one for key, one in self._people.items() if one.seen_s >= time_s - FORGET_S}
        self._before_s = time_s
        return dataclasses.replace(poses, keypoints=keypoints)


class PersonFilter:
    """The filters of one person's keypoints, and the person's size, which follows slowly."""

    def __init__(self, num_keypoints: int, settings: SmoothSettings) -> None:
        self.settings = settings
        self.seen_s = -math.inf
        self._filter = OneEuro((num_keypoints, 2), settings)
        self._size = 0.0

    def update(
        self, keypoints: np.ndarray, found: np.ndarray, time_s: float, *, oldest_s: float = -math.inf
    ) -> np.ndarray:
        """Return the keypoints, (K, 2), filtered where `found`, (K,); those last found before `oldest_s` start anew."""
        self._filter.forget(oldest_s)
        size = _size(keypoints[found]) if self.settings.by_size and found.any() else 1.0
        self._size = size if self._size <= 0 else self._size + SIZE_SHARE * (size - self._size)
        self.seen_s = time_s
        both = np.broadcast_to(found[:, None], keypoints.shape)
        return self._filter.update(keypoints, time_s, found=both, size=max(self._size, 1.0))


def _size(points: np.ndarray) -> float:
    """Return the root of the area of the box around points, of one not too narrow: px."""
    sides = np.ptp(points, axis=0)
    return float(np.sqrt(max(sides.prod(), 0.2 * sides.max() ** 2)))


def ids_of(poses: Poses) -> list[int]:
    """Return the people's ids. Raises SettingError where they have none at all."""
    if poses.track_ids is None:
        raise SettingError(
            f"{len(poses)} people were to be smoothed and have no track_ids. Track them first: Tracker().update(...)."
        )
    return [int(one) for one in poses.track_ids]
