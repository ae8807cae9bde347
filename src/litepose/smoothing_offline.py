"""Steadier keypoints once a video is over: gaps filled, then One-Euro filters forwards and backwards.

The mean of a pass from the front and one from the back is late in neither direction, because each is as late as the
other is early (the idea of forward-backward filtering; Gustafsson, IEEE Trans. Signal Processing 1996).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.errors import SettingError
from litepose.poses import Poses, concatenate
from litepose.smoothing import PersonFilter, SmoothSettings, ids_of

# A lower factor than online costs no lag here, and halves the error of moving keypoints (benchmarks/smoothing.py).
OFFLINE = SmoothSettings(speed_factor=1.5)
FILLED_SHARE = 0.5  # of its lower neighbour's score: what a filled keypoint is scored
MIN_FILLED = 3  # keypoints of a person who is put into a frame


@dataclass(frozen=True)
class _Path:
    """One person from the first to the last frame seen.

    first: frame number. rows: (T,) where the person stands in each frame's Poses, -1 = absent.
    keypoints: (T, K, 2) float64. scores: (T, K). person_scores: (T,).
    """

    id: int
    first: int
    rows: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    person_scores: np.ndarray


def smooth_offline(
    frames: Sequence[Poses], times_s: Sequence[float], settings: SmoothSettings = OFFLINE
) -> list[Poses]:
    """Return all frames of a video with steadier keypoints that are not late, and short gaps filled.

    frames: tracked people, frame by frame. times_s: of the frames. A gap of up to `max_gap_s`, of a keypoint or a
    whole person, is filled on the straight line between its ends, with half the lower score of the two.
    Raises SettingError.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.shape != (len(frames),) or (np.diff(times) < 0).any():
        raise SettingError(f"{len(frames)} frames came with times of shape {times.shape}. Give one for each, in order.")
    result = list(frames)
    for path in _paths(frames):
        span = times[path.first : path.first + len(path.rows)]
        smooth = _filtered(_filled(path, span, settings.max_gap_s), span, settings)
        for at in range(len(path.rows)):
            result[path.first + at] = _put(result[path.first + at], smooth, at)
    return result


def _paths(frames: Sequence[Poses]) -> list[_Path]:
    places: dict[int, list[tuple[int, int]]] = {}  # id -> (frame, row in it)
    for i, poses in enumerate(frames):
        for row, track_id in enumerate(ids_of(poses)):
            if track_id >= 0:
                places.setdefault(track_id, []).append((i, row))
    return [_path(frames, track_id, seen) for track_id, seen in places.items()]


def _path(frames: Sequence[Poses], track_id: int, seen: list[tuple[int, int]]) -> _Path:
    first, count = seen[0][0], seen[-1][0] - seen[0][0] + 1
    num_keypoints = frames[first].skeleton.num_keypoints
    rows = np.full(count, -1)
    keypoints, scores = np.zeros((count, num_keypoints, 2)), np.zeros((count, num_keypoints))
    person_scores = np.zeros(count)
    for i, row in seen:
        rows[i - first] = row
        keypoints[i - first] = frames[i].keypoints[row]
        scores[i - first] = frames[i].keypoint_scores[row]
        person_scores[i - first] = frames[i].scores[row]
    return _Path(track_id, first, rows, keypoints, scores, person_scores)


def _filled(path: _Path, times: np.ndarray, longest_s: float) -> _Path:
    """Return the path with short gaps filled, keypoint by keypoint; the person's own score likewise."""
    keypoints, scores = path.keypoints.copy(), path.scores.copy()
    for k in range(keypoints.shape[1]):
        for before, after in _gaps(scores[:, k] > 0, times, longest_s):
            inside = slice(before + 1, after)
            share = ((times[inside] - times[before]) / (times[after] - times[before]))[:, None]
            keypoints[inside, k] = (1 - share) * keypoints[before, k] + share * keypoints[after, k]
            scores[inside, k] = FILLED_SHARE * min(scores[before, k], scores[after, k])
    person_scores = path.person_scores.copy()
    for before, after in _gaps(path.rows >= 0, times, longest_s):
        person_scores[before + 1 : after] = FILLED_SHARE * min(person_scores[before], person_scores[after])
    return dataclasses.replace(path, keypoints=keypoints, scores=scores, person_scores=person_scores)


def _gaps(found: np.ndarray, times: np.ndarray, longest_s: float) -> list[tuple[int, int]]:
    """Return the frames found right before and after each gap that lasts up to `longest_s`."""
    at = np.flatnonzero(found)
    pairs = zip(at[:-1].tolist(), at[1:].tolist(), strict=True)
    return [(a, b) for a, b in pairs if b > a + 1 and times[b] - times[a] <= longest_s]


def _filtered(path: _Path, times: np.ndarray, settings: SmoothSettings) -> _Path:
    forwards = _pass(path, times, settings)
    turned = dataclasses.replace(path, keypoints=path.keypoints[::-1], scores=path.scores[::-1])
    backwards = _pass(turned, times[-1] - times[::-1], settings)[::-1]
    return dataclasses.replace(path, keypoints=(forwards + backwards) / 2)


def _pass(path: _Path, times: np.ndarray, settings: SmoothSettings) -> np.ndarray:
    """Return the keypoints filtered in the order given: (T, K, 2)."""
    person, before_s = PersonFilter(path.keypoints.shape[1], settings), -np.inf
    smooth = path.keypoints.copy()
    for at, time_s in enumerate(times.tolist()):
        oldest = min(before_s, time_s - settings.max_gap_s)
        smooth[at] = person.update(smooth[at], path.scores[at] > 0, time_s, oldest_s=oldest)
        before_s = time_s
    return smooth


def _put(poses: Poses, path: _Path, at: int) -> Poses:
    """Return a frame's people with one of them as the path has it; added where absent and filled."""
    row = int(path.rows[at])
    if row < 0:
        if (path.scores[at] > 0).sum() < MIN_FILLED or path.person_scores[at] <= 0:
            return poses
        person = Poses(
            poses.skeleton, path.keypoints[[at]], path.scores[[at]], path.person_scores[[at]],
            track_ids=np.array([path.id]),
        )  # fmt: skip
        person = dataclasses.replace(person, boxes=None if poses.boxes is None else person.keypoint_boxes)
        return concatenate([poses, person])
    keypoints, scores = poses.keypoints.copy(), poses.keypoint_scores.copy()
    keypoints[row], scores[row] = path.keypoints[at], path.scores[at]
    return dataclasses.replace(poses, keypoints=keypoints, keypoint_scores=scores)
