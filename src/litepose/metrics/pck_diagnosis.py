"""Why PCK or PCKh is what it is: what happened to each keypoint, at which distance, for whom, and to whom most.

Each labelled keypoint of a person, whose distances are measured in the protocol's own length of that person (head size,
torso diagonal), is

    right      up to the threshold from its true place
    inversion  else, up to the threshold from the mirrored keypoint's place: left and right confused
    near       else, up to twice the threshold from its own
    far        else; not found: the network gave no place

Source of the kinds: Ronchi and Perona 2017, whose similarities become distances here and whose swap has no counterpart:
each person has one prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from litepose.metrics import pck, pckh, people_kinds
from litepose.metrics.matching import Found
from litepose.metrics.truth import Truth
from litepose.poses import Poses
from litepose.skeleton import MPII16, Skeleton

KINDS = ("right", "near", "inversion", "far", "not found")
RIGHT, NEAR, INVERSION, FAR, NOT_FOUND = range(5)
NONE = -1  # not labelled
CURVE_STEPS = 50  # from 0 to twice the threshold
NUM_WORST = 12
MIN_LABELLED = 5  # of a person among the worst
ALL = "everybody"


@dataclass(frozen=True)
class MeasuredPeople:
    """N annotated people with one prediction each.

    keypoints: (N, K, 2), labelled: (N, K) bool, predictions: (N, K, 2) NaN = not found, lengths: (N,) px that distances
    are divided by, pictures: the ids of their pictures. in_mean: (K,) bool, the keypoints of the protocol's mean.
    measure: the protocol's number, "PCK" or "PCKh". length: what the lengths are.
    """

    skeleton: Skeleton
    keypoints: np.ndarray
    labelled: np.ndarray
    predictions: np.ndarray
    lengths: np.ndarray
    pictures: tuple[int | str, ...]
    in_mean: np.ndarray
    measure: str
    threshold: float
    length: str

    def __len__(self) -> int:
        return len(self.lengths)

    def distances(self) -> np.ndarray:
        """Return how far each keypoint is from its true place, in the person's length: (N, K), NaN = not found."""
        return np.linalg.norm(self.predictions - self.keypoints, axis=-1) / self.lengths[:, None]


@dataclass(frozen=True)
class KeypointShares:
    """What one keypoint was, counted; the fields after `labelled` add up to it. pck: the share of right ones, or -1."""

    name: str
    labelled: int
    right: int
    near: int
    inversion: int
    far: int
    not_found: int
    pck: float


@dataclass(frozen=True)
class PckSlice:
    """The people of one kind and their PCK, over the keypoints of the mean; -1 = none labelled."""

    kind: str
    name: str
    num_people: int
    pck: float


@dataclass(frozen=True)
class WorstPerson:
    """Somebody of whom few keypoints are right. number: the place among all people measured."""

    number: int
    id: int | str
    num_labelled: int
    num_right: int
    num_inverted: int
    num_not_found: int


