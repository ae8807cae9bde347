"""One scene: where people stand, in which order they hide each other, and what is then known about them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from litepose.datasets.synthetic.backdrop import paint_backdrop, paint_object
from litepose.datasets.synthetic.body import Figure, random_proportions
from litepose.datasets.synthetic.camera import photograph
from litepose.datasets.synthetic.outfit import random_outfit
from litepose.datasets.synthetic.painting import paint
from litepose.datasets.synthetic.person import KEYPOINTS, PARTS_EACH, Person, person_sprites, scaled, seen_keypoints
from litepose.datasets.synthetic.priors import random_figure
from litepose.poses import Sample
from litepose.skeleton import Skeleton

OBJECT = -1  # label of what hides people and is none
LEAST_SEEN_PX = 24  # a person with a smaller visible area is nobody: its place is ignored


def draw_scene(
    rng: np.random.Generator, skeleton: Skeleton, size: tuple[int, int], count: int,
    *, backdrops: Sequence[np.ndarray] = (), figures: Sequence[Figure] | None = None, number: int = 0,
) -> Sample:  # fmt: skip
    """Draw a scene with `count` people; figures: where they are already, in picture px, else the priors place them."""
    placed = place_people(rng, size, count) if figures is None else list(figures)
    placed.sort(key=lambda figure: figure.height * (0.85 + 0.3 * rng.random()))  # small is far
    people = [Person(figure, random_outfit(rng), int(rng.integers(1000))) for figure in placed]
    image = paint_backdrop(rng, size, backdrops)
    canvas = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA).astype(np.float32)
    labels = np.zeros((size[1], size[0]), np.int32)
    light = _light(rng)
    halo = float(rng.uniform(0.0, 0.28))
    for i, person in enumerate(people):
        _cast_shadow(rng, canvas, person.figure)
        for sprite in person_sprites(person, light, halo):
            paint(canvas, labels, sprite, (i + 1) * PARTS_EACH + sprite.label)
        if rng.random() < 0.12:
            _hide_behind_object(rng, canvas, labels, person.figure)
    picture = photograph(rng, canvas[..., :3].clip(0, 255).astype(np.uint8))
    return _annotate(skeleton, picture, labels, people, number)


def place_people(rng: np.random.Generator, size: tuple[int, int], count: int) -> list[Figure]:
    """Draw `count` figures in picture px: sizes of one scene are alike, boxes may overlap but nobody is buried."""
    width, height = size
    least, most = (0.35, 1.15) if count < 3 else (0.22, 0.9) if count < 7 else (0.2, 0.6)
    crowd = height * rng.uniform(least, most)
    figures: list[Figure] = []
    boxes: list[np.ndarray] = []
    for _ in range(count):
        figure = random_figure(rng, random_proportions(rng))[1]
        for attempt in range(12):
            factor = crowd * float(np.exp(rng.normal(0, 0.28))) * 0.93**attempt
            low, high = figure.points[:, :2].min(axis=0), figure.points[:, :2].max(axis=0)
            spot = np.array([rng.uniform(0.02, 0.98) * width, rng.uniform(0.12, 0.92) * height])
            candidate = scaled(figure, factor, spot - (low + high) / 2 * factor)
            box = np.concatenate([candidate.points[:, :2].min(axis=0), candidate.points[:, :2].max(axis=0)])
            if _inside(box, size) > 0.45 and all(_shared(box, other) < 0.45 for other in boxes):
                break
        figures.append(candidate)
        boxes.append(box)
    return figures


def _annotate(
    skeleton: Skeleton, picture: np.ndarray, labels: np.ndarray, people: Sequence[Person], number: int
) -> Sample:
    """Read keypoints, masks, boxes and areas off the label map."""
    owner = np.where(labels > 0, labels // PARTS_EACH, 0)
    known = [KEYPOINTS.index(name) if name in KEYPOINTS else -1 for name in skeleton.keypoints]
    if "thorax" not in skeleton.keypoints and "neck" in skeleton.keypoints:
        known[skeleton.index("neck")] = KEYPOINTS.index("thorax")  # only MPII's neck is the upper one
    keypoints, boxes, areas, masks = [], [], [], []
    ignore = np.zeros(labels.shape, bool)
    for i, person in enumerate(people, start=1):
        mask = owner == i
        area = int(mask.sum())
        places, visible = seen_keypoints(person, i, labels)
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
    box = np.concatenate([figure.points[:, :2].min(axis=0), figure.points[:, :2].max(axis=0)])
    covered = np.zeros(labels.shape, bool)
    image = np.ascontiguousarray(canvas[..., :3])
    paint_object(rng, image, covered, box)
    canvas[..., :3] = image
    labels[covered] = OBJECT


def _inside(box: np.ndarray, size: tuple[int, int]) -> float:
    """Return the share of a box that lies in the picture."""
    low, high = np.maximum(box[:2], 0), np.minimum(box[2:], size)
    return float(np.prod(np.maximum(high - low, 0)) / max(float(np.prod(box[2:] - box[:2])), 1e-6))


def _shared(box: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the smaller box that the other covers."""
    low, high = np.maximum(box[:2], other[:2]), np.minimum(box[2:], other[2:])
    least = min(float(np.prod(box[2:] - box[:2])), float(np.prod(other[2:] - other[:2])))
    return float(np.prod(np.maximum(high - low, 0)) / max(least, 1e-6))
