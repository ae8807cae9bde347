"""The Hungarian method of grouping.py as loops that numba compiles: the same columns, ties included.

`assign` is what ae_compiled calls; sets of columns are arrays of bool here, and bits of a number there. numba's cache
looks at the file of what it compiled: after a change here alone, delete that of ae_compiled.
"""

from __future__ import annotations

import numpy as np


def assign(costs: np.ndarray, stars: np.ndarray) -> None:
    """Write a column for each row at the least total cost into `stars`, ties as `grouping.assign` breaks them.

    costs: (size, size) float64, finite; rows beyond those of interest are zeros. Its rows are reduced in place.
    """
    size = len(costs)
    for row in range(size):
        least = costs[row].min()
        for column in range(size):
            costs[row, column] -= least
    star_of_column = np.full(size, -1, dtype=np.int64)
    primes = np.full(size, -1, dtype=np.int64)
    covered, free = np.zeros(size, dtype=np.bool_), np.ones(size, dtype=np.bool_)
    stars[:] = -1
    for row in range(size):
        for column in range(size):
            if costs[row, column] == 0 and star_of_column[column] < 0:
                stars[row], star_of_column[column] = column, row
                break
    while star_of_column.min() < 0:
        for column in range(size):
            free[column] = star_of_column[column] < 0
        row, column = _prime(costs, stars, primes, covered, free)
        while True:  # swap stars and primes along the path from the prime without a star in its row
            starred = star_of_column[column]
            stars[row], star_of_column[column] = column, row
            if starred < 0:
                break
            row, column = starred, primes[starred]
        covered[:] = False
        primes[:] = -1


def _prime(
    costs: np.ndarray, stars: np.ndarray, primes: np.ndarray, covered: np.ndarray, free: np.ndarray
) -> tuple[int, int]:
    """Prime uncovered zeros, making new ones where there are none, until one has no star in its row."""
    row, column = 0, 0  # where the next scan starts
    while True:
        found_row, found_column = _uncovered_zero(costs, covered, free, row, column)
        if found_row < 0:
            _make_zero(costs, covered, free)
            row, column = 0, 0
            continue
        row = found_row
        primes[row] = found_column
        if stars[row] < 0:
            return row, found_column
        column = stars[row]
        covered[row] = True
        free[column] = True


def _uncovered_zero(
    costs: np.ndarray, covered: np.ndarray, free: np.ndarray, first_row: int, first_column: int
) -> tuple[int, int]:
    """Return the last uncovered zero of the first row that has one, both counted cyclically from the start, or -1."""
    size = len(costs)
    for step in range(size):
        row = (first_row + step) % size
        if covered[row]:
            continue
        for back in range(size):
            column = (first_column - 1 - back) % size
            if free[column] and costs[row, column] == 0:
                return row, column
    return -1, -1


def _make_zero(costs: np.ndarray, covered: np.ndarray, free: np.ndarray) -> None:
    """Lower what is uncovered by its minimum; adding before subtracting, which rounds as the reference does."""
    size, least = len(costs), np.inf
    for row in range(size):
        for column in range(size):
            if not covered[row] and free[column]:
                least = min(least, costs[row, column])
    for row in range(size):
        for column in range(size):
            if covered[row]:
                costs[row, column] += least
            if free[column]:
                costs[row, column] -= least


PARTS = (_uncovered_zero, _make_zero, _prime, assign)
