"""What a top-down network is to say about the one person of its crop: five ways to draw a keypoint.

Sources: HRNet (Sun et al. 2019), DARK (Zhang et al. 2020), UDP (Huang et al. 2020) and Megvii's RSN, all as the target
generators of mmpose 0.13 (which HRNet/Lite-HRNet@7b9049d trains with) draw them; zhang943/lpn-pytorch@f397525 draws
"gaussian" alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.codecs.maps import blur_matrix

ENCODINGS = ("gaussian", "dark", "udp", "udp_combined", "megvii")
UDP_ENCODINGS = ("udp", "udp_combined")
REACH_SIGMAS = 3.0  # a gaussian is cut off here; this decides too whether a keypoint outside the map still counts
MEGVII_TOP = 255.0
FAR_AWAY = -1e6  # cells; a keypoint that is not to be drawn is put here, where nothing reaches the map


@dataclass(frozen=True)
class HeatmapTargets:
    """What a network should say about one person; batched, both arrays have a leading B.

    heatmaps: (K, h, w) float32; of "udp_combined" (3K, h, w), each keypoint's disc, x offset and y offset in turn.
    weights: (K,) float32, 0 where the keypoint's maps must not be learned.
    """

    heatmaps: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class HeatmapPlan:
    """The same undrawn, for maps that are products of two profiles: some kB, where the maps have hundreds.

    down: (K, h) float32. across: (K, w) float32. weights: as in HeatmapTargets.
    """

    down: np.ndarray
    across: np.ndarray
    weights: np.ndarray


def draw(plan: HeatmapPlan) -> HeatmapTargets:
    """Return the targets that a plan stands for; of a batch of plans as tensors too, drawn where these are.

    One product of two float32 a cell is the same number everywhere.
    """
    return HeatmapTargets(plan.down[..., :, None] * plan.across[..., None, :], plan.weights)


def plan_targets(
    keypoints: np.ndarray,
    learned: np.ndarray,
    *,
    encoding: str,
    stride: int,
    size: tuple[int, int],
    sigma: float,
    kernel: int,
    offset_radius: float,
) -> HeatmapPlan | HeatmapTargets:
    """Return what the maps of keypoints in input px are drawn from, and weight 1 for those learned that reach the map.

    "udp_combined" and "megvii" are drawn at once: their maps are no products of two float32 profiles.
    keypoints: (K, 2) float, x then y. learned: (K,) bool. size: (w, h) of the map. The rest: `HeatmapCodec`'s settings.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    learned = learned & np.isfinite(keypoints).all(axis=1)
    points = keypoints / cell_px(encoding, stride, size)
    points = np.where(learned[:, None], points, FAR_AWAY)
    if encoding == "udp_combined":
        maps, seen = _discs_with_offsets(points, size, offset_radius * size[1]), learned
    elif encoding == "megvii":
        maps, seen = _blurred_cells(points, size, kernel)
    else:
        subcell, windowed = encoding != "gaussian", encoding != "dark"
        across, down, seen = _profiles(points, size, sigma, subcell=subcell, windowed=windowed)
        return HeatmapPlan(down, across, (learned & seen).astype(np.float32))
    return HeatmapTargets(maps, (learned & seen).astype(np.float32))


def cell_px(encoding: str, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Return the input px from one cell of a (w, h) map to the next: (2,) float64 x, y.

    UDP spreads the cells from the first to the last pixel centre; the others begin alike and end stride - 1 px short.
    """
    if encoding not in UDP_ENCODINGS:
        return np.array([stride, stride], dtype=np.float64)
    cells = np.array(size, dtype=np.float64)
    return (cells * stride - 1) / np.maximum(cells - 1, 1)


def _profiles(
    points: np.ndarray, size: tuple[int, int], sigma: float, *, subcell: bool, windowed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the profiles of gaussians of height 1, (K, w) and (K, h) float32, and which are on the map: (K,) bool.

    subcell: the top lies between the cells, where the keypoint is. windowed: cut off at 3 sigma around the
        nearest cell.
    """
    reach = REACH_SIGMAS * sigma
    # Rounded towards zero, so a keypoint at -0.9 belongs to cell 0.
    anchor = np.trunc(points + 0.5) if windowed else points
    start, end = anchor - reach, anchor + reach + 1
    top = points
    if windowed:
        start, end = np.trunc(start), np.trunc(end)
        top = start + (2 * reach + 1) // 2 + (points - anchor if subcell else 0)
    seen = np.all((start < size) & (end >= 0), axis=1)
    top = np.where(seen[:, None], top, FAR_AWAY)

    profiles = []
    for axis, length in enumerate(size):
        cells = np.arange(length)
        profile = np.exp(-((cells - top[:, axis, None]) ** 2) / (2 * sigma**2))  # (K, length)
        if windowed:
            profile *= (cells >= start[:, axis, None]) & (cells < end[:, axis, None])
        profiles.append(profile.astype(np.float32))
    across, down = profiles
    return across, down, seen


def _discs_with_offsets(points: np.ndarray, size: tuple[int, int], radius: float) -> np.ndarray:
    """Return for each keypoint a disc of ones and, in it, the way to the keypoint in radii: (3K, h, w) float32."""
    width, height = size
    dx = ((points[:, 0, None] - np.arange(width)) / radius)[:, None, :]  # (K, 1, w)
    dy = ((points[:, 1, None] - np.arange(height)) / radius)[:, :, None]  # (K, h, 1)
    disc = dx**2 + dy**2 <= 1
    maps = np.stack([disc, disc * dx, disc * dy], axis=1)  # (K, 3, h, w)
    return maps.reshape(-1, height, width).astype(np.float32)


def _blurred_cells(points: np.ndarray, size: tuple[int, int], kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blur of each keypoint's cell, 255 high in that cell, (K, h, w) float32, and which cells exist.

    Near a border the blur is higher elsewhere: what it mirrors adds up there.
    """
    cells = np.trunc(points)
    seen = ((cells >= 0) & (cells < size)).all(axis=1)
    x, y = np.where(seen[:, None], cells, 0).astype(np.int64).T
    profiles = [blur_matrix(length, kernel)[:, at].T for length, at in zip(size, (x, y), strict=True)]  # (K, length)
    across, down = (
        profile / profile[np.arange(len(at)), at][:, None] for profile, at in zip(profiles, (x, y), strict=True)
    )
    maps = MEGVII_TOP * down[:, :, None] * across[:, None, :] * seen[:, None, None]
    return maps.astype(np.float32), seen
