"""AP, AR and OKS of kinds of people: by size, crowding, labelled keypoints, hidden keypoints, attitude, border.

Rule: a slice has the true people of one kind and those found who are on one of them (`keypoint_errors.SAME_PERSON`);
who is on nobody belongs to no slice. So a slice's AP leaves false people out, stands beside the "everybody" of the same
rule, and does not depend on how many people the slice has. Differs: COCO's medium and large (APM, APL) count false
people by their own size.

Sources of the kinds: areas of cocoapi; box overlap, labelled keypoints after Ronchi and Perona 2017; levels of
CrowdPose (`crowdpose.level_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from litepose.metrics.crowdpose import LEVELS
from litepose.metrics.given_back import without
from litepose.metrics.keypoint_errors import PictureErrors
from litepose.metrics.matching import EVERYBODY, coco_tables
from litepose.metrics.pairing import boxes_of
from litepose.metrics.truth import PictureTruth, Truth
from litepose.similarity import iou
from litepose.skeleton import Skeleton

ALL = "everybody"
TORSO = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
BORDER_PX = 2.0  # a box that comes so near to the picture's border is cut off by it


@dataclass(frozen=True)
class Slice:
    """The people of one kind: AP, AR as COCO has them, among those found on somebody (-1 = nothing to measure).

    oks: mean over the true people of the OKS of who was found on them, 0 for the missed ones. missed: their share.
    """

    kind: str
    name: str
    num_people: int
    AP: float
    AR: float
    oks: float
    missed: float


# For one picture: which of the names each true person belongs to, by number; -1 = none. (M,) int64.
_Sorter = Callable[[PictureTruth], np.ndarray]


def slices(
    errors: tuple[PictureErrors, ...],
    skeleton: Skeleton,
    *,
    levels: Mapping[int | str, str] | None = None,
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
) -> tuple[Slice, ...]:
    """Return the slices that have people; first everybody's.

    levels: by picture id, "easy", "medium" or "hard", as CrowdPose has them. sizes: by picture id, (w, h) px; without
    them nobody is asked whether the border cuts him off. A kind with one inhabited slice tells nothing and is left out.
    """
    parts = [_slice(errors, skeleton, ALL, ALL, [one.people.truth.scored for one in errors])]
    for kind, names, sorter in _kinds(errors, skeleton, levels, sizes):
        numbers = [np.where(one.people.truth.scored, sorter(one.people.truth), -1) for one in errors]
        masks = [[mine == number for mine in numbers] for number in range(len(names))]
        inhabited = [(name, mask) for name, mask in zip(names, masks, strict=True) if any(m.any() for m in mask)]
        if len(inhabited) > 1:
            parts += [_slice(errors, skeleton, kind, name, mask) for name, mask in inhabited]
    return tuple(parts)


def _slice(
    errors: tuple[PictureErrors, ...], skeleton: Skeleton, kind: str, name: str, masks: Sequence[np.ndarray]
) -> Slice:
    pictures, found, similarity, missed = [], {}, [], 0
    for one, mask in zip(errors, masks, strict=True):
        if not mask.any():
            continue
        people = one.people
        mine = people.paired & np.append(mask, False)[people.partner]
        pictures.append(without(people.truth, ~mask))
        found[one.id] = people.poses[mine]
        similarity.append(people.similarity[mine, people.partner[mine]])
        missed += int((people.missed & mask).sum())
    num_people = sum(int(mask.sum()) for mask in masks)
    if not num_people:
        return Slice(kind, name, 0, -1.0, -1.0, -1.0, -1.0)
    tables = coco_tables(Truth(skeleton, tuple(pictures)), found, skeleton.oks_sigmas, areas=EVERYBODY)  # type: ignore[arg-type]
    mean = float(np.concatenate(similarity).sum()) / num_people
    return Slice(kind, name, num_people, tables.AP(), tables.AR(), mean, missed / num_people)


def _kinds(
    errors: tuple[PictureErrors, ...],
    skeleton: Skeleton,
    levels: Mapping[int | str, str] | None,
    sizes: Mapping[int | str, tuple[int, int]] | None,
) -> Iterator[tuple[str, tuple[str, ...], _Sorter]]:
    """Yield each kind: its title, the names of its slices, and who belongs where."""
    small, large = 32.0, 96.0  # px, square roots of cocoapi's areas
    sides = [np.sqrt(one.people.truth.areas[one.people.truth.scored]) for one in errors]
    names = (f"small (below {small:g} px)", "medium", f"large (from {large:g} px)")
    yield "size (square root of the area)", names, lambda truth: _above(np.sqrt(truth.areas), (small, large))
    quarters = np.quantile(np.concatenate(sides), (0.25, 0.5, 0.75)) if any(map(len, sides)) else np.zeros(3)
    names = (
        f"smallest quarter (below {quarters[0]:.0f} px)", f"second (to {quarters[1]:.0f} px)",
        f"third (to {quarters[2]:.0f} px)", "largest quarter",
    )  # fmt: skip
    yield "size (quarters)", names, lambda truth: _above(np.sqrt(truth.areas), quarters)
    names = ("alone (touches no other box)", "some overlap (IoU up to 0.2)", "much overlap (IoU above 0.2)")
    yield "crowding (greatest IoU with another's box)", names, _crowding
    if levels is not None:
        level_of = levels
        yield "CrowdPose's level of the picture", LEVELS, lambda truth: np.full(
            len(truth.areas), LEVELS.index(level_of[truth.id]) if truth.id in level_of else -1
        )  # fmt: skip
    names = ("1 to 5", "6 to 10", "11 to 15", "16 or more")
    yield "labelled keypoints", names, lambda truth: _above(truth.labelled.sum(axis=1), (6, 11, 16))
    names = ("none hidden", "up to a third", "more than a third")
    yield "hidden keypoints (labelled, not seen)", names, _hidden
    if all(name in skeleton.keypoints for pair in TORSO for name in pair):
        names = ("upright (within 45 degrees)", "leaning or lying", "head down (beyond 135)")
        yield "torso", names, lambda truth: _attitude(truth, skeleton)
    if sizes is not None:
        known = sizes
        names = ("inside the picture", "cut off by its border")
        yield "picture border", names, lambda truth: _cut_off(truth, known.get(truth.id))


def _above(values: np.ndarray, limits: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return how many of the limits each value reaches."""
    return np.searchsorted(np.asarray(limits), values, side="right")


