"""Associative embedding decoded by machine code: what the mode "compiled" does, with the people of the mode "fast".

numba compiles the loops below when the first picture is decoded; the result lies in numba's cache, beside this file or
in the user's, from which a process takes it again. Each loop does what its namesake in ae_maps, maps or grouping does
and adds float32 numbers in numpy's order, so people are equal to the last bit. Enlarged heatmaps are equal with
OpenCV 5 and within 1e-6 with others, which round in another order.
Left to numpy: candidates of equal height, and maps that are not finite.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from litepose.codecs.ae_assignment import PARTS, assign
from litepose.codecs.ae_maps import AEMaps, ChannelLayout
from litepose.codecs.base import Pass
from litepose.codecs.grouping import MAX_HEAT_DIFFERENCE, NO_PERSON_COST
from litepose.errors import MissingPackageError

MAX_KEYPOINTS = 128  # up to here numpy sums a row in eight lanes, without halving it first
MAX_TAGS = 7  # and so many one by one
ROUNDER = np.float32(2**23)  # adding and subtracting it rounds a float32 below to the nearest even whole number
MAX_PEAKS = 1024  # of one heatmap; more are noise, and numpy's sorting is the faster


def check_installed() -> None:
    """Raise MissingPackageError where numba is not there."""
    if importlib.util.find_spec("numba") is None:
        raise MissingPackageError(
            'Decoding in the mode "compiled" needs numba. Install it: pip install \'litepose[fast]\'; the mode "fast" '
            "finds the same people without."
        )


@functools.cache
def loops() -> SimpleNamespace:
    """Return the compiled loops by name."""
    check_installed()
    from numba import njit
    from numba.extending import register_jitable

    parts = (_widen, _is_peak, _place_between, _tag_at, _sum_of, _sum_by_row, _tag_distance, _add_tag, _write_worth)
    for part in (*PARTS, *parts, _obvious_columns, _assigned_columns, _best_cell, _higher_neighbours):
        register_jitable(part)
    whole = (merge_doubled, find_peaks, read_tags, group, finish)
    return SimpleNamespace(**{one.__name__: njit(cache=True, nogil=True)(one) for one in whole})


def merged(passes: Sequence[Pass], layout: ChannelLayout, size: tuple[int, int]) -> AEMaps | None:
    """Return the maps of one plain pass whose second output, heatmaps alone, is twice as fine as the first; else None.

    size: (w, h) of the network input.
    """
    if len(passes) != 1 or passes[0].mirrored or layout.heatmap_outputs != (True, True) or layout.tag_outputs[1]:
        return None
    coarse, fine = (np.ascontiguousarray(maps, dtype=np.float32) for maps in passes[0].outputs)
    count, height, width = fine.shape
    if (2 * coarse.shape[1], 2 * coarse.shape[2]) != (height, width):
        return None
    heatmaps = np.empty((count, height, width), dtype=np.float32)
    loops().merge_doubled(coarse[:count], fine, heatmaps)
    return AEMaps(heatmaps, coarse[count:][None], size)


def match(
    maps: AEMaps, order: Sequence[int], *, kernel: int, above: float, max_people: int, tag_threshold: float
) -> np.ndarray | None:
    """Return the people as `grouping.group` does; None = ask numpy.

    order: the keypoints in the order of grouping.
    """
    num_keypoints, num_tags = len(maps.heatmaps), len(maps.tags)
    if num_keypoints > MAX_KEYPOINTS or num_tags > MAX_TAGS or maps.tag_step is not None:
        return None
    counts = np.empty(num_keypoints, dtype=np.int64)
    cells = np.empty((num_keypoints, max_people, 2), dtype=np.int64)
    heats = np.empty((num_keypoints, max_people), dtype=np.float32)
    if not loops().find_peaks(maps.heatmaps, kernel // 2, np.float32(above), counts, cells, heats):
        return None
    tags = np.empty((num_keypoints, max_people, num_tags), dtype=np.float32)
    if not loops().read_tags(maps.tags, maps.heatmaps.shape[1], maps.heatmaps.shape[2], counts, cells, tags):
        return None
    people = np.zeros((int(counts.sum()), num_keypoints, 3 + num_tags), dtype=np.float32)
    return people[: loops().group(counts, cells, heats, tags, np.array(order), tag_threshold, people)]


def finished(
    maps: AEMaps, people: np.ndarray, *, refine: bool, adjust: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return keypoints (N, K, 2) in cells, heats (N, K) and scores (N,) of people as grouped; None = ask numpy.

    refine: fill in missing keypoints as `fill_in_coarsely` does. adjust: move the others from cells to positions.
    """
    (height, width), (rows, columns) = maps.heatmaps.shape[1:], maps.tags.shape[2:]
    if height % rows or width % columns or people.shape[1] > MAX_KEYPOINTS:
        return None
    people = np.ascontiguousarray(people)
    keypoints = np.empty((*people.shape[:2], 2), dtype=np.float32)
    heats, scores = np.empty(people.shape[:2], dtype=np.float32), np.empty(len(people), dtype=np.float32)
    loops().finish(maps.heatmaps, maps.tags, people, refine, adjust, keypoints, heats, scores)
    return keypoints, heats, scores


