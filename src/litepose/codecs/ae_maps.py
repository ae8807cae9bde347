"""The maps of associative embedding: merged from forward passes, read by the decoder.

Source: the behaviour of mit-han-lab/litepose@00b702d (HigherHRNet's aggregation and parser).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.codecs.base import Pass
from litepose.codecs.grouping import Candidates
from litepose.codecs.maps import find_peaks, quarter_shift, resize_maps
from litepose.errors import ModelError

# Shares of a heatmap's maximum: `refine` looks among the cells above the first, then the second, then everywhere.
REFINE_LEVELS = (0.5, 0.1)


@dataclass(frozen=True)
class AEMaps:
    """What the decoder reads.

    heatmaps: (K, h, w) float32.
    tags: (T, K, h', w') float32, or (T, 1, h', w') where all keypoints share one; a coarser map is read bilinearly.
    size: (w, h) of the network input in px at scale 1, which the maps cover.
    """

    heatmaps: np.ndarray
    tags: np.ndarray
    size: tuple[int, int]

    @property
    def same_resolution(self) -> bool:
        return self.tags.shape[2:] == self.heatmaps.shape[1:]

    def tag_map(self, keypoint: int) -> np.ndarray:
        """Return one keypoint's tags at the resolution of the heatmaps: (T, h, w)."""
        tags = self.tags[:, keypoint if self.tags.shape[1] > 1 else 0]
        return tags if self.same_resolution else resize_maps(tags, self.heatmaps.shape[:0:-1])

    def tags_at(self, keypoints: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Return the tags of (M,) keypoints at (M, 2) heatmap cells x, y: (M, T) float32."""
        channels = keypoints if self.tags.shape[1] > 1 else np.zeros_like(keypoints)
        if self.same_resolution:
            return self.tags[:, channels, cells[:, 1], cells[:, 0]].T
        tag_shape = np.array(self.tags.shape[:1:-1])  # w', h'
        at = (cells + 0.5) * (tag_shape / self.heatmaps.shape[:0:-1]) - 0.5
        at = np.clip(at, 0, tag_shape - 1)
        low = at.astype(np.int64)
        high = np.minimum(low + 1, tag_shape - 1)
        right, below = (at - low).astype(np.float32).T
        top = self.tags[:, channels, low[:, 1], low[:, 0]] * (1 - right)
        top += self.tags[:, channels, low[:, 1], high[:, 0]] * right
        bottom = self.tags[:, channels, high[:, 1], low[:, 0]] * (1 - right)
        bottom += self.tags[:, channels, high[:, 1], high[:, 0]] * right
        return (top * (1 - below) + bottom * below).T  # (T, M) -> (M, T)


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


def check_outputs(outputs: Sequence[np.ndarray], channels: Sequence[int]) -> None:
    """Raise ModelError unless outputs have these channels and finite values."""
    shapes = [np.shape(output) for output in outputs]
    if [shape[0] if len(shape) == 3 else None for shape in shapes] != list(channels):
        raise ModelError(
            f"The network gave maps of shape {shapes}; the codec expects {len(channels)} outputs (C, h, w) with "
            f"{list(channels)} channels. The model file's spec and its network do not belong together: export again."
        )
    for number, output in enumerate(outputs):
        if not (np.isfinite(output.max()) and np.isfinite(output.min())):
            raise ModelError(
                f"Output {number} of the network holds NaN or infinite values, so nobody can be found. Check the "
                "picture's normalisation and the weights (a training that diverged, or half precision that overflowed)."
            )


def merge_heatmaps(
    passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray, projected: tuple[int, int] | None
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


def _heatmaps_of_scale(passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray) -> np.ndarray:
    finest = passes[0].outputs[-1].shape[:0:-1]
    total: np.ndarray | None = None
    count = 0
    for output in np.flatnonzero(layout.heatmap_outputs).tolist():
        maps = [_upright(layout.heatmaps(output, one.outputs[output]), one.mirrored, mirror) for one in passes]
        # Enlarging is linear and commutes with mirroring, so it is done once, on the sum.
        resized = resize_maps(maps[0] if len(maps) == 1 else np.add.reduce(maps), finest)
        total = resized if total is None else total + resized
        count += len(maps)
    assert total is not None, "some output has heatmaps"
    return total * np.float32(1 / count) if count & (count - 1) == 0 else total / np.float32(count)


def merge_tags(
    passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray, size: tuple[int, int], *, coarse: bool
) -> np.ndarray:
    """Stack the tags of the scale nearest 1, plain passes first: (T, K or 1, h, w) float32.

    size: (w, h) to enlarge to, by way of the finest map. coarse: leave them as they are.
    """
    nearest = min((one.scale for one in passes), key=lambda scale: abs(scale - 1))
    stacked = []
    for one in sorted(passes, key=lambda one: one.mirrored):
        if one.scale != nearest:
            continue
        for output in np.flatnonzero(layout.tag_outputs).tolist():
            order = mirror if layout.tag_per_keypoint else None
            tags = _upright(layout.tags(output, one.outputs[output]), one.mirrored, order)
            if not coarse:
                tags = resize_maps(resize_maps(tags, one.outputs[-1].shape[:0:-1]), size)
            stacked.append(tags)
    return _stack_at_finest(stacked)


def _stack_at_finest(maps: list[np.ndarray]) -> np.ndarray:
    if len(maps) == 1:
        return maps[0][None]
    finest = max(one.shape[:0:-1] for one in maps)
    return np.stack([resize_maps(one, finest) for one in maps])


def _upright(maps: np.ndarray, mirrored: bool, order: np.ndarray | None) -> np.ndarray:
    """Undo what mirroring the input did to (C, h, w) maps."""
    if not mirrored:
        return np.ascontiguousarray(maps, dtype=np.float32)
    unordered = maps if order is None else maps[order]
    return np.ascontiguousarray(unordered[:, :, ::-1], dtype=np.float32)


def find_candidates(maps: AEMaps, *, kernel: int, most: int, above: float) -> list[Candidates]:
    """Return each keypoint's highest peaks with their tags."""
    width = maps.heatmaps.shape[2]
    peaks = [find_peaks(heatmap, kernel=kernel, most=most, above=above) for heatmap in maps.heatmaps]
    keypoints = np.repeat(np.arange(len(peaks)), [len(one) for one in peaks])
    flat = np.concatenate(peaks)
    cells = np.stack([flat % width, flat // width], axis=1)
    scores = maps.heatmaps.reshape(len(peaks), -1)[keypoints, flat]
    tags = maps.tags_at(keypoints, cells)
    ends = np.cumsum([0, *map(len, peaks)]).tolist()
    return [Candidates(cells[start:end], scores[start:end], tags[start:end]) for start, end in itertools.pairwise(ends)]


def adjust_people(heatmaps: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Move found keypoints a quarter cell towards the higher neighbour and to cell centres: (N, K, 3 + T) -> same."""
    adjusted = people.copy()
    persons, keypoints = np.nonzero(people[..., 2] > 0)
    cells = people[persons, keypoints, :2].astype(np.int64)
    adjusted[persons, keypoints, :2] += quarter_shift(heatmaps, keypoints, cells) + np.float32(0.5)
    return adjusted


def score_people(people: np.ndarray) -> np.ndarray:
    """Return the mean heat over all keypoints, missing ones as 0: (N, K, 3 + T) -> (N,) float32."""
    return np.ascontiguousarray(people[..., 2]).mean(axis=1)


def refine_people(maps: AEMaps, people: np.ndarray) -> np.ndarray:
    """Fill in each person's missing keypoints where heat minus rounded tag distance is highest and heat above 0.

    people: (N, K, 3 + T) float32; a filled-in keypoint's tag columns stay 0.
    """
    refined = people.copy()
    missing = people[..., 2] == 0
    if not missing.any():
        return refined
    means = _mean_tags(maps, people)
    persons_filled, keypoints_filled, cells_filled = [], [], []
    for keypoint in np.flatnonzero(missing.any(axis=0)).tolist():
        heatmap = maps.heatmaps[keypoint]
        if heatmap.max() <= 0:
            continue
        persons = np.flatnonzero(missing[:, keypoint])
        cells_filled.append(_best_cells(heatmap, maps.tag_map(keypoint), means[persons]))
        persons_filled.append(persons)
        keypoints_filled.append(np.full(len(persons), keypoint))
    if not cells_filled:
        return refined
    persons, keypoints, flat = (np.concatenate(one) for one in (persons_filled, keypoints_filled, cells_filled))
    heats = maps.heatmaps.reshape(len(maps.heatmaps), -1)[keypoints, flat]
    added = heats > 0
    persons, keypoints, flat = persons[added], keypoints[added], flat[added]
    width = maps.heatmaps.shape[2]
    cells = np.stack([flat % width, flat // width], axis=1)
    shift = quarter_shift(maps.heatmaps, keypoints, cells)
    refined[persons, keypoints, :2] = cells + (shift + np.float32(0.5))
    refined[persons, keypoints, 2] = heats[added]
    return refined


def _mean_tags(maps: AEMaps, people: np.ndarray) -> np.ndarray:
    """Return each person's mean tag as read at the cells of the found keypoints: (N, T) float32."""
    persons, keypoints = np.nonzero(people[..., 2] > 0)
    cells = people[persons, keypoints, :2].astype(np.int64)
    tags = maps.tags_at(keypoints, cells)
    starts = np.searchsorted(persons, np.arange(len(people) + 1)).tolist()
    rows = [tags[start:end] for start, end in itertools.pairwise(starts)]
    # Contiguous (n, T) blocks: the reference averages such ones, and float32 sums depend on the order.
    return np.stack([np.add.reduce(np.ascontiguousarray(row), axis=0) / np.float32(len(row)) for row in rows])


def _best_cells(heatmap: np.ndarray, tags: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return for each person the first flat index at which heat - round(tag distance) is highest: (P,) int64.

    tags: (T, h, w). means: (P, T). A cell of heat h is worth at most h, so once one among the cells hotter than some
    level is worth more than that level, the others need no look; few people make it to the full map.
    """
    heats, tags = heatmap.ravel(), tags.reshape(len(tags), -1)
    best = np.zeros(len(means), dtype=np.int64)
    open_people = np.arange(len(means))
    for share in REFINE_LEVELS:
        level = share * heats.max()
        hot = np.flatnonzero(heats > level)
        worth = heats[hot] - _rounded_distances(tags[:, hot], means[open_people])  # (P, M)
        winners = worth.argmax(axis=1)
        settled = worth[np.arange(len(winners)), winners] > level
        best[open_people[settled]] = hot[winners[settled]]
        open_people = open_people[~settled]
        if not len(open_people):
            return best
    for person in open_people.tolist():
        best[person] = (heats - _rounded_distances(tags, means[person][None])[0]).argmax()
    return best


def _rounded_distances(tags: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return distances between (T, M) tags and (P, T) mean tags, rounded half to even: (P, M) float32."""
    if len(tags) == 1:
        distances = tags - means
        np.abs(distances, out=distances)
    else:
        square = (tags[None] - means[:, :, None]) ** 2  # (P, T, M)
        distances = np.sqrt(np.add.reduce(square, axis=1))
    return np.rint(distances, out=distances)
