"""Heads: an ellipsoid whose every pixel knows its direction, so face, hair, beard and hat are right in any view."""

from __future__ import annotations

import numpy as np

from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Sprite

SIDE = 52
REACH = 1.36  # the sprite covers this many radii: hair and hats stand out
_DISC = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1).astype(np.float32) * REACH
_X, _Y = np.meshgrid(_DISC, _DISC)
_RADIUS = np.maximum(np.sqrt(_X**2 + _Y**2), 1e-4)
_INSIDE = np.minimum(_RADIUS, 1.0)
_RIM_X, _RIM_Y = _X / _RADIUS, _Y / _RADIUS
_BULGE = np.sqrt(1 - _INSIDE**2)
_EDGE = SIDE / REACH / 3.2  # px of the sprite to a soft edge


def head_sprite(
    label: int, centre: np.ndarray, frame: np.ndarray, axes_px: np.ndarray, outfit: Outfit, light: np.ndarray,
    depth: float,
) -> Sprite:  # fmt: skip
    """Paint a head at `centre`; frame: (3, 3) columns left, down, forward in the camera's frame."""
    ellipsoid = frame * axes_px  # surface point = ellipsoid @ unit direction
    rows, lower = np.linalg.qr(ellipsoid[:2].T)  # (3, 2), (2, 2): picture = lower.T @ (rows.T @ direction)
    towards = np.cross(rows[:, 0], rows[:, 1])
    towards = towards if (ellipsoid @ towards)[2] > 0 else -towards
    basis = np.stack([rows[:, 0], rows[:, 1], towards]).astype(np.float32)
    inside = _X * (_INSIDE / _RADIUS), _Y * (_INSIDE / _RADIUS)
    x, y, z = (inside[0] * basis[0, i] + inside[1] * basis[1, i] + _BULGE * basis[2, i] for i in range(3))
    rim_x, rim_y, rim_z = (_RIM_X * basis[0, i] + _RIM_Y * basis[1, i] for i in range(3))
    hair = _hair(x, y, z, outfit.haircut)
    thickness = _thickness(outfit)
    reach = 1 + thickness * np.clip(_hair(rim_x, rim_y, rim_z, outfit.haircut) * 3, 0, 1)
    reach -= 0.16 * np.clip(rim_y, 0, 1) ** 2 * np.abs(rim_x)  # the jaw
    colour = _face(x, y, z, outfit)
    _mix(colour, np.clip(hair * 9 + 0.5, 0, 1), outfit.hair * (0.8 + 0.4 * ((x * 7 + z * 5 + y * 2) % 1))[..., None])
    if outfit.hat:
        reach = _put_on(outfit, colour, reach, (x, y, z), rim_y)
    alpha = np.clip((reach - _RADIUS) * _EDGE + 0.5, 0, 1)
    normals = (inside[0], inside[1], _BULGE)
    to_camera = np.linalg.solve(ellipsoid.T, basis.T)  # normals of an ellipsoid: inverse transpose
    to_camera = light @ to_camera / max(np.linalg.norm(to_camera[:, 2]), 1e-9)
    lit = sum(part * np.float32(weight) for part, weight in zip(normals, to_camera, strict=True))
    shade = 0.45 + 0.58 * np.clip(lit, 0, 1) + 0.12 * _BULGE
    pixels = np.empty((SIDE, SIDE, 4), np.float32)
    np.multiply(colour, (shade * alpha)[..., None], out=pixels[..., :3])
    pixels[..., 3] = alpha
    step = REACH * 2 / SIDE
    matrix = np.concatenate([lower.T * step, np.zeros((2, 1))], axis=1)
    matrix[:, 2] = centre[:2] - matrix[:, :2] @ np.full(2, (SIDE - 1) / 2)
    return Sprite(label, depth, pixels, matrix)


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
    colour += (other - colour) * weight[..., None]
