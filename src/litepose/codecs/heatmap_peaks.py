"""Where in its map each keypoint of the one person lies: the highest cell, and six ways to look between the cells.

Sources: HRNet's quarter step; DARK (Zhang et al. 2020), UDP (Huang et al. 2020) and Megvii's RSN as mmpose 0.13
computes them; beta-soft-argmax as zhang943/lpn-pytorch@f397525 uses it. Positions are cells, x then y; in all but
"soft_argmax" a map without a positive value is no keypoint: position (-1, -1), heat 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from litepose.codecs.maps import blur_matrix

REFINEMENTS = ("quarter", "none", "dark", "udp", "udp_combined", "megvii", "soft_argmax")
DARK_FLOOR = 1e-10  # lowest heat of which a logarithm is taken
UDP_RANGE = (0.001, 50.0)  # the same for UDP, with a highest one
UDP_DAMPING = float(np.finfo(np.float32).eps)  # added to the second derivatives, so that flat maps can be divided by
MEGVII_TOP, MEGVII_BASE = 255.0, 0.5  # score = heat / top + base


@dataclass(frozen=True)
class PeakReader:
    """How the maps of one person are read; the fields are `HeatmapCodec`'s.

    whole: blur whole maps where the reference does; False = only what is looked at.
    """

    refinement: str = "quarter"
    kernel: int = 11
    beta: float = 160.0
    soft_quarter: bool = True
    offset_radius: float = 0.0546875
    whole: bool = True

    def __call__(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return each keypoint's position (K, 2) float32 in cells and its heat (K,) float32, 0 = not found.

        maps: (K, h, w) float32, finite; (3K, h, w) of "udp_combined".
        """
        if self.refinement == "soft_argmax":
            return soft_argmax(maps, beta=self.beta, quarter=self.soft_quarter)
        if self.refinement == "megvii":
            return megvii_peaks(maps, kernel=self.kernel)
        if self.refinement == "udp_combined":
            return offset_peaks(maps, kernel=self.kernel, radius=self.offset_radius * maps.shape[1])
        cells, heats = highest_cells(maps)
        points = cells.astype(np.float32)
        if self.refinement == "quarter":
            points += quarter_step(maps, cells)
        elif self.refinement == "dark":
            points += dark_step(maps, cells, kernel=self.kernel, whole=self.whole)
        elif self.refinement == "udp":
            points += udp_step(maps, cells, kernel=self.kernel)
        return _or_missing(points, heats)


