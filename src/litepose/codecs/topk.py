"""The k largest values, equal ones in the order in which torch.topk returns them on a CPU.

Which of two equal peaks comes first decides who founds a person, so decoding equal to the reference needs its order.
torch.topk (aten/src/ATen/native/TopKImpl.h) sorts (value, index) pairs by value alone: with std::partial_sort where
64 k <= n, else with std::nth_element and std::sort of the first k - 1. The standard leaves the order of equal values
open; libstdc++'s heaps and introsort, whose steps are retraced here, settle it. A plain sort serves where
no two values that matter are equal.
"""

from __future__ import annotations

import numpy as np

PARTIAL_SORT_FACTOR = 64
SMALL = 16  # introsort leaves stretches of this length to insertion sort

Pair = tuple[float, int]


def topk_order(values: np.ndarray, k: int) -> list[int]:
    """Return the indices that torch.topk gives for (n,) `values`, sorted, on a CPU."""
    n = len(values)
    if k * PARTIAL_SORT_FACTOR <= n:
        later = k + np.flatnonzero(values[k:] > values[:k].min())  # no other can enter the heap of the first k
        indices = np.concatenate([np.arange(k), later])
        pairs: list[Pair] = list(zip(values[indices].tolist(), indices.tolist(), strict=True))
        _partial_sort(pairs, 0, k, len(pairs))
    else:
        pairs = list(zip(values.tolist(), range(n), strict=True))
        _nth_element(pairs, k - 1)
        _sort(pairs, k - 1)
    return [index for _, index in pairs[:k]]


def _before(a: Pair, b: Pair) -> bool:
    return a[0] > b[0]


def _partial_sort(pairs: list[Pair], first: int, middle: int, last: int) -> None:
    _select_by_heap(pairs, first, middle, last)
    for end in range(middle - 1, first, -1):
        _pop_heap(pairs, first, end, end)


def _select_by_heap(pairs: list[Pair], first: int, middle: int, last: int) -> None:
    """Move the foremost of [first, last) to [first, middle), as a heap with the hindmost of them on top."""
    length = middle - first
    for parent in range((length - 2) // 2, -1, -1):
        _sift(pairs, first, parent, length, pairs[first + parent])
    for i in range(middle, last):
        if _before(pairs[i], pairs[first]):
            _pop_heap(pairs, first, middle, i)


def _pop_heap(pairs: list[Pair], first: int, end: int, result: int) -> None:
    """Put the heap's top at `result` and what was there into the heap [first, end)."""
    value, pairs[result] = pairs[result], pairs[first]
    _sift(pairs, first, 0, end - first, value)


def _sift(pairs: list[Pair], first: int, hole: int, length: int, value: Pair) -> None:
    """Let the hole sink to a leaf, then let `value` rise from there: libstdc++'s way to repair a heap."""
    top = hole
    child = hole
    while child < (length - 1) // 2:
        child = 2 * (child + 1)
        if _before(pairs[first + child], pairs[first + child - 1]):
            child -= 1
        pairs[first + hole] = pairs[first + child]
        hole = child
    if length % 2 == 0 and child == (length - 2) // 2:
        child = 2 * child + 1
        pairs[first + hole] = pairs[first + child]
        hole = child
    while hole > top and _before(pairs[first + (hole - 1) // 2], value):
        parent = (hole - 1) // 2
        pairs[first + hole] = pairs[first + parent]
        hole = parent
    pairs[first + hole] = value


def _nth_element(pairs: list[Pair], nth: int) -> None:
    first, last = 0, len(pairs)
    depth = 2 * (len(pairs).bit_length() - 1)
    while last - first > 3:
        if depth == 0:
            _select_by_heap(pairs, first, nth + 1, last)
            pairs[first], pairs[nth] = pairs[nth], pairs[first]
            return
        depth -= 1
        cut = _partition(pairs, first, last)
        if cut <= nth:
            first = cut
        else:
            last = cut
    _insertion_sort(pairs, first, last)


def _sort(pairs: list[Pair], last: int) -> None:
    if last <= 1:
        return
    _introsort(pairs, 0, last, 2 * (last.bit_length() - 1))
    _insertion_sort(pairs, 0, last)


def _introsort(pairs: list[Pair], first: int, last: int, depth: int) -> None:
    while last - first > SMALL:
        if depth == 0:
            _partial_sort(pairs, first, last, last)
            return
        depth -= 1
        cut = _partition(pairs, first, last)
        _introsort(pairs, cut, last, depth)
        last = cut


def _partition(pairs: list[Pair], first: int, last: int) -> int:
    """Split [first, last) around the median of three and return where the second part starts."""
    _median_to_front(pairs, first, first + 1, first + (last - first) // 2, last - 1)
    pivot = pairs[first]
    low, high = first + 1, last
    while True:
        while _before(pairs[low], pivot):
            low += 1
        high -= 1
        while _before(pivot, pairs[high]):
            high -= 1
        if low >= high:
            return low
        pairs[low], pairs[high] = pairs[high], pairs[low]
        low += 1


def _median_to_front(pairs: list[Pair], front: int, a: int, b: int, c: int) -> None:
    if _before(pairs[a], pairs[b]):
        median = b if _before(pairs[b], pairs[c]) else c if _before(pairs[a], pairs[c]) else a
    else:
        median = a if _before(pairs[a], pairs[c]) else c if _before(pairs[b], pairs[c]) else b
    pairs[front], pairs[median] = pairs[median], pairs[front]


def _insertion_sort(pairs: list[Pair], first: int, last: int) -> None:
    """Insertion keeps equal values in order, so Python's stable sort does the same."""
    pairs[first:last] = sorted(pairs[first:last], key=lambda pair: -pair[0])
