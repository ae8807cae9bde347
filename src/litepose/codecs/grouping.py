"""Which candidate keypoints make a person: greedy over keypoints, optimal assignment by tag within each.

Source: the behaviour of HigherHRNet's HeatmapParser as mit-han-lab/litepose@00b702d uses it, its peculiarities
included: people are known by the first component of the tag that founded them, so equal tags are one person.
The assignment is the Hungarian method in munkres 1.1.4's order of scanning (Munkres 1957). The order matters: within a
row the heat is constant, so all people at the same rounded distance cost the same, and the first zero found decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

NO_PERSON_COST = 1e10  # of founding a new person, where there are more candidates than people
MAX_HEAT_DIFFERENCE = 50.0  # half of what one unit of rounded tag distance costs

# COCO's keypoints from the head down the trunk to the limbs; other skeletons use the same indices.
COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


@dataclass(frozen=True)
class Candidates:
    """The candidates for all keypoints, by keypoint, best first.

    keypoints: (M,) int64, ascending. cells: (M, 2) int64 x, y. scores: (M,) float32. tags: (M, T) float32.
    """

    keypoints: np.ndarray
    cells: np.ndarray
    scores: np.ndarray
    tags: np.ndarray


class _Person:
    """A person in the making: rows of x, y, score, tags by keypoint, and the tags whose mean attracts candidates.

    A tag is a float32 number, or a (T,) array where there are more than one.
    """

    __slots__ = ("mean_tag", "rows", "tag_sum", "tags")

    def __init__(self) -> None:
        self.rows: dict[int, list[float]] = {}
        self.tags: list[np.ndarray] = []
        self.tag_sum: np.ndarray
        self.mean_tag: np.ndarray

    def put(self, keypoint: int, row: list[float], tag: np.ndarray) -> None:
        self.rows[keypoint] = row
        self.tags.append(tag)
        # The reference takes np.mean of all tags anew in float32, where the order of adding shows. numpy adds (n, T)
        # row by row, but a single column in eight lanes: the running sum is numpy's, except at every 8th tag.
        if len(self.tags) == 1:
            self.tag_sum = tag
        elif len(self.tags) % 8 == 0 and not tag.ndim:
            self.tag_sum = np.add.reduce(np.array(self.tags))
        else:
            self.tag_sum = self.tag_sum + tag
        self.mean_tag = self.tag_sum / np.float32(len(self.tags))

    def found(self, keypoint: int, row: list[float], tag: np.ndarray) -> None:
        """Start from this tag alone; keypoints of an earlier founding with an equal tag stay."""
        self.tags.clear()
        self.put(keypoint, row, tag)


def keypoint_order(num_keypoints: int) -> tuple[int, ...]:
    """Return the order in which keypoints are grouped: COCO's, cut or continued to `num_keypoints`."""
    known = tuple(keypoint for keypoint in COCO_ORDER if keypoint < num_keypoints)
    return known + tuple(range(len(COCO_ORDER), num_keypoints))


def group(
    candidates: Candidates,
    num_keypoints: int,
    *,
    order: Iterable[int],
    max_people: int,
    tag_threshold: float,
    use_detection_val: bool,
    ignore_too_much: bool,
) -> np.ndarray:
    """Return the people in the order of their founding: (N, K, 3 + T) float32 x, y, score, tags; zeros = missing.

    order: the keypoints in the order of grouping.
    """
    people: dict[float, _Person] = {}  # by the first tag component of the founder
    num_tags = candidates.tags.shape[1]
    all_tags = candidates.tags if num_tags > 1 else candidates.tags[:, 0]
    all_rows = np.concatenate([candidates.cells, candidates.scores[:, None], candidates.tags], axis=1).tolist()
    starts = np.searchsorted(candidates.keypoints, np.arange(num_keypoints + 1)).tolist()
    for keypoint in order:
        start, end = starts[keypoint], starts[keypoint + 1]
        asked = list(itertools.islice(people.values(), max_people))
        if start == end or (ignore_too_much and len(asked) == max_people):
            continue
        rows, tags = all_rows[start:end], all_tags[start:end]
        if asked:
            distances = _tag_distances(tags, asked)
            scores = candidates.scores[start:end, None]
            columns = _obvious(distances, scores, tag_threshold) if use_detection_val else None
            if columns is None:
                costs = np.rint(distances) * 100 - scores if use_detection_val else distances
                columns = _accepted(distances, costs, tag_threshold)
        else:
            columns = [-1] * len(rows)
        for row, tag, column in zip(rows, tags, columns, strict=True):
            if column >= 0:
                asked[column].put(keypoint, row, tag)
            else:
                people.setdefault(row[3], _Person()).found(keypoint, row, tag)
    return _as_array(list(people.values()), num_keypoints, num_tags)