@dataclass(frozen=True)
class PckDiagnosis:
    """What `diagnose_pck` found out. curve: (distance, PCK there) over the keypoints of the mean."""

    measure: str
    threshold: float
    num_people: int
    pck: float
    keypoints: tuple[KeypointShares, ...]
    curve: tuple[tuple[float, float], ...]
    slices: tuple[PckSlice, ...]
    worst: tuple[WorstPerson, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


def measured_pckh(truth: pckh.PckhTruth, predictions: np.ndarray, pictures: Sequence[int | str]) -> MeasuredPeople:
    """Return MPII's people; predictions as in `pckh.evaluate_pckh`, pictures: the id of each one's."""
    in_mean = np.array([name not in pckh.NOT_IN_MEAN for name in MPII16.keypoints])
    points = np.asarray(predictions, dtype=np.float64)
    return MeasuredPeople(
        MPII16, truth.keypoints, truth.labelled, points, truth.head_sizes, tuple(pictures), in_mean,
        "PCKh", pckh.THRESHOLD, "head size",
    )  # fmt: skip


def measured_pck(truth: Truth, found: Found, skeleton: Skeleton, *, threshold: float = 0.2) -> MeasuredPeople:
    """Return the people who have a torso diagonal; arguments as in `pck.evaluate_pck`."""
    keypoints, labelled, places, lengths, ids = [], [], [], [], []
    for picture in truth.pictures:
        counted, its_lengths = pck.diagonals(picture, skeleton)
        poses = found.get(picture.id, Poses.empty(skeleton))  # type: ignore[arg-type]
        keypoints.append(picture.keypoints[counted, :, :2])
        labelled.append(picture.labelled[counted])
        places.append(pck.best_places(picture, poses)[counted])
        lengths.append(its_lengths[counted])
        ids += [picture.id] * int(counted.sum())
    k = skeleton.num_keypoints
    return MeasuredPeople(
        skeleton,
        np.concatenate([np.zeros((0, k, 2)), *keypoints]),
        np.concatenate([np.zeros((0, k), dtype=bool), *labelled]),
        np.concatenate([np.zeros((0, k, 2)), *places]),
        np.concatenate([np.zeros(0), *lengths]),
        tuple(ids),
        np.ones(k, dtype=bool),
        "PCK",
        threshold,
        "torso diagonal",
    )


def diagnose_pck(people: MeasuredPeople) -> PckDiagnosis:
    """Say which keypoints were wrong, how, and of whom."""
    kinds, counted = kinds_of(people), people.labelled & people.in_mean
    right = kinds == RIGHT
    return PckDiagnosis(
        measure=people.measure,
        threshold=people.threshold,
        num_people=len(people),
        pck=_share(right, counted),
        keypoints=_keypoints(people, kinds),
        curve=_curve(people, counted),
        slices=_slices(people, right, counted),
        worst=_worst(people, kinds),
    )


def kinds_of(people: MeasuredPeople) -> np.ndarray:
    """Return for each keypoint the number of its kind in KINDS: (N, K) int64, NONE where it is not labelled."""
    mirror = people.skeleton.mirror_indices
    own = people.distances()
    mirrored = np.linalg.norm(people.predictions - people.keypoints[:, mirror], axis=-1) / people.lengths[:, None]
    is_sided = people.labelled[:, mirror] & (mirror != np.arange(len(mirror)))
    choices = [
        ~people.labelled,
        np.isnan(own),
        own <= people.threshold,
        is_sided & (mirrored <= people.threshold),
        own <= 2 * people.threshold,
    ]
    return np.select(choices, [NONE, NOT_FOUND, RIGHT, INVERSION, NEAR], default=FAR)


def _keypoints(people: MeasuredPeople, kinds: np.ndarray) -> tuple[KeypointShares, ...]:
    counts = np.stack([(kinds == kind).sum(axis=0) for kind in range(len(KINDS))], axis=1)  # (K, kinds)
    return tuple(map(_described, people.skeleton.keypoints, counts.tolist()))


def _described(name: str, counts: list[int]) -> KeypointShares:
    right, near, inversion, far, not_found = counts
    labelled = sum(counts)
    share = right / labelled if labelled else -1.0
    return KeypointShares(name, labelled, right, near, inversion, far, not_found, share)


def _curve(people: MeasuredPeople, counted: np.ndarray) -> tuple[tuple[float, float], ...]:
    steps = np.linspace(0, 2 * people.threshold, CURVE_STEPS + 1)
    distances = np.sort(people.distances()[counted])  # NaN goes last
    within = np.searchsorted(distances, steps, side="right")
    return tuple(zip(steps.tolist(), (within / max(len(distances), 1)).tolist(), strict=True))


def _slices(people: MeasuredPeople, right: np.ndarray, counted: np.ndarray) -> tuple[PckSlice, ...]:
    parts = [PckSlice(ALL, ALL, len(people), _share(right, counted))]
    for sorting in (
        people_kinds.by_quarters(people.lengths, people.length),
        people_kinds.by_labelled(people.labelled),
        people_kinds.by_attitude(people.keypoints, people.labelled, people.skeleton),
    ):
        parts += [
            PckSlice(sorting.title, name, int(mask.sum()), _share(right[mask], counted[mask]))
            for name, mask in sorting.inhabited()
        ]
    return tuple(parts)


def _share(right: np.ndarray, counted: np.ndarray) -> float:
    return float(right[counted].mean()) if counted.any() else -1.0


def _worst(people: MeasuredPeople, kinds: np.ndarray) -> tuple[WorstPerson, ...]:
    """Return the people with the smallest share of right keypoints; of equal ones those with most labelled."""
    labelled, right = people.labelled.sum(axis=1), (kinds == RIGHT).sum(axis=1)
    candidates = np.flatnonzero((labelled >= MIN_LABELLED) & (right < labelled))
    order = np.lexsort((-labelled[candidates], right[candidates] / labelled[candidates]))
    return tuple(
        WorstPerson(
            number=int(n),
            id=people.pictures[n],
            num_labelled=int(labelled[n]),
            num_right=int(right[n]),
            num_inverted=int((kinds[n] == INVERSION).sum()),
            num_not_found=int((kinds[n] == NOT_FOUND).sum()),
        )
        for n in candidates[order][:NUM_WORST]
    )
