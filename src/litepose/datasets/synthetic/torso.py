"""The trunk and what hangs around it: an elliptic cylinder from shoulders to hips, a skirt, as perspective quads."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from litepose.datasets.synthetic.body import INDEX, Figure
from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Cloth, Sprite, sprite_detail
from litepose.datasets.synthetic.textures import patterns, wrinkle_map

TOP, BOTTOM, WIDE = -0.13, 1.16, 1.12  # the sprite in shares of the trunk and of its half width


def torso_sprite(label: int, figure: Figure, outfit: Outfit, light: np.ndarray, depth: float, phase: int) -> Sprite:
    """Paint the trunk with the top and the upper part of what is worn below."""
    unit, body = figure.height, figure.body
    all_along, all_across = _grid(sprite_detail(unit))
    top, bottom = figure.point("thorax")[:2], figure.point("pelvis")[:2]
    axis = bottom - top
    length = max(float(np.linalg.norm(axis)), 0.04 * unit)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    right = np.array([axis[1], -axis[0]])  # across the trunk, to the viewer's right where the trunk is upright
    shoulders = _half_width(figure.chest, right, 0.93 * body.shoulder, body.chest[1] * 0.85) * unit
    chest = _half_width(figure.chest, right, *body.chest) * unit
    waist = _half_width(figure.pelvis, right, *body.waist) * unit
    hips = _half_width(figure.pelvis, right, *body.hips) * unit
    armpits = max(chest, 0.9 * shoulders)
    half = np.interp(
        all_along, (-0.13, -0.07, -0.03, 0.04, 0.16, 0.32, 0.62, 0.86, 1.0, 1.09, 1.16),
        (0.034 * unit, 0.05 * unit, 0.55 * shoulders + 0.01 * unit, 0.97 * shoulders, armpits, chest, waist,
         0.97 * hips, hips, 0.93 * hips, 0.55 * hips),
    ).astype(np.float32)  # fmt: skip
    sideways = float(figure.chest[:2, 2] @ right) * unit  # where the front is, seen from the viewer
    bend = np.interp(all_along, (0.0, 0.3, 0.6, 0.95), (-0.004, 0.012, 0.014 * body.build, -0.014)) * sideways
    ends = half[[np.searchsorted(all_along, 0.06), np.searchsorted(all_along, 1.0)]]
    straight = np.maximum(ends[0] + (ends[1] - ends[0]) * all_along, 0.02 * unit)  # (R,) of the quad
    relative = half / straight
    across = (all_across[None] - (bend / straight)[:, None]) / np.maximum(relative, 0.05)[:, None]
    u = np.clip(across, -1, 1)
    facing = np.sqrt(1 - u * u)
    turn = math.atan2(float(figure.chest[:2, 2] @ right), float(figure.chest[2, 2]))
    longitude = (np.arcsin(u) - turn + math.pi) % (2 * math.pi) - math.pi  # 0 = breastbone
    colour, folds = _dress(longitude, all_along[:, None], outfit, phase)
    shade = 0.42 + 0.62 * np.clip(u * float(light[:2] @ right) + facing * light[2], 0, 1) + 0.14 * facing + folds
    inside = relative[:, None] - np.abs(all_across[None] - (bend / straight)[:, None])
    alpha = np.clip(inside * (len(all_across) * 0.45) + 0.5, 0, 1)
    pixels = np.empty((*alpha.shape, 4), np.float32)
    np.multiply(colour, (shade * alpha * 255)[..., None], out=pixels[..., :3])
    pixels[..., 3] = alpha
    quad = []
    slopes = (_slope(figure, "shoulder", axis, right), _slope(figure, "hip", axis, right))
    for share, sign in ((TOP, -1), (TOP, 1), (BOTTOM, 1), (BOTTOM, -1)):
        reach = max(ends[0] + (ends[1] - ends[0]) * share, 0.02 * unit) * WIDE * sign
        slope = slopes[0] + (slopes[1] - slopes[0]) * share
        quad.append(top + axis * (length * share + reach * slope) + right * reach)
    return Sprite(label, depth, pixels, quad_matrix(pixels.shape[:2], np.array(quad)))


def skirt_sprite(
    label: int, figure: Figure, cloth: Cloth, reach: float, light: np.ndarray, depth: float, phase: int
) -> Sprite:
    """Paint a skirt around both thighs; reach: how far down, as a share of the thigh (above 1: over the knees)."""
    unit, body = figure.height, figure.body
    hems = []
    for side in ("left", "right"):
        hip, knee, ankle = (figure.point(f"{side}_{name}")[:2] for name in ("hip", "knee", "ankle"))
        hems.append(hip + (knee - hip) * min(reach, 1) + (ankle - knee) * max(0.0, reach - 1))
    bottom, top = (hems[0] + hems[1]) / 2, figure.point("pelvis")[:2]
    trunk = figure.point("thorax")[:2] - top
    top = top + trunk * 0.12
    axis = bottom - top
    length = max(float(np.linalg.norm(axis)), 0.06 * unit)
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    right = np.array([axis[1], -axis[0]])
    hips = _half_width(figure.pelvis, right, *body.hips) * unit
    spread = abs(float((hems[0] - hems[1]) @ right)) / 2
    hem = max(spread + 0.06 * unit * body.build, hips * (1 + 0.25 * reach))
    quad = np.array([top - right * hips * 0.9, top + right * hips * 0.9, top + axis * length + right * hem,
                     top + axis * length - right * hem])  # fmt: skip
    rows, columns = 40, 40
    u = ((np.arange(columns) + 0.5) / columns * 2 - 1).astype(np.float32)[None]
    waves = 0.10 * np.sin(u * (9 + phase % 5) + phase) * np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    facing = np.sqrt(1 - u * u)
    shade = 0.44 + 0.6 * np.clip(u * float(light[:2] @ right) + facing * light[2], 0, 1) + 0.14 * facing + waves
    design = patterns()[cloth.pattern][phase % 50 : phase % 50 + rows, :columns, None]
    colour = cloth.colours[0] + (cloth.colours[1] - cloth.colours[0]) * design
    alpha = np.ones((rows, columns), np.float32)
    alpha[[0, -1]] = alpha[:, [0, -1]] = 0.5
    pixels = np.concatenate([colour * (shade * alpha * 255)[..., None], alpha[..., None]], axis=2).astype(np.float32)
    return Sprite(label, depth, pixels, quad_matrix((rows, columns), quad))


@functools.cache
def _grid(detail: float) -> tuple[np.ndarray, np.ndarray]:
    """Return where rows (R,) and columns (C,) lie on the trunk."""
    rows, columns = round(68 * detail), round(44 * detail)
    along = TOP + (np.arange(rows) + 0.5) / rows * (BOTTOM - TOP)
    across = ((np.arange(columns) + 0.5) / columns * 2 - 1) * WIDE
    return along.astype(np.float32), across.astype(np.float32)


def quad_matrix(shape: tuple[int, int], quad: np.ndarray) -> np.ndarray:
    """Return the perspective (3, 3) that maps a sprite's outline (clockwise from its first pixel) to `quad` (4, 2)."""
    height, width = shape
    outline = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
    return cv2.getPerspectiveTransform(outline.astype(np.float32), quad.astype(np.float32))


