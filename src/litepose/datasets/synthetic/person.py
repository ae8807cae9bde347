"""One person: a posed figure in an outfit becomes sprites, far ones first; which of its keypoints are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.datasets.synthetic.body import HEAD_PLACES, INDEX, SIDES, Figure
from litepose.datasets.synthetic.head import ears_show, head_sprite
from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Cloth, Limb, Sprite, limb_sprites
from litepose.datasets.synthetic.torso import skirt_sprite, torso_sprite

PARTS = (
    "nothing", "torso", "skirt", "neck", "head", "locks", "hat", "left_ear", "right_ear", "left_upper_arm",
    "right_upper_arm", "left_forearm", "right_forearm", "left_hand", "right_hand", "left_thigh", "right_thigh",
    "left_calf", "right_calf", "left_foot", "right_foot",
)  # fmt: skip
PART = {name: i for i, name in enumerate(PARTS)}
PARTS_EACH = 32  # labels in a scene: person * PARTS_EACH + part; parts above len(PARTS) belong to no body

# Which part must be on top at a keypoint's pixel for it to be seen.
_SHOWN_BY = {
    "pelvis": ("torso", "skirt"), "thorax": ("torso", "neck"), "neck": ("neck", "torso", "head"),
    "head_top": ("head", "hat"), "nose": ("head",),
    **{f"{side}_{name}": tuple(part.replace("*", side) for part in parts)
       for side in SIDES
       for name, parts in (("eye", ("head",)), ("ear", ("*_ear", "head")),
                           ("shoulder", ("torso", "*_upper_arm", "neck")), ("elbow", ("*_upper_arm", "*_forearm")),
                           ("wrist", ("*_forearm", "*_hand")), ("hip", ("torso", "skirt", "*_thigh")),
                           ("knee", ("*_thigh", "*_calf", "skirt")), ("ankle", ("*_calf", "*_foot")))},
}  # fmt: skip
KEYPOINTS = tuple(_SHOWN_BY)


@dataclass(frozen=True)
class Person:
    """A figure in picture px and what it wears."""

    figure: Figure
    outfit: Outfit
    phase: int


def person_sprites(person: Person, light: np.ndarray, halo: float) -> list[Sprite]:
    """Return all parts of a person, far ones first."""
    figure, outfit = person.figure, person.outfit
    limbs = [*_arms(figure, outfit), *_legs(figure, outfit), *_head_limbs(figure, outfit)]
    sprites = limb_sprites(limbs, light, halo, person.phase)
    axes_px = np.array(figure.body.head) * figure.height
    middle = (figure.point("thorax") + figure.point("pelvis"))[2] / 2
    sprites.append(torso_sprite(PART["torso"], figure, outfit, light, middle, person.phase))
    depth = max(figure.point("head")[2], figure.point("neck")[2] - 0.01 * figure.height)
    sprites.append(head_sprite(PART["head"], figure.point("head"), figure.head, axes_px, outfit, light, depth))
    if outfit.skirt:
        knees = max(figure.point("left_knee")[2], figure.point("right_knee")[2])
        over = max(middle, 0.5 * (knees + middle)) + 0.03 * figure.height
        sprites.append(skirt_sprite(PART["skirt"], figure, outfit.bottom, outfit.skirt, light, over, person.phase))
    return sorted(sprites, key=lambda sprite: sprite.depth)


def seen_keypoints(person: Person, number: int, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (len(KEYPOINTS), 2) and visible 0, 1 or 2 of a painted person.

    labels: (H, W) of the whole scene; `number` of this person in it. 0 = outside the picture.
    """
    figure = person.figure
    places = figure.points[[INDEX[name] for name in KEYPOINTS], :2]
    visible = np.zeros(len(KEYPOINTS), np.int64)
    height, width = labels.shape
    pixels = np.floor(places + 0.5).astype(int)
    for i, name in enumerate(KEYPOINTS):
        x, y = int(pixels[i, 0]), int(pixels[i, 1])
        if not (0 <= x < width and 0 <= y < height):
            continue
        top = int(labels[y, x])
        shown = top // PARTS_EACH == number and PARTS[top % PARTS_EACH] in _SHOWN_BY[name]
        visible[i] = 2 if shown and _faces_viewer(name, figure, person.outfit) else 1
    return places, visible


