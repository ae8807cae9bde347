"""AP, AR and OKS of each kind of people (`people_kinds`).

Rule: a slice has the true people of one kind and those found who are on one of them (`keypoint_errors.SAME_PERSON`);
who is on nobody belongs to no slice. So a slice's AP leaves false people out, stands beside the "everybody" of the same
rule, and does not depend on how many people the slice has. Differs: COCO's medium and large (APM, APL) count false
people by their own size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from litepose.metrics import people_kinds
from litepose.metrics.given_back import without
from litepose.metrics.keypoint_errors import PictureErrors
from litepose.metrics.matching import EVERYBODY, coco_tables
from litepose.metrics.pairing import boxes_of
from litepose.metrics.people_kinds import Sorting
from litepose.metrics.truth import Truth
from litepose.skeleton import Skeleton

ALL = "everybody"
UNKNOWN = (np.nan, np.nan)  # a picture's size


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


def slices(
    errors: tuple[PictureErrors, ...],
    skeleton: Skeleton,
    *,
    levels: Mapping[int | str, str] | None = None,
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
) -> tuple[Slice, ...]:
    """Return the slices that have people; first everybody's.

    levels: by picture id, "easy", "medium" or "hard", as CrowdPose has them. sizes: by picture id, (w, h) px; without
    them nobody is asked whether the border cuts him off. A sorting that leaves all in one kind tells nothing.
    """
    scored = np.concatenate([np.zeros(0, dtype=bool), *(one.people.truth.scored for one in errors)])
    parts = [_slice(errors, skeleton, ALL, ALL, scored)]
    for sorting in _sortings(errors, skeleton, levels or {}, sizes or {}):
        for name, mask in sorting.inhabited():
            everybody = np.zeros_like(scored)
            everybody[scored] = mask
            parts.append(_slice(errors, skeleton, sorting.title, name, everybody))
    return tuple(parts)


def _sortings(
    errors: tuple[PictureErrors, ...],
    skeleton: Skeleton,
    levels: Mapping[int | str, str],
    sizes: Mapping[int | str, tuple[int, int]],
) -> Iterator[Sorting]:
    """Yield each sorting of those who count, pictures one after the other."""
    truths = [one.people.truth for one in errors]
    if not any(truth.scored.any() for truth in truths):
        return
    keypoints = np.concatenate([truth.keypoints[truth.scored] for truth in truths])
    areas = np.concatenate([truth.areas[truth.scored] for truth in truths])
    boxes = np.concatenate([boxes_of(truth)[truth.scored] for truth in truths])
    ids = [truth.id for truth in truths for _ in range(int(truth.scored.sum()))]
    yield people_kinds.by_coco_size(areas)
    yield people_kinds.by_quarters(np.sqrt(areas), "size in quarters (square root of the area)")
    crowding = people_kinds.by_overlap([boxes_of(truth) for truth in truths])  # with those who do not count, too
    yield Sorting(crowding.title, crowding.names, crowding.kinds[np.concatenate([one.scored for one in truths])])
    yield people_kinds.by_level([levels.get(key) for key in ids])
    yield people_kinds.by_labelled(keypoints[..., 2] > 0)
    yield people_kinds.by_hidden(keypoints[..., 2])
    yield people_kinds.by_attitude(keypoints[..., :2], keypoints[..., 2] > 0, skeleton)
    yield people_kinds.by_border(boxes, np.array([sizes.get(key, UNKNOWN) for key in ids], dtype=np.float64))


def _slice(errors: tuple[PictureErrors, ...], skeleton: Skeleton, kind: str, name: str, chosen: np.ndarray) -> Slice:
    """Return one slice. chosen: who is of it, (all true people,) bool, pictures one after the other."""
    num_people = int(chosen.sum())
    if not num_people:
        return Slice(kind, name, 0, -1.0, -1.0, -1.0, -1.0)
    pictures, found, held, missed, start = [], {}, 0.0, 0, 0
    for one in errors:
        people = one.people
        mask = chosen[start : start + len(people.truth.areas)]
        start += len(mask)
        if mask.any():
            mine = people.paired & np.append(mask, False)[people.partner]
            pictures.append(without(people.truth, ~mask))
            found[one.id] = people.poses[mine]
            held += float(people.similarity[mine, people.partner[mine]].sum())
            missed += int((people.missed & mask).sum())
    tables = coco_tables(Truth(skeleton, tuple(pictures)), found, skeleton.oks_sigmas, areas=EVERYBODY)  # type: ignore[arg-type]
    return Slice(kind, name, num_people, tables.AP(), tables.AR(), held / num_people, missed / num_people)
