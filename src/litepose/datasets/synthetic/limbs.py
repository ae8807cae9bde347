"""The capsules that a person is made of: arms, legs, neck, ears, nose, hair that hangs, brims of hats."""

from __future__ import annotations

import numpy as np

from litepose.datasets.synthetic.body import SIDES, Figure
from litepose.datasets.synthetic.head import ears_show
from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Cloth, Limb

PARTS = (
    "nothing", "torso", "skirt", "neck", "head", "locks", "hat", "left_ear", "right_ear", "left_upper_arm",
    "right_upper_arm", "left_forearm", "right_forearm", "left_hand", "right_hand", "left_thigh", "right_thigh",
    "left_calf", "right_calf", "left_foot", "right_foot", "prop",
)  # fmt: skip
PART = {name: i for i, name in enumerate(PARTS)}

Widths = tuple[float, float, float, float]


def person_limbs(figure: Figure, outfit: Outfit) -> list[Limb]:
    """Return all capsules of a person in clothes."""
    limbs = [*_neck_and_face(figure, outfit), *_locks(figure, outfit), *_brims(figure, outfit)]
    for side in SIDES:
        limbs += [*_arm(figure, outfit, side), *_leg(figure, outfit, side)]
    return limbs


def trunk_depth(figure: Figure) -> float:
    """Return the depth of the middle of the trunk."""
    return float((figure.point("thorax") + figure.point("pelvis"))[2] / 2)


def girth(figure: Figure, widths: Widths, *, build: float = 1.0) -> Widths:
    """Return half widths in px from shares of the standing height."""
    unit = figure.height * build
    return widths[0] * unit, widths[1] * unit, widths[2] * unit, widths[3] * unit


