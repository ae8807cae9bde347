"""Limbs as shaded, clothed sprites: shaped in a small upright frame, all at once, then warped onto the picture.

A limb is a capsule whose half width follows a profile. Its sprite has rows along the limb and columns across it;
`u` in [-1, 1] across the limb gives the normal of a cylinder, hence the shading. Small people get small sprites.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.datasets.synthetic.textures import patterns, wrinkle_map

HALO = 0.30  # share of the half width outside the limb, for the soft contact shadow
SHARPNESS = 0.45  # sprite columns per unit of coverage at an edge, as a share of the columns
_KNOTS = np.linalg.inv(np.vander(np.array([0, 1 / 3, 2 / 3, 1]), increasing=True).T).astype(np.float32)


@dataclass(frozen=True)
class Cloth:
    """What covers a stretch of a limb. colours: two BGR in [0, 1]; pattern: index into `patterns()`."""

    colours: tuple[np.ndarray, np.ndarray]
    pattern: int = 0
    loose: float = 1.1  # factor on the half width
    folds: float = 0.08


@dataclass(frozen=True)
class Limb:
    """One capsule to paint: from `a` to `b` (x, y, depth in px), half widths at 0, 1/3, 2/3 and 1 of its length.

    cloth covers the share [0, covered] from `a`; boot covers [1 - booted, 1].
    """

    label: int
    a: np.ndarray
    b: np.ndarray
    widths: tuple[float, float, float, float]
    skin: np.ndarray
    depth: float
    cloth: Cloth | None = None
    covered: float = 0.0
    boot: Cloth | None = None
    booted: float = 0.0


@dataclass(frozen=True)
class Sprite:
    """A painted part: premultiplied BGR in [0, 255], alpha in [0, 1], and where its pixels go."""

    label: int
    depth: float
    pixels: np.ndarray  # (h, w, 4) float32
    matrix: np.ndarray  # (2, 3) sprite px -> picture px, or (3, 3) for a perspective


def sprite_detail(height_px: float) -> float:
    """Return how fine the sprites of a person of this standing height are: 1 = the finest."""
    return 0.5 if height_px < 110 else 0.75 if height_px < 220 else 1.0


def limb_sprites(
    limbs: Sequence[Limb], light: np.ndarray, halo: float, phase: int, *, detail: float = 1.0
) -> list[Sprite]:
    """Shape and shade all limbs of a person together.

    light: (3,) towards the lamp, in the camera's frame; halo: darkness of the contact shadow; phase: which part of
    the folds and patterns is used.
    """
    rows_across, all_along, all_across = _grid(detail)
    a, b = np.array([limb.a for limb in limbs], np.float32), np.array([limb.b for limb in limbs], np.float32)
    widths = np.array([limb.widths for limb in limbs], np.float32)
    along = b[:, :2] - a[:, :2]
    length = np.maximum(np.sqrt((along**2).sum(axis=1)), 1e-3)
    direction = along / length[:, None]
    rows = all_along * (length + widths[:, 0] + widths[:, 3])[:, None] - widths[:, :1]  # (P, R) px from a
    share = np.clip(rows / length[:, None], 0, 1)
    coefficients = widths @ _KNOTS
    half = ((coefficients[:, 3:] * share + coefficients[:, 2:3]) * share + coefficients[:, 1:2]) * share
    half = half + coefficients[:, :1]
    before = np.clip(-rows / widths[:, :1], 0, 1)
    after = np.clip((rows - length[:, None]) / widths[:, 3:], 0, 1)
    half = half * np.sqrt(np.clip(1 - before**2 - after**2, 0, 1))
    colour, half, folds = _dress(limbs, share, half, phase, len(all_across))
    widest = half.max(axis=1)
    half = half / widest[:, None]
    across = all_across / np.maximum(half, 0.02)[:, :, None]  # (P, R, C)
    shade = _shade(across, direction, light)
    shade += folds
    outside = np.abs(all_across) - half[:, :, None]
    alpha = np.clip(0.5 - outside * (len(all_across) * SHARPNESS), 0, 1)
    pixels = np.empty((*alpha.shape, 4), np.float32)
    shade *= alpha
    shade *= 255
    np.multiply(colour, shade[..., None], out=pixels[..., :3])
    pixels[..., 3] = alpha
    if halo > 0:
        glow = np.clip(1.0 - outside / HALO, 0, 1) * (halo * (half[:, :, None] > 0.3))
        pixels[..., 3] = np.maximum(alpha, glow)
    sprites = []
    for i, limb in enumerate(limbs):
        matrix = _limb_matrix(a[i], direction[i], length[i], widths[i], float(widest[i]), rows_across)
        sprites.append(Sprite(limb.label, limb.depth, pixels[i], matrix))
    return sprites


def paint(canvas: np.ndarray, labels: np.ndarray, sprite: Sprite, label: int) -> None:
    """Lay a sprite over the canvas ((H, W, 4) float32, BGR in [0, 255] and a spare channel) and write its label."""
    height, width = sprite.pixels.shape[:2]
    corners = np.array([[-0.5, -0.5, 1], [width - 0.5, -0.5, 1], [width - 0.5, height - 0.5, 1],
                        [-0.5, height - 0.5, 1]])  # fmt: skip
    placed = corners @ sprite.matrix.T
    if sprite.matrix.shape[0] == 3:
        placed = placed[:, :2] / placed[:, 2:]
    low = np.maximum(np.floor(placed.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(placed.max(axis=0)).astype(int) + 2, (canvas.shape[1], canvas.shape[0]))
    if (high <= low).any():
        return
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    if sprite.matrix.shape[0] == 3:
        shift = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], np.float64)
        warped = cv2.warpPerspective(sprite.pixels, shift @ sprite.matrix, size, flags=cv2.INTER_LINEAR)
    else:
        matrix = sprite.matrix.copy()
        matrix[:, 2] -= low
        warped = cv2.warpAffine(sprite.pixels, matrix, size, flags=cv2.INTER_LINEAR)
    where = slice(low[1], high[1]), slice(low[0], high[0])
    alpha = warped[..., 3]
    region = canvas[where]
    region *= cv2.cvtColor(1 - alpha, cv2.COLOR_GRAY2BGRA)  # several times faster than broadcasting
    labels[where][alpha > 0.5] = label
    region += warped


@functools.cache
def _grid(detail: float) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Return (rows, columns), the rows' places in [0, 1] and the columns' in [-1, 1] and the halo beyond."""
    rows, columns = round(48 * detail), round(26 * detail)
    along = ((np.arange(rows) + 0.5) / rows).astype(np.float32)
    across = ((np.arange(columns) + 0.5) / columns * 2 - 1).astype(np.float32) * np.float32(1 + HALO)
    return (rows, columns), along, across


