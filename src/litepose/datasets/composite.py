"""Composites: people cut out of their pictures and pasted, overlapping, onto others.

Few annotated pictures show people who touch, and that is what tags must learn to tell apart. So people are cut out
along their masks (softly), turned, mirrored, scaled to a scene and pasted from far to near onto pictures whose own
people stay annotated. A keypoint that a later person covers stays in place with weight 0. All is drawn from (seed,
index), so a composite is the same in every run. (Dwibedi et al. 2017, "Cut, Paste and Learn", for the idea.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from litepose.datasets.base import Dataset, SkipUnreadable, remap
from litepose.datasets.masks import limb_mask, person_mask, torso_length
from litepose.datasets.reposing import Cutout, repose
from litepose.datasets.synthetic.pose_files import read_poses
from litepose.errors import SettingError
from litepose.geometry import Warp, boxes_of_keypoints, size_of
from litepose.poses import Sample
from litepose.skeleton import Skeleton
from litepose.transforms import warp_sample

BODY = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "elbow", "hip", "knee"))
LIMBS = BODY + tuple(f"{side}_{part}" for side in ("left", "right") for part in ("wrist", "ankle"))
BODY_SEEN = 7  # of BODY's keypoints a person needs to be worth cutting out: whole people, no busts in mid-air
MIN_TORSO_PX = 22.0  # smaller people only blur when enlarged
SHARED_SHARE = 0.12  # of a person's mask that may lie on somebody else's limbs
TORSO_OF_HEIGHT = 0.3  # shoulders to hips, as a share of a standing person
COVERED_SHARE = 0.5  # of the small disc around a keypoint, above which it is covered
TRIES = 12


class Composites:
    """A dataset of scenes, `length` of them, put together from other datasets.

    people: where persons are cut out of; their `person_masks` are used where given (pack them once), else computed.
    canvases: what they are pasted onto; people there stay annotated, so their annotation must be complete.
    count: of pasted people, lowest and highest. overlap: largest share of a person that already stands behind others.
    share: range of a person's height over the canvas's shorter side, the same for a scene up to a quarter.
    upright: probability that a person is turned upright but for `turn_deg` (a standard deviation); otherwise it keeps
    its pose's direction. short_side: of the canvas, px. max_zoom: people are never enlarged more.
    reposed: probability that a person takes another real pose (see `reposing`), one of the file `poses`, a COCO .json
    or an .npz as drawn people take it; people whom no pose fits stay as they are.
    """

    def __init__(
        self,
        people: Dataset | Sequence[Dataset],
        canvases: Dataset | Sequence[Dataset],
        *,
        length: int = 10_000,
        seed: int = 0,
        count: tuple[int, int] = (1, 8),
        overlap: float = 0.4,
        share: tuple[float, float] = (0.25, 0.9),
        upright: float = 0.8,
        turn_deg: float = 25.0,
        short_side: int = 384,
        max_zoom: float = 1.8,
        reposed: float = 0.0,
        poses: str = "",
        skeleton: Skeleton | None = None,
    ) -> None:
        self.people = tuple(SkipUnreadable(one) for one in _listed(people))
        self.canvases = tuple(SkipUnreadable(one) for one in _listed(canvases))
        if not self.people or not self.canvases or not 0 <= count[0] <= count[1] or not 0 < share[0] <= share[1]:
            raise SettingError(
                f"Composites of {len(self.people)} people's datasets on {len(self.canvases)} canvases' with count "
                f"{count} and share {share}: at least one dataset each and ranges from low to high are needed."
            )
        if bool(poses) != (reposed > 0):
            raise SettingError(
                f"Composites with reposed = {reposed} and poses = {poses!r}: a probability above 0 and a file of poses "
                "belong together; give both or neither."
            )
        self.skeleton: Skeleton = skeleton or self.people[0].skeleton
        self.name = "composites of " + " + ".join(dataset.name for dataset in self.people)
        self.length, self.seed, self.count, self.overlap, self.share = length, seed, count, overlap, share
        self.upright, self.turn_deg, self.short_side, self.max_zoom = upright, turn_deg, short_side, max_zoom
        self.reposed, self.poses = reposed, read_poses(poses) if poses else None

    @property
    def ids(self) -> Sequence[int | str]:
        return range(self.length)

    @property
    def unreadable(self) -> list[int | str]:
        """The ids of pictures that could not be read and were replaced."""
        return [one for dataset in (*self.people, *self.canvases) for one in dataset.unreadable]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng([self.seed, index])
        scene = self._canvas(rng)
        side = min(scene.size)
        size_of_scene = float(np.exp(rng.uniform(*np.log(self.share)))) * side
        # Half of the scenes draw from one set: what another set's people leave unlabelled is learned there.
        people = (self.people[int(rng.integers(len(self.people)))],) if rng.random() < 0.5 else self.people
        cutouts = []
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            wanted_px = float(np.clip(size_of_scene * np.exp(rng.normal(0, 0.25)), 0.08 * side, 1.1 * side))
            cutout = self._cutout(people, wanted_px, rng)
            if cutout is not None:
                cutouts.append((wanted_px, cutout))
        taken = _shapes(scene)
        for _, cutout in sorted(cutouts, key=lambda pair: pair[0]):  # the near ones last
            corner = _place(cutout.alpha, taken, self.overlap, rng)
            scene = _paste(scene, cutout, corner, rng)
            _mark(taken, cutout.alpha, corner)
        return replace(scene, person_masks=None, id=index)

    def _canvas(self, rng: np.random.Generator) -> Sample:
        sample = remap(_drawn(self.canvases, rng), self.skeleton)
        width, height = sample.size
        factor = self.short_side / min(width, height)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        warp = Warp.resize(sample.size, size)
        if rng.random() < 0.5:
            warp = warp.then(Warp.mirror(size))
        return warp_sample(sample, warp)

    def _cutout(self, people: Sequence[Dataset], height_px: float, rng: np.random.Generator) -> Cutout | None:
        """Return a random person, about `height_px` tall if it stood; None where none fit was drawn."""
        poses = self.poses if self.poses is not None and rng.random() < self.reposed else None
        kept = None
        for _ in range(TRIES):
            sample = _drawn(people, rng)
            person = _choose(sample, rng)
            if person is None:
                continue
            mask = sample.person_masks[person] if sample.person_masks is not None else None
            if mask is None:
                mask = person_mask(
                    sample.image, sample.keypoints[person, :, :2], sample.visible[person], sample.skeleton
                )
            if mask.sum() < 100 or _shared(sample, person, mask) > SHARED_SHARE:
                continue
            cutout = self._turned(sample, person, mask, height_px, rng)
            if poses is None:
                return cutout
            kept = kept or cutout
            moved = repose(cutout, poses, rng)
            if moved is not None:
                return moved
        return kept

    def _turned(
        self, sample: Sample, person: int, mask: np.ndarray, height_px: float, rng: np.random.Generator
    ) -> Cutout:
        """Return the person scaled, turned and mirrored, in a crop of its own, on the skeleton of the composites."""
        seen = sample.visible[person]
        points = {n: sample.keypoints[person, k, :2] for k, n in enumerate(sample.skeleton.keypoints) if seen[k]}
        zoom = min(height_px * TORSO_OF_HEIGHT / torso_length(points), self.max_zoom)
        lean = _lean_deg(points)
        # People who stand nearly upright only sway; the others are turned up, or keep lying and diving.
        turn = rng.normal(0, self.turn_deg) - lean if rng.random() < self.upright else 0.0
        if abs(lean) < 40:
            turn = float(np.clip(turn, -15 - lean / 2, 15 - lean / 2))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = np.array([columns[0], rows[0], columns[-1], rows[-1]], dtype=np.float64)
        warp = _crop_warp(box, mask, zoom, float(turn))
        if rng.random() < 0.5:
            warp = warp.then(Warp.mirror(warp.size))
        alone = replace(
            sample,
            keypoints=sample.keypoints[person : person + 1],
            boxes=sample.boxes[person : person + 1],
            areas=sample.areas[person : person + 1],
            keypoint_weights=None if sample.keypoint_weights is None else sample.keypoint_weights[person : person + 1],
            person_masks=None,
        )
        image = _shrunk_first(sample.image, zoom)
        warped = warp_sample(alone, warp)
        if image is not sample.image:
            half = Warp.resize(size_of(image), sample.size)
            warped = replace(warped, image=half.then(warp).image(image))
        alpha = warp.image(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8))
        return Cutout(remap(warped, self.skeleton), np.clip(1.4 * alpha - 0.25, 0, 1))


def _listed(datasets: Dataset | Sequence[Dataset]) -> list[Dataset]:
    return list(datasets) if isinstance(datasets, (list, tuple)) else [datasets]  # type: ignore[list-item]


def _drawn(datasets: Sequence[Dataset], rng: np.random.Generator) -> Sample:
    """Return a random sample of a random dataset."""
    dataset = datasets[int(rng.integers(len(datasets)))]
    return dataset[int(rng.integers(len(dataset)))]


def _choose(sample: Sample, rng: np.random.Generator) -> int | None:
    """Return one person of the sample that shows its body and is large enough, or None."""
    names = sample.skeleton.keypoints
    # A keypoint unknown for one person is unknown for the whole scene: better another person.
    if sample.labelled is not None and not all(sample.labelled[k] for k, name in enumerate(names) if name in LIMBS):
        return None
    body = [k for k, name in enumerate(names) if name in BODY]
    fit = []
    for person in range(len(sample)):
        seen = sample.visible[person]
        points = {name: sample.keypoints[person, k, :2] for k, name in enumerate(names) if seen[k]}
        if seen[body].sum() >= BODY_SEEN and torso_length(points) >= MIN_TORSO_PX:
            fit.append(person)
    return int(rng.choice(fit)) if fit else None


def _shared(sample: Sample, person: int, mask: np.ndarray) -> float:
    """Return the share of the person's mask that lies on other annotated people's limbs."""
    others = np.zeros_like(mask)
    for other in range(len(sample)):
        if other != person:
            points, seen = sample.keypoints[other, :, :2], sample.visible[other]
            others |= limb_mask(points, seen, sample.skeleton, sample.size, grow=0.6)
    return float((others & mask).sum() / max(1, mask.sum()))


def _lean_deg(points: dict[str, np.ndarray]) -> float:
    """Return how far the torso is turned clockwise from upright, in degrees."""
    ends = []
    for part in ("hip", "shoulder"):
        sides = [points[name] for name in (f"left_{part}", f"right_{part}") if name in points]
        if not sides:
            return 0.0
        ends.append(np.mean(sides, axis=0))
    across, up = ends[1] - ends[0]
    return float(np.degrees(np.arctan2(across, -up)))


def _crop_warp(box: np.ndarray, mask: np.ndarray, zoom: float, turn_deg: float) -> Warp:
    """Return the warp that turns (clockwise) and scales the masked box into a crop that just holds it."""
    angle = np.deg2rad(turn_deg)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0]])
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    border = np.concatenate(outline)[:, 0] if outline else box.reshape(2, 2)
    turned = border @ matrix[:, :2].T
    low, high = turned.min(axis=0) - 3, turned.max(axis=0) + 3
    matrix[:, 2] = -low
    size = np.maximum(np.ceil(high - low), 4).astype(int)
    return Warp(matrix, (int(size[0]), int(size[1])))


def _shrunk_first(image: np.ndarray, zoom: float) -> np.ndarray:
    """Halve the picture (area mean) before a strong shrinking, which would alias."""
    if zoom > 0.5:
        return image
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def _shapes(scene: Sample) -> np.ndarray:
    """Return where people of the canvas stand: (H, W) bool."""
    taken = np.zeros(scene.image.shape[:2], dtype=bool)
    for person in range(len(scene)):
        taken |= limb_mask(scene.keypoints[person, :, :2], scene.visible[person], scene.skeleton, scene.size)
    return taken


def _place(alpha: np.ndarray, taken: np.ndarray, overlap: float, rng: np.random.Generator) -> tuple[int, int]:
    """Return the (x, y) corner whose overlap with those behind is nearest to a random wish up to `overlap`."""
    (h, w), (height, width) = alpha.shape, taken.shape
    wish = rng.uniform(0, overlap) if rng.random() < 0.7 else 0.0
    best, corner = np.inf, (0, 0)
    for _ in range(TRIES):
        # Up to a tenth of a person may leave the picture; feet tend to the lower part.
        x = int(rng.uniform(-0.1 * w, max(-0.1 * w, width - 0.9 * w) + 1))
        y = int(max(-0.1 * h, height - 0.9 * h) - abs(rng.normal(0, 0.3)) * height)
        y = max(y, int(-0.1 * h))
        inside = _overlap(taken, (x, y), alpha.shape)
        if inside is None:
            continue
        own = alpha[inside[1]] > 0.5
        share = float((taken[inside[0]] & own).sum() / max(1, own.sum()))
        miss = abs(share - wish) + (10 if share > overlap else 0)
        if miss < best:
            best, corner = miss, (x, y)
    return corner


def _overlap(
    image: np.ndarray, corner: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """Return the slices of the image and of a patch of `shape` at `corner` that lie on each other, or None."""
    x, y = corner
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(image.shape[1], x + shape[1]), min(image.shape[0], y + shape[0])
    if x1 <= x0 or y1 <= y0:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _mark(taken: np.ndarray, alpha: np.ndarray, corner: tuple[int, int]) -> None:
    both = _overlap(taken, corner, alpha.shape)
    if both is not None:
        taken[both[0]] |= alpha[both[1]] > 0.5


def _paste(scene: Sample, cutout: Cutout, corner: tuple[int, int], rng: np.random.Generator) -> Sample:
    """Return the scene with one more person in front."""
    both = _overlap(scene.image, corner, cutout.alpha.shape)
    if both is None:
        return scene
    there, here = both
    alpha = cutout.alpha[here]
    image = scene.image.copy()
    patch = _harmonised(cutout.sample.image[here], alpha, image[there], rng)
    blend = alpha[..., None]
    image[there] = (patch * blend + image[there] * (1 - blend) + 0.5).astype(np.uint8)
    covering = np.zeros(image.shape[:2], dtype=bool)
    covering[there] = alpha > 0.5
    weights = (
        np.ones(scene.keypoints.shape[:2], np.float32) if scene.keypoint_weights is None else scene.keypoint_weights
    )
    covered = _covered(scene, covering)
    keypoints = scene.keypoints.copy()
    keypoints[covered, 2] = 1
    added = cutout.sample
    moved = _moved(added.keypoints, corner, scene.size)
    own = added.keypoint_weights
    return replace(
        scene,
        image=image,
        keypoints=np.concatenate([keypoints, moved]),
        boxes=np.concatenate([scene.boxes, boxes_of_keypoints(moved[..., :2], moved[..., 2] > 0)]),
        areas=np.concatenate([scene.areas, [np.float32(covering.sum())]]).astype(np.float32),
        ignore=_ignored(scene, added, covering, both),
        labelled=_both_labelled(scene.labelled, added.labelled),
        keypoint_weights=np.concatenate(
            [np.where(covered, 0, weights), np.ones(moved.shape[:2]) if own is None else own]
        ).astype(np.float32),
    )


def _moved(keypoints: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return (N, K, 3) keypoints shifted by `corner`; those that leave the (w, h) scene are not labelled."""
    moved = keypoints.copy()
    moved[..., :2] += np.array(corner, dtype=np.float32)
    low, high = np.float32(-0.5), np.array(size, dtype=np.float32) - 0.5
    outside = np.any((moved[..., :2] < low) | (moved[..., :2] >= high), axis=-1) | (moved[..., 2] <= 0)
    moved[outside] = 0
    return moved


