"""People from peaks and limbs: how well two peaks are connected, who is connected with whom, who they are together.

Source: modules/keypoints.py of Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284, whose entries
`assemble` reproduces. `assemble_merging` joins the parts of one person that a missing limb leaves apart, which the
reference does not (Cao et al. 2017 do), and gives no keypoint to two people.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.codecs.paf_limbs import Limbs
from litepose.codecs.paf_maps import Fields, Peaks

EPSILON = 1e-6  # the reference's, in lengths and counts


@dataclass(frozen=True)
class Connection:
    """A limb between two peaks. a, b: their numbers among all peaks."""

    a: int
    b: int
    score: float


def connect(
    peaks: Peaks, limbs: Limbs, num_keypoints: int, fields: Fields, *, samples: int, above: float, share: float
) -> list[list[Connection]]:
    """Return for each limb, in the order of decoding, which peaks it connects, best first, each peak once.

    samples: places looked at on the way from peak to peak, both included. above: a sample counts where the field along
    the limb is above this. share: more than this share of the samples must count.
    """
    starts = peaks.starts(num_keypoints)
    limb, a, b = _pairs(limbs, starts)
    if not len(limb):
        return [[] for _ in limbs.order]
    xy = peaks.xy.astype(np.float32)
    vectors = xy[b] - xy[a]
    directions = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + np.float32(EPSILON))
    steps = np.float32(1 / (samples - 1)) * vectors

    def along(pairs: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return the fields along the limbs of some pairs at some of their samples: (pairs, numbers)."""
        places = steps[pairs, None] * numbers.astype(np.float32)[None, :, None] + xy[a[pairs]][:, None]
        values: np.ndarray = (fields(limb[pairs], places) * directions[pairs, None]).sum(axis=2)
        return values

    # Three samples tell of most pairs that too many will fail.
    may_fail = sum((samples - failed) / samples > share for failed in range(1, samples + 1))
    probe = along(np.arange(len(limb)), np.unique([samples // 4, samples // 2, 3 * samples // 4]))
    likely = np.flatnonzero((probe <= above).sum(axis=1) <= may_fail)
    values = along(likely, np.arange(samples))
    counts = values > above
    number = counts.sum(axis=1)
    scores = (values * counts).sum(axis=1) / (number + EPSILON)
    good = (scores > 0) & (number / samples > share)
    limb, a, b, scores = limb[likely][good], a[likely][good], b[likely][good], scores[good]
    return [_best(a[limb == one], b[limb == one], scores[limb == one]) for one in limbs.order]


def _pairs(limbs: Limbs, starts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return every limb with every pair of peaks that it may connect: three times (M,) int64."""
    columns = [np.zeros((3, 0), dtype=np.int64)]
    for number, (first, second) in enumerate(limbs.ends):
        a, b = (np.arange(starts[keypoint], starts[keypoint + 1]) for keypoint in (first, second))
        pairs = np.tile(a, len(b)), np.repeat(b, len(a))  # the second end outside, as the reference lists them
        columns.append(np.stack([np.full(len(pairs[0]), number), *pairs]))
    limb, a, b = np.concatenate(columns, axis=1)
    return limb, a, b


def _best(a: np.ndarray, b: np.ndarray, scores: np.ndarray) -> list[Connection]:
    """Return connections by descending score, each end used once."""
    chosen: list[Connection] = []
    used_a: set[int] = set()
    used_b: set[int] = set()
    for i in np.argsort(scores)[::-1].tolist():  # which of equals comes first is numpy's choice there too
        first, second = int(a[i]), int(b[i])
        if first not in used_a and second not in used_b:
            used_a.add(first)
            used_b.add(second)
            chosen.append(Connection(first, second, float(scores[i])))
    return chosen


def assemble(connections: list[list[Connection]], heats: np.ndarray, limbs: Limbs, num_keypoints: int) -> np.ndarray:
    """Return the reference's entries: (N, K + 2) float64: a peak's number for each keypoint or -1, score, count.

    connections: as `connect` gives them. heats: (M,) of the peaks.
    A limb's end is written into every entry that holds its start, over what was there; nobody is merged.
    """
    entries = np.full((1 + sum(map(len, connections)), num_keypoints + 2), -1.0)
    used = 0
    for limb, found in zip(limbs.order, connections, strict=True):
        first, second = limbs.ends[limb]
        for one in found:
            present = entries[:used]
            holders = np.flatnonzero(present[:, first] == one.a)
            if limb in limbs.closing:
                _fill(present, first, second, one)
            elif len(holders):
                present[holders, second] = one.b
                present[holders, -1] += 1
                present[holders, -2] += heats[one.b] + one.score
            else:
                entries[used, [first, second]] = one.a, one.b
                entries[used, -2:] = float(heats[one.a]) + float(heats[one.b]) + one.score, 2
                used += 1
    return entries[:used]


def _fill(entries: np.ndarray, first: int, second: int, one: Connection) -> None:
    """Write the missing end of a limb that closes a ring into each entry that holds the other."""
    with_a, with_b = entries[:, first] == one.a, entries[:, second] == one.b
    lacks_a, lacks_b = entries[:, first] == -1, entries[:, second] == -1
    entries[with_a & lacks_b, second] = one.b
    entries[with_b & lacks_a, first] = one.a


def assemble_merging(
    connections: list[list[Connection]], heats: np.ndarray, limbs: Limbs, num_keypoints: int
) -> np.ndarray:
    """Return entries as `assemble`, but a peak belongs to one person, and parts that a limb connects are one.

    Parts that hold a keypoint of the same kind stay two people. A person's score is the sum of all heats and limbs,
    the count that of the keypoints.
    """
    owner: dict[int, int] = {}  # peak -> part
    parts: dict[int, dict[int, int]] = {}  # part -> keypoint -> peak
    scores: dict[int, float] = {}
    for limb, found in zip(limbs.order, connections, strict=True):
        first, second = limbs.ends[limb]
        for one in found:
            part_a, part_b = owner.get(one.a), owner.get(one.b)
            if part_a is None and part_b is None:
                if limb in limbs.closing:
                    continue
                part_a = owner[one.a] = len(owner)
                parts[part_a], scores[part_a] = {first: one.a}, float(heats[one.a])
            joined = _join(owner, parts, scores, (part_a, first, one.a), (part_b, second, one.b), heats)
            if joined is not None:
                scores[joined] += one.score
    entries = np.full((len(parts), num_keypoints + 2), -1.0)
    for row, part in enumerate(parts):
        entries[row, list(parts[part])] = list(parts[part].values())
        entries[row, -2:] = scores[part], len(parts[part])
    return entries


def _join(
    owner: dict[int, int],
    parts: dict[int, dict[int, int]],
    scores: dict[int, float],
    a: tuple[int | None, int, int],
    b: tuple[int | None, int, int],
    heats: np.ndarray,
) -> int | None:
    """Bring two ends of a limb (part or None, keypoint, peak) into one part and return it; None where they differ."""
    if a[0] is None:
        a, b = b, a
    part, other = a[0], b[0]
    assert part is not None
    if other is None:
        if b[1] in parts[part]:
            return None
        owner[b[2]] = part
        parts[part][b[1]] = b[2]
        scores[part] += float(heats[b[2]])
        return part
    if part == other:
        return part
    if parts[part].keys() & parts[other].keys():
        return None
    parts[part] |= parts[other]
    scores[part] += scores.pop(other)
    owner.update(dict.fromkeys(parts.pop(other).values(), part))
    return part