def _faces_viewer(name: str, figure: Figure, outfit: Outfit) -> bool:
    """Say whether a keypoint lies on the side of the body that is turned to the viewer."""
    place = HEAD_PLACES.get(name)
    if name.endswith("_ear"):
        return ears_show(outfit) and float((figure.head @ np.array(place))[2]) > -0.3
    if place is not None and name != "head_top":
        slack = 0.25 if name == "nose" else -0.02  # the nose shows in profile
        return float((figure.head @ np.array(place))[2]) > -slack
    if name.endswith(("_shoulder", "_hip")):
        centre = figure.point("thorax" if name.endswith("_shoulder") else "pelvis")
        return float(figure.point(name)[2] - centre[2]) > -0.045 * figure.height
    return True


def _arms(figure: Figure, outfit: Outfit) -> list[Limb]:
    unit, build = figure.height, figure.body.build
    limbs = []
    upper = (0.031, 0.030, 0.026, 0.0225)
    lower = (0.0225, 0.0245, 0.019, 0.0145)
    for side in SIDES:
        names = ("shoulder", "elbow", "wrist", "hand")
        shoulder, elbow, wrist, hand = (figure.point(f"{side}_{name}") for name in names)
        rise = 0.012 * unit
        limbs.append(
            Limb(
                PART[f"{side}_upper_arm"],
                shoulder,
                elbow,
                _girth(upper, unit, build),
                outfit.skin,
                (shoulder[2] + elbow[2]) / 2 + rise,
                outfit.top,
                min(1.01, outfit.sleeves),
            )
        )
        limbs.append(
            Limb(
                PART[f"{side}_forearm"],
                elbow,
                wrist,
                _girth(lower, unit, build),
                outfit.skin,
                (elbow[2] + wrist[2]) / 2 + 1.2 * rise,
                outfit.top,
                outfit.sleeves - 1.03,
            )
        )
        knuckles = wrist + (hand - wrist) * 0.85
        limbs.append(
            Limb(
                PART[f"{side}_hand"],
                wrist + (hand - wrist) * 0.1,
                knuckles,
                _girth((0.0145, 0.021, 0.020, 0.012), unit, 1.0),
                outfit.skin,
                (wrist[2] + hand[2]) / 2 + 1.3 * rise,
            )
        )
    return limbs


def _legs(figure: Figure, outfit: Outfit) -> list[Limb]:
    unit, build = figure.height, figure.body.build
    limbs = []
    shoes = outfit.shoes
    for side in SIDES:
        names = ("hip", "knee", "ankle", "heel", "toe")
        hip, knee, ankle, heel, toe = (figure.point(f"{side}_{name}") for name in names)
        limbs.append(
            Limb(
                PART[f"{side}_thigh"],
                hip,
                knee,
                _girth((0.053, 0.052, 0.044, 0.034), unit, build),
                outfit.skin,
                0.4 * hip[2] + 0.6 * knee[2] - 0.01 * unit,
                outfit.bottom,
                min(1.01, outfit.legs),
            )
        )
        limbs.append(
            Limb(
                PART[f"{side}_calf"],
                knee,
                ankle,
                _girth((0.033, 0.037, 0.027, 0.0185), unit, build),
                outfit.skin,
                (knee[2] + ankle[2]) / 2,
                outfit.bottom,
                outfit.legs - 1.03,
                shoes,
                outfit.boots if shoes else 0.0,
            )
        )
        limbs.append(
            Limb(
                PART[f"{side}_foot"],
                heel,
                toe,
                _girth((0.022, 0.026, 0.024, 0.017), unit, 1.0),
                outfit.skin,
                (ankle[2] + toe[2]) / 2 + 0.01 * unit,
                shoes,
                1.01 if shoes else 0.0,
            )
        )
    return limbs


