"""PCK: the share of keypoints found within a fraction of the person's torso diagonal.

Source: Yang and Ramanan 2013, "Articulated Human Detection with Flexible Mixtures of Parts", whose threshold is a
fraction of the person's size; the size here is the distance from left shoulder to right hip of the truth, as for LSP
(Toshev and Szegedy 2014). Differs: with many people in a picture, a true person's prediction is the found person of
the best OKS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import SettingError, SkeletonError
from litepose.metrics.coco import as_truth
from litepose.metrics.matching import in_order
from litepose.metrics.per_picture import Sums
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses
from litepose.similarity import oks
from litepose.skeleton import Skeleton

PROTOCOL = "pck"
DIAGONAL = ("left_shoulder", "right_hip")


@dataclass(frozen=True)
class PckStats:
    """Shares in [0, 1]; -1 = no such keypoint in the truth.

    mean: over all labelled keypoints of the people counted. per_keypoint: by name.
    num_skipped: people whose diagonal is not labelled (or has no length).
    per_picture: keypoints found and labelled, of the pictures `matching.in_order`.
    """

    mean: float
    per_keypoint: Mapping[str, float]
    threshold: float
    num_people: int
    num_skipped: int
    per_picture: Sums = field(compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return {"stats": {"PCK": ..., keypoint: ...}, "settings": ...}."""
        return {
            "stats": {"PCK": self.mean, **self.per_keypoint},
            "settings": {
                "threshold": self.threshold,
                "of": "distance from left_shoulder to right_hip in the truth",
                "prediction": "the found person of the best OKS",
                "people": self.num_people,
                "skipped_without_diagonal": self.num_skipped,
            },
        }


def evaluate_pck(
    truth: Truth | str | Path | Mapping[str, Any],
    poses_by_image: Mapping[int, Poses] | Mapping[str, Poses],
    skeleton: Skeleton,
    *,
    threshold: float = 0.2,
) -> PckStats:
    """Score the people found in each picture.

    truth, poses_by_image, skeleton: as in `metrics.coco.evaluate_poses`. A keypoint not found is wrong.
    """
    if not threshold > 0:
        raise SettingError(f"PCK was asked for at {threshold}; the threshold is a positive share. Use 0.2.")
    check_diagonal(skeleton)
    truth = as_truth(truth, skeleton)
    pictures = in_order(truth)
    right, labelled = np.zeros((2, len(pictures), skeleton.num_keypoints))
    num_people = num_skipped = 0
    for row, picture in enumerate(pictures):
        counted, lengths = diagonals(picture, skeleton)
        num_people += int(counted.sum())
        num_skipped += int(picture.scored.sum() - counted.sum())
        poses = poses_by_image.get(picture.id, Poses.empty(skeleton))  # type: ignore[arg-type]
        places = best_places(picture, poses)[counted]  # (N, K, 2)
        distances = np.linalg.norm(places - picture.keypoints[counted, :, :2], axis=-1)  # NaN is never within
        right[row] = (picture.labelled[counted] & (distances <= threshold * lengths[counted, None])).sum(axis=0)
        labelled[row] = picture.labelled[counted].sum(axis=0)
    found, of = right.sum(axis=0), labelled.sum(axis=0)
    shares = np.divide(found, of, out=np.full_like(found, -1.0), where=of > 0)
    mean = float(right.sum() / labelled.sum()) if labelled.any() else -1.0
    per_keypoint = dict(zip(skeleton.keypoints, shares.tolist(), strict=True))
    per_picture = Sums(right.sum(axis=1), labelled.sum(axis=1))
    return PckStats(mean, per_keypoint, threshold, num_people, num_skipped, per_picture)


def has_diagonal(skeleton: Skeleton) -> bool:
    """Return whether a skeleton has the keypoints that PCK measures a person by."""
    return all(keypoint in skeleton.keypoints for keypoint in DIAGONAL)


def check_diagonal(skeleton: Skeleton) -> None:
    """Raise SkeletonError where PCK cannot be measured; call it before hours of prediction."""
    if not has_diagonal(skeleton):
        lacking = " and ".join(keypoint for keypoint in DIAGONAL if keypoint not in skeleton.keypoints)
        raise SkeletonError(f"PCK needs the keypoints {' and '.join(DIAGONAL)}; {skeleton.name} lacks {lacking}.")


def diagonals(picture: PictureTruth, skeleton: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Return which people have a diagonal (N,) bool, and its length (N,) px."""
    a, b = (skeleton.index(keypoint) for keypoint in DIAGONAL)
    lengths = np.linalg.norm(picture.keypoints[:, a, :2] - picture.keypoints[:, b, :2], axis=-1)
    return picture.scored & picture.labelled[:, a] & picture.labelled[:, b] & (lengths > 0), lengths


def best_places(picture: PictureTruth, poses: Poses) -> np.ndarray:
    """Return for each true person the keypoints of the found one of the best OKS: (N, K, 2) px, NaN = not found."""
    if not len(poses):
        return np.full((*picture.labelled.shape, 2), np.nan)
    alike = oks(
        poses.keypoints,
        picture.keypoints[..., :2],
        areas=picture.areas,
        sigmas=poses.skeleton.oks_sigmas,
        counted=picture.labelled,
    )
    best = alike.argmax(axis=0)  # (M found, N true) -> (N,)
    return np.where(poses.found[best][..., None], poses.keypoints[best], np.nan)
