"""Real poses to draw: a COCO keypoint JSON, or an .npz of normalised COCO keypoints.

The .npz holds, for P people of S pictures: kpt_xy_norm (P, 17, 2) in shares of width and height, kpt_v (P, 17) as in
COCO, offset (S + 1,) where each picture's people start, size_wh (S, 2) px (0 = unknown: not used), and, if pictures of
a validation set are among them, is_val (S,) bool: those are left out.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import AnnotationError
from litepose.skeleton import COCO17

LEAST_KEYPOINTS = 6  # labelled ones that a drawable person has
WHOLE_KEYPOINTS = 12  # of people that may also be drawn elsewhere, alone
_SHOULDERS, _HIPS = slice(5, 7), slice(11, 13)


@dataclass(frozen=True)
class PoseFile:
    """The people of many pictures.

    keypoints: (P, 17, 3) float32 x, y px and visible; offset: (S + 1,) where each picture's people start; size_wh:
    (S, 2) float32 px.
    """

    keypoints: np.ndarray
    offset: np.ndarray
    size_wh: np.ndarray
    pictures_with: Mapping[int, np.ndarray] = field(init=False)
    whole: np.ndarray = field(init=False)  # people with nearly all keypoints

    def __post_init__(self) -> None:
        counts = np.diff(self.offset)
        pictures = {int(count): np.flatnonzero(counts == count) for count in np.unique(counts) if count}
        object.__setattr__(self, "pictures_with", pictures)
        labelled = (self.keypoints[..., 2] > 0).sum(axis=1)
        object.__setattr__(self, "whole", np.flatnonzero(labelled >= min(WHOLE_KEYPOINTS, labelled.max())))

    def people_of(self, picture: int) -> np.ndarray:
        """Return the keypoints (N, 17, 3) of one picture's people."""
        return self.keypoints[self.offset[picture] : self.offset[picture + 1]]


def read_poses(path: str | Path) -> PoseFile:
    """Read a file of real poses; people too incomplete to draw are left out. Raises AnnotationError."""
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"Poses were asked for from {path}; there is no such file. Name a COCO .json or an .npz.")
    try:
        keypoints, pictures, size_wh = _read_npz(path) if path.suffix == ".npz" else _read_coco(path)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, zipfile.BadZipFile) as error:
        raise AnnotationError(
            f"Poses were asked for from {path}; it cannot be read ({type(error).__name__}: {error}). Possible: a COCO "
            "keypoint .json with 17 keypoints, or an .npz with kpt_xy_norm, kpt_v, offset and size_wh."
        ) from error
    labelled = keypoints[..., 2] > 0
    drawable = (labelled.sum(axis=1) >= LEAST_KEYPOINTS) & (size_wh[pictures] > 0).all(axis=1)
    drawable &= labelled[:, _SHOULDERS].any(axis=1) & (
        labelled[:, _SHOULDERS].all(axis=1) | labelled[:, _HIPS].any(axis=1)
    )
    drawable &= np.isfinite(keypoints).all(axis=(1, 2))
    if not drawable.any():
        raise AnnotationError(
            f"Poses were asked for from {path}; none of its {len(keypoints)} people has {LEAST_KEYPOINTS} keypoints "
            "with a shoulder. Name a file with more complete people."
        )
    keypoints, pictures = keypoints[drawable], pictures[drawable]
    offset = np.searchsorted(pictures, np.arange(len(size_wh) + 1))
    return PoseFile(keypoints.astype(np.float32), offset, size_wh.astype(np.float32))


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keypoints (P, 17, 3), the picture of each person (P,), ascending, and the picture sizes (S, 2)."""
    with np.load(path, allow_pickle=False) as data:
        offset, size_wh = data["offset"], data["size_wh"].astype(np.float64)
        if "is_val" in data:
            size_wh[data["is_val"]] = 0
        pictures = np.repeat(np.arange(len(size_wh)), np.diff(offset))
        xy = data["kpt_xy_norm"] * size_wh[pictures][:, None]
        keypoints = np.concatenate([xy, data["kpt_v"][..., None]], axis=2)
    return _checked(keypoints), pictures, size_wh


def _read_coco(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = json.loads(path.read_text(encoding="utf-8"))
    size_wh = np.array([(image["width"], image["height"]) for image in data["images"]], np.float64).reshape(-1, 2)
    number = {image["id"]: i for i, image in enumerate(data["images"])}
    people: list[tuple[int, Any]] = [
        (number[one["image_id"]], one["keypoints"])
        for one in data["annotations"]
        if one.get("keypoints") and not one.get("iscrowd") and one["image_id"] in number
    ]
    people.sort(key=lambda person: person[0])
    keypoints = np.array([values for _, values in people], np.float64).reshape(len(people), -1, 3)
    return _checked(keypoints), np.array([picture for picture, _ in people], np.int64), size_wh


def _checked(keypoints: np.ndarray) -> np.ndarray:
    if keypoints.shape[1:] != (COCO17.num_keypoints, 3):
        raise ValueError(f"keypoints of shape {keypoints.shape[1:]}, needed (17, 3)")
    return keypoints
