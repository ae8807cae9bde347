"""How much AP each kind of error costs: that kind alone is corrected in what was found, and AP computed anew.

Source: Ronchi and Perona 2017, as in `keypoint_errors`. Differs: there errors are corrected one after the other, and a
keypoint moves only so far that it is an error no more (jitter to similarity 0.85, miss to 0.5); here each kind is
corrected alone, and a corrected keypoint lies on its true place. So the numbers do not add up to the AP lost: two
errors of one person may each take all of it away.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from litepose.metrics.coco import AT_50
from litepose.metrics.keypoint_errors import INVERSION, JITTER, KINDS, MISS, SWAP, PictureErrors
from litepose.metrics.matching import EVERYBODY, coco_tables
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses
from litepose.skeleton import Skeleton

KEYPOINT_ERRORS = (JITTER, INVERSION, SWAP, MISS)
CAUSES = (*(KINDS[kind] for kind in KEYPOINT_ERRORS), "false people", "missed people", "score order")


@dataclass(frozen=True)
class GivenBack:
    """What correcting one cause alone adds to AP and to AP50 (it may be below 0 by a little)."""

    AP: float
    AP50: float


@dataclass(frozen=True)
class Losses:
    """AP and AP50 as they are, and what would come back.

    causes: by name, as in CAUSES. all_keypoints: the four of keypoints at once. everything: those, false and missed
    people at once; what is lost then is lost by keypoints that are good but not exact.
    """

    AP: float
    AP50: float
    causes: dict[str, GivenBack]
    all_keypoints: GivenBack
    everything: GivenBack


def losses(errors: tuple[PictureErrors, ...], skeleton: Skeleton) -> Losses:
    """Return what each kind of error costs. Raises MissingPackageError without hotcoco."""
    before = _scored(errors, skeleton)

    def back(**corrections: object) -> GivenBack:
        after = _scored(errors, skeleton, **corrections)  # type: ignore[arg-type]
        return GivenBack(after[0] - before[0], after[1] - before[1])

    causes = {KINDS[kind]: back(keypoints={kind}) for kind in KEYPOINT_ERRORS}
    causes["false people"] = back(without_false=True)
    causes["missed people"] = back(without_missed=True)
    causes["score order"] = back(by_similarity=True)
    every_keypoint = set(KEYPOINT_ERRORS)
    return Losses(
        *before,
        causes=causes,
        all_keypoints=back(keypoints=every_keypoint),
        everything=back(keypoints=every_keypoint, without_false=True, without_missed=True),
    )


def corrected(errors: PictureErrors, kinds: Collection[int]) -> Poses:
    """Return the people found with the keypoints of these kinds on their true places."""
    wrong = np.isin(errors.kinds, list(kinds))[..., None]
    if not wrong.any():
        return errors.people.poses
    return replace(errors.people.poses, keypoints=np.where(wrong, errors.true_places(), errors.people.poses.keypoints))


def ranked_by_similarity(errors: PictureErrors, poses: Poses) -> Poses:
    """Return the people with the OKS as their score: of the true person that each is best for, 0 for nobody's.

    Of all pairs the most similar one comes first; who is taken is taken. People on somebody who does not count get 0.
    """
    similarity = np.where(errors.people.truth.scored, errors.people.similarity, -1.0)  # (N, M)
    scores = np.zeros(len(poses))
    while similarity.size and similarity.max() > 0:
        n, m = np.unravel_index(similarity.argmax(), similarity.shape)
        scores[n] = similarity[n, m]
        similarity[n], similarity[:, m] = -1.0, -1.0
    return replace(poses, scores=scores)


def without(truth: PictureTruth, people: np.ndarray) -> PictureTruth:
    """Return the truth in which `people`, (M,) bool, are not chosen."""
    chosen = np.ones(len(people), dtype=bool) if truth.chosen is None else truth.chosen
    return replace(truth, chosen=chosen & ~people)


def _scored(
    errors: tuple[PictureErrors, ...],
    skeleton: Skeleton,
    *,
    keypoints: Collection[int] = (),
    without_false: bool = False,
    without_missed: bool = False,
    by_similarity: bool = False,
) -> tuple[float, float]:
    """Return AP and AP50 after the corrections."""
    truth, found = [], {}
    for one in errors:
        people, poses = one.people, corrected(one, keypoints)
        if by_similarity:
            poses = ranked_by_similarity(one, poses)
        found[one.id] = poses[~people.false] if without_false else poses
        truth.append(without(people.truth, people.missed) if without_missed else people.truth)
    if without_missed and not any(picture.scored.any() for picture in truth):
        return 1.0, 1.0  # everybody was missed: without them nothing is lost
    tables = coco_tables(Truth(skeleton, tuple(truth)), found, skeleton.oks_sigmas, areas=EVERYBODY)  # type: ignore[arg-type]
    return tables.AP(), tables.AP(threshold=AT_50)
