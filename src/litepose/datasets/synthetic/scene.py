"""One scene: people painted over each other in front of a background, and what is then known about them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from litepose.datasets.synthetic.backdrop import paint_backdrop, paint_object
from litepose.datasets.synthetic.body import Figure
from litepose.datasets.synthetic.camera import photograph
from litepose.datasets.synthetic.layout import Layout
from litepose.datasets.synthetic.limbs import PART
from litepose.datasets.synthetic.outfit import random_outfit
from litepose.datasets.synthetic.painting import paint
from litepose.datasets.synthetic.person import KEYPOINTS, PARTS_EACH, Person, person_sprites, seen_keypoints
from litepose.datasets.synthetic.props import random_props
from litepose.poses import Sample
from litepose.skeleton import Skeleton

OBJECT = -1  # label of what hides people and is none
LEAST_SEEN_PX = 24  # a person with a smaller visible area is nobody: its place is ignored


def draw_scene(
    rng: np.random.Generator, skeleton: Skeleton, size: tuple[int, int], layout: Layout,
    *, backdrops: Sequence[np.ndarray] = (), turned_faces: bool = False, number: int = 0,
) -> Sample:  # fmt: skip
    """Draw the people of a layout in clothes, in front of a background, and annotate them on `skeleton`."""
    people = [_dressed(rng, figure) for figure in layout.figures]
    image = paint_backdrop(rng, size, layout.horizon, backdrops)
    canvas = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA).astype(np.float32)
    labels = np.zeros((size[1], size[0]), np.int32)
    light = _light(rng)
    halo = float(rng.uniform(0.0, 0.28))
    for i, person in enumerate(people):
        _cast_shadow(rng, canvas, person.figure)
        for sprite in person_sprites(person, light, halo):
            paint(
                canvas, labels, sprite, OBJECT if sprite.label == PART["prop"] else (i + 1) * PARTS_EACH + sprite.label
            )
        if rng.random() < 0.12:
            _hide_behind_object(rng, canvas, labels, person.figure)
    picture = photograph(rng, cv2.cvtColor(cv2.convertScaleAbs(canvas), cv2.COLOR_BGRA2BGR))
    return _annotate(skeleton, picture, labels, people, number, turned_faces)


def _annotate(
    skeleton: Skeleton,
    picture: np.ndarray,
    labels: np.ndarray,
    people: Sequence[Person],
    number: int,
    turned_faces: bool,
) -> Sample:
    """Read keypoints, masks, boxes and areas off the label map."""
    owner = labels // PARTS_EACH  # 0 = background, -1 = an object
    known = [KEYPOINTS.index(name) if name in KEYPOINTS else -1 for name in skeleton.keypoints]
    if "thorax" not in skeleton.keypoints and "neck" in skeleton.keypoints:
        known[skeleton.index("neck")] = KEYPOINTS.index("thorax")  # only MPII's neck is the upper one
    keypoints, boxes, areas, masks = [], [], [], []
    ignore = np.zeros(labels.shape, bool)
    for i, person in enumerate(people, start=1):
        mask = owner == i
        area = int(mask.sum())
        places, visible = seen_keypoints(person, i, labels, turned_faces=turned_faces)
        triples = np.concatenate([places, visible[:, None]], axis=1).astype(np.float32)
        triples = np.where(np.array(known)[:, None] >= 0, triples[known], 0)
        triples[triples[:, 2] == 0] = 0
        if area < LEAST_SEEN_PX or not (triples[:, 2] == 2).any():
            ignore |= mask
            continue
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        keypoints.append(triples)
        boxes.append((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
        areas.append(area)
        masks.append(mask)
    return Sample(
        skeleton=skeleton,
        image=picture,
        keypoints=np.array(keypoints, np.float32).reshape(-1, skeleton.num_keypoints, 3),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        areas=np.array(areas, np.float32),
        ignore=ignore if ignore.any() else None,
        labelled=None if min(known) >= 0 else np.array(known) >= 0,
        person_masks=tuple(masks),
        id=number,
    )


def _dressed(rng: np.random.Generator, figure: Figure) -> Person:
    return Person(figure, random_outfit(rng), tuple(random_props(rng, figure)), int(rng.integers(1000)))


def _light(rng: np.random.Generator) -> np.ndarray:
    """Draw the direction towards the lamp: from above, mostly from the viewer's side."""
    light = np.array([rng.normal(0, 0.5), -abs(rng.normal(0.45, 0.25)), rng.uniform(0.35, 1.0)])
    return (light / np.linalg.norm(light)).astype(np.float32)


def _cast_shadow(rng: np.random.Generator, canvas: np.ndarray, figure: Figure) -> None:
    """Darken the ground under the feet."""
    strength = rng.uniform(-0.2, 0.5)
    if strength <= 0:
        return
    low = figure.points[:, 1].max()
    feet = figure.points[-8:, :2]
    spread = 0.12 * figure.height
    x1, x2 = int(feet[:, 0].min() - spread), int(feet[:, 0].max() + spread)
    y1, y2 = int(low - 0.05 * figure.height), int(low + 0.05 * figure.height)
    xs, ys = np.arange(max(x1, 0), min(x2, canvas.shape[1])), np.arange(max(y1, 0), min(y2, canvas.shape[0]))
    if not (len(xs) and len(ys)):
        return
    u = (xs - (x1 + x2) / 2) / ((x2 - x1) / 2)
    v = (ys - (y1 + y2) / 2) / ((y2 - y1) / 2)
    dark = np.clip(1 - u[None] ** 2 - v[:, None] ** 2, 0, 1) * strength
    canvas[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] *= (1 - dark)[..., None].astype(np.float32)


def _hide_behind_object(rng: np.random.Generator, canvas: np.ndarray, labels: np.ndarray, figure: Figure) -> None:
    covered = np.zeros(labels.shape, bool)
    paint_object(rng, canvas, covered, figure.box)
    labels[covered] = OBJECT
