"""What is odd in one person's labels: box, limbs, places. Each check gives, for every person, how bad it is.

A check is arrays in, `Odd` out: rows of people, how bad each is (larger is worse, only comparable within the check),
which keypoints are concerned, and a sentence. Limb lengths are compared with those of COCO 2017 train (median over the
people whose limbs are all labelled, in units of the side of the torso); a limb may be foreshortened to nothing, so odd
are only lengths beyond what the other limbs allow, and pairs that are less alike than all but 0.1 % of COCO's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from litepose.datasets.labels import Labels
from litepose.geometry import boxes_of_keypoints
from litepose.similarity import box_areas

OUTSIDE_BOX = 0.1  # of the box's longer side, beyond which a seen keypoint outside it is odd
HIDDEN_OUTSIDE_BOX = 0.5  # the same of a hidden one: boxes are drawn around what is seen
OUTSIDE_PX = 2.0  # nothing is outside by less: boxes and sizes are rounded
SMALL_SHARE = 0.5  # of a box, filled in neither direction by the keypoints of a person labelled from head to foot
AREA_SLACK = 1.02
LONG = 2.0  # times what the person's other limbs let expect
OTHER_LIMBS = 3  # at least, to expect anything
SMALLEST_LIMB_PX = 20.0
SAME_PLACE_PX = 0.5
SAME_PLACE_PERSON_PX = 40.0  # smaller people's keypoints do share pixels

# Kind of limb -> its ends, length in torso sides, and how many times longer one may be than its twin.
LIMBS = {
    "upper arm": ("shoulder", "elbow", 0.53, 6.0),
    "forearm": ("elbow", "wrist", 0.44, 10.0),
    "side": ("shoulder", "hip", 1.00, 2.2),
    "thigh": ("hip", "knee", 0.75, 7.0),
    "shin": ("knee", "ankle", 0.78, 5.5),
}
WIDTHS = {"shoulders": ("shoulder", 0.60), "hips": ("hip", 0.40)}


@dataclass(frozen=True)
class Odd:
    """One person in whom a check found something. keypoints: names of those concerned."""

    kind: str
    person: int
    badness: float
    keypoints: tuple[str, ...]
    text: str


def odd_shapes(labels: Labels, sizes: np.ndarray) -> Iterator[Odd]:
    """Yield all that the checks here find. sizes: (N, 2) w, h of each person's picture, NaN where unknown."""
    yield from _broken(labels)
    yield from _boxes_off(labels, sizes)
    yield from _keypoints_off(labels, sizes)
    yield from _counts_and_areas(labels)
    yield from _same_places(labels)
    yield from _limbs(labels)


def _broken(labels: Labels) -> Iterator[Odd]:
    for n in np.flatnonzero(labels.broken):
        yield Odd("keypoints unusable", int(n), 1.0, (), "The keypoints are not the finite numbers they should be.")
    for n in np.flatnonzero(labels.pictures < 0):
        yield Odd("no listed picture", int(n), 1.0, (), "The annotation belongs to no listed picture.")


def _boxes_off(labels: Labels, sizes: np.ndarray) -> Iterator[Odd]:
    boxes = labels.boxes
    extent = boxes[:, 2:] - boxes[:, :2]
    for n in np.flatnonzero((extent <= 0).any(axis=1)):
        yield Odd("box empty", int(n), 1.0, (), f"The box is {extent[n, 0]:g} x {extent[n, 1]:g} px.")
    beyond = np.maximum(-boxes[:, :2], boxes[:, 2:] - sizes).max(axis=1)
    for n in np.flatnonzero(beyond > OUTSIDE_PX):
        yield Odd(
            "box outside the picture",
            int(n),
            float(beyond[n] / max(extent[n].max(), 1)),
            (),
            f"The box reaches {beyond[n]:.0f} px beyond the picture of {sizes[n, 0]:.0f} x {sizes[n, 1]:.0f}.",
        )
    tight = boxes_of_keypoints(labels.keypoints[..., :2], labels.labelled)
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = ((tight[:, 2:] - tight[:, :2]) / extent).max(axis=1)
    for n in np.flatnonzero(_head_to_foot(labels) & (filled < SMALL_SHARE) & (extent > 0).all(axis=1)):
        text = f"Keypoints from head to foot fill {100 * filled[n]:.0f} % of the box's width or height."
        yield Odd("box much larger than the keypoints", int(n), float(1 / max(filled[n], 1e-3)), (), text)


