"""How well people keep their ids: MOTA with its id switches, and IDF1.

Sources: CLEAR MOT (Bernardin and Stiefelhagen, EURASIP JIVP 2008): in every frame who was matched before stays matched
while that is possible, the rest at the greatest likeness; MOTA = 1 - (missed + false + switches) / true. IDF1 (Ristani
et al., ECCV workshops 2016): one found id for each true one over the whole video, so that they agree in as many frames
as possible. Likeness is OKS; 0.5 makes a match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.codecs.grouping import assign
from litepose.poses import Poses
from litepose.similarity import oks

REFUSED = 1e3


@dataclass(frozen=True)
class TrackStats:
    """true: people in all frames together; missed, false, switches: of them; ids: given by the tracker."""

    true: int
    missed: int
    false: int
    switches: int
    ids: int
    idf1: float

    @property
    def mota(self) -> float:
        return 1 - (self.missed + self.false + self.switches) / max(self.true, 1)


def track_stats(truth: Sequence[Poses], found: Sequence[Poses], *, least: float = 0.5) -> TrackStats:
    """Compare tracked people with true ones, frame by frame; both have track_ids, people below id 0 do not count."""
    likeness = [_likeness(true, people) for true, people in zip(truth, found, strict=True)]
    missed, false, switches = _clear(likeness, least)
    ids = {key for _, columns, _ in likeness for key in columns}
    return TrackStats(
        sum(len(rows) for rows, _, _ in likeness), missed, false, switches, len(ids), _idf1(likeness, least)
    )


# One frame: true ids, found ids, and the likeness of each to each.
_Frame = tuple[list[int], list[int], np.ndarray]


def _likeness(truth: Poses, found: Poses) -> _Frame:
    assert truth.track_ids is not None and found.track_ids is not None
    found = found[found.track_ids >= 0]
    assert found.track_ids is not None
    boxes = truth.keypoint_boxes
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
    alike = oks(
        found.keypoints, truth.keypoints, areas=areas, sigmas=truth.skeleton.oks_sigmas, counted=truth.found
    )  # (found, true)
    return truth.track_ids.tolist(), found.track_ids.tolist(), alike.T


def _clear(frames: Sequence[_Frame], least: float) -> tuple[int, int, int]:
    """Return how many true people were missed, how many found are false, and the id switches."""
    last: dict[int, int] = {}  # true id -> the found id it had
    missed = false = switches = 0
    for rows, columns, alike in frames:
        pairs: list[tuple[int, int]] = []
        for row, one in enumerate(rows):  # an id given to two people in turn stays with the first of them
            column = columns.index(last[one]) if last.get(one) in columns else -1
            if column >= 0 and alike[row, column] >= least and column not in {used for _, used in pairs}:
                pairs.append((row, column))
        taken, used = {row for row, _ in pairs}, {column for _, column in pairs}
        free = [row for row in range(len(rows)) if row not in taken]
        open_columns = [column for column in range(len(columns)) if column not in used]
        new = [(free[a], open_columns[b]) for a, b in _best_pairs(alike[np.ix_(free, open_columns)], least)]
        for row, column in new:
            switches += rows[row] in last and last[rows[row]] != columns[column]
        last |= {rows[row]: columns[column] for row, column in (*pairs, *new)}
        missed += len(rows) - len(pairs) - len(new)
        false += len(columns) - len(pairs) - len(new)
    return missed, false, switches


def _best_pairs(alike: np.ndarray, least: float) -> list[tuple[int, int]]:
    if not alike.size:
        return []
    turned = alike.shape[0] > alike.shape[1]
    costs = np.where(alike >= least, 1 - alike, REFUSED)
    chosen = enumerate(assign(costs.T if turned else costs))
    pairs = [(column, row) if turned else (row, column) for row, column in chosen]
    return [(row, column) for row, column in pairs if alike[row, column] >= least]


def _idf1(frames: Sequence[_Frame], least: float) -> float:
    """Return 2 * agreeing / (true + found) of the assignment of ids that agrees most often."""
    true_ids = sorted({one for rows, _, _ in frames for one in rows})
    found_ids = sorted({one for _, columns, _ in frames for one in columns})
    total = sum(len(rows) + len(columns) for rows, columns, _ in frames)
    if not true_ids or not found_ids:
        return 0.0
    agree = np.zeros((len(true_ids), len(found_ids)))
    for rows, columns, alike in frames:
        for a, b in zip(*np.nonzero(alike >= least), strict=True):
            agree[true_ids.index(rows[a]), found_ids.index(columns[b])] += 1
    turned = agree.shape[0] > agree.shape[1]
    table = agree.T if turned else agree
    return float(2 * table[np.arange(len(table)), assign(-table)].sum() / total)
