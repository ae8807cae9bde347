"""OpenPose's JSON: a file for each picture, fields of its version 1.3, 18 keypoints.

Source: CMU-Perceptual-Computing-Lab/openpose, doc/02_output.md. Frames of a video are NAME_000000000000_keypoints.json
with twelve digits. person_id is -1 in OpenPose itself; here it is the track's, where there is one. A keypoint that is
not found is 0, 0, 0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litepose.poses import Poses
from litepose.skeleton import OPENPOSE18
from litepose.writers.base import FileEach, PictureResult, ids, line, rounded

LISTS = ("face", "hand_left", "hand_right")  # parts we do not find, but readers expect the fields


def _file(result: PictureResult) -> tuple[str, str]:
    name = Path(result.name)
    stem = name.stem if result.frame is None else f"{name.stem}_{result.frame:012d}"
    people = [
        _person(triples, -1 if track_id is None else track_id)
        for triples, track_id in zip(openpose_keypoints(result.poses), ids(result.poses), strict=True)
    ]
    return str(name.with_name(f"{stem}_keypoints.json")), line({"version": 1.3, "people": people})


def openpose_keypoints(poses: Poses) -> np.ndarray:
    """Return x, y, score in [0, 1] of OpenPose's 18 keypoints: (N, 18, 3), zeros where not found.

    A skeleton without a neck gets it in the middle of the shoulders, as sure as the less sure of them.
    """
    mapped = poses.mapped_to(OPENPOSE18)
    scores = np.clip(mapped.keypoint_scores, 0, 1)
    triples = np.concatenate([mapped.keypoints, scores[..., None]], axis=-1)
    if "neck" not in poses.skeleton.keypoints:
        shoulders = triples[:, [OPENPOSE18.index("left_shoulder"), OPENPOSE18.index("right_shoulder")]]
        neck = np.concatenate([shoulders[..., :2].mean(axis=1), shoulders[..., 2:].min(axis=1)], axis=-1)
        triples[:, OPENPOSE18.index("neck")] = neck
    return np.where(triples[..., 2:] > 0, triples, 0)


def _person(triples: np.ndarray, person_id: int) -> dict[str, Any]:
    person: dict[str, Any] = {"person_id": [person_id], "pose_keypoints_2d": rounded(triples.ravel(), 3)}
    person |= {f"{part}_keypoints_2d": [] for part in LISTS}
    return person | {f"{part}_keypoints_3d": [] for part in ("pose", *LISTS)}


OPENPOSE = FileEach(_file, units="picture pixels; pose_keypoints_2d is x, y, score of OpenPose's 18 keypoints")