def _tag_distances(tags: np.ndarray, people: Sequence[_Person]) -> np.ndarray:
    """Return the Euclidean distances between (M,) or (M, T) tags and the mean tags of G people: (M, G) float64."""
    means = np.array([person.mean_tag for person in people], dtype=np.float64)
    if tags.ndim == 1:
        return np.abs(tags[:, None] - means)
    difference = tags[:, None] - means
    return np.sqrt(np.add.reduce(difference * difference, axis=2))


def _obvious(distances: np.ndarray, scores: np.ndarray, tag_threshold: float) -> list[int] | None:
    """Return what `_accepted` returns where each candidate has one person at rounded distance 0, and its own.

    These are all zeros of the reduced costs, so the assignment would star just them. Where everybody has such a
    candidate, others may be left over: each costs anybody 100 more, so heats that differ by less decide nothing.
    scores: (M, 1), best first. None = it is not that easy.
    """
    rows = distances.tolist()
    columns = []
    for row in rows:
        near = [column for column, distance in enumerate(row) if distance <= 0.5]
        if len(near) > 1:
            return None
        columns.append(near[0] if near else -1)
    matched = [column for column in columns if column >= 0]
    if len(set(matched)) < len(matched) or len(matched) < min(len(rows), len(rows[0])):
        return None
    if len(matched) < len(rows) and scores[0, 0] - scores[-1, 0] > MAX_HEAT_DIFFERENCE:
        return None
    return [
        column if column >= 0 and row[column] < tag_threshold else -1 for row, column in zip(rows, columns, strict=True)
    ]


def _accepted(distances: np.ndarray, costs: np.ndarray, tag_threshold: float) -> list[int]:
    """Return for each candidate the person it joins, -1 where it founds a new one."""
    num_candidates, num_people = costs.shape
    if num_candidates > num_people:
        nobody = np.full((num_candidates, num_candidates - num_people), NO_PERSON_COST)
        costs = np.concatenate([costs, nobody], axis=1)
    near = (distances < tag_threshold).tolist()
    return [column if column < num_people and near[row][column] else -1 for row, column in enumerate(assign(costs))]


def _as_array(people: list[_Person], num_keypoints: int, num_tags: int) -> np.ndarray:
    result = np.zeros((len(people), num_keypoints, 3 + num_tags), dtype=np.float32)
    for person, array in zip(people, result, strict=True):
        array[list(person.rows)] = list(person.rows.values())
    return result


def assign(costs: np.ndarray) -> list[int]:
    """Return a column for each row at the least total cost, ties as munkres 1.1.4 breaks them.

    costs: (rows, columns) float64, finite, rows <= columns.
    """
    num_rows, size = costs.shape
    assert num_rows <= size, f"assign needs a column for each row, got {costs.shape}"
    reduced = costs - costs.min(axis=1, keepdims=True)  # columns are not reduced
    zeros = _zero_columns(reduced)
    stars = _first_zeros(zeros)
    if -1 not in stars:  # rows of zeros, which would make a square, take the columns left over
        return stars
    square = np.zeros((size, size))
    square[:num_rows] = reduced
    zeros += [(1 << size) - 1] * (size - num_rows)
    return _Assignment(square, zeros, _first_zeros(zeros)).solve()[:num_rows]


