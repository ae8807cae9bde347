"""Why AP is what it is: errors of keypoints and people, what each costs, for whom, and in which pictures most.

The parts have their rules and sources: `keypoint_errors`, `given_back`, `slices`, `curves`, `worst`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from litepose.metrics import pck
from litepose.metrics.curves import Curves, curves
from litepose.metrics.given_back import Losses, losses
from litepose.metrics.keypoint_errors import KeypointCounts, PictureErrors, count_keypoints, find_errors
from litepose.metrics.matching import EVERYBODY, Found, coco_tables, match
from litepose.metrics.slices import Slice, slices
from litepose.metrics.truth import Truth
from litepose.metrics.worst import WorstPicture, worst_pictures
from litepose.skeleton import Skeleton

SIDES = ("left_", "right_")


@dataclass(frozen=True)
class KeypointDiagnosis:
    """One keypoint. pck: the share within 0.2 of the torso diagonal, -1 = none labelled, None = it has no diagonal.

    part: its name without a side. part_AP: AP where the keypoints of this part are the only labelled ones: the OKS is
    theirs alone, and people without one do not count.
    """

    name: str
    part: str
    counts: KeypointCounts
    pck: float | None
    part_AP: float


@dataclass(frozen=True)
class PeopleCounts:
    """true = paired + missed; found = paired + false + ignored (on crowds and people who do not count).

    false_above: the false ones whose score reaches the best threshold (`curves.Threshold`).
    """

    true: int
    found: int
    paired: int
    missed: int
    false: int
    false_above: int
    ignored: int


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found out; all shares and APs in [0, 1], -1 = nothing to measure."""

    people: PeopleCounts
    losses: Losses
    keypoints: tuple[KeypointDiagnosis, ...]
    slices: tuple[Slice, ...]
    curves: Curves
    worst: tuple[WorstPicture, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


def diagnose(
    truth: Truth,
    found: Found,
    skeleton: Skeleton,
    *,
    levels: Mapping[int | str, str] | None = None,
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
    errors: tuple[PictureErrors, ...] | None = None,
) -> Diagnosis:
    """Say why people were found badly or not at all.

    truth, found: as in `matching.coco_tables`, on `skeleton`. levels, sizes: see `slices.slices`.
    errors: of `keypoint_errors.find_errors`, where they are known already.
    Raises AnnotationError as `coco_tables` does, MissingPackageError without hotcoco.
    """
    tables = coco_tables(truth, found, skeleton.oks_sigmas, areas=EVERYBODY)  # first, because it checks the people
    errors = find_errors(truth, found) if errors is None else errors
    its_curves = curves(errors, tables, match(truth, found, skeleton.oks_sigmas))
    threshold = -np.inf if its_curves.threshold is None else its_curves.threshold.score
    return Diagnosis(
        people=_people(errors, threshold),
        losses=losses(errors, skeleton),
        keypoints=_keypoints(truth, found, skeleton, errors),
        slices=slices(errors, skeleton, levels=levels, sizes=sizes),
        curves=its_curves,
        worst=worst_pictures(errors, threshold=threshold),
    )


def parts_of(skeleton: Skeleton) -> tuple[str, ...]:
    """Return for each keypoint its name without a side, so that both sides share one."""
    return tuple(_without_side(name) for name in skeleton.keypoints)


def _without_side(name: str) -> str:
    for side in SIDES:
        if name.startswith(side):
            return name.removeprefix(side)
    return name


def _people(errors: tuple[PictureErrors, ...], threshold: float) -> PeopleCounts:
    people = [one.people for one in errors]
    return PeopleCounts(
        true=sum(int(one.truth.scored.sum()) for one in people),
        found=sum(len(one.poses) for one in people),
        paired=sum(int(one.paired.sum()) for one in people),
        missed=sum(int(one.missed.sum()) for one in people),
        false=sum(int(one.false.sum()) for one in people),
        false_above=sum(int(one.above(threshold).people.false.sum()) for one in errors),
        ignored=sum(int(one.ignored.sum()) for one in people),
    )


def _keypoints(
    truth: Truth, found: Found, skeleton: Skeleton, errors: tuple[PictureErrors, ...]
) -> tuple[KeypointDiagnosis, ...]:
    parts, counts = parts_of(skeleton), count_keypoints(errors, skeleton.num_keypoints)
    shares = pck.evaluate_pck(truth, found, skeleton).per_keypoint if pck.has_diagonal(skeleton) else {}
    by_part = {part: _part_AP(truth, found, skeleton, np.array([one == part for one in parts])) for part in set(parts)}
    return tuple(
        KeypointDiagnosis(name, part, count, shares.get(name), by_part[part])
        for name, part, count in zip(skeleton.keypoints, parts, counts, strict=True)
    )


def _part_AP(truth: Truth, found: Found, skeleton: Skeleton, counted: np.ndarray) -> float:
    """Return AP with only some keypoints, (K,) bool, labelled."""
    pictures = []
    for picture in truth.pictures:
        keypoints = picture.keypoints * counted[:, None]
        pictures.append(replace(picture, keypoints=keypoints))
    return coco_tables(Truth(skeleton, tuple(pictures)), found, skeleton.oks_sigmas, areas=EVERYBODY).AP()