def _crowding(truth: PictureTruth) -> np.ndarray:
    overlap = iou(boxes_of(truth), boxes_of(truth))
    np.fill_diagonal(overlap, 0)
    most = overlap.max(axis=1, initial=0.0)
    return (most > 0).astype(np.int64) + (most > 0.2)


def _hidden(truth: PictureTruth) -> np.ndarray:
    share = (truth.keypoints[..., 2] == 1).sum(axis=1) / np.maximum(truth.labelled.sum(axis=1), 1)
    return (share > 0).astype(np.int64) + (share > 1 / 3)


def _attitude(truth: PictureTruth, skeleton: Skeleton) -> np.ndarray:
    """Return 0, 1, 2 by the angle of the line from shoulders to hips with straight down; -1 where one is unlabelled."""
    shoulders, hips = ([skeleton.index(name) for name in pair] for pair in TORSO)
    known = truth.labelled[:, shoulders + hips].all(axis=1)
    down = truth.keypoints[:, hips, :2].mean(axis=1) - truth.keypoints[:, shoulders, :2].mean(axis=1)  # (M, 2)
    angles = np.degrees(np.abs(np.arctan2(down[:, 0], down[:, 1])))
    return np.where(known, _above(angles, (45, 135)), -1)


def _cut_off(truth: PictureTruth, size: tuple[int, int] | None) -> np.ndarray:
    if size is None:
        return np.full(len(truth.areas), -1)
    boxes = boxes_of(truth)
    inside = (boxes[:, :2] > BORDER_PX).all(axis=1) & (boxes[:, 2:] < np.array(size) - BORDER_PX).all(axis=1)
    return np.where(inside, 0, 1)
