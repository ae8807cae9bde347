"""One person: a posed figure in an outfit becomes sprites, far ones first; which of its keypoints are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.datasets.synthetic.body import HEAD_PLACES, INDEX, SIDES, Figure
from litepose.datasets.synthetic.head import ears_show, head_sprite
from litepose.datasets.synthetic.limbs import PART, PARTS, person_limbs, trunk_depth
from litepose.datasets.synthetic.outfit import Outfit
from litepose.datasets.synthetic.painting import Limb, Sprite, limb_sprites, sprite_detail
from litepose.datasets.synthetic.torso import skirt_sprite, torso_sprite
from litepose.skeleton import FACE

PARTS_EACH = 32  # labels in a scene: person * PARTS_EACH + part

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
TURNED_AWAY = -0.35  # of a head's half axes behind its middle: from here on a face's keypoint is out of sight
assert len(PARTS) <= PARTS_EACH, len(PARTS)


@dataclass(frozen=True)
class Person:
    """A figure in picture px, what it wears and what it has with it."""

    figure: Figure
    outfit: Outfit
    props: tuple[Limb, ...]
    phase: int  # of folds and patterns


def person_sprites(person: Person, light: np.ndarray, halo: float) -> list[Sprite]:
    """Return all parts of a person, far ones first."""
    figure, outfit = person.figure, person.outfit
    limbs = [*person_limbs(figure, outfit), *person.props]
    sprites = limb_sprites(limbs, light, halo, person.phase, detail=sprite_detail(figure.height))
    axes_px = np.array(figure.body.head) * figure.height
    middle = trunk_depth(figure)
    sprites.append(torso_sprite(PART["torso"], figure, outfit, light, middle, person.phase))
    depth = max(figure.point("head")[2], figure.point("neck")[2] - 0.01 * figure.height)
    sprites.append(head_sprite(PART["head"], figure.point("head"), figure.head, axes_px, outfit, light, depth))
    if outfit.skirt:
        knees = max(figure.point("left_knee")[2], figure.point("right_knee")[2])
        over = max(middle, 0.5 * (knees + middle)) + 0.03 * figure.height
        sprites.append(skirt_sprite(PART["skirt"], figure, outfit.bottom, outfit.skirt, light, over, person.phase))
    return sorted(sprites, key=lambda sprite: sprite.depth)


def seen_keypoints(
    person: Person, number: int, labels: np.ndarray, *, turned_faces: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places (len(KEYPOINTS), 2) and visible 0, 1 or 2 of a painted person.

    labels: (H, W) of the whole scene; number: of this person in it. 0 = outside the picture, or, unless
    `turned_faces`, on the far side of the head: COCO's annotators leave nine in ten of those out.
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
        facing = _towards_viewer(name, figure)
        if name in FACE and facing < TURNED_AWAY and not turned_faces:
            continue
        top = int(labels[y, x])
        shown = top // PARTS_EACH == number and PARTS[top % PARTS_EACH] in _SHOWN_BY[name]
        combed_over = name.endswith("_ear") and not ears_show(person.outfit)
        visible[i] = 2 if shown and facing > _least_facing(name) and not combed_over else 1
    return places, visible


def _towards_viewer(name: str, figure: Figure) -> float:
    """Return how far a keypoint lies on the viewer's side: of the head's half axes, or of the standing height."""
    if name in FACE:
        return float((figure.head @ np.array(HEAD_PLACES[name]))[2])
    if name.endswith(("_shoulder", "_hip")):
        centre = figure.point("thorax" if name.endswith("_shoulder") else "pelvis")
        return float(figure.point(name)[2] - centre[2]) / figure.height
    return 1.0


def _least_facing(name: str) -> float:
    """Return the bound below which `_towards_viewer` means hidden by the own body."""
    if name in FACE:
        return {"nose": -0.25, "left_eye": 0.02, "right_eye": 0.02}.get(name, -0.3)  # nose and ears show in profile
    return -0.045