def _harmonised(patch: np.ndarray, alpha: np.ndarray, behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pull the person's mean colour a little towards what lies behind it: (h, w, 3) float32."""
    solid = alpha > 0.5
    if not solid.any():
        return patch.astype(np.float32)
    own, other = patch[solid].mean(axis=0) + 8, behind.reshape(-1, 3).mean(axis=0) + 8
    gain = np.clip(other / own, 0.6, 1.6) ** rng.uniform(0, 0.4)
    return np.clip(patch * gain.astype(np.float32), 0, 255)


def _covered(scene: Sample, covering: np.ndarray) -> np.ndarray:
    """Return which keypoints the new person hides: (N, K) bool."""
    count = cv2.boxFilter(covering.astype(np.float32), -1, (5, 5))
    x = np.clip(np.rint(scene.keypoints[..., 0]), 0, covering.shape[1] - 1).astype(int)
    y = np.clip(np.rint(scene.keypoints[..., 1]), 0, covering.shape[0] - 1).astype(int)
    return scene.visible & (count[y, x] > COVERED_SHARE)


def _ignored(
    scene: Sample, added: Sample, covering: np.ndarray, both: tuple[tuple[slice, slice], tuple[slice, slice]]
) -> np.ndarray | None:
    """What the person covers is known again, except where its own picture ignored it."""
    ignore = np.zeros_like(covering) if scene.ignore is None else scene.ignore & ~covering
    if added.ignore is not None:
        ignore[both[0]] |= covering[both[0]] & added.ignore[both[1]]
    return ignore if ignore.any() else None


def _both_labelled(one: np.ndarray | None, other: np.ndarray | None) -> np.ndarray | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other
