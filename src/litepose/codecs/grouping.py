"""Which candidate keypoints make a person: greedy over keypoints, optimal assignment by tag within each.

Source: the behaviour of HigherHRNet's HeatmapParser as mit-han-lab/litepose@00b702d uses it, its peculiarities
included: people are known by the first component of the tag that founded them, so equal tags are one person.
The assignment is the Hungarian method in munkres 1.1.4's order of scanning (Munkres 1957). The order matters: within a
row the heat is constant, so all people at the same rounded distance cost the same, and the first zero found decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

NO_PERSON_COST = 1e10  # of founding a new person, where there are more candidates than people

# COCO's keypoints from the head down the trunk to the limbs; other skeletons use the same indices.
COCO_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)


@dataclass(frozen=True)
class Candidates:
    """The candidates for one keypoint, best first.

    cells: (M, 2) int64 x, y. scores: (M,) float32. tags: (M, T) float32.
    """

    cells: np.ndarray
    scores: np.ndarray
    tags: np.ndarray


@dataclass
class _Person:
    keypoints: dict[int, tuple[float, ...]] = field(default_factory=dict)  # index -> x, y, score, tags
    tags: list[np.ndarray] = field(default_factory=list)
    mean_tag: np.ndarray | None = None

    def put(self, keypoint: int, row: tuple[float, ...], tag: np.ndarray) -> None:
        self.keypoints[keypoint] = row
        self.tags.append(tag)
        self.mean_tag = None

    def mean(self) -> np.ndarray:
        if self.mean_tag is None:
            # float32 throughout, and summed in numpy's order over (n, T), as the reference's np.mean does.
            self.mean_tag = np.add.reduce(np.stack(self.tags), axis=0) / np.float32(len(self.tags))
        return self.mean_tag


def keypoint_order(num_keypoints: int) -> tuple[int, ...]:
    """Return the order in which keypoints are grouped: COCO's, cut or continued to `num_keypoints`."""
    known = tuple(keypoint for keypoint in COCO_ORDER if keypoint < num_keypoints)
    return known + tuple(range(len(COCO_ORDER), num_keypoints))


def group(
    candidates: Sequence[Candidates],
    *,
    order: Iterable[int],
    max_people: int,
    tag_threshold: float,
    use_detection_val: bool,
    ignore_too_much: bool,
) -> np.ndarray:
    """Return the people in the order of their founding: (N, K, 3 + T) float32 x, y, score, tags; zeros = missing.

    candidates: one entry for each keypoint. order: the keypoints in the order of grouping.
    """
    people: dict[float, _Person] = {}  # by the first tag component of the founder
    for keypoint in order:
        found = candidates[keypoint]
        if not len(found.scores):
            continue
        rows = np.concatenate([found.cells, found.scores[:, None], found.tags], axis=1).tolist()
        if not people:
            columns = [-1] * len(rows)
        else:
            asked = list(people.values())[:max_people]
            if ignore_too_much and len(asked) == max_people:
                continue
            distances = _tag_distances(found.tags, asked)
            costs = np.round(distances) * 100 - found.scores[:, None].astype(np.float64)
            columns = _accepted(distances, costs if use_detection_val else distances, tag_threshold)
        for row, tag, column in zip(rows, found.tags, columns, strict=True):
            if column >= 0:
                asked[column].put(keypoint, tuple(row), tag)
            else:
                founder = people.setdefault(row[3], _Person())
                founder.tags.clear()
                founder.put(keypoint, tuple(row), tag)
    return _as_array(people.values(), len(candidates), candidates[0].tags.shape[1])


def _tag_distances(tags: np.ndarray, people: Sequence[_Person]) -> np.ndarray:
    """Euclidean distances between (M, T) tags and the mean tags of G people: (M, G) float64."""
    means = np.stack([person.mean() for person in people])
    difference = tags[:, None].astype(np.float64) - means[None]
    if difference.shape[2] == 1:
        return np.abs(difference[..., 0])
    return np.sqrt(np.add.reduce(difference * difference, axis=2))


def _accepted(distances: np.ndarray, costs: np.ndarray, tag_threshold: float) -> list[int]:
    """Return for each candidate the person it joins, -1 where it founds a new one."""
    num_candidates, num_people = costs.shape
    if num_candidates > num_people:
        nobody = np.full((num_candidates, num_candidates - num_people), NO_PERSON_COST)
        costs = np.concatenate([costs, nobody], axis=1)
    near = (distances < tag_threshold).tolist()
    columns = assign(costs)
    return [column if column < num_people and near[row][column] else -1 for row, column in enumerate(columns)]


def _as_array(people: Iterable[_Person], num_keypoints: int, num_tags: int) -> np.ndarray:
    people = list(people)
    result = np.zeros((len(people), num_keypoints, 3 + num_tags), dtype=np.float32)
    for n, person in enumerate(people):
        result[n, list(person.keypoints)] = list(person.keypoints.values())
    return result


def assign(costs: np.ndarray) -> list[int]:
    """Return a column for each row at the least total cost, ties as munkres 1.1.4 breaks them.

    costs: (rows, columns) float64, finite, rows <= columns.
    """
    num_rows, size = costs.shape
    assert num_rows <= size, f"assign needs a column for each row, got {costs.shape}"
    square = np.zeros((size, size))
    square[:num_rows] = costs
    square[:num_rows] -= square[:num_rows].min(axis=1, keepdims=True)  # columns are not reduced
    return _Assignment(square).solve()[:num_rows]


class _Assignment:
    """The state of one run of the Hungarian method; sets of columns are bits of an int."""

    def __init__(self, costs: np.ndarray) -> None:
        self.costs = costs
        self.size = len(costs)
        self.all_columns = (1 << self.size) - 1
        self.zeros = self._find_zeros()
        self.star_of_row = [-1] * self.size
        self.star_of_column = [-1] * self.size
        self.prime_of_row = [-1] * self.size
        self.free_columns = self.all_columns  # not covered
        self.row_covered = [False] * self.size

    def solve(self) -> list[int]:
        """Return the column of each row."""
        self._star_first_zeros()
        while self.free_columns:
            self._augment(self._prime())
            self._cover_starred_columns()
        return self.star_of_row

    def _find_zeros(self) -> list[int]:
        packed = np.packbits(self.costs == 0, axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in packed]

    def _star_first_zeros(self) -> None:
        """Star, row by row, the first zero in a column without a star."""
        for row in range(self.size):
            open_zeros = self.zeros[row] & self.free_columns
            if open_zeros:
                column = (open_zeros & -open_zeros).bit_length() - 1
                self._star(row, column)
                self.free_columns &= ~(1 << column)

    def _star(self, row: int, column: int) -> None:
        self.star_of_row[row], self.star_of_column[column] = column, row

    def _cover_starred_columns(self) -> None:
        self.free_columns = self.all_columns
        for column, row in enumerate(self.star_of_column):
            if row >= 0:
                self.free_columns &= ~(1 << column)

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
        self.zeros = self._find_zeros()

    def _augment(self, zero: tuple[int, int]) -> None:
        """Swap stars and primes along the path from an unstarred prime, then uncover and unprime everything."""
        row, column = zero
        while True:
            starred = self.star_of_column[column]
            self._star(row, column)
            if starred < 0:
                break
            row, column = starred, self.prime_of_row[starred]
        self.row_covered = [False] * self.size
        self.prime_of_row = [-1] * self.size