def _half_width(frame: np.ndarray, right: np.ndarray, wide: float, deep: float) -> float:
    """Return the half width of an elliptic cylinder's outline along `right`."""
    return math.hypot(wide * float(frame[:2, 0] @ right), deep * float(frame[:2, 2] @ right))


def _slope(figure: Figure, part: str, axis: np.ndarray, right: np.ndarray) -> float:
    """Return how much the line through a pair of points climbs along the trunk, 0 where it is seen end on."""
    line = figure.points[INDEX[f"left_{part}"], :2] - figure.points[INDEX[f"right_{part}"], :2]
    wide = float(line @ right)
    full = 2 * figure.height * (figure.body.shoulder if part == "shoulder" else figure.body.hip)
    weight = min(1.0, abs(wide) / full) ** 2
    return float(np.clip(float(line @ axis) / (wide if abs(wide) > 1e-3 else 1e-3), -0.6, 0.6)) * weight


def _dress(longitude: np.ndarray, along: np.ndarray, outfit: Outfit, phase: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the colours (R, C, 3) and folds of a clothed trunk; longitude 0 = breastbone, along (R, 1)."""
    rows, columns = longitude.shape
    colour = np.empty((rows, columns, 3), np.float32)
    colour[:] = outfit.skin
    folds = np.zeros((rows, columns), np.float32)
    front = np.abs(longitude)
    top = outfit.top
    if top is not None:
        down, left = phase * 5 % (wrinkle_map().shape[0] - rows), phase * 3 % (wrinkle_map().shape[1] - columns)
        neck = outfit.neckline * np.clip(1.7 - 1.4 * front, -0.2, 1.5) - 0.03  # deep in front, high at the back
        worn = np.clip((along - neck) * (rows * 0.6) + 0.5, 0, 1)  # (R, C), soft at the collar
        cloth = np.empty_like(colour)
        cloth[:] = top.colours[0]
        if top.pattern:
            design = patterns()[top.pattern][:rows, left % 40 : left % 40 + columns, None]
            cloth += (top.colours[1] - top.colours[0]) * design
        if outfit.jacket:
            cloth[front < 0.16 + 0.1 * along] = outfit.hat_colour * 0.5 + 0.45
        elif outfit.logo is not None:
            cloth[(front < 0.42) & (along > 0.22) & (along < 0.42)] = outfit.logo
        colour += (cloth - colour) * worn[..., None]
        folds += wrinkle_map()[down : down + rows, left : left + columns] * worn * top.folds
    below = (along > (outfit.hem if top is not None else 0.88))[:, 0]
    colour[below] = outfit.bottom.colours[0] * np.float32(0.95)
    colour[below & (along[:, 0] > 0.86) & (along[:, 0] < 0.90)] = outfit.bottom.colours[0] * np.float32(0.55)
    return colour, folds
