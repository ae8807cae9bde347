"""Augmentation: a random choice becomes one Warp, applied to picture, people and masks alike.

Source: mit-han-lab/litepose@00b702d, lib/dataset/transforms/transforms.py (RandomAffineTransform,
RandomHorizontalFlip): the draws, their order and the matrix are its own. Different on purpose: the reference warps and
mirrors each output map by itself (x to w-1-x in map cells), which moves mirrored targets against the mirrored picture
by up to one cell; here the mirror belongs to the input frame and codecs divide by their stride. `WarpDraw.warp(size)`
still gives the reference's map of any output size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from litepose.errors import SettingError
from litepose.geometry import SCALE_UNIT_PX, Warp
from litepose.poses import Sample, warp_boxes
from litepose.skeleton import Skeleton

LUMA_BGR = (0.114, 0.587, 0.299)  # ITU-R BT.601

Transform = Callable[[Sample, np.random.Generator], Sample]


def warp_sample(sample: Sample, warp: Warp, *, person_masks: bool = False) -> Sample:
    """Return the sample in the frame that `warp` maps to.

    A mirroring warp swaps left and right keypoints. Keypoints outside the target become not labelled, what lies
    outside the source picture is ignored, boxes are those of the warped corners, clipped. All people stay, in order.
    person_masks: warp them too; otherwise they are dropped.
    """
    size = warp.size
    order = sample.skeleton.mirror_indices if warp.mirrors else np.arange(sample.skeleton.num_keypoints)
    keypoints = sample.keypoints[:, order].copy()
    keypoints[..., :2] = warp.points(keypoints[..., :2])
    x, y, visible = np.moveaxis(keypoints, -1, 0)
    inside = (visible > 0) & (x >= -0.5) & (x < size[0] - 0.5) & (y >= -0.5) & (y < size[1] - 0.5)
    keypoints[~inside] = 0
    limit = np.array([*size, *size], dtype=np.float32)
    masks = sample.person_masks if person_masks else None
    image, ignore = _warped_pixels(sample, warp)
    return replace(
        sample,
        image=image,
        keypoints=keypoints,
        boxes=np.clip(warp_boxes(sample.boxes, warp), 0, limit),
        areas=(sample.areas * warp.zoom**2).astype(np.float32),
        ignore=ignore,
        labelled=None if sample.labelled is None else sample.labelled[order],
        keypoint_weights=None if sample.keypoint_weights is None else sample.keypoint_weights[:, order],
        person_masks=None if masks is None else tuple(_warped_mask(mask, warp) for mask in masks),
    )


def check_mirror(skeleton: Skeleton) -> None:
    """Raise SettingError where a mirrored picture would be learned with left and right mixed up.

    Every keypoint with a side in its name ("left_wrist") needs a mirror pair. A skeleton without sides, of an object
    seen from all around, may be mirrored: each keypoint stays what it is.
    """
    paired = {name for pair in skeleton.mirror for name in pair}
    alone = [name for name in skeleton.keypoints if {"left", "right"} & set(name.split("_")) and name not in paired]
    if alone:
        raise SettingError(
            f"A mirror was asked for on skeleton {skeleton.name!r}, whose keypoints {', '.join(alone)} have a side in "
            'their names and no mirror pair. Add the pairs to the skeleton, as in "mirror": [["left_wrist", '
            '"right_wrist"], ...], or train with mirror = 0.'
        )


def _warped_mask(mask: np.ndarray, warp: Warp) -> np.ndarray:
    """Warp a bool mask as the reference does: 0/255 bilinear, above one half."""
    return warp.image(mask.view(np.uint8) * np.uint8(255)) > 127


def _warped_pixels(sample: Sample, warp: Warp) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the picture and its ignore mask in the target's frame, what lies outside the source ignored.

    Both in one pass, as a picture of four channels: the same numbers, and OpenCV warps four channels faster than three.
    """
    pixels = cv2.cvtColor(sample.image, cv2.COLOR_BGR2BGRA)
    if sample.ignore is not None:
        cv2.insertChannel(sample.ignore.view(np.uint8) - np.uint8(1), pixels, 3)  # wraps: 0 to 255, 1 to 0
    pixels = warp.image(pixels)
    ignore = cv2.extractChannel(pixels, 3) <= 127
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), ignore if ignore.any() else None


