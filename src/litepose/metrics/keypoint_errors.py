"""What went wrong with each keypoint of the people found: jitter, inversion, swap or miss.

Source: Ronchi and Perona 2017, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation" (ICCV), with the
rules of matteorr/coco-analyze. A person found is compared with the true person it is on (`pairing`, OKS from 0.1), each
labelled keypoint by its own similarity exp(-d^2 / 2 s^2 k^2), whose mean is the OKS:

    good       from 0.85 to its own true place
    miss       below 0.5 to every place named here
    else what it is most similar to:
    jitter     its own place (0.5 to 0.85)
    inversion  the mirrored keypoint of the same person: left and right confused
    swap       the same or the mirrored keypoint of somebody else

Differs: there a keypoint good by its own place is a swap where another person's lies nearer still.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.metrics.matching import Found
from litepose.metrics.pairing import PairedPicture, pair_people
from litepose.metrics.truth import Truth

SAME_PERSON = 0.1  # OKS from which somebody found is on somebody of the truth
GOOD_FROM, NEAR_FROM = 0.85, 0.5  # of a single keypoint's similarity
KINDS = ("good", "jitter", "inversion", "swap", "miss")
GOOD, JITTER, INVERSION, SWAP, MISS = range(5)
NONE = -1  # not labelled, or of somebody found who is on nobody that counts


@dataclass(frozen=True)
class PictureErrors:
    """One picture's people, and for each keypoint of those found the number of its kind in KINDS: (N, K) int64."""

    people: PairedPicture
    kinds: np.ndarray

    @property
    def id(self) -> int | str:
        """The picture's."""
        return self.people.truth.id

    def true_places(self) -> np.ndarray:
        """Return where each keypoint of the people found should be, on who is on somebody: (N, K, 2) float64."""
        return self.people.truth.keypoints[self.people.partner, :, :2]

    def above(self, threshold: float) -> PictureErrors:
        """Return the same with the people whose score reaches the threshold only."""
        sure = self.people.poses.scores >= threshold
        return PictureErrors(self.people.of(sure), self.kinds[sure])


@dataclass(frozen=True)
class KeypointCounts:
    """How often a keypoint was what, among the labelled ones of everybody who counts.

    person_missed: of people whom nobody found. The fields after `labelled` add up to it.
    """

    labelled: int
    good: int
    jitter: int
    inversion: int
    swap: int
    miss: int
    person_missed: int


def find_errors(truth: Truth, found: Found) -> tuple[PictureErrors, ...]:
    """Return what is wrong in each picture, in the order of their ids."""
    pictures = pair_people(truth, found, threshold=SAME_PERSON)
    return tuple(PictureErrors(picture, _kinds(picture)) for picture in pictures)


def count_keypoints(errors: tuple[PictureErrors, ...], num_keypoints: int) -> tuple[KeypointCounts, ...]:
    """Return the counts of each keypoint."""
    kinds = np.zeros((len(KINDS), num_keypoints), dtype=np.int64)
    missed = np.zeros(num_keypoints, dtype=np.int64)
    for one in errors:
        kinds += np.stack([(one.kinds == kind).sum(axis=0) for kind in range(len(KINDS))])
        missed += one.people.truth.labelled[one.people.missed].sum(axis=0)
    columns = np.concatenate([(kinds.sum(axis=0) + missed)[None], kinds, missed[None]])
    return tuple(KeypointCounts(*column) for column in columns.T.tolist())


def keypoint_similarities(picture: PairedPicture) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of each found keypoint to that of each true person, and to the mirrored one.

    Both (N, M, K) float64; -1 where that is not labelled, and in the mirrored one where a keypoint mirrors to itself.
    """
    truth, skeleton = picture.truth, picture.poses.skeleton
    mirror = skeleton.mirror_indices
    points = picture.poses.keypoints.astype(np.float64)[:, None]
    scale = (2 * np.asarray(skeleton.oks_sigmas)) ** 2 * (truth.areas[:, None] + np.spacing(1)) * 2  # (M, K)

    def likeness(places: np.ndarray, labelled: np.ndarray) -> np.ndarray:
        return np.where(labelled, np.exp(-((points - places) ** 2).sum(axis=-1) / scale), -1.0)

    own = likeness(truth.keypoints[..., :2], truth.labelled)
    is_sided = mirror != np.arange(len(mirror))
    mirrored = likeness(truth.keypoints[:, mirror, :2], truth.labelled[:, mirror] & is_sided)
    return own, mirrored


def _kinds(picture: PairedPicture) -> np.ndarray:
    same, mirrored = keypoint_similarities(picture)
    kinds = np.full(picture.poses.keypoint_scores.shape, NONE, dtype=np.int64)
    for n in np.flatnonzero(picture.paired):
        m = picture.partner[n]
        others = np.delete(np.maximum(same[n], mirrored[n]), m, axis=0).max(axis=0, initial=-1.0)  # (K,)
        own, inverted = same[n, m], mirrored[n, m]
        best = np.maximum(np.maximum(own, inverted), others)
        choices = [own >= GOOD_FROM, best < NEAR_FROM, own == best, inverted == best]
        kind = np.select(choices, [GOOD, MISS, JITTER, INVERSION], default=SWAP)
        kinds[n] = np.where(picture.truth.labelled[m], kind, NONE)
    return kinds