def _arm(figure: Figure, outfit: Outfit, side: str) -> list[Limb]:
    shoulder, elbow, wrist, hand = (figure.point(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist", "hand"))
    build, rise = figure.body.build, 0.012 * figure.height
    upper = girth(figure, (0.030, 0.030, 0.026, 0.0225), build=build)
    lower = girth(figure, (0.0225, 0.0245, 0.019, 0.0145), build=build)
    palm = wrist + (hand - wrist) * 0.85
    out = figure.chest[:, 0] * (1 if side == "left" else -1)
    thumb = wrist + (hand - wrist) * 0.25
    inwards = figure.chest[:, 2] * 0.6 - out * 0.6
    tip = thumb + (hand - wrist) * 0.35 + inwards * 0.028 * figure.height
    depth = (wrist[2] + hand[2]) / 2 + 1.3 * rise
    part = PART[f"{side}_hand"]
    return [
        Limb(PART[f"{side}_upper_arm"], shoulder, elbow, upper, outfit.skin, (shoulder[2] + elbow[2]) / 2 + rise,
             outfit.top, min(1.01, outfit.sleeves)),
        Limb(PART[f"{side}_forearm"], elbow, wrist, lower, outfit.skin, (elbow[2] + wrist[2]) / 2 + 1.2 * rise,
             outfit.top, outfit.sleeves - 1.03),
        Limb(part, thumb, tip, girth(figure, (0.010, 0.0095, 0.008, 0.006)), outfit.skin, depth),
        Limb(part, wrist + (hand - wrist) * 0.1, palm, girth(figure, (0.0145, 0.022, 0.021, 0.011)), outfit.skin,
             depth),
    ]  # fmt: skip


def _leg(figure: Figure, outfit: Outfit, side: str) -> list[Limb]:
    hip, knee, ankle, heel, toe = (figure.point(f"{side}_{name}") for name in ("hip", "knee", "ankle", "heel", "toe"))
    unit, build, shoes = figure.height, figure.body.build, outfit.shoes
    thigh = girth(figure, (0.050, 0.051, 0.044, 0.034), build=build)
    calf = girth(figure, (0.033, 0.037, 0.027, 0.0185), build=build)
    return [
        Limb(PART[f"{side}_thigh"], hip, knee, thigh, outfit.skin, 0.4 * hip[2] + 0.6 * knee[2] - 0.01 * unit,
             outfit.bottom, min(1.01, outfit.legs)),
        Limb(PART[f"{side}_calf"], knee, ankle, calf, outfit.skin, (knee[2] + ankle[2]) / 2, outfit.bottom,
             outfit.legs - 1.03, shoes, outfit.boots if shoes else 0.0),
        Limb(PART[f"{side}_foot"], heel, toe, girth(figure, (0.022, 0.026, 0.024, 0.017)), outfit.skin,
             (ankle[2] + toe[2]) / 2 + 0.01 * unit, shoes, 1.01 if shoes else 0.0),
    ]  # fmt: skip


def _neck_and_face(figure: Figure, outfit: Outfit) -> list[Limb]:
    """Return the neck, the free ears and the tip of the nose."""
    unit, head = figure.height, figure.point("head")
    tall = figure.body.head[1] * unit
    collar = figure.point("thorax") + figure.chest[:, 1] * 0.012 * unit
    widths = girth(figure, (0.036, 0.030, 0.029, 0.032), build=figure.body.build**0.5)
    bends_to_us = figure.chest[2, 1] < -0.5
    depth = collar[2] if bends_to_us else trunk_depth(figure) - 0.002 * unit
    limbs = [
        Limb(PART["neck"], collar, _on_head(figure, 0, 0.55, -0.15), widths, outfit.skin * np.float32(0.86), depth)
    ]
    for side, sign in zip(SIDES, (1, -1), strict=True):
        if ears_show(outfit):
            top, lobe = _on_head(figure, sign * 0.99, 0.0, -0.06), _on_head(figure, sign * 0.98, 0.26, -0.02)
            nearer = float(np.sign(sign * figure.head[2, 0])) * 0.03 * unit
            widths = tall * 0.13, tall * 0.14, tall * 0.11, tall * 0.08
            limbs.append(Limb(PART[f"{side}_ear"], top, lobe, widths, outfit.skin * np.float32(0.92), head[2] + nearer))
    front = 0.02 if figure.head[2, 2] > -0.15 else -0.02
    bridge, tip = _on_head(figure, 0, 0.06, 0.96), _on_head(figure, 0, 0.28, 1.08)
    widths = tall * 0.06, tall * 0.08, tall * 0.11, tall * 0.10
    colour = np.minimum(outfit.skin * np.float32(1.03), 1)
    return [*limbs, Limb(PART["head"], bridge, tip, widths, colour, head[2] + front * unit)]


def _locks(figure: Figure, outfit: Outfit) -> list[Limb]:
    """Return hair that hangs or is tied: it falls behind the back."""
    unit, wide = figure.height, figure.body.head[0] * figure.height
    fall = np.array([0.0, 1.0, 0.0]) * unit
    if outfit.haircut in ("long", "bob"):
        a = _on_head(figure, 0, -0.1, -0.35)
        spine = figure.point("thorax") - figure.point("head") - figure.chest[:, 2] * 0.05 * unit
        b = a + (0.11 * fall + spine) * (1.0 if outfit.haircut == "long" else 0.45)
        widths = 1.02 * wide, 1.16 * wide, 1.10 * wide, 0.7 * wide
    elif outfit.haircut == "ponytail":
        a = _on_head(figure, 0, -0.35, -1.0)
        b = a - figure.head[:, 2] * 0.05 * unit + fall * 0.11
        widths = girth(figure, (0.02, 0.03, 0.026, 0.01))
    elif outfit.haircut == "bun":
        a = _on_head(figure, 0, -0.85, -0.65)
        b = a + figure.head[:, 1] * 0.003 * unit
        widths = girth(figure, (0.028,) * 4)
    else:
        return []
    depth = float(0.3 * a[2] + 0.7 * b[2])
    if outfit.haircut != "bun":
        behind = figure.chest[2, 2] > 0
        depth = (
            min(depth, trunk_depth(figure) - 0.01 * unit) if behind else max(depth, trunk_depth(figure) + 0.02 * unit)
        )
    hair = outfit.hair * np.float32(0.95)
    return [Limb(PART["locks"], a, b, widths, hair, depth, Cloth((hair, hair * np.float32(0.8)), 3, 1.0, 0.10), 1.01)]


def _brims(figure: Figure, outfit: Outfit) -> list[Limb]:
    """Return what sticks out of a cap or a sun hat."""
    if outfit.hat not in ("cap", "sun hat"):
        return []
    wide = figure.body.head[0] * figure.height
    if outfit.hat == "cap":
        a, b = _on_head(figure, 0, -0.42, 0.80), _on_head(figure, 0, -0.32, 1.55)
        widths = 0.62 * wide, 0.72 * wide, 0.66 * wide, 0.35 * wide
    else:
        a, b = _on_head(figure, -1.25, -0.36, 0), _on_head(figure, 1.25, -0.36, 0)
        widths = 0.22 * wide, 0.34 * wide, 0.34 * wide, 0.22 * wide
    middle = figure.point("head")[2]
    depth = middle + (0.03 if (a + b)[2] / 2 >= middle - 1e-3 else -0.03) * figure.height
    return [Limb(PART["hat"], a, b, widths, outfit.hat_colour * np.float32(0.85), depth)]


def _on_head(figure: Figure, left: float, down: float, forward: float) -> np.ndarray:
    """Return a place given in the half axes of the head."""
    return figure.point("head") + figure.head @ (np.array([left, down, forward]) * figure.body.head) * figure.height
