"""Heatmaps and part affinity fields as the decoder reads them: merged from passes, enlarged only where looked at.

Source: val.py and modules/keypoints.py of Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284, which
enlarges all maps as a whole (cv2.resize, cubic). An enlargement is linear in each axis, so a value of the enlarged map
is a row of one matrix, the small map, and a row of another: the same numbers up to the rounding of float32, for the few
places where a peak can be or a limb is looked at.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.codecs.base import Pass, check_finite
from litepose.codecs.maps import find_peaks

TILE = 32  # cells of the enlarged map that are looked at together
MOST_PEAKS = 100  # of one keypoint in "fast" decoding
LOWEST_HEAT = 1e-3  # in a logarithm

# Limbs (M,) and places (M, S, 2) float32 x, y in cells -> the fields there, (M, S, 2).
Fields = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PafMaps:
    """What the decoder reads.

    heatmaps: (K, h, w) float32, without the background. pafs: (2L, h, w) float32.
    size: (w, h) of the network input in px at scale 1, which the maps cover.
    down: (H, h) float32, across: (W, w): the enlarged maps are down @ map @ across.T; None = they are as they are.
    """

    heatmaps: np.ndarray
    pafs: np.ndarray
    size: tuple[int, int]
    down: np.ndarray | None = None
    across: np.ndarray | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """(w, h) of the enlarged maps in cells."""
        height, width = self.heatmaps.shape[1:]
        return (
            width if self.across is None else len(self.across),
            height if self.down is None else len(self.down),
        )


def merge(
    passes: Sequence[Pass],
    *,
    size: tuple[int, int],
    grid: tuple[int, int],
    upsample: int,
    mirror: tuple[np.ndarray, np.ndarray],
    whole: bool,
) -> PafMaps:
    """Average forward passes over one picture: plain, mirrored, at several scales.

    size: (w, h) of the input at scale 1. grid: (w, h) of the enlarged maps. upsample: the maps of each scale are first
    enlarged by this. mirror: see `mirror_order`. whole: True = several scales meet on the grid, each enlarged as a
    whole; False = on the cells of the largest scale, and nothing is enlarged.
    """
    by_scale = []
    for scale in sorted({one.scale for one in passes}, reverse=True):
        alike = [one for one in passes if one.scale == scale]
        # Fields are drawn at the corners of cells, so a mirrored one lies nearly a cell further left. Where they are
        # read there ("fast") that is undone; the reference reads them at the middles, between the two.
        by_scale.append(_mean([_upright(one, mirror, shift=not whole) for one in alike]))
    num_heatmaps = len(mirror[0])
    cells = by_scale[0].shape[:0:-1]
    if not whole:
        joined = _mean([_enlarged(maps, (cells,)) for maps in by_scale])
        return PafMaps(joined[:num_heatmaps], joined[num_heatmaps:], size)
    if len(by_scale) > 1:
        steps = [((maps.shape[2] * upsample, maps.shape[1] * upsample), grid) for maps in by_scale]
        joined = _mean([_enlarged(maps, way) for maps, way in zip(by_scale, steps, strict=True)])
        return PafMaps(joined[:num_heatmaps], joined[num_heatmaps:], size)
    across, down = (enlarging(length, length * upsample, end) for length, end in zip(cells, grid, strict=True))
    return PafMaps(by_scale[0][:num_heatmaps], by_scale[0][num_heatmaps:], size, down, across)


def mirror_order(keypoints: np.ndarray, ends: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return which channel of a mirrored picture's maps belongs to which: (K,) of heatmaps, (L, 2) of limbs.

    keypoints: the skeleton's mirror indices. The second column of limbs is the sign of the mirrored limb's direction:
    -1 where a limb's ends change places; a limb whose mirror is none of the limbs stands for itself with 0.
    """
    places = {pair: i for i, pair in enumerate(ends)}
    limbs = np.zeros((len(ends), 2), dtype=np.int64)
    for i, (a, b) in enumerate(ends):
        mirrored = int(keypoints[a]), int(keypoints[b])
        if mirrored in places:
            limbs[i] = places[mirrored], 1
        elif mirrored[::-1] in places:
            limbs[i] = places[mirrored[::-1]], -1
        else:
            limbs[i] = i, 0
    return keypoints, limbs


def _upright(one: Pass, mirror: tuple[np.ndarray, np.ndarray], *, shift: bool) -> np.ndarray:
    """Return the maps of one pass without the background, what mirroring did undone: (K + 2L, h, w) float32."""
    heatmaps, pafs = (np.asarray(output, dtype=np.float32) for output in one.outputs)
    heatmaps = heatmaps[: len(mirror[0])]
    if one.mirrored:
        heatmaps, pafs = heatmaps[mirror[0], :, ::-1], _mirrored_fields(pafs, mirror[1], shift)
    return np.concatenate([heatmaps, pafs])