def _limb_matrix(
    a: np.ndarray, direction: np.ndarray, length: float, widths: np.ndarray, widest: float, grid: tuple[int, int]
) -> np.ndarray:
    """Return the map from sprite px (column, row) to picture px."""
    row_px = (length + widths[0] + widths[3]) / grid[0]
    column_px = widest * 2 * (1 + HALO) / grid[1]
    down = direction * row_px
    right = np.array([direction[1], -direction[0]]) * column_px
    origin = a[:2] - direction * widths[0]
    corner = origin + down * 0.5 + right * (0.5 - grid[1] / 2)
    return np.array([[right[0], down[0], corner[0]], [right[1], down[1], corner[1]]], np.float64)


def _shade(across: np.ndarray, direction: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Light on a cylinder: half ambient, half Lambert, darker where it turns away."""
    sideways = (direction[:, 1] * light[0] - direction[:, 0] * light[1])[:, None, None]
    u = np.clip(across, -1, 1)
    facing = np.sqrt(1 - u * u)
    return 0.42 + 0.62 * np.clip(u * sideways + facing * light[2], 0, 1) + 0.14 * facing


def _dress(
    limbs: Sequence[Limb], share: np.ndarray, half: np.ndarray, phase: int, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the colours (P, R, C, 3), the half widths with cloth on, and the folds."""
    count, num_rows = share.shape
    colour = np.empty((count, num_rows, columns, 3), np.float32)
    folds = np.zeros((count, num_rows, columns), np.float32)
    half = half.copy()
    wrinkles, designs = wrinkle_map(), patterns()
    for i, limb in enumerate(limbs):
        colour[i] = limb.skin
        down = (phase * 7 + 31 * i) % (wrinkles.shape[0] - num_rows)
        left = (phase * 3 + 17 * i) % (wrinkles.shape[1] - columns)
        for cloth, rows in ((limb.cloth, share[i] < limb.covered), (limb.boot, share[i] > 1 - limb.booted)):
            if cloth is None or not rows.any():
                continue
            first, last = int(rows.argmax()), num_rows - int(rows[::-1].argmax())
            worn = slice(first, last)
            colour[i, worn] = cloth.colours[0]
            if cloth.pattern:
                design = designs[cloth.pattern][down % 8 : down % 8 + last - first, left % 8 : left % 8 + columns, None]
                colour[i, worn] += (cloth.colours[1] - cloth.colours[0]) * design
            half[i, worn] *= cloth.loose
            folds[i, worn] = wrinkles[down : down + last - first, left : left + columns] * cloth.folds
    return colour, half, folds