# What numba reads: loops over arrays, each float32 spelt out, nothing imported.


def merge_doubled(coarse: np.ndarray, fine: np.ndarray, merged: np.ndarray) -> None:
    """Write the mean of (K, h, w) coarse maps, bilinearly doubled, and (K, 2h, 2w) fine ones into `merged`.

    As OpenCV 5: along rows, then columns, a + (b - a) * share, rounded once after the multiplication.
    """
    count, height, width = coarse.shape
    half = np.float32(0.5)
    wide = np.empty((2, 2 * width), dtype=np.float32)
    for k in range(count):
        current = 0
        _widen(coarse[k, 0], wide[current])
        for gap in range(-1, height):  # between the coarse rows gap and gap + 1 lie the fine ones 2 gap + 1 and + 2
            following = current
            if 0 <= gap < height - 1:
                following = 1 - current
                _widen(coarse[k, gap + 1], wide[following])
            for y, share in ((2 * gap + 1, 0.25), (2 * gap + 2, 0.75)):
                if 0 <= y < 2 * height:
                    for x in range(2 * width):
                        a, b = wide[current, x], wide[following, x]
                        enlarged = np.float32(np.float64(a) + np.float64(b - a) * share)
                        merged[k, y, x] = enlarged * half + fine[k, y, x] * half
            current = following


def _widen(row: np.ndarray, wide: np.ndarray) -> None:
    width = len(row)
    wide[0], wide[2 * width - 1] = row[0], row[width - 1]
    for x in range(width - 1):
        start, step = np.float64(row[x]), np.float64(row[x + 1] - row[x])
        wide[2 * x + 1] = np.float32(start + step * 0.25)
        wide[2 * x + 2] = np.float32(start + step * 0.75)


def find_peaks(
    heatmaps: np.ndarray, reach: int, above: np.float32, counts: np.ndarray, cells: np.ndarray, heats: np.ndarray
) -> bool:
    """Write each map's highest peaks, highest first, as many as `heats` (K, M) takes; False = ask numpy.

    counts: (K,), of peaks. cells: (K, M, 2) x, y.
    """
    num_maps, height, width = heatmaps.shape
    most, total = heats.shape[1], 0
    places, values = np.empty(MAX_PEAKS, dtype=np.int64), np.empty(MAX_PEAKS, dtype=np.float32)
    for k in range(num_maps):
        heatmap, count = heatmaps[k], 0
        for y in range(height):
            high = 0
            for x in range(width):
                high += heatmap[y, x] > above
            for x in range(width if high else 0):
                value = heatmap[y, x]
                if value > above and _is_peak(heatmap, x, y, reach):
                    if count == MAX_PEAKS or not np.isfinite(value):
                        return False
                    at = count
                    while at > 0 and values[at - 1] < value:
                        places[at], values[at] = places[at - 1], values[at - 1]
                        at -= 1
                    if at > 0 and values[at - 1] == value:
                        return False
                    places[at], values[at] = y * width + x, value
                    count += 1
        counts[k] = min(count, most)
        total += counts[k]
        for i in range(counts[k]):
            cells[k, i, 0], cells[k, i, 1], heats[k, i] = places[i] % width, places[i] // width, values[i]
    return total > 0


def _is_peak(heatmap: np.ndarray, x: int, y: int, reach: int) -> bool:
    height, width = heatmap.shape
    value = heatmap[y, x]
    if x > 0 and not heatmap[y, x - 1] <= value:  # not <=: NaN is higher than all
        return False
    if x < width - 1 and not heatmap[y, x + 1] <= value:
        return False
    for row in range(max(0, y - reach), min(height, y + reach + 1)):
        for column in range(max(0, x - reach), min(width, x + reach + 1)):
            if not heatmap[row, column] <= value:
                return False
    return True


def read_tags(
    maps: np.ndarray, height: int, width: int, counts: np.ndarray, cells: np.ndarray, tags: np.ndarray
) -> bool:
    """Write the (T, K or 1, h', w') maps' values at (K, M, 2) cells of their enlargement; False = one is not finite."""
    for k in range(len(counts)):
        channel = k if maps.shape[1] > 1 else 0
        for i in range(counts[k]):
            for t in range(len(maps)):
                tag = _tag_at(maps[t, channel], cells[k, i, 0], cells[k, i, 1], width, height)
                if not np.isfinite(tag):
                    return False
                tags[k, i, t] = tag
    return True


