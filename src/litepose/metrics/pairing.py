"""Which person found is on which person of the truth, at any OKS: COCO's matching, picture by picture, in numpy.

Source of the rules: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (computeOks, evaluateImg). `matching` is the
way to AP; this one is asked below its thresholds, where a person is found badly but still found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.geometry import boxes_of_keypoints
from litepose.metrics.matching import MAX_PEOPLE, Found, in_order
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses
from litepose.similarity import oks


@dataclass(frozen=True)
class PairedPicture:
    """The N people found in a picture, best first and no more than COCO counts, and the M annotated ones.

    rows: (N,) int64, of each in the Poses that were given. similarity: (N, M) float64, the OKS.
    partner: (N,) int64, the row of the true person that each is on, -1 = nobody.
    """

    truth: PictureTruth
    poses: Poses
    rows: np.ndarray
    similarity: np.ndarray
    partner: np.ndarray

    @property
    def ignored(self) -> np.ndarray:
        """Who is on a crowd or on somebody who does not count: (N,) bool."""
        scored = np.append(self.truth.scored, True)  # the last one is nobody's
        return ~scored[self.partner]

    @property
    def false(self) -> np.ndarray:
        """Who is on nobody: (N,) bool."""
        return self.partner < 0

    @property
    def paired(self) -> np.ndarray:
        """Who is on somebody who counts: (N,) bool."""
        return ~self.false & ~self.ignored

    @property
    def missed(self) -> np.ndarray:
        """Who of the truth counts and was found by nobody: (M,) bool."""
        return self.truth.scored & ~np.isin(np.arange(len(self.truth.areas)), self.partner)

    @property
    def best(self) -> np.ndarray:
        """The greatest OKS that anybody found has with each true person: (M,) float64, 0 where nobody was found."""
        return self.similarity.max(axis=0, initial=0.0)

    def of(self, chosen: np.ndarray) -> PairedPicture:
        """Return the same picture with some of the people found, (N,) bool, each on whom he is."""
        return PairedPicture(
            self.truth, self.poses[chosen], self.rows[chosen], self.similarity[chosen], self.partner[chosen]
        )


def pair_people(truth: Truth, found: Found, *, threshold: float) -> tuple[PairedPicture, ...]:
    """Return who is on whom in each picture, in the order of their ids.

    The best-scored person found chooses first: of the true people still free the most similar one, if its OKS reaches
    `threshold`; somebody who counts before who does not; a crowd is never taken.
    """
    nobody = next((poses[:0] for poses in found.values()), Poses.empty(truth.skeleton))
    return tuple(
        _paired(picture, found.get(picture.id, nobody), threshold)  # type: ignore[arg-type]
        for picture in in_order(truth)
    )


def similarities(poses: Poses, truth: PictureTruth) -> np.ndarray:
    """Return the OKS of everybody found with every true person, as cocoapi computes it: (N, M) float64.

    Where a true person has no labelled keypoint, a found keypoint is as far from it as from its box, made three times
    as wide and high.
    """
    sigmas, labelled = poses.skeleton.oks_sigmas, truth.labelled
    by_keypoints = oks(
        poses.keypoints, truth.keypoints[..., :2], areas=truth.areas, sigmas=sigmas, counted=labelled
    )  # fmt: skip
    low = truth.boxes_xywh[:, :2] - truth.boxes_xywh[:, 2:]
    high = truth.boxes_xywh[:, :2] + 2 * truth.boxes_xywh[:, 2:]
    points = poses.keypoints.astype(np.float64)[:, None]  # (N, 1, K, 2)
    outside = np.maximum(low[:, None] - points, 0) + np.maximum(points - high[:, None], 0)  # (N, M, K, 2)
    variances = (2 * np.asarray(sigmas)) ** 2
    areas = (truth.areas + np.spacing(1))[:, None]
    by_box = np.exp(-(outside**2).sum(axis=-1) / variances / areas / 2).mean(axis=-1)
    return np.where(labelled.any(axis=1), by_keypoints, by_box)


def boxes_of(truth: PictureTruth) -> np.ndarray:
    """Return everybody's box, around the labelled keypoints where it has no extent: (M, 4) x1, y1, x2, y2."""
    corners = np.concatenate([truth.boxes_xywh[:, :2], truth.boxes_xywh[:, :2] + truth.boxes_xywh[:, 2:]], axis=1)
    tight = boxes_of_keypoints(truth.keypoints[..., :2], truth.labelled)
    return np.where(truth.boxes_xywh[:, 2:].min(axis=1, keepdims=True) > 0, corners, tight)


def _paired(truth: PictureTruth, poses: Poses, threshold: float) -> PairedPicture:
    rows = np.argsort(-poses.scores, kind="stable")[:MAX_PEOPLE]
    best_first = poses[rows]
    similarity = similarities(best_first, truth)
    partner = np.full(len(rows), -1, dtype=np.int64)
    free = np.ones(len(truth.areas), dtype=bool)
    for n in range(len(rows)):
        for candidates in (free & truth.scored, free & ~truth.scored):
            likely = np.where(candidates, similarity[n], -1.0)
            if candidates.any() and likely.max() >= threshold:
                # Of equal ones cocoapi takes the last.
                partner[n] = len(likely) - 1 - int(likely[::-1].argmax())
                free[partner[n]] = truth.crowd[partner[n]]
                break
    return PairedPicture(truth, best_first, rows, similarity, partner)