def _head_to_foot(labels: Labels) -> np.ndarray:
    def any_of(*parts: str) -> np.ndarray:
        columns = [k for k, name in enumerate(labels.skeleton.keypoints) if name.endswith(parts)]
        return np.any(labels.labelled[:, columns], axis=1)

    return any_of("shoulder", "neck") & any_of("hip") & any_of("ankle") & any_of("nose", "eye", "ear", "head_top")


def _keypoints_off(labels: Labels, sizes: np.ndarray) -> Iterator[Odd]:
    places = labels.keypoints[..., :2]
    boxes = labels.boxes[:, None]
    longer = np.maximum((labels.boxes[:, 2:] - labels.boxes[:, :2]).max(axis=1), 1)
    away = np.maximum(boxes[..., :2] - places, places - boxes[..., 2:]).max(axis=2) * labels.labelled  # (N, K)
    share = np.where(labels.keypoints[..., 2] == 1, HIDDEN_OUTSIDE_BOX, OUTSIDE_BOX)
    off = (away > OUTSIDE_PX) & (away > share * longer[:, None])
    for n in np.flatnonzero(off.any(axis=1)):
        farthest = away[n][off[n]].max()
        text = f"{_and(labels, off[n])} up to {farthest:.0f} px outside of a box of {longer[n]:.0f} px."
        yield Odd("keypoints outside their box", int(n), float(farthest / longer[n]), _names(labels, off[n]), text)
    beyond = np.maximum(-places, places - sizes[:, None]).max(axis=2) * labels.labelled
    off = beyond > OUTSIDE_PX
    for n in np.flatnonzero(off.any(axis=1)):
        text = f"{_and(labels, off[n])} up to {beyond[n].max():.0f} px outside of the picture."
        yield Odd("keypoints outside the picture", int(n), float(beyond[n].max()), _names(labels, off[n]), text)


def _counts_and_areas(labels: Labels) -> Iterator[Odd]:
    counted = labels.labelled.sum(axis=1)
    # CrowdPose's numbers leave out the last two keypoints.
    limbs_only = [k for k, name in enumerate(labels.skeleton.keypoints) if name not in ("head_top", "neck")]
    differs = (labels.counts != counted) & (labels.counts != labels.labelled[:, limbs_only].sum(axis=1))
    for n in np.flatnonzero((labels.counts >= 0) & differs & ~labels.broken):
        text = f"num_keypoints says {labels.counts[n]}, {counted[n]} are labelled."
        yield Odd("num_keypoints differs", int(n), float(abs(labels.counts[n] - counted[n])), (), text)
    boxes = box_areas(labels.boxes)
    for n in np.flatnonzero((labels.areas > AREA_SLACK * boxes) & (boxes > 0)):
        text = f"The area of {labels.areas[n]:.0f} px\u00b2 is larger than that of the box, {boxes[n]:.0f}."
        yield Odd("area larger than the box", int(n), float(labels.areas[n] / boxes[n]), (), text)


def _same_places(labels: Labels) -> Iterator[Odd]:
    """Two keypoints at one place; those of a face may be there when it is seen from the side."""
    tight = boxes_of_keypoints(labels.keypoints[..., :2], labels.labelled)
    large = (tight[:, 2:] - tight[:, :2]).max(axis=1)
    face = [k for k, name in enumerate(labels.skeleton.keypoints) if name.endswith(("nose", "eye", "ear"))]
    found: dict[int, set[int]] = {}  # person -> keypoints
    for a in range(labels.skeleton.num_keypoints):
        for b in range(a):
            if a in face and b in face:
                continue
            apart = np.abs(labels.keypoints[:, a, :2] - labels.keypoints[:, b, :2]).max(axis=1)
            both = labels.labelled[:, a] & labels.labelled[:, b] & (large > SAME_PLACE_PERSON_PX)
            for n in np.flatnonzero(both & (apart < SAME_PLACE_PX)):
                found.setdefault(int(n), set()).update((a, b))
    for person, places in sorted(found.items()):
        which = np.isin(np.arange(labels.skeleton.num_keypoints), list(places))
        text = f"{_and(labels, which)} at the same place."
        yield Odd("keypoints at one place", person, float(len(places)), _names(labels, which), text)


