"""Crops of one person each, as top-down networks see them: a box becomes a Warp, at random for training.

Source: HRNet's JointsDataset (zhang943/lpn-pytorch@f397525, lib/dataset/JointsDataset.py), whose draws, their order and
quirks are kept; the shift of the centre is mmpose's (0.13, _xywh2cs, with which Lite-HRNet trains). Different on
purpose: mirror and crop are one warp, so the picture is interpolated once; every draw comes from the `rng` argument
(the reference's loader processes share numpy's seed); the centre shifts anew for each sample (there once, when the
annotations are read).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from litepose.errors import AnnotationError, SettingError
from litepose.geometry import BOX_PADDING, SCALE_UNIT_PX, Warp, grown_to_aspect, xywh_to_center_scale, xyxy_to_xywh
from litepose.poses import Sample, warp_boxes
from litepose.skeleton import Skeleton
from litepose.transforms import check_mirror

HALF_BODY_PADDING = 1.5  # HRNet: the crop of a half is this much larger than its keypoints' box
UPPER_BELOW = 0.5  # the upper half where a *normal* draw is below, so in 69% of all cases (HRNet's quirk)
LOWER_PARTS = frozenset({"hip", "pelvis", "knee", "ankle", "heel", "toe", "foot"})


def crop_person(sample: Sample, person: int, warp: Warp) -> Sample:
    """Return the sample with person number `person` alone, in the frame that `warp` maps to.

    A mirroring warp swaps left and right keypoints. Unlike in `warp_sample`, keypoints outside the target stay
    labelled, because top-down targets draw the part of a gaussian that reaches in, and nothing is ignored: a top-down
    network learns one person and takes all others for background. Boxes are not clipped; masks are dropped.
    Raises SettingError where a mirror would mix up the sides (`check_mirror`).
    """
    order = np.arange(sample.skeleton.num_keypoints)
    if warp.mirrors:
        check_mirror(sample.skeleton)
        order = sample.skeleton.mirror_indices
    row = slice(person, person + 1)
    keypoints = sample.keypoints[row, order].copy()
    keypoints[..., :2] = warp.points(keypoints[..., :2])
    keypoints[~(keypoints[..., 2] > 0)] = 0
    return replace(
        sample,
        image=warp.image(sample.image),
        keypoints=keypoints,
        boxes=warp_boxes(sample.boxes[row], warp),
        areas=(sample.areas[row] * warp.zoom**2).astype(np.float32),
        ignore=None,
        labelled=None if sample.labelled is None else sample.labelled[order],
        keypoint_weights=None if sample.keypoint_weights is None else sample.keypoint_weights[row, order],
        person_masks=None,
    )


@dataclass(frozen=True)
class CropDraw:
    """What was drawn for one person; `warp` is the map it means.

    center: (x, y) px of the picture as it is, not mirrored. scale: extent of the crop, (w, h) in 200 picture px.
    rotation_deg: as in `Warp.hrnet` (or `Warp.udp`), of the mirrored picture where it was drawn so.
    """

    center: tuple[float, float]
    scale: tuple[float, float]
    rotation_deg: float = 0.0
    mirrored: bool = False

    def warp(self, source: tuple[int, int], size: tuple[int, int], *, udp: bool = False) -> Warp:
        """Return the warp of a (w, h) picture `source` into a (w, h) input: mirror first, then crop and rotation."""
        across, down = self.center
        center = np.array([source[0] - 1 - across if self.mirrored else across, down])
        crop = (Warp.udp if udp else Warp.hrnet)(center, np.array(self.scale), self.rotation_deg, size)
        return Warp.mirror(source).then(crop) if self.mirrored else crop


@dataclass(frozen=True)
class RandomCrop:
    """Crop the one person of a sample, varied at random.

    size: (w, h) of the network input. scale_factor: the standard deviation of the crop's extent about 1, and its
    limit. rotation_deg: standard deviation, limited to twice as much, drawn with `rotation_probability`.
    mirror: probability. half_body_probability: of cropping to the upper or the lower body, for people with more than
    `half_body_min_keypoints` labelled ones. center_jitter: how far the centre moves at most, as a share of the box's
    width and height, drawn with `center_jitter_probability`. padding: crop over box.
    udp: crop by `Warp.udp`. The defaults are HRNet's for MPII; for COCO it zooms by 0.35, rotates by 45 and crops half
    bodies with 0.3.
    """

    size: tuple[int, int]
    scale_factor: float = 0.25
    rotation_deg: float = 30.0
    rotation_probability: float = 0.6
    mirror: float = 0.5
    half_body_probability: float = 0.0
    half_body_min_keypoints: int = 8
    center_jitter_probability: float = 0.0
    center_jitter: float = 0.2
    padding: float = BOX_PADDING
    udp: bool = False

    def __post_init__(self) -> None:
        for name in ("rotation_probability", "mirror", "half_body_probability", "center_jitter_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingError(f"{name} of a random crop is {getattr(self, name)}; a probability is 0 to 1.")
        if not 0 <= self.scale_factor < 1 or self.rotation_deg < 0 or self.center_jitter < 0 or self.padding <= 0:
            raise SettingError(
                f"A random crop with scale_factor {self.scale_factor}, rotation_deg {self.rotation_deg}, center_jitter "
                f"{self.center_jitter} and padding {self.padding}: a factor from 0 to below 1, a rotation and a jitter "
                "of at least 0 and a padding above 0 are needed."
            )
        if min(self.size) < 1:
            raise SettingError(f"A random crop of {self.size[0]}x{self.size[1]}: both sides must be at least 1.")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the person's crop. Raises SettingError, AnnotationError as `draw` does."""
        return crop_person(sample, 0, self.draw(sample, rng).warp(sample.size, self.size, udp=self.udp))

    def draw(self, sample: Sample, rng: np.random.Generator) -> CropDraw:
        """Return one random choice: centre, half body, scale, rotation, mirror, in this order.

        Raises SettingError where the sample has not one person or cannot be mirrored, AnnotationError where the
        person's box holds nothing of the picture.
        """
        _check_one(sample)
        if self.mirror:
            check_mirror(sample.skeleton)
        box = xyxy_to_xywh(sample.boxes[0])
        center, scale = xywh_to_center_scale(box, self.size, padding=self.padding)
        if self.center_jitter_probability and rng.random() < self.center_jitter_probability:
            center = center + self.center_jitter * rng.uniform(-1, 1, size=2) * box[2:]
        half = self._draw_half(sample, rng)
        if half is not None:
            center, scale = half
        low, high = 1 - self.scale_factor, 1 + self.scale_factor
        scale = scale * np.clip(1 + self.scale_factor * rng.standard_normal(), low, high)
        rotation = 0.0
        if rng.random() < self.rotation_probability:  # the gate comes before the angle: JointsDataset.__getitem__
            limit = 2 * self.rotation_deg
            rotation = float(np.clip(self.rotation_deg * rng.standard_normal(), -limit, limit))
        mirrored = bool(rng.random() < self.mirror)
        return CropDraw((float(center[0]), float(center[1])), (float(scale[0]), float(scale[1])), rotation, mirrored)

    def _draw_half(self, sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
        """Return centre and scale of one half, where one is drawn; a gate is drawn for all who have the keypoints."""
        visible = sample.visible[0]
        if np.count_nonzero(visible) <= self.half_body_min_keypoints or rng.random() >= self.half_body_probability:
            return None
        upper = upper_body(sample.skeleton)
        if upper.all() or not upper.any():
            return None  # a skeleton of one half has no other
        wants_upper = rng.standard_normal() < UPPER_BELOW
        return half_body(sample.keypoints[0], upper, self.size, wants_upper=wants_upper)


def upper_body(skeleton: Skeleton) -> np.ndarray:
    """Return which keypoints belong to the upper half, by name: (K,) bool. All but pelvis, hips and below.

    COCO: 0 to 10, MPII: 7 to 15, as in HRNet's dataset classes.
    """
    return np.array([LOWER_PARTS.isdisjoint(name.split("_")) for name in skeleton.keypoints], dtype=bool)


def half_body(
    keypoints: np.ndarray, upper: np.ndarray, size: tuple[int, int], *, wants_upper: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return centre (2,) in px and scale (2,) in 200 px of a crop of half a person's (K, 3) keypoints, both float32.

    upper: (K,) bool. size: (w, h) of the input. The half that is wanted needs three labelled keypoints, else the lower
    one is taken if it has them, else the upper one; None where fewer than two are left or they lie on one point.
    """
    visible = keypoints[:, 2] > 0
    above, below = visible & upper, visible & ~upper
    takes_upper = wants_upper and above.sum() > 2  # half_body_transform of JointsDataset
    chosen = above if takes_upper or below.sum() <= 2 else below
    points = keypoints[chosen, :2].astype(np.float32)
    if len(points) < 2 or not np.ptp(points, axis=0).any():
        return None
    extent = grown_to_aspect(np.ptp(points, axis=0), size)
    return points.mean(axis=0), (extent * (HALF_BODY_PADDING / SCALE_UNIT_PX)).astype(np.float32)


def _check_one(sample: Sample) -> None:
    if len(sample) != 1:
        raise SettingError(
            f"A random crop was asked of picture {sample.id} with {len(sample)} people; it crops the one person of a "
            "sample. See the dataset person by person: litepose.datasets.people.People(dataset)."
        )
    x1, y1, x2, y2 = sample.boxes[0]
    if not (x2 > x1 and y2 > y1 and x2 > 0 and y2 > 0 and x1 < sample.size[0] and y1 < sample.size[1]):
        raise AnnotationError(
            f"Picture {sample.id} ({sample.size[0]}x{sample.size[1]}): the person's box ({x1:g}, {y1:g}) to "
            f"({x2:g}, {y2:g}) holds nothing of it, so there is nothing to crop. Repair the box or leave the person "
            "out, as litepose.datasets.people.People does."
        )
