"""The pictures in which most went wrong, and of what kind, seen as a user sees them: people found with a good score.

A good score reaches the threshold that the caller gives (`curves.best_threshold`). Who was found with a lower one only
counts as missed here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from litepose.metrics.keypoint_errors import INVERSION, MISS, SWAP, PictureErrors

EACH = 3  # pictures of a cause


@dataclass(frozen=True)
class WorstPicture:
    """One of the worst: why it is here, what it is ranked by, and the counts of what is wrong in it.

    lost: summed over the true people 1 - OKS of who was found on them, plus 1 for each of the false people.
    num_inverted, num_swapped, num_far: keypoints that are an inversion, a swap, a miss.
    """

    id: int | str
    cause: str
    value: float
    lost: float
    num_people: int
    num_missed: int
    num_false: int
    num_inverted: int
    num_swapped: int
    num_far: int


def worst_pictures(
    errors: tuple[PictureErrors, ...], *, threshold: float, each: int = EACH
) -> tuple[WorstPicture, ...]:
    """Return up to `each` pictures of each cause, in the order of CAUSES, none twice."""
    seen = [one.above(threshold) for one in errors]
    chosen: dict[int | str, WorstPicture] = {}
    for cause, value_of in CAUSES.items():
        values = np.array([value_of(one) for one in seen])
        order = [n for n in np.argsort(-values, kind="stable").tolist() if values[n] > 0 and seen[n].id not in chosen]
        for n in order[:each]:
            chosen[seen[n].id] = _described(seen[n], cause, float(values[n]))
    return tuple(chosen.values())


def lost(seen: PictureErrors) -> float:
    """Return the OKS lost in a picture, see `WorstPicture`."""
    people = seen.people
    held = people.similarity[people.paired, people.partner[people.paired]].sum()
    return float(people.truth.scored.sum() - held + people.false.sum())


def most_of(seen: PictureErrors, kind: int) -> float:
    """Return the greatest number of keypoints of one kind that anybody found has."""
    return float((seen.kinds == kind).sum(axis=1).max(initial=0))


# Each cause and what its pictures are ranked by, greatest first.
CAUSES: dict[str, Callable[[PictureErrors], float]] = {
    "most OKS lost": lost,
    "most people missed": lambda seen: float(seen.people.missed.sum()),
    "most false people": lambda seen: float(seen.people.false.sum()),
    "most left-right inversions": lambda seen: most_of(seen, INVERSION),
    "most keypoints of somebody else": lambda seen: most_of(seen, SWAP),
}


def _described(seen: PictureErrors, cause: str, value: float) -> WorstPicture:
    return WorstPicture(
        id=seen.id,
        cause=cause,
        value=value,
        lost=lost(seen),
        num_people=int(seen.people.truth.scored.sum()),
        num_missed=int(seen.people.missed.sum()),
        num_false=int(seen.people.false.sum()),
        num_inverted=int((seen.kinds == INVERSION).sum()),
        num_swapped=int((seen.kinds == SWAP).sum()),
        num_far=int((seen.kinds == MISS).sum()),
    )