@dataclass(frozen=True)
class WarpDraw:
    """What was drawn for one picture; `warp(size)` is the map it means for a target of any size.

    center: (x, y) source px that comes to the middle. scale: extent of the crop's width in 200 source px.
    """

    center: tuple[float, float]
    scale: float
    rotation_deg: float
    mirrored: bool

    def warp(self, size: tuple[int, int]) -> Warp:
        """Return the warp into a (w, h) target, mirrored in that target's frame where it was drawn so."""
        warp = Warp.hrnet(np.array(self.center), self.scale, self.rotation_deg, size)
        return warp.then(Warp.mirror(size)) if self.mirrored else warp


@dataclass(frozen=True)
class RandomWarp:
    """Zoom, turn, shift and mirror at random, as LitePose trains; optionally onto one person.

    size: (w, h) of the network input. fit: "short" lets the picture fill the input before the zoom, "long" puts it in
    whole. zoom: range of the crop's extent (above 1 = people get smaller). rotation_deg: of both signs.
    translate_px: of an extent of 200 px, so 40 = a fifth of the crop. mirror: probability.

    Beyond the reference, for small inputs where most people would be tiny: with `person_probability` the crop is drawn
    around a random person, zoomed so that its box's longer side is a log-uniform share (`person_share`) of the input's
    shorter side, but never by more than `max_zoom`; the shift then moves it within the middle of the input.
    """

    size: tuple[int, int]
    fit: str = "short"
    zoom: tuple[float, float] = (0.75, 1.5)
    rotation_deg: float = 30.0
    translate_px: float = 40.0
    mirror: float = 0.5
    person_probability: float = 0.0
    person_share: tuple[float, float] = (0.3, 0.9)
    max_zoom: float = 3.0

    def __post_init__(self) -> None:
        if self.fit not in ("short", "long"):
            raise SettingError(f"fit of a random warp is {self.fit!r}. Possible: short, long.")
        for name in ("zoom", "person_share"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise SettingError(f"{name} of a random warp is {(low, high)}; 0 < lowest <= highest is needed.")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return warp_sample(sample, self.draw(sample, rng).warp(self.size))

    def draw(self, sample: Sample, rng: np.random.Generator) -> WarpDraw:
        """Return one random choice, in the reference's order: zoom, rotation, dx, dy, mirror."""
        if self.person_probability and len(sample) and rng.random() < self.person_probability:
            return self._draw_person(sample, rng)
        width, height = sample.size
        zooms = self.size[0] / width, self.size[1] / height
        fitted = self.size[0] / (max(zooms) if self.fit == "short" else min(zooms))  # source px across the input
        scale = fitted / SCALE_UNIT_PX * rng.uniform(*self.zoom)
        rotation = rng.uniform(-self.rotation_deg, self.rotation_deg)
        reach = int(self.translate_px * scale)
        dx, dy = rng.integers(-reach, reach + 1, size=2) if reach else (0, 0)
        center = (float(width * 0.5 + dx), float(height * 0.5 + dy))
        return WarpDraw(center, float(scale), float(rotation), bool(rng.random() < self.mirror))

    def side_needed(self) -> int | None:
        """Return the short side, px, from which on no draw enlarges a picture; None where draws go by the people."""
        return None if self.person_probability else math.ceil(max(self.size) / self.zoom[0])

    def _draw_person(self, sample: Sample, rng: np.random.Generator) -> WarpDraw:
        x1, y1, x2, y2 = sample.boxes[rng.integers(len(sample))].astype(np.float64)
        share = np.exp(rng.uniform(*np.log(self.person_share)))
        zoom = min(share * min(self.size) / max(x2 - x1, y2 - y1, 1.0), self.max_zoom)
        rotation = rng.uniform(-self.rotation_deg, self.rotation_deg)
        # The smaller the person, the further it may lie from the middle without leaving the input.
        reach = 0.5 * max(0.2, 1 - share) * np.array(self.size) / zoom
        dx, dy = rng.uniform(-reach, reach)
        center = (float(0.5 * (x1 + x2) + dx), float(0.5 * (y1 + y2) + dy))
        return WarpDraw(
            center, float(self.size[0] / zoom / SCALE_UNIT_PX), float(rotation), bool(rng.random() < self.mirror)
        )


@dataclass(frozen=True)
class Photometric:
    """Vary light, colour and sharpness; people stay where they are.

    brightness, contrast, saturation: largest share of change, both ways. hue_deg: largest turn. gamma: largest change
    of the logarithm. These are drawn for each picture. grey, blur, noise, jpeg, cutout: probabilities.
    blur_px, noise_levels, jpeg_quality: ranges. cutout_share: longest side of a blot over the shorter side of the
    picture; a seen keypoint beneath it becomes a hidden one.
    """

    brightness: float = 0.2
    contrast: float = 0.3
    gamma: float = 0.25
    saturation: float = 0.4
    hue_deg: float = 12.0
    grey: float = 0.05
    blur: float = 0.15
    noise: float = 0.15
    jpeg: float = 0.15
    cutout: float = 0.15
    blur_px: tuple[float, float] = (0.4, 1.5)
    noise_levels: tuple[float, float] = (2.0, 14.0)
    jpeg_quality: tuple[int, int] = (25, 80)
    cutout_share: float = 0.3

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = cv2.LUT(self._coloured(sample.image, rng), self._curve(rng))
        if rng.random() < self.blur:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*self.blur_px))
        if rng.random() < self.noise:
            image = _with_noise(image, rng.uniform(*self.noise_levels), rng)
        if rng.random() < self.jpeg:
            image = _through_jpeg(image, int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1)))
        sample = replace(sample, image=image)
        return _with_blot(sample, self.cutout_share, rng) if rng.random() < self.cutout else sample

    def _curve(self, rng: np.random.Generator) -> np.ndarray:
        """Return brightness, contrast and gamma as one table: (256,) uint8."""
        levels = np.linspace(0, 1, 256) ** np.exp(rng.uniform(-self.gamma, self.gamma))
        contrast = 1 + rng.uniform(-self.contrast, self.contrast)
        shift = rng.uniform(-self.brightness, self.brightness)
        return np.clip(255 * ((levels - 0.5) * contrast + 0.5 + shift) + 0.5, 0, 255).astype(np.uint8)

    def _coloured(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Turn hue and change saturation by one 3x3 matrix: a rotation about the grey axis, a pull towards grey."""
        amount = 0.0 if rng.random() < self.grey else 1 + rng.uniform(-self.saturation, self.saturation)
        angle = np.deg2rad(rng.uniform(-self.hue_deg, self.hue_deg))
        grey_axis = np.full((3, 3), 1 / 3)
        across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
        turn = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * grey_axis + np.sin(angle) * across
        pull = amount * np.eye(3) + (1 - amount) * np.tile(LUMA_BGR, (3, 1))
        return cv2.transform(image, pull @ turn)


def _with_noise(image: np.ndarray, levels: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= levels
    noise += image
    return cv2.convertScaleAbs(np.maximum(noise, 0, out=noise))


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, len(data)
    return decoded


def _with_blot(sample: Sample, share: float, rng: np.random.Generator) -> Sample:
    """Cover a rectangle with one colour."""
    width, height = sample.size
    sides = np.maximum(1, min(width, height) * rng.uniform(0.05, max(share, 0.05), size=2)).astype(int)
    x, y = int(rng.integers(0, max(1, width - sides[0]))), int(rng.integers(0, max(1, height - sides[1])))
    image = sample.image.copy()
    image[y : y + sides[1], x : x + sides[0]] = rng.integers(0, 256, size=3, dtype=np.uint8)
    keypoints = sample.keypoints.copy()
    across, down = keypoints[..., 0] - x, keypoints[..., 1] - y
    covered = (across >= 0) & (across < sides[0]) & (down >= 0) & (down < sides[1])
    keypoints[..., 2] = np.where(covered, np.minimum(keypoints[..., 2], 1), keypoints[..., 2])
    return replace(sample, image=image, keypoints=keypoints)


def chain(transforms: Sequence[Transform]) -> Transform:
    """Return one transform that applies all, in order."""

    def apply(sample: Sample, rng: np.random.Generator) -> Sample:
        for transform in transforms:
            sample = transform(sample, rng)
        return sample

    return apply