def _zero_columns(costs: np.ndarray) -> list[int]:
    """Return for each row the columns that hold a zero, as bits."""
    packed = np.packbits(costs == 0, axis=1, bitorder="little")
    width = packed.shape[1]
    packed_bytes = packed.tobytes()
    return [int.from_bytes(packed_bytes[at : at + width], "little") for at in range(0, len(packed_bytes), width)]


def _first_zeros(zeros: list[int]) -> list[int]:
    """Star, row by row, the first zero in a column without a star; -1 for a row without one."""
    stars, free_columns = [], ~0
    for row in zeros:
        lowest = row & free_columns
        lowest &= -lowest
        free_columns &= ~lowest
        stars.append(lowest.bit_length() - 1)
    return stars


class _Assignment:
    """The state of one run of the Hungarian method; sets of columns are bits of an int."""

    def __init__(self, costs: np.ndarray, zeros: list[int], stars: list[int]) -> None:
        self.costs = costs
        self.zeros = zeros
        self.size = len(costs)
        self.star_of_row = stars
        self.star_of_column = [-1] * self.size
        for row, column in enumerate(stars):
            if column >= 0:
                self.star_of_column[column] = row
        self.prime_of_row = [-1] * self.size
        self.row_covered = [False] * self.size
        self.free_columns = 0  # not covered

    def solve(self) -> list[int]:
        """Return the column of each row."""
        self._cover_starred_columns()
        while self.free_columns:
            self._augment(self._prime())
            self._cover_starred_columns()
        return self.star_of_row

    def _cover_starred_columns(self) -> None:
        self.free_columns = sum(1 << column for column, row in enumerate(self.star_of_column) if row < 0)

    def _prime(self) -> tuple[int, int]:
        """Prime uncovered zeros, making new ones where there are none, until one has no star in its row."""
        row, column = 0, 0  # where the next scan starts
        while True:
            zero = self._uncovered_zero(row, column)
            if zero is None:
                self._make_zero()
                row, column = 0, 0
                continue
            row, column = zero
            self.prime_of_row[row] = column
            if self.star_of_row[row] < 0:
                return row, column
            column = self.star_of_row[row]
            self.row_covered[row] = True
            self.free_columns |= 1 << column

    def _uncovered_zero(self, first_row: int, first_column: int) -> tuple[int, int] | None:
        """Return the last uncovered zero of the first row that has one, both counted cyclically from the start."""
        for row in (*range(first_row, self.size), *range(first_row)):
            if self.row_covered[row]:
                continue
            open_zeros = self.zeros[row] & self.free_columns
            if open_zeros:
                wrapped = open_zeros & ((1 << first_column) - 1)
                return row, (wrapped or open_zeros).bit_length() - 1
        return None

    def _make_zero(self) -> None:
        """Lower what is uncovered by its minimum. Adding before subtracting rounds as the reference does."""
        covered = np.array(self.row_covered)
        free = np.array([self.free_columns >> column & 1 for column in range(self.size)], dtype=bool)
        least = self.costs[~covered][:, free].min()
        self.costs[covered] += least
        self.costs[:, free] -= least
        self.zeros = _zero_columns(self.costs)

    def _augment(self, zero: tuple[int, int]) -> None:
        """Swap stars and primes along the path from an unstarred prime, then uncover and unprime everything."""
        row, column = zero
        while True:
            starred = self.star_of_column[column]
            self.star_of_row[row], self.star_of_column[column] = column, row
            if starred < 0:
                break
            row, column = starred, self.prime_of_row[starred]
        self.row_covered = [False] * self.size
        self.prime_of_row = [-1] * self.size