def highest_cells(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first highest cell of each map, row by row, (K, 2) int64 x, y, and its value (K,)."""
    flat = maps.reshape(len(maps), -1)
    places = flat.argmax(axis=1)
    y, x = np.divmod(places, maps.shape[2])
    return np.stack([x, y], axis=1), flat[np.arange(len(flat)), places]


def quarter_step(maps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return a quarter cell towards the higher neighbour on each axis: (K, 2) float32.

    0 where both are equal, and for cells in the two first rows and columns and the last: HRNet, get_final_preds.
    """
    step = np.zeros(cells.shape, dtype=np.float32)
    height, width = maps.shape[1:]
    inner = np.flatnonzero(_within(cells, (width - 1, height - 1)))
    flat = maps.ravel()
    at = (inner * height + cells[inner, 1]) * width + cells[inner, 0]
    step[inner, 0] = np.sign(flat[at + 1] - flat[at - 1])
    step[inner, 1] = np.sign(flat[at + width] - flat[at - width])
    return step * np.float32(0.25)


def dark_step(maps: np.ndarray, cells: np.ndarray, *, kernel: int, whole: bool = True) -> np.ndarray:
    """Return DARK's step to the top of the gaussian that fits around each cell: (K, 2) float32.

    The maps are blurred with zeros around them. whole: scale each back to its old height, which matters only where
    the blurred heat comes near nothing two cells from the peak. 0 within two cells of the border.
    """
    step = np.zeros(cells.shape, dtype=np.float32)
    height, width = maps.shape[1:]
    inner = np.flatnonzero(_within(cells, (width - 2, height - 2)))
    maps, cells = maps[inner], cells[inner]
    offsets = np.arange(-2, 3)
    rows, columns = cells[:, 1, None] + offsets, cells[:, 0, None] + offsets  # (M, 5)
    if whole:
        scaled = _blurred_to_height(maps, kernel)
        around = scaled[np.arange(len(maps))[:, None, None], rows[:, :, None], columns[:, None, :]]
    else:
        around = _blurred_at(maps, rows, columns, kernel, cv2.BORDER_CONSTANT)
    logs = np.log(np.maximum(around, DARK_FLOOR)).astype(np.float64)  # (M, 5, 5)
    dx, dy = (logs[:, 2, 3] - logs[:, 2, 1]) / 2, (logs[:, 3, 2] - logs[:, 1, 2]) / 2
    dxx = (logs[:, 2, 4] - 2 * logs[:, 2, 2] + logs[:, 2, 0]) / 4
    dyy = (logs[:, 4, 2] - 2 * logs[:, 2, 2] + logs[:, 0, 2]) / 4
    dxy = (logs[:, 3, 3] - logs[:, 1, 3] - logs[:, 3, 1] + logs[:, 1, 1]) / 4
    step[inner] = _newton_step(dx, dy, dxx, dyy, dxy)
    return step


def udp_step(maps: np.ndarray, cells: np.ndarray, *, kernel: int) -> np.ndarray:
    """Return UDP's variant of `dark_step`: one-cell differences, up to the border, whose cells repeat outwards."""
    height, width = maps.shape[1:]
    offsets = np.arange(-1, 2)
    rows = np.clip(cells[:, 1, None] + offsets, 0, height - 1)  # (K, 3)
    columns = np.clip(cells[:, 0, None] + offsets, 0, width - 1)
    around = _blurred_at(maps, rows, columns, kernel, cv2.BORDER_REFLECT_101)
    logs = np.log(np.clip(around, *UDP_RANGE)).astype(np.float64)  # (K, 3, 3)
    here, left, right, above, below = (logs[:, y, x] for y, x in ((1, 1), (1, 0), (1, 2), (0, 1), (2, 1)))
    dxy = (logs[:, 2, 2] - right - below + 2 * here - left - above + logs[:, 0, 0]) / 2
    dxx, dyy = right - 2 * here + left, below - 2 * here + above
    return _newton_step((right - left) / 2, (below - above) / 2, dxx + UDP_DAMPING, dyy + UDP_DAMPING, dxy)


def offset_peaks(maps: np.ndarray, *, kernel: int, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return UDP's peaks of heat, each moved by the offset that its cell holds, and their heats after the blur.

    maps: (3K, h, w), each keypoint's heat, x offset and y offset in turn, offsets in radii. kernel: of the offsets'
    blur; the heat's is twice as large and one.
    """
    num_keypoints, _, height, width = (triples := maps.reshape(-1, 3, *maps.shape[1:])).shape
    cells, heats = highest_cells(_blurred(triples[:, 0], 2 * kernel + 1, cv2.BORDER_REFLECT_101))
    rows, columns = np.repeat(cells[:, 1:], 2, axis=0), np.repeat(cells[:, :1], 2, axis=0)  # (2K, 1)
    offsets = triples[:, 1:].reshape(-1, height, width)
    offsets = _blurred_at(offsets, rows, columns, kernel, cv2.BORDER_REFLECT_101)
    points = (cells + radius * offsets.reshape(num_keypoints, 2)).astype(np.float32)
    return _or_missing(points, heats)


def megvii_peaks(maps: np.ndarray, *, kernel: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the peaks of the blurred maps as Megvii reads them: a quarter step and half a cell, scores above 0.5.

    As in the reference, peaks near the border get neither. Its score of an empty map is NaN; here it is 0.
    """
    cells, heats = highest_cells(scaled := _blurred_to_height(maps, kernel))
    height, width = maps.shape[1:]
    half = np.float32(0.5) * _within(cells, (width - 1, height - 1))
    points = cells + quarter_step(scaled, cells) + half[:, None]
    scores = heats / np.float32(MEGVII_TOP) + np.float32(MEGVII_BASE)
    return _or_missing(points.astype(np.float32), np.where(heats > 0, scores, 0))


def soft_argmax(maps: np.ndarray, *, beta: float, quarter: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean position under softmax(beta * map), and the heat of the cell nearest to it.

    quarter: add `quarter_step` of that cell, as LPN does. An empty map has its mean in the middle, and heat 0; so
    have two far peaks of one height.
    """
    height, width = maps.shape[1:]
    shares = np.exp(np.float32(beta) * (maps - maps.max(axis=(1, 2), keepdims=True)))
    across, down = shares.sum(axis=1, dtype=np.float64), shares.sum(axis=2, dtype=np.float64)  # (K, w), (K, h)
    total = across.sum(axis=1)
    points = np.stack([across @ np.arange(width), down @ np.arange(height)], axis=1) / total[:, None]
    points = points.astype(np.float32)
    x, y = np.rint(points).astype(np.int64).T  # half to even, as torch.round
    heats = maps[np.arange(len(maps)), y, x]
    if quarter:
        points += quarter_step(maps, np.floor(points + np.float32(0.5)).astype(np.int64))
    return points, np.maximum(heats, 0)


def _within(cells: np.ndarray, end: tuple[int, int]) -> np.ndarray:
    """Return whether cells lie above (1, 1) and below `end`, all excluded: (K,) bool."""
    return np.all((cells > 1) & (cells < end), axis=1)


def _or_missing(points: np.ndarray, heats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = heats > 0
    return np.where(found[:, None], points, np.float32(-1)), np.where(found, heats, np.float32(0))


def _newton_step(dx: np.ndarray, dy: np.ndarray, dxx: np.ndarray, dyy: np.ndarray, dxy: np.ndarray) -> np.ndarray:
    """Return the step to where the gradient would vanish, 0 where it never does: (M, 2) float32."""
    determinant = dxx * dyy - dxy**2
    solvable = determinant != 0
    steps = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1)
    steps = np.divide(steps, determinant[:, None], out=np.zeros_like(steps), where=solvable[:, None])
    return steps.astype(np.float32)


def _blurred(maps: np.ndarray, kernel: int, border: int) -> np.ndarray:
    """Return maps blurred by a gaussian of `kernel` cells; its sigma is OpenCV's for that size."""
    blurred = np.empty(maps.shape, dtype=np.float32)
    for source, target in zip(maps, blurred, strict=True):
        cv2.GaussianBlur(source, (kernel, kernel), 0, dst=target, borderType=border)
    return blurred


def _blurred_to_height(maps: np.ndarray, kernel: int) -> np.ndarray:
    """Return maps blurred with zeros around them, then as high as before; 0 where nothing positive is left."""
    blurred = _blurred(maps, kernel, cv2.BORDER_CONSTANT)
    before, after = (one.max(axis=(1, 2)) for one in (maps, blurred))
    factors = np.divide(before, after, out=np.zeros_like(after), where=(before > 0) & (after > 0))
    blurred *= factors[:, None, None]
    return blurred


def _blurred_at(maps: np.ndarray, rows: np.ndarray, columns: np.ndarray, kernel: int, border: int) -> np.ndarray:
    """Return what `_blurred` gives at each map's rows (M, R) and columns (M, C): (M, R, C) float32.

    A blur is a product with one matrix from each side, of which only the rows looked at are needed.
    """
    height, width = maps.shape[1:]
    down = blur_matrix(height, kernel, border)[rows]  # (M, R, h)
    across = blur_matrix(width, kernel, border)[columns]  # (M, C, w)
    return down @ maps @ across.transpose(0, 2, 1)
