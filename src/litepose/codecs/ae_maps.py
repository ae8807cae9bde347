"""The maps of associative embedding: merged from forward passes, read by the decoder.

Source: the behaviour of mit-han-lab/litepose@00b702d (HigherHRNet's aggregation and parser).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.codecs.base import Pass, check_finite
from litepose.codecs.grouping import Candidates
from litepose.codecs.maps import find_peaks, quarter_shift, resize_maps

WORKING_CELLS = 2**17  # of tag maps that are compared at once: what stays in a core's cache


@dataclass(frozen=True)
class AEMaps:
    """What the decoder reads.

    heatmaps: (K, h, w) float32.
    tags: (T, K, h', w') float32, or (T, 1, h', w') where all keypoints share one. They are enlarged to the heatmaps'
        size when they are read: whole maps of tags are mostly never looked at.
    size: (w, h) of the network input in px at scale 1, which the maps cover.
    tag_step: (w, h) by way of which the tags are enlarged, or None for the direct way.
    """

    heatmaps: np.ndarray
    tags: np.ndarray
    size: tuple[int, int]
    tag_step: tuple[int, int] | None = None

    @property
    def map_size(self) -> tuple[int, int]:
        """(w, h) of the heatmaps in cells."""
        return self.heatmaps.shape[2], self.heatmaps.shape[1]

    def tag_map(self, keypoint: int) -> np.ndarray:
        """Return one keypoint's tags at the size of the heatmaps: (T, h, w)."""
        tags = self.tags[:, keypoint if self.tags.shape[1] > 1 else 0]
        if self.tag_step:
            tags = resize_maps(tags, self.tag_step)
        return resize_maps(tags, self.map_size)

    def tags_at(self, keypoints: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the tags of (M,) keypoints, ascending, at (M, 2) heatmap cells x, y: (M, T) float32."""
        x, y = cells.T
        channels = keypoints if self.tags.shape[1] > 1 else np.zeros_like(keypoints)
        if self.tags.shape[2:] == self.heatmaps.shape[1:]:
            return self.tags[:, channels, y, x].T
        if self.tag_step is None:
            return _bilinear_taps(self.tags, channels, cells, self.map_size)
        tags = np.empty((len(self.tags), len(keypoints)), dtype=np.float32)
        starts = np.searchsorted(keypoints, np.arange(len(self.heatmaps) + 1)).tolist()
        for keypoint, (start, end) in enumerate(itertools.pairwise(starts)):
            if start < end:
                tags[:, start:end] = self.tag_map(keypoint)[:, y[start:end], x[start:end]]
        return tags.T


def _bilinear_taps(maps: np.ndarray, channels: np.ndarray, cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (T, C, h', w') maps at cells of their enlargement to `size` (w, h): (M, T) float32."""
    height, width = maps.shape[2:]
    flat = maps.reshape(len(maps), -1)
    lengths = np.array([[width], [height]])
    at = np.minimum(np.maximum((cells.T + 0.5) * (lengths / np.array(size)[:, None]) - 0.5, 0), lengths - 1)
    low = at.astype(np.int64)
    (x, y), (x1, y1), (right, below) = low, np.minimum(low + 1, lengths - 1), (at - low).astype(np.float32)
    row = channels * height
    top, bottom = (row + y) * width, (row + y1) * width
    upper = flat[:, top + x] * (1 - right) + flat[:, top + x1] * right
    lower = flat[:, bottom + x] * (1 - right) + flat[:, bottom + x1] * right
    return (upper * (1 - below) + lower * below).T  # (T, M) -> (M, T)


@dataclass(frozen=True)
class ChannelLayout:
    """Where heatmaps and tags lie in a network's outputs: heatmaps first, then tags."""

    num_keypoints: int
    heatmap_outputs: tuple[bool, ...]
    tag_outputs: tuple[bool, ...]
    tag_per_keypoint: bool

    def heatmaps(self, output: int, maps: np.ndarray) -> np.ndarray:
        """Return the heatmaps among the channels of one output."""
        return maps[: self.num_keypoints * self.heatmap_outputs[output]]

    def tags(self, output: int, maps: np.ndarray) -> np.ndarray:
        """Return the tags among the channels of one output."""
        return maps[self.num_keypoints * self.heatmap_outputs[output] :]


def merge_heatmaps(
    passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray | None, projected: tuple[int, int] | None
) -> np.ndarray:
    """Average heatmaps over outputs, mirrored passes and scales: (K, h, w) float32.

    projected: enlarge to this (w, h); None = stay at the finest map of the largest scale.
    """
    merged: np.ndarray | None = None
    scales = sorted({one.scale for one in passes}, reverse=True)
    for scale in scales:
        alike = [one for one in passes if one.scale == scale]
        heatmaps = _heatmaps_of_scale(alike, layout, mirror)
        size = projected or (heatmaps if merged is None else merged).shape[:0:-1]
        resized = resize_maps(heatmaps, size)
        merged = resized if merged is None else merged + resized
    assert merged is not None, "aggregate needs at least one pass"
    return merged / np.float32(len(scales)) if len(scales) > 1 else merged


def _heatmaps_of_scale(passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray | None) -> np.ndarray:
    """Average the heatmaps of all outputs and passes at the finest output's size: (K, h, w) float32."""
    sums = []
    for output in np.flatnonzero(layout.heatmap_outputs).tolist():
        maps = [upright(layout.heatmaps(output, one.outputs[output]), one.mirrored, mirror) for one in passes]
        # Enlarging is linear and commutes with mirroring, so it is done once, on the sum.
        sums.append(maps[0] if len(maps) == 1 else np.add.reduce(maps))
    finest = passes[0].outputs[-1].shape[:0:-1]
    share = 1 / (len(sums) * len(passes))
    merged = np.empty((layout.num_keypoints, finest[1], finest[0]), dtype=np.float32)
    if len(sums) == 2 and sums[1].shape == merged.shape and _doubled(sums[0], merged):
        below = (-1, finest[0])
        cv2.addWeighted(merged.reshape(below), share, sums[1].reshape(below), share, 0, dst=merged.reshape(below))
        return merged
    for target, *maps in zip(merged, *sums, strict=True):  # by keypoint, so that a map stays in the cache
        cv2.resize(maps[0], finest, dst=target, interpolation=cv2.INTER_LINEAR)
        for number, other in enumerate(maps[1:]):
            if other.shape != target.shape:
                other = cv2.resize(other, finest, interpolation=cv2.INTER_LINEAR)
            cv2.addWeighted(target, 1 if number else share, other, share, 0, dst=target)
        if share != 1 and len(maps) == 1:
            target *= share
    return merged


def _doubled(maps: np.ndarray, doubled: np.ndarray) -> bool:
    """Enlarge (K, h, w) maps into `doubled` if that is (K, 2h, 2w), in one step for all; return whether it is.

    The maps lie below each other, so that the outer rows of each, which reach into its neighbour, come anew.
    """
    count, height, width = maps.shape
    if doubled.shape != (count, 2 * height, 2 * width) or min(height, width) < 2:
        return False
    size = (2 * width, 2 * count * height)
    cv2.resize(maps.reshape(-1, width), size, dst=doubled.reshape(size[::-1]), interpolation=cv2.INTER_LINEAR)
    outer = np.ascontiguousarray(maps[:, :: height - 1]).reshape(-1, width)
    doubled[:, :: 2 * height - 1] = cv2.resize(outer, (2 * width, len(outer))).reshape(count, -1, 2 * width)
    return True


def merge_tags(
    passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray | None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Stack the tags of the scale nearest 1, plain passes first, and tell the size of that scale's finest map.

    Returns (T, K or 1, h, w) float32 and (w, h).
    """
    nearest = min((one.scale for one in passes), key=lambda scale: abs(scale - 1))
    chosen = sorted((one for one in passes if one.scale == nearest), key=lambda one: one.mirrored)
    order = mirror if layout.tag_per_keypoint else None
    stacked = [
        upright(layout.tags(output, one.outputs[output]), one.mirrored, order)
        for one in chosen
        for output in np.flatnonzero(layout.tag_outputs).tolist()
    ]
    height, width = chosen[0].outputs[-1].shape[1:]
    if len(stacked) == 1:
        return stacked[0][None], (width, height)
    finest = max(one.shape[:0:-1] for one in stacked)
    return np.stack([resize_maps(one, finest) for one in stacked]), (width, height)


def upright(maps: np.ndarray, mirrored: bool, order: np.ndarray | None) -> np.ndarray:
    """Undo what mirroring the input did to (C, h, w) maps."""
    if not mirrored:
        return np.ascontiguousarray(maps, dtype=np.float32)
    unordered = maps if order is None else maps[order]
    return np.ascontiguousarray(unordered[:, :, ::-1], dtype=np.float32)


def find_candidates(maps: AEMaps, *, kernel: int, most: int, above: float) -> Candidates:
    """Return each keypoint's highest peaks with their tags.

    Raises ModelError where one is infinite or has no finite tag, or where NaN leaves none.
    """
    keypoints, flat = find_peaks(maps.heatmaps, kernel=kernel, most=most, above=above)
    if not len(keypoints):
        check_finite(maps.heatmaps, "heatmaps")  # NaN is no peak, so only now may all be lost
    y, x = np.divmod(flat, maps.map_size[0])
    cells = np.stack([x, y], axis=1)
    heats, tags = maps.heatmaps[keypoints, y, x], maps.tags_at(keypoints, cells)
    check_finite(heats, "heatmaps")
    check_finite(tags, "tags")
    return Candidates(keypoints, cells, heats, tags)


def score_people(people: np.ndarray) -> np.ndarray:
    """Return the mean heat over all keypoints, missing ones as 0: (N, K, 3 + T) -> (N,) float32."""
    heats = np.ascontiguousarray(people[..., 2])
    return np.add.reduce(heats, axis=1) / np.float32(heats.shape[1])


def fill_in(maps: AEMaps, people: np.ndarray) -> np.ndarray:
    """Give missing keypoints the cell where heat minus rounded tag distance is highest, if the heat there is above 0.

    people: (N, K, 3 + T) float32, x and y in cells. Returns the same; a filled-in keypoint's tag columns stay 0.
    """
    filled = people.copy()
    missing = people[..., 2] == 0
    means = _mean_tags(people, ~missing)
    heatmaps, width = maps.heatmaps, maps.map_size[0]
    for keypoint in np.flatnonzero(missing.any(axis=0)).tolist():
        tags, heats = maps.tag_map(keypoint), heatmaps[keypoint].ravel()
        for person in np.flatnonzero(missing[:, keypoint]).tolist():
            cell = _best_cell(heats, tags, means[person])
            if heats[cell] > 0:
                filled[person, keypoint, :3] = cell % width, cell // width, heats[cell]
    return filled


def fill_in_coarsely(maps: AEMaps, people: np.ndarray) -> np.ndarray:
    """Do what `fill_in` does, looking only at every n-th heatmap cell: those under the cells of the coarser tag maps.

    All missing keypoints are looked for at once. Where tag cells do not fall on heatmap cells, this is `fill_in`.
    """
    (height, width), (rows, columns) = maps.heatmaps.shape[1:], maps.tags.shape[2:]
    if height % rows or width % columns:
        return fill_in(maps, people)
    heatmaps = maps.heatmaps[:, :: height // rows, :: width // columns]
    missing = people[..., 2] == 0
    persons, keypoints = missing.nonzero()
    means = people[..., 3:].sum(axis=1) / (~missing).sum(axis=1, keepdims=True)  # a missing one's tags are 0
    filled = people.copy()
    at_once = max(1, WORKING_CELLS // (rows * columns))
    for start in range(0, len(persons), at_once):
        of, which = persons[start : start + at_once], keypoints[start : start + at_once]
        worth = _tag_distances(maps.tags, which, means[of])
        heats = heatmaps[which]  # (M, h', w')
        np.subtract(heats, np.rint(worth, out=worth), out=worth)
        best = worth.reshape(len(which), -1).argmax(axis=1)
        heat = heats.reshape(len(which), -1)[np.arange(len(which)), best]
        y, x = np.divmod(best, columns)
        found = np.stack([x * (width // columns), y * (height // rows), heat], axis=1)
        filled[of, which, :3] = np.where(heat[:, None] > 0, found, 0)
    return filled


def _tag_distances(tags: np.ndarray, keypoints: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return how far (T, K or 1, h, w) tags are from the (M, T) means of (M,) keypoints: (M, h, w) float32."""
    channels = keypoints if tags.shape[1] > 1 else keypoints * 0
    if len(tags) == 1:
        distance = tags[0, channels]
        distance -= means[:, :, None]
        return np.abs(distance, out=distance)
    difference = tags[:, channels] - means.T[..., None, None]
    return np.sqrt(np.add.reduce(difference * difference, axis=0))


def shift_to_subcell(heatmaps: np.ndarray, people: np.ndarray, which: np.ndarray) -> None:
    """Move keypoints from cells to positions, in place: to the centre, then a quarter towards the higher neighbour.

    people: (N, K, 3 + T). which: (N, K) bool.
    """
    persons, keypoints = np.nonzero(which)
    cells = people[persons, keypoints, :2].astype(np.int64)
    people[persons, keypoints, :2] = cells + (quarter_shift(heatmaps, keypoints, cells) + np.float32(0.5))


def _mean_tags(people: np.ndarray, found: np.ndarray) -> list[np.ndarray]:
    """Return each person's mean tag over the found keypoints: N times (T,) float32."""
    # Contiguous (n, T) blocks: the reference averages such ones, and float32 sums depend on the order.
    rows = [person[which, 3:] for person, which in zip(people, found, strict=True)]
    return [np.add.reduce(np.ascontiguousarray(row), axis=0) / np.float32(len(row)) for row in rows]


def _best_cell(heats: np.ndarray, tags: np.ndarray, mean: np.ndarray) -> int:
    """Return the first flat cell at which heat minus tag distance, rounded half to even, is highest.

    heats: (h * w,). tags: (T, h, w). mean: (T,).
    """
    tags = tags.reshape(len(tags), -1)
    if len(tags) == 1:
        worth = tags[0] - mean[0]
        np.abs(worth, out=worth)
    else:
        worth = np.sqrt(np.add.reduce((tags - mean[:, None]) ** 2, axis=0))
    np.subtract(heats, np.rint(worth, out=worth), out=worth)
    return int(worth.argmax())
