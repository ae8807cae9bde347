"""Heads: an ellipsoid whose every pixel knows its direction, so face, hair, beard and hat are right in any view."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Sprite, sprite_detail

REACH = 1.36  # the sprite covers this many radii: hair and hats stand out


@dataclass(frozen=True)
class _Grid:
    """Where the pixels of a head's sprite lie in the unit disc that the head's outline maps to."""

    side: int
    radius: np.ndarray
    rim: tuple[np.ndarray, np.ndarray]  # directions from the middle
    ball: tuple[np.ndarray, np.ndarray, np.ndarray]  # points of the unit ball, those outside moved to its rim


@functools.cache
def _grid(side: int) -> _Grid:
    disc = ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32) * np.float32(REACH)
    x, y = np.meshgrid(disc, disc)
    radius = np.maximum(np.sqrt(x**2 + y**2), np.float32(1e-4))
    inside = np.minimum(radius, 1) / radius
    bulge = np.sqrt(1 - np.minimum(radius, 1) ** 2)
    return _Grid(side, radius, (x / radius, y / radius), (x * inside, y * inside, bulge))


def head_sprite(
    label: int, centre: np.ndarray, frame: np.ndarray, axes_px: np.ndarray, outfit: Outfit, light: np.ndarray,
    depth: float,
) -> Sprite:  # fmt: skip
    """Paint a head at `centre`; frame: (3, 3) columns left, down, forward in the camera's frame."""
    grid = _grid(round(52 * sprite_detail(14 * float(axes_px[1]))))
    ellipsoid = frame * axes_px  # surface point = ellipsoid @ unit direction
    lower, basis = _outline(ellipsoid)
    x, y, z = (grid.ball[0] * basis[0, i] + grid.ball[1] * basis[1, i] + grid.ball[2] * basis[2, i] for i in range(3))
    rim_x, rim_y, rim_z = (grid.rim[0] * basis[0, i] + grid.rim[1] * basis[1, i] for i in range(3))
    hair = _hair(x, y, z, outfit.haircut)
    thickness = _thickness(outfit)
    reach = 1 + thickness * np.clip(_hair(rim_x, rim_y, rim_z, outfit.haircut) * 3, 0, 1)
    reach -= 0.16 * np.clip(rim_y, 0, 1) ** 2 * np.abs(rim_x)  # the jaw
    colour = _face(x, y, z, outfit)
    _mix(colour, np.clip(hair * 9 + 0.5, 0, 1), outfit.hair * (0.8 + 0.4 * ((x * 7 + z * 5 + y * 2) % 1))[..., None])
    if outfit.hat:
        reach = _put_on(outfit, colour, reach, (x, y, z), rim_y)
    alpha = np.clip((reach - grid.radius) * (grid.side * 0.32) + 0.5, 0, 1)
    to_camera = (frame / axes_px) @ basis.T  # normals of an ellipsoid: the inverse transpose of its axes
    to_camera = light @ to_camera / max(float(np.linalg.norm(to_camera[:, 2])), 1e-9)
    lit = sum(part * np.float32(weight) for part, weight in zip(grid.ball, to_camera, strict=True))
    shade = 0.45 + 0.58 * np.clip(lit, 0, 1) + 0.12 * grid.ball[2]
    pixels = np.empty((grid.side, grid.side, 4), np.float32)
    np.multiply(colour, (shade * alpha * 255)[..., None], out=pixels[..., :3])
    pixels[..., 3] = alpha
    step = REACH * 2 / grid.side
    matrix = np.concatenate([lower * step, np.zeros((2, 1))], axis=1)
    matrix[:, 2] = centre[:2] - matrix[:, :2] @ np.full(2, (grid.side - 1) / 2)
    return Sprite(label, depth, pixels, matrix)