def _head_limbs(figure: Figure, outfit: Outfit) -> list[Limb]:
    """Neck, ears, nose, and what hangs from or sticks out of the head."""
    unit, body = figure.height, figure.body
    axes = np.array(body.head) * unit
    head, thorax = figure.point("head"), figure.point("thorax")

    def on_head(x: float, y: float, z: float) -> np.ndarray:
        return head + figure.head @ (np.array([x, y, z]) * axes)

    facing = float(figure.head[2, 2])
    throat = on_head(0, 0.55, -0.15)
    shaded = outfit.skin * np.float32(0.86)
    limbs = [
        Limb(
            PART["neck"],
            thorax + (figure.chest[:, 1] * 0.012) * unit,
            throat,
            _girth((0.038, 0.030, 0.029, 0.032), unit, body.build**0.5),
            shaded,
            max(figure.point("thorax")[2], thorax[2]) + 0.004 * unit,
        )
    ]
    for side, sign in zip(SIDES, (1, -1), strict=True):
        if ears_show(outfit):
            limbs.append(
                Limb(
                    PART[f"{side}_ear"],
                    on_head(sign * 0.99, -0.02, -0.06),
                    on_head(sign * 0.98, 0.22, -0.02),
                    tuple(axes[1] * w for w in (0.13, 0.14, 0.11, 0.08)),
                    outfit.skin * np.float32(0.92),
                    head[2] + sign * figure.head[2, 0] * axes[0] + 0.01 * unit * np.sign(sign * figure.head[2, 0]),
                )
            )
    bridge = on_head(0, 0.10, 0.96)
    tip = on_head(0, 0.32, 1.08)
    limbs.append(
        Limb(
            PART["head"],
            bridge,
            tip,
            tuple(axes[1] * w for w in (0.06, 0.08, 0.11, 0.10)),
            np.minimum(outfit.skin * np.float32(1.03), 1),
            head[2] + (0.02 if facing > -0.15 else -0.02) * unit,
        )
    )
    limbs.extend(_locks(outfit, on_head, figure, axes))
    return limbs


def _locks(outfit: Outfit, on_head, figure: Figure, axes: np.ndarray) -> list[Limb]:
    """Long hair, ponytails, buns and brims."""
    unit = figure.height
    hair = outfit.hair * np.float32(0.95)
    strands = Cloth((hair, hair * np.float32(0.8)), 3, 1.0, 0.10)
    locks: list[tuple[np.ndarray, np.ndarray, tuple[float, float, float, float]]] = []
    fall = np.array([0.0, 1.0, 0.0]) * unit  # hair falls
    if outfit.haircut in ("long", "bob"):
        start = on_head(0, -0.1, -0.35)
        reach = 0.20 if outfit.haircut == "long" else 0.09
        spine = figure.point("thorax") - figure.point("head") - figure.chest[:, 2] * 0.05 * unit
        end = start + (0.11 * fall + spine) * (reach / 0.2)
        locks.append((start, end, (1.02 * axes[0], 1.16 * axes[0], 1.10 * axes[0], 0.7 * axes[0])))
    elif outfit.haircut == "ponytail":
        start = on_head(0, -0.35, -1.0)
        locks.append(
            (
                start,
                start - figure.head[:, 2] * 0.05 * unit + fall * 0.11,
                (0.02 * unit, 0.03 * unit, 0.026 * unit, 0.01 * unit),
            )
        )
    elif outfit.haircut == "bun":
        place = on_head(0, -0.85, -0.65)
        locks.append((place, place + figure.head[:, 1] * 0.003 * unit, (0.028 * unit,) * 4))
    limbs = [Limb(PART["locks"], a, b, w, hair, (0.3 * a + 0.7 * b)[2], strands, 1.01) for a, b, w in locks]
    if outfit.hat in ("cap", "sun hat"):
        limbs.extend(_brims(outfit, on_head, figure, axes))
    return limbs


def _brims(outfit: Outfit, on_head, figure: Figure, axes: np.ndarray) -> list[Limb]:
    colour = outfit.hat_colour * np.float32(0.85)
    if outfit.hat == "cap":
        a, b = on_head(0, -0.42, 0.80), on_head(0, -0.32, 1.55)
        widths = tuple(axes[0] * w for w in (0.62, 0.72, 0.66, 0.35))
    else:
        across = np.array([1.0, 0.0, 0.0])
        a, b = on_head(*(-1.25 * across + [0, -0.36, 0])), on_head(*(1.25 * across + [0, -0.36, 0]))
        widths = tuple(axes[0] * w for w in (0.22, 0.34, 0.34, 0.22))
    middle = figure.point("head")[2]
    depth = middle + (0.03 if (a + b)[2] / 2 >= middle - 1e-3 else -0.03) * figure.height
    return [Limb(PART["hat"], a, b, widths, colour, depth)]


def _girth(widths: tuple[float, float, float, float], unit: float, build: float) -> tuple[float, float, float, float]:
    first, second, third, fourth = (width * unit * build for width in widths)
    return first, second, third, fourth