def _mirrored_fields(pafs: np.ndarray, limbs: np.ndarray, shift: bool) -> np.ndarray:
    fields = pafs.reshape(-1, 2, *pafs.shape[1:])[limbs[:, 0], :, :, ::-1].copy()
    fields *= limbs[:, 1, None, None, None]
    fields[:, 0] *= -1
    if shift:
        fields[..., 1:] = fields[..., :-1].copy()
    return fields.reshape(pafs.shape)


def _mean(maps: list[np.ndarray]) -> np.ndarray:
    return maps[0] if len(maps) == 1 else sum(maps[1:], start=maps[0]) / np.float32(len(maps))


def _enlarged(maps: np.ndarray, sizes: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return (C, h, w) maps resized to each of the (w, h) sizes in turn, cubic."""
    for size in sizes:
        if maps.shape[:0:-1] != size:
            maps = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_CUBIC) for one in maps])
    return maps


@functools.lru_cache(maxsize=64)
def enlarging(*lengths: int) -> np.ndarray:
    """Return what cv2.resize (cubic) does along an axis from the first length by way of the others to the last.

    Returns (last, first) float32.
    """
    matrix = np.eye(lengths[0], dtype=np.float64)
    for before, after in itertools.pairwise(lengths):
        if before != after:
            cells = np.eye(before, dtype=np.float32)
            matrix = cv2.resize(cells, (before, after), interpolation=cv2.INTER_CUBIC).astype(np.float64) @ matrix
    matrix = matrix.astype(np.float32)
    matrix.setflags(write=False)
    return matrix


@dataclass(frozen=True)
class Peaks:
    """Where keypoints may be, by keypoint. keypoints: (M,) int64, ascending. xy: (M, 2) cells. heats: (M,) float32."""

    keypoints: np.ndarray
    xy: np.ndarray
    heats: np.ndarray

    def __len__(self) -> int:
        return len(self.keypoints)

    def starts(self, num_keypoints: int) -> list[int]:
        """Return where each keypoint's peaks begin, and after the last one's where they end."""
        return np.searchsorted(self.keypoints, np.arange(num_keypoints + 1)).tolist()


def enlarged_peaks(maps: PafMaps, *, above: float, distance: float) -> Peaks:
    """Return the cells of the enlarged heatmaps that are higher than their four neighbours, those from `above` on.

    From left to right each peak takes away the later ones of its keypoint that are nearer than `distance` cells,
    whatever their heat, as the reference does. Raises ModelError where maps are not finite.
    """
    check_finite(maps.heatmaps, "heatmaps")
    found = list(_peaks_in_tiles(maps, np.float32(above)))
    keypoints, x, y, heats = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((y, x, keypoints))
    peaks = Peaks(keypoints[order], np.stack([x, y], axis=1)[order], heats[order])
    kept = _far_apart(peaks, distance)
    return Peaks(peaks.keypoints[kept], peaks.xy[kept], peaks.heats[kept])


def _far_apart(peaks: Peaks, distance: float) -> np.ndarray:
    """Return which peaks no earlier kept one of the same keypoint is nearer to than `distance`: (M,) bool."""
    kept = np.ones(len(peaks), dtype=bool)
    x, y = peaks.xy.T.tolist() if len(peaks) else ([], [])
    keypoints = peaks.keypoints.tolist()
    for i in range(len(kept)):
        if not kept[i]:
            continue
        for j in range(i + 1, len(kept)):
            if keypoints[j] != keypoints[i] or x[j] - x[i] >= distance:
                break  # they lie from left to right
            if (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2 < distance**2:
                kept[j] = False
    return kept


def _peaks_in_tiles(maps: PafMaps, above: np.float32) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield channels, x, y, heats of the peaks of the enlarged heatmaps, tile by tile; first none at all."""
    nothing = np.zeros(0, dtype=np.int64)
    yield nothing, nothing, nothing, np.zeros(0, dtype=np.float32)
    if maps.down is None or maps.across is None:
        padded = np.pad(maps.heatmaps, ((0, 0), (1, 1), (1, 1)))
        yield _peaks_of(padded, np.arange(len(padded)), np.zeros(len(padded), int), np.zeros(len(padded), int), above)
        return
    down, across = tiled(maps.down), tiled(maps.across)
    highest = _highest_in_tiles(maps.heatmaps, down, across)  # (C, tiles down, tiles across)
    gain = float(np.abs(maps.down).sum(axis=1).max() * np.abs(maps.across).sum(axis=1).max())
    channels, rows, columns = np.nonzero(highest * gain >= above)
    step = 512  # tiles at once, so that they stay in the cache
    for first in range(0, len(channels), step):
        part = slice(first, first + step)
        channel, row, column = channels[part], rows[part], columns[part]
        small = _cut(maps.heatmaps, channel, down.first[row], across.first[column], down.reach, across.reach)
        tiles = down.weights[row] @ small @ across.weights[column].transpose(0, 2, 1)
        yield _peaks_of(tiles, channel, column * TILE, row * TILE, above)


@dataclass(frozen=True)
class Tiled:
    """The rows of an enlarging matrix, TILE at a time with one before and one after.

    weights: (n, TILE + 2, reach) float32, rows beyond the map are 0. first: (n,) int64, the first cell they weigh.
    """

    weights: np.ndarray
    first: np.ndarray

    @property
    def reach(self) -> int:
        """How many cells of the small map a tile needs."""
        return self.weights.shape[2]


def tiled(matrix: np.ndarray) -> Tiled:
    """Return an enlarging matrix (H, h) in tiles."""
    return _tiled(matrix.tobytes(), *matrix.shape)


@functools.lru_cache(maxsize=16)
def _tiled(content: bytes, rows: int, length: int) -> Tiled:
    matrix = np.frombuffer(content, dtype=np.float32).reshape(rows, length)
    count = -(-rows // TILE)
    padded = np.zeros((count * TILE + 2, length), dtype=np.float32)
    padded[1 : rows + 1] = matrix
    parts = np.stack([padded[i * TILE : i * TILE + TILE + 2] for i in range(count)])
    used = (parts != 0).any(axis=1)  # (n, h)
    first = used.argmax(axis=1)
    reach = int((length - used[:, ::-1].argmax(axis=1) - first).max())
    first = np.minimum(first, length - reach)
    weights = np.stack([part[:, start : start + reach] for part, start in zip(parts, first.tolist(), strict=True)])
    return Tiled(np.ascontiguousarray(weights), first)


def _highest_in_tiles(heatmaps: np.ndarray, down: Tiled, across: Tiled) -> np.ndarray:
    """Return the largest magnitude among the cells that each tile depends on: (C, tiles down, tiles across)."""
    size = np.abs(heatmaps)
    rows = np.stack([size[:, start : start + down.reach].max(axis=1) for start in down.first.tolist()], axis=1)
    return np.stack([rows[:, :, start : start + across.reach].max(axis=2) for start in across.first.tolist()], axis=2)


def _cut(maps: np.ndarray, channels: np.ndarray, y: np.ndarray, x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a (height, width) piece of a map for each of M channels and corners: (M, height, width)."""
    windows = np.lib.stride_tricks.sliding_window_view(maps, (height, width), axis=(1, 2))
    return windows[channels, y, x]


def _peaks_of(
    tiles: np.ndarray, channels: np.ndarray, left: np.ndarray, top: np.ndarray, above: np.float32
) -> tuple[np.ndarray, ...]:
    """Return channels, x, y, heats of the peaks in (M, H + 2, W + 2) tiles, whose inner corners lie at left, top."""
    high = np.flatnonzero(tiles[:, 1:-1, 1:-1] >= above)
    _, height, width = tiles.shape
    tile, rest = np.divmod(high, (height - 2) * (width - 2))
    y, x = np.divmod(rest, width - 2)
    flat, at = tiles.reshape(-1), (tile * height + y + 1) * width + x + 1
    heats = flat[at]
    for step in (-1, 1, -width, width):
        higher = heats > flat[at + step]
        at, heats, tile, x, y = at[higher], heats[higher], tile[higher], x[higher], y[higher]
    return channels[tile], x + left[tile], y + top[tile], heats


def coarse_peaks(maps: PafMaps, *, above: float, distance: float) -> Peaks:
    """Return the peaks of the heatmaps as they are, moved to the top of the gaussian through their neighbours.

    A peak takes away lower ones of its keypoint nearer than `distance` cells. xy: float32.
    Raises ModelError where maps are not finite.
    """
    check_finite(maps.heatmaps, "heatmaps")
    keypoints, flat = find_peaks(maps.heatmaps, kernel=3, most=MOST_PEAKS, above=above)
    y, x = np.divmod(flat, maps.heatmaps.shape[2])
    logs = np.log(np.maximum(maps.heatmaps, LOWEST_HEAT))
    xy, gains = np.stack([x, y], axis=1).astype(np.float32), np.zeros(len(x), dtype=np.float32)
    for axis, (dx, dy) in enumerate(((1, 0), (0, 1))):
        offset, gain = _top(*(_beside(logs, keypoints, x + n * dx, y + n * dy) for n in (-1, 0, 1)))
        xy[:, axis] += offset
        gains += gain
    heats = maps.heatmaps[keypoints, y, x] * np.exp(gains)
    order = np.lexsort((-heats, keypoints))
    peaks = Peaks(keypoints[order], xy[order], heats[order])
    kept = np.ones(len(peaks), dtype=bool)
    starts = peaks.starts(len(maps.heatmaps))
    for start, end in itertools.pairwise(starts):
        apart = np.linalg.norm(peaks.xy[start:end, None] - peaks.xy[None, start:end], axis=2)
        for i in range(end - start):
            if kept[start + i]:
                kept[start + i + 1 : end] &= apart[i, i + 1 :] >= distance
    return Peaks(peaks.keypoints[kept], peaks.xy[kept], peaks.heats[kept])


def _beside(maps: np.ndarray, channels: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return maps at cells; beyond the border the cell as far within, so that a peak there stays on its cell."""
    height, width = maps.shape[1:]
    x, y = np.abs(x), np.abs(y)
    x = np.where(x >= width, 2 * (width - 1) - x, x)
    y = np.where(y >= height, 2 * (height - 1) - y, y)
    return maps[channels, np.maximum(y, 0), np.maximum(x, 0)]


def _top(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the parabola through three values has its top, cells from the middle one, and how much higher."""
    slope, curve = (after - before) / 2, np.minimum(before - 2 * here + after, -1e-6)
    offset = np.clip(-slope / curve, -0.5, 0.5)
    return offset, slope * offset + curve * offset**2 / 2


def enlarged_fields(maps: PafMaps) -> Fields:
    """Return what reads the fields of the enlarged maps at the nearest cells; outside they are 0.

    Raises ModelError where maps are not finite.
    """
    check_finite(maps.pafs, "part affinity fields")
    grid, first, weights, rows = maps.grid, np.arange(maps.grid[0]), np.ones((maps.grid[0], 1), np.float32), maps.pafs
    if maps.down is not None and maps.across is not None:
        first, weights = _taps(maps.across.tobytes(), *maps.across.shape)
        rows = maps.down @ maps.pafs  # (2L, H, w)

    def read(limbs: np.ndarray, places: np.ndarray) -> np.ndarray:
        xy = np.rint(places).astype(np.int64)
        inside = ((xy >= 0) & (xy < grid)).all(axis=-1, keepdims=True)
        x, y = np.where(inside, xy, 0).transpose(2, 0, 1)[..., None]
        planes = 2 * limbs[:, None, None] + np.arange(2)  # (M, 1, 2)
        taps = (rows[planes, y, first[x] + tap] * weights[x, tap] for tap in range(weights.shape[1]))
        return sum(taps, start=np.zeros((), np.float32)) * inside

    return read


@functools.lru_cache(maxsize=16)
def _taps(content: bytes, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first cell that each row of an enlarging matrix weighs, (H,), and its weights, (H, taps)."""
    matrix = np.frombuffer(content, dtype=np.float32).reshape(rows, length)
    used = matrix != 0
    first = used.argmax(axis=1)
    taps = int((length - used[:, ::-1].argmax(axis=1) - first).max())
    first = np.minimum(first, length - taps)
    return first, np.take_along_axis(matrix, first[:, None] + np.arange(taps), axis=1)


def coarse_fields(maps: PafMaps, offset: float) -> Fields:
    """Return what reads the fields of the maps as they are, between cells, `offset` cells right of and below a place.

    Raises ModelError where maps are not finite.
    """
    check_finite(maps.pafs, "part affinity fields")
    height, width = maps.pafs.shape[1:]
    last = np.array([width - 1, height - 1])
    flat, right, below = maps.pafs.reshape(-1), min(1, width - 1), width * min(1, height - 1)

    def read(limbs: np.ndarray, places: np.ndarray) -> np.ndarray:
        at = np.clip(places + np.float32(offset), 0, last)
        low = np.minimum(at.astype(np.int64), np.maximum(last - 1, 0))
        across, down = (at - low).astype(np.float32).transpose(2, 0, 1)
        corner = (2 * limbs[:, None] * height + low[..., 1]) * width + low[..., 0]  # (M, S), in the x plane
        values = np.empty((*corner.shape, 2), dtype=np.float32)
        for plane in range(2):
            start = corner + plane * height * width
            upper = flat[start] * (1 - across) + flat[start + right] * across
            lower = flat[start + below] * (1 - across) + flat[start + below + right] * across
            values[..., plane] = upper * (1 - down) + lower * down
        return values

    return read
