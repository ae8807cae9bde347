"""The pictures in which most went wrong, and of what kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from litepose.metrics.keypoint_errors import INVERSION, SWAP, PictureErrors

EACH = 3  # pictures of a cause


@dataclass(frozen=True)
class WorstPicture:
    """One of the worst: why it is here, its rank's value, and the counts of what is wrong in it.

    lost: summed over the true people 1 - OKS of who was found on them, plus 1 for each of the false people (of score
    from the best threshold on).
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


# Each cause and what its pictures are ranked by, greatest first.
CAUSES: dict[str, Callable[[PictureErrors, float], float]] = {
    "most OKS lost": lambda errors, threshold: lost(errors, threshold),
    "most people missed": lambda errors, _: float(errors.people.missed.sum()),
    "most false people": lambda errors, threshold: float(surely_false(errors, threshold).sum()),
    "most left-right inversions": lambda errors, _: most_of(errors, INVERSION),
    "most keypoints of somebody else": lambda errors, _: most_of(errors, SWAP),
}


def worst_pictures(
    errors: tuple[PictureErrors, ...], *, threshold: float, each: int = EACH
) -> tuple[WorstPicture, ...]:
    """Return up to `each` pictures of each cause, in the order of CAUSES, none twice."""
    chosen: dict[int | str, WorstPicture] = {}
    for cause, value_of in CAUSES.items():
        values = np.array([value_of(one, threshold) for one in errors])
        order = [n for n in np.argsort(-values, kind="stable").tolist() if values[n] > 0 and errors[n].id not in chosen]
        for n in order[:each]:
            chosen[errors[n].id] = _described(errors[n], cause, float(values[n]), threshold)
    return tuple(chosen.values())


def lost(errors: PictureErrors, threshold: float) -> float:
    """Return the OKS lost in a picture, see `WorstPicture`."""
    people = errors.people
    held = people.similarity[people.paired, people.partner[people.paired]].sum()
    return float(people.truth.scored.sum() - held + surely_false(errors, threshold).sum())


def surely_false(errors: PictureErrors, threshold: float) -> np.ndarray:
    """Return who is on nobody and yet reaches the threshold: (N,) bool."""
    return errors.people.false & (errors.people.poses.scores >= threshold)


def most_of(errors: PictureErrors, kind: int) -> float:
    """Return the greatest number of keypoints of one kind that anybody found has."""
    return float((errors.kinds == kind).sum(axis=1).max(initial=0))


def _described(errors: PictureErrors, cause: str, value: float, threshold: float) -> WorstPicture:
    return WorstPicture(
        id=errors.id,
        cause=cause,
        value=value,
        lost=lost(errors, threshold),
        num_people=int(errors.people.truth.scored.sum()),
        num_missed=int(errors.people.missed.sum()),
        num_false=int(surely_false(errors, threshold).sum()),
        num_inverted=int((errors.kinds == INVERSION).sum()),
        num_swapped=int((errors.kinds == SWAP).sum()),
    )