def _limbs(labels: Labels) -> Iterator[Odd]:
    limbs, lengths, usual = _limb_lengths(labels)
    if len(limbs) <= OTHER_LIMBS:
        return
    expected = _expected(lengths / usual)  # (N, limbs): by a person's other limbs, in torso sides
    times = np.where(lengths >= SMALLEST_LIMB_PX, lengths / (expected * usual), np.nan)
    times = np.where(np.isfinite(times), times, 0)
    for n in np.flatnonzero((times > LONG).any(axis=1)):
        name, ends = limbs[int(times[n].argmax())]
        text = f"The {name} is {times[n].max():.1f} times as long as the other limbs let expect."
        yield Odd("limb too long", int(n), float(times[n].max()), ends, text)
    columns = {name: c for c, (name, _) in enumerate(limbs)}
    for limb, (_, _, _, most) in LIMBS.items():
        if f"left {limb}" not in columns or f"right {limb}" not in columns:
            continue
        left, right = lengths[:, columns[f"left {limb}"]], lengths[:, columns[f"right {limb}"]]
        ratio = np.maximum(left, right) / np.maximum(np.minimum(left, right), 1)
        for n in np.flatnonzero((ratio > most) & (np.maximum(left, right) >= SMALLEST_LIMB_PX)):
            ends = limbs[columns[f"left {limb}"]][1] + limbs[columns[f"right {limb}"]][1]
            text = f"One {limb} of {left[n]:.0f} px on the left, one of {right[n]:.0f} px on the right."
            yield Odd("left and right limb differ", int(n), float(ratio[n] / most), ends, text)


def _limb_lengths(labels: Labels) -> tuple[list[tuple[str, tuple[str, ...]]], np.ndarray, np.ndarray]:
    """Return the limbs (name, ends), their lengths (N, limbs) px, NaN where not labelled, and their usual lengths."""
    wanted = [
        (f"{side} {limb}", (f"{side}_{a}", f"{side}_{b}"), share)
        for limb, (a, b, share, _) in LIMBS.items()
        for side in ("left", "right")
    ]
    wanted += [
        (f"line of the {name}", (f"left_{pair}", f"right_{pair}"), share) for name, (pair, share) in WIDTHS.items()
    ]
    wanted = [one for one in wanted if set(one[1]) <= set(labels.skeleton.keypoints)]
    ends = np.array([[labels.skeleton.index(end) for end in pair] for _, pair, _ in wanted]).reshape(-1, 2)
    away = labels.keypoints[:, ends[:, 0], :2] - labels.keypoints[:, ends[:, 1], :2]
    there = labels.labelled[:, ends[:, 0]] & labels.labelled[:, ends[:, 1]]
    lengths = np.where(there, np.hypot(away[..., 0], away[..., 1]), np.nan)
    return [(name, pair) for name, pair, _ in wanted], lengths, np.array([share for _, _, share in wanted])


def _expected(relative: np.ndarray) -> np.ndarray:
    """Return the upper quartile of each person's other limbs: (N, limbs), NaN where there are too few."""
    expected = np.full(relative.shape, np.nan)
    labelled = np.isfinite(relative).sum(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # people without limbs
        for limb in range(relative.shape[1]):
            enough = labelled - np.isfinite(relative[:, limb]) >= OTHER_LIMBS
            expected[enough, limb] = _upper_quartile(np.delete(relative[enough], limb, axis=1))
    return np.maximum(expected, 1e-6)


def _upper_quartile(values: np.ndarray) -> np.ndarray:
    """Return the upper quartile of each row's finite values: np.nanpercentile, which goes row by row, is too slow."""
    ordered = np.sort(values, axis=1)  # NaN last
    place = 0.75 * (np.isfinite(ordered).sum(axis=1) - 1)
    rows, low = np.arange(len(ordered)), np.floor(place).astype(int)
    high = np.minimum(low + 1, ordered.shape[1] - 1)
    share = place - low
    above = np.where(share > 0, ordered[rows, high], ordered[rows, low])
    return (1 - share) * ordered[rows, low] + share * above


def _names(labels: Labels, which: np.ndarray) -> tuple[str, ...]:
    return tuple(labels.skeleton.keypoints[k] for k in np.flatnonzero(which))


def _and(labels: Labels, which: np.ndarray) -> str:
    """Return "Left wrist lies", "Left wrist and nose lie" or "5 keypoints lie"."""
    names = [name.replace("_", " ") for name in _names(labels, which)]
    if len(names) > 3:
        return f"{len(names)} keypoints lie"
    listed = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
    return listed.capitalize() + (" lies" if len(names) == 1 else " lie")