def _tag_at(tags: np.ndarray, x: int, y: int, width: int, height: int) -> np.float32:
    if tags.shape == (height, width):
        return tags[y, x]
    one = np.float32(1)
    left, right, across = _place_between(x, tags.shape[1], width)
    top, bottom, down = _place_between(y, tags.shape[0], height)
    upper = tags[top, left] * (one - across) + tags[top, right] * across
    lower = tags[bottom, left] * (one - across) + tags[bottom, right] * across
    return upper * (one - down) + lower * down


def _place_between(cell: int, length: int, enlarged: int) -> tuple[int, int, np.float32]:
    at = min(max((cell + 0.5) * (length / enlarged) - 0.5, 0.0), length - 1.0)
    low = int(at)
    return low, min(low + 1, length - 1), np.float32(at - low)


def group(
    counts: np.ndarray,
    cells: np.ndarray,
    heats: np.ndarray,
    tags: np.ndarray,
    order: np.ndarray,
    tag_threshold: float,
    people: np.ndarray,
) -> int:
    """Write people into `people` (as many as candidates, K, 3 + T), zeros before; return how many.

    counts: (K,), of candidates. cells: (K, M, 2). heats: (K, M). tags: (K, M, T).
    """
    most, num_tags = tags.shape[1:]
    founders = np.empty(len(people), dtype=np.float32)
    joined = np.zeros(len(people), dtype=np.int64)  # tags since a person was founded
    given = np.empty((len(people), len(counts), num_tags), dtype=np.float32)
    sums, means = np.empty((2, len(people), num_tags), dtype=np.float32)
    columns, count = np.empty(most, dtype=np.int64), 0
    for k in order:
        ours, asked = tags[k, : counts[k]], means[: min(count, most)]
        if len(ours) and not _obvious_columns(ours, heats[k], asked, tag_threshold, columns):
            _assigned_columns(ours, heats[k], asked, tag_threshold, columns)
        for i in range(counts[k]):
            person = columns[i]
            if person < 0:
                person = 0
                while person < count and founders[person] != tags[k, i, 0]:
                    person += 1
                if person == count:
                    founders[person] = tags[k, i, 0]
                    count += 1
                joined[person] = 0
            people[person, k, 0], people[person, k, 1] = cells[k, i, 0], cells[k, i, 1]
            people[person, k, 2], people[person, k, 3:] = heats[k, i], tags[k, i]
            _add_tag(tags[k, i], given[person], joined[person], sums[person], means[person])
            joined[person] += 1
    return count


def _obvious_columns(
    tags: np.ndarray, heats: np.ndarray, means: np.ndarray, tag_threshold: float, columns: np.ndarray
) -> bool:
    """Write which of (G, T) people each of (M, T) candidates joins, -1 = none; False = see grouping._obvious."""
    taken, matched = np.zeros(len(means), dtype=np.bool_), 0
    for i in range(len(tags)):
        column, nearest = -1, np.inf
        for person in range(len(means)):
            distance = _tag_distance(tags[i], means[person])
            if distance <= 0.5:
                if column >= 0 or taken[person]:
                    return False
                column, nearest = person, distance
        if column >= 0:
            taken[column] = True
            matched += 1
        columns[i] = column if nearest < tag_threshold else -1
    if matched < min(len(tags), len(means)):
        return False
    return not (len(means) and matched < len(tags) and heats[0] - heats[len(tags) - 1] > MAX_HEAT_DIFFERENCE)


def _assigned_columns(
    tags: np.ndarray, heats: np.ndarray, means: np.ndarray, tag_threshold: float, columns: np.ndarray
) -> None:
    """Write what `_obvious_columns` does, by the Hungarian method; see grouping._accepted."""
    num_people, size = len(means), max(len(tags), len(means))
    distances, costs = np.empty((len(tags), num_people)), np.zeros((size, size))
    for i in range(len(tags)):
        costs[i, num_people:] = NO_PERSON_COST
        for person in range(num_people):
            distances[i, person] = _tag_distance(tags[i], means[person])
            costs[i, person] = np.rint(distances[i, person]) * 100 - np.float64(heats[i])
    stars = np.empty(size, dtype=np.int64)
    assign(costs, stars)
    for i in range(len(tags)):
        column = stars[i]
        columns[i] = column if column < num_people and distances[i, column] < tag_threshold else -1


def _tag_distance(tag: np.ndarray, mean: np.ndarray) -> float:
    square, difference = 0.0, 0.0
    for t in range(len(tag)):
        difference = np.float64(tag[t]) - np.float64(mean[t])
        square += difference * difference
    return abs(difference) if len(tag) == 1 else np.sqrt(square)