def _outline(ellipsoid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how an ellipsoid's outline comes from the unit disc (2, 2), and the disc's axes and its normal (3, 3).

    With rows b0, b1, b2 of the second, picture = first @ (b0 @ direction, b1 @ direction); b2 points to the viewer.
    """
    first, second = ellipsoid[0], ellipsoid[1]
    long = float(np.linalg.norm(first))
    across = first / long
    shared = float(second @ across)
    rest = second - shared * across
    short = float(np.linalg.norm(rest))
    down = rest / short
    towards = np.cross(across, down)
    towards = towards if float(ellipsoid[2] @ towards) > 0 else -towards
    return np.array([[long, 0.0], [shared, short]]), np.stack([across, down, towards]).astype(np.float32)


def ears_show(outfit: Outfit) -> bool:
    """Say whether the ears are free of hair and hats."""
    return outfit.haircut in ("short", "crop", "bald", "receding", "bun", "ponytail") and outfit.hat != "helmet"


def _thickness(outfit: Outfit) -> float:
    return {"bald": 0.0, "crop": 0.03, "receding": 0.05, "short": 0.08, "curls": 0.26, "bun": 0.07,
            "ponytail": 0.07, "bob": 0.14, "long": 0.12}[outfit.haircut]  # fmt: skip


def _hair(x: np.ndarray, y: np.ndarray, z: np.ndarray, haircut: str) -> np.ndarray:
    """Return how far inside the hair a direction lies (below 0 = skin)."""
    if haircut == "bald":
        return np.full_like(x, -1.0)
    back, top, slope = {"crop": (0.05, -0.62, 0.6), "short": (0.05, -0.52, 0.6), "receding": (0.0, -0.78, 0.3),
                        "curls": (0.18, -0.45, 0.6), "bob": (0.34, -0.48, 0.15), "long": (0.34, -0.50, 0.1),
                        "ponytail": (0.02, -0.55, 0.6), "bun": (0.02, -0.58, 0.6)}[haircut]  # fmt: skip
    behind = back - z - slope * np.maximum(y - 0.1, 0)
    return np.maximum(np.minimum(behind, 0.78 - y), top - y + 0.12 * x * x)


def _face(x: np.ndarray, y: np.ndarray, z: np.ndarray, outfit: Outfit) -> np.ndarray:
    """Return the colours of the skin with eyes, brows, nose, mouth, beard and glasses."""
    colour = np.empty((*x.shape, 3), np.float32)
    colour[:] = outfit.skin
    if z.max() < 0.25:
        return colour
    front = z > 0
    side = np.abs(x) - 0.40
    if outfit.beard:
        _mix(colour, np.clip((y - 0.36 - 0.2 * (np.abs(x) < 0.22)) * 8, 0, 1) * front * 0.85, outfit.hair)
    _mix(colour, _spot(side, y + 0.02, 0.24, 0.16) * front * 0.35, outfit.skin * 0.55)
    _mix(colour, _spot(side, y + 0.02, 0.17, 0.085) * front, np.float32(0.92))
    _mix(colour, _spot(side, y + 0.02, 0.085, 0.09) * front, outfit.iris * 0.6)
    _mix(colour, _spot(side, y + 0.22 + 0.25 * side * side, 0.24, 0.055) * front * 0.9, outfit.hair * 0.7)
    _mix(colour, _spot(np.abs(x) - 0.11, y - 0.36, 0.10, 0.06) * front * 0.6, outfit.skin * 0.5)
    _mix(colour, _spot(x - 0.06, y - 0.15, 0.07, 0.22) * front * 0.3, np.minimum(outfit.skin * 1.25, 1))
    _mix(colour, _spot(x, y - 0.60, 0.30, 0.075) * front * 0.9, outfit.skin * np.array([0.55, 0.5, 0.8], np.float32))
    if outfit.glasses:
        ring = np.clip(1 - np.abs(np.sqrt((side / 0.30) ** 2 + ((y + 0.02) / 0.22) ** 2) - 1) * 5, 0, 1)
        _mix(colour, np.maximum(ring, _spot(x, y + 0.05, 0.12, 0.04)) * front, np.float32(0.08))
    return colour


def _put_on(
    outfit: Outfit, colour: np.ndarray, reach: np.ndarray, direction: tuple[np.ndarray, np.ndarray, np.ndarray],
    rim_y: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Paint the hat's crown and return how far the head reaches with it on."""
    x, y, z = direction
    line = {"helmet": 0.05, "beanie": -0.25, "cap": -0.38, "sun hat": -0.36}[outfit.hat]
    tilt = {"helmet": -0.38, "beanie": -0.2, "cap": -0.08, "sun hat": 0.0}[outfit.hat]
    stripes = 0.75 + 0.25 * (np.abs((np.abs(x) * 4) % 1 - 0.5) < 0.3)
    worn = np.clip((line + tilt * z - y) * 9 + 0.5, 0, 1)
    _mix(colour, worn, outfit.hat_colour * stripes[..., None])
    extra = {"helmet": 0.22, "beanie": 0.14, "cap": 0.12, "sun hat": 0.14}[outfit.hat]
    return np.where(rim_y < line, np.maximum(reach, 1 + extra), reach)


def _spot(x: np.ndarray, y: np.ndarray, width: float, height: float) -> np.ndarray:
    """Return a soft ellipse around the origin."""
    return np.clip((1 - (x / width) ** 2 - (y / height) ** 2) * 2, 0, 1)


def _mix(colour: np.ndarray, weight: np.ndarray, other: np.ndarray | np.float32) -> None:
    colour += (other - colour) * cv2.cvtColor(weight.astype(np.float32, copy=False), cv2.COLOR_GRAY2BGR)