def _add_tag(tag: np.ndarray, given: np.ndarray, before: int, total: np.ndarray, mean: np.ndarray) -> None:
    """Add a person's next tag, (T,), to those `given` and to their sum; see grouping._Person.put."""
    given[before] = tag
    for t in range(len(tag)):
        if before == 0:
            total[t] = tag[t]
        elif (before + 1) % 8 == 0 and len(tag) == 1:
            total[t] = _sum_of(given[: before + 1, t])
        else:
            total[t] = total[t] + tag[t]
        mean[t] = total[t] / np.float32(before + 1)


def _sum_of(values: np.ndarray) -> np.float32:
    """Return the float32 sum of at most 128 values as numpy adds them: in eight lanes, then the rest."""
    count = len(values)
    total = np.float32(0)
    whole = count - count % 8
    if whole:
        lanes = values[:8].copy()
        for i in range(8, whole):
            lanes[i % 8] += values[i]
        total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
    for i in range(whole, count):
        total += values[i]
    return total


def finish(
    heatmaps: np.ndarray,
    tags: np.ndarray,
    people: np.ndarray,
    refine: bool,
    adjust: bool,
    keypoints: np.ndarray,
    heats: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Write places, heats and scores of grouped people, missing keypoints filled in and all moved as asked."""
    num_tags, num_keypoints = len(tags), people.shape[1]
    mean, worth = np.empty(num_tags, dtype=np.float64), np.empty(tags.shape[3], dtype=np.float64)
    for person in range(len(people)):
        scores[person] = _sum_of(people[person, :, 2]) / np.float32(num_keypoints)
        found = 0
        for k in range(num_keypoints):
            found += people[person, k, 2] != 0
        for t in range(num_tags):
            mean[t] = _sum_by_row(people[person, :, 3 + t], num_tags) / np.float64(found)
        for k in range(num_keypoints):
            x, y, heat = int(people[person, k, 0]), int(people[person, k, 1]), people[person, k, 2]
            moved = adjust and heat > 0
            if refine and heat == 0:
                x, y = _best_cell(heatmaps[k], tags[:, k if tags.shape[1] > 1 else 0], mean, worth)
                heat = max(heatmaps[k, y, x], heat)
                moved = heat > 0
                x, y = (x, y) if moved else (0, 0)
            heats[person, k], keypoints[person, k, 0], keypoints[person, k, 1] = heat, x, y
            if moved:
                right, below = _higher_neighbours(heatmaps[k], x, y)
                keypoints[person, k, 0] += np.float32(0.75 if right else 0.25)
                keypoints[person, k, 1] += np.float32(0.75 if below else 0.25)


def _best_cell(heatmap: np.ndarray, tags: np.ndarray, mean: np.ndarray, worth: np.ndarray) -> tuple[int, int]:
    """Return x, y of the heatmap's best cell among those under the cells of (T, h', w') tags."""
    rows, columns = tags.shape[1:]
    step_x, step_y = heatmap.shape[1] // columns, heatmap.shape[0] // rows
    best, best_x, best_y = -np.inf, 0, 0
    for y in range(rows):
        _write_worth(heatmap[y * step_y], step_x, tags[:, y], mean, worth)
        better = 0
        for x in range(columns):
            better += not worth[x] <= best
        for x in range(columns if better else 0):
            if worth[x] > best or (worth[x] != worth[x] and best == best):  # the first NaN wins, as in numpy
                best, best_x, best_y = worth[x], x, y
    return best_x * step_x, best_y * step_y


def _sum_by_row(values: np.ndarray, num_tags: int) -> np.float32:
    """Return what numpy gives for one column of a sum over rows of `num_tags`."""
    if num_tags == 1:
        return _sum_of(values)
    total = np.float32(0)
    for value in values:
        total += value
    return total


def _write_worth(heats: np.ndarray, step: int, tags: np.ndarray, mean: np.ndarray, worth: np.ndarray) -> None:
    """Write heat minus rounded distance of a row of (T, w') tags from a person's mean; float32 where T is 1."""
    if len(mean) == 1:
        row, wanted = tags[0], mean[0]
        for x in range(len(worth)):
            distance = abs(np.float32(np.float64(row[x]) - wanted))
            worth[x] = (distance + ROUNDER) - ROUNDER if distance < ROUNDER else distance
        for x in range(len(worth)):  # by itself, so that the loop above stays free of strides
            worth[x] = heats[x * step] - np.float32(worth[x])
        return
    for x in range(len(worth)):
        square = 0.0
        for t in range(len(mean)):
            difference = np.float64(tags[t, x]) - mean[t]
            square += difference * difference
        worth[x] = heats[x * step] - np.rint(np.sqrt(square))


def _higher_neighbours(heatmap: np.ndarray, x: int, y: int) -> tuple[bool, bool]:
    """Return whether the right one is higher than the left one, and the lower one than the upper one."""
    height, width = heatmap.shape
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    return right, heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
