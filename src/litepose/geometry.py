"""Where a pixel is: boxes, affine warps between picture and network input, mirrors.

Convention: pixel centres lie at integers, and a mirror maps x to W-1-x (the HRNet family's rule).
Each exception has a name here and nowhere else:

- `Warp.hrnet`: HRNet's centre/scale/rotation crop, which puts the centre on size/2, not (size-1)/2
  (leoxiaobin/deep-high-resolution-net.pytorch, lib/utils/transforms.py). HigherHRNet and LitePose train with the
  same matrix (mit-han-lab/litepose@00b702d, lib/dataset/transforms): there the scale is the picture's short or long
  side / 200.
- `Warp.higherhrnet`: the resize of HigherHRNet and LitePose at test time (same repository, lib/utils/transforms.py).
- `Warp.openpose`: the resize of Lightweight OpenPose's demo (Daniil-Osokin/lightweight-human-pose-estimation.pytorch
  @d23c284, demo.py), whose padding is centred on whole pixels.
- `Warp.udp`: Huang et al. 2020, "The Devil is in the Details", whose unit is the distance between outer pixel
  centres, size-1 (as mmpose 0.13 computes it).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.errors import InputSizeError, SettingError

SCALE_UNIT_PX = 200.0  # HRNet's scales are in units of 200 picture pixels
BOX_PADDING = 1.25  # HRNet, COCO and MPII: the crop is this much larger than the box
SIZE_MULTIPLE = 64  # HigherHRNet rounds its test sizes up to this


@dataclass(frozen=True)
class Warp:
    """An affine map from one picture's pixels to another's.

    matrix: (2, 3) float64; target = matrix @ (x, y, 1).
    size: (w, h) of the target picture.
    """

    matrix: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        assert matrix.shape == (2, 3), matrix.shape
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))

    def image(self, image: np.ndarray, *, border: int = 0, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        """Return `image` ((H, W) or (H, W, C)) in the target's frame; `border` fills what lies outside it."""
        fill = (border,) * 4
        return cv2.warpAffine(
            image,
            self.matrix,
            self.size,
            flags=interpolation,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=fill,
        )

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Return points of shape (..., 2) in the target's frame, in the dtype that came in."""
        points = np.asarray(xy, dtype=np.float64)
        x, y = points[..., 0], points[..., 1]
        moved = np.empty_like(points)  # a product of matrices would call BLAS for it, which takes four times as long
        for axis, (along_x, along_y, offset) in enumerate(self.matrix.tolist()):
            moved[..., axis] = x * along_x + y * along_y + offset
        return moved.astype(np.result_type(xy, np.float32), copy=False)

    @functools.cached_property
    def inverse(self) -> Warp:
        """The way back. Its `size` is this warp's; replace it where a picture is to be warped back."""
        return Warp(cv2.invertAffineTransform(self.matrix), self.size)

    @property
    def zoom(self) -> float:
        """The mean magnification: target pixels for one source pixel."""
        return math.sqrt(abs(self._determinant))

    @property
    def mirrors(self) -> bool:
        """Whether left and right change places."""
        return self._determinant < 0

    @property
    def _determinant(self) -> float:
        (a, b, _), (c, d, _) = self.matrix.tolist()
        return float(a * d - b * c)

    def then(self, following: Warp) -> Warp:
        """Return the warp that applies this one first and `following` after it."""
        matrix = following.matrix[:, :2] @ self.matrix
        matrix[:, 2] += following.matrix[:, 2]
        return Warp(matrix, following.size)

    @classmethod
    def identity(cls, size: tuple[int, int]) -> Warp:
        """Return the warp that changes nothing of a (w, h) picture."""
        return cls(np.eye(2, 3), size)

    @classmethod
    def mirror(cls, size: tuple[int, int]) -> Warp:
        """Return the left-right mirror of a (w, h) picture: x to w-1-x."""
        return cls(np.array([[-1.0, 0.0, size[0] - 1.0], [0.0, 1.0, 0.0]]), size)

    @classmethod
    def resize(cls, source: tuple[int, int], size: tuple[int, int]) -> Warp:
        """Return the resize of a (w, h) picture that fills `size`, pixel edges on pixel edges (as cv2.resize)."""
        sx, sy = size[0] / source[0], size[1] / source[1]
        return cls(np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5]]), size)

    @classmethod
    def letterbox(cls, source: tuple[int, int], size: tuple[int, int]) -> Warp:
        """Return the largest undistorted resize of a (w, h) picture into `size`, centred."""
        zoom = min(size[0] / source[0], size[1] / source[1])
        dx = 0.5 * (size[0] - 1) - zoom * 0.5 * (source[0] - 1)
        dy = 0.5 * (size[1] - 1) - zoom * 0.5 * (source[1] - 1)
        return cls(np.array([[zoom, 0, dx], [0, zoom, dy]]), size)

    @classmethod
    def hrnet(cls, center: np.ndarray, scale: np.ndarray | float, rotation_deg: float, size: tuple[int, int]) -> Warp:
        """Return HRNet's crop around `center` (x, y picture px).

        scale: extent of the crop in units of 200 picture px; of a (w, h) pair only w counts, as in the reference.
        rotation_deg: turns the crop frame; the picture's content turns the other way.
        """
        width = float(np.ravel(scale)[0]) * SCALE_UNIT_PX
        zoom, angle = size[0] / width, math.radians(rotation_deg)
        cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
        x, y = float(center[0]), float(center[1])
        dx, dy = size[0] * 0.5 - (cos * x + sin * y), size[1] * 0.5 - (cos * y - sin * x)
        return cls(np.array([[cos, sin, dx], [-sin, cos, dy]]), size)

    @classmethod
    def udp(cls, center: np.ndarray, scale: np.ndarray, rotation_deg: float, size: tuple[int, int]) -> Warp:
        """Return UDP's unbiased crop: as `hrnet`, but outer pixel centre to outer pixel centre and both extents count.

        rotation_deg: turns the other way than in `hrnet`, as mmpose's matrix does.
        """
        extent = np.asarray(scale, dtype=np.float64) * SCALE_UNIT_PX
        zoom = (np.array(size, dtype=np.float64) - 1.0) / extent
        angle = np.deg2rad(rotation_deg)
        rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        offset = 0.5 * extent - rotate @ np.asarray(center, dtype=np.float64)
        return cls(np.column_stack([rotate, offset]) * zoom[:, None], size)

    @classmethod
    def box(
        cls, box_xyxy: np.ndarray, size: tuple[int, int], *, udp: bool = False, padding: float = BOX_PADDING
    ) -> Warp:
        """Return the upright crop of one box, (4,) x1, y1, x2, y2 in picture px, into a (w, h) input.

        The box is taken as it is, as the HRNet family takes a detector's: neither clipped nor cleaned.
        Raises SettingError where it is not finite or has no area.
        """
        box = np.asarray(box_xyxy, dtype=np.float64)
        if not (np.isfinite(box).all() and (box[2:] > box[:2]).all()):
            raise SettingError(
                f"A crop was asked of the box {box.tolist()}; x1, y1, x2, y2 with x1 < x2 and y1 < y2 are needed. "
                "Leave such a box out."
            )
        center, scale = xywh_to_center_scale(xyxy_to_xywh(box), size, padding=padding)
        return (cls.udp if udp else cls.hrnet)(center, scale, 0.0, size)

    @classmethod
    def higherhrnet(
        cls, source: tuple[int, int], input_size: int, *, scale: float = 1.0, min_scale: float = 1.0
    ) -> Warp:
        """Return the test-time resize of HigherHRNet and LitePose for a (w, h) picture.

        The short side becomes `input_size` (rounded up to 64), the other side its proportional length rounded up to
        64, content centred, one zoom for both axes. `scale` and `min_scale` are those of a multi-scale test.
        """
        size, center, box_scale = _higherhrnet_geometry(source, input_size, scale, min_scale)
        return cls.hrnet(center, box_scale, 0.0, size)

    @classmethod
    def openpose(cls, source: tuple[int, int], height: int, *, stride: int) -> Warp:
        """Return Lightweight OpenPose's resize of a (w, h) picture: to `height`, at least as wide, both by `stride`."""
        zoom = height / source[1]
        width = max(1, round(source[0] * zoom))
        size = round_up(max(width, height), stride), round_up(height, stride)
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
        return cls(np.array([[zoom, 0, 0.5 * zoom - 0.5 + left], [0, zoom, 0.5 * zoom - 0.5 + top]]), size)


def _higherhrnet_geometry(
    source: tuple[int, int], input_size: int, scale: float, min_scale: float
) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Return (size (w, h), centre, scale) as mit-han-lab/litepose get_multi_scale_size computes them."""
    width, height = source
    center = np.array([int(width / 2.0 + 0.5), int(height / 2.0 + 0.5)])
    short_target = round_up(int(min_scale * input_size), SIZE_MULTIPLE)
    short, long = min(width, height), max(width, height)
    long_target = round_up(int(short_target / short * long), SIZE_MULTIPLE)
    short_resized = int(short_target * scale / min_scale)
    long_resized = int(long_target * scale / min_scale)
    short_scale = short / SCALE_UNIT_PX
    long_scale = long_resized / short_resized * short / SCALE_UNIT_PX
    if width < height:
        return (short_resized, long_resized), center, np.array([short_scale, long_scale])
    return (long_resized, short_resized), center, np.array([long_scale, short_scale])


def size_of(image: np.ndarray) -> tuple[int, int]:
    """Return (w, h) of an (H, W, ...) array."""
    return image.shape[1], image.shape[0]


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return -(-int(value) // multiple) * multiple


def check_input_size(size: tuple[int, int], stride: int, *, name: str) -> None:
    """Raise InputSizeError where a (w, h) network input is no multiple of `stride`."""
    width, height = size
    if width < stride or height < stride or width % stride or height % stride:
        near = tuple(max(stride, round_up(side, stride)) for side in size)
        raise InputSizeError(
            f"{name} was asked for an input of {width}x{height}; both sides must be multiples of {stride}. "
            f"Use {near[0]}x{near[1]}."
        )


# Boxes -------------------------------------------------------------------------------------------


def xywh_to_xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """Return (..., 4) boxes x, y, width, height as x1, y1, x2, y2."""
    boxes = np.asarray(boxes_xywh)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def xyxy_to_xywh(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return (..., 4) boxes x1, y1, x2, y2 as x, y, width, height."""
    boxes = np.asarray(boxes_xyxy)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def xywh_to_center_scale(
    boxes_xywh: np.ndarray, size: tuple[int, int], *, padding: float = BOX_PADDING
) -> tuple[np.ndarray, np.ndarray]:
    """Return HRNet's centres (..., 2) in px and scales (..., 2) in 200 px of (..., 4) boxes, both float32.

    The short side grows to the aspect of `size` (w, h), then both by `padding`, except where the centre's x is exactly
    -1 (HRNet's mark for "no box", kept because its numbers depend on it).
    """
    boxes = np.asarray(boxes_xywh, dtype=np.float64)
    center = (boxes[..., :2] + boxes[..., 2:] * 0.5).astype(np.float32)
    scale = (grown_to_aspect(boxes[..., 2:], size) / SCALE_UNIT_PX).astype(np.float32)
    factor = np.where(center[..., :1] == -1, 1.0, padding)
    return center, (scale * factor).astype(np.float32)


def grown_to_aspect(extent: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (..., 2) widths and heights, the smaller of each pair grown to the aspect of `size` (w, h): float64."""
    extent = np.asarray(extent, dtype=np.float64)
    aspect = size[0] / size[1]
    width = np.maximum(extent[..., 0], extent[..., 1] * aspect)
    height = np.maximum(extent[..., 1], extent[..., 0] / aspect)
    return np.stack([width, height], axis=-1)


def clean_coco_boxes(
    boxes_xywh: np.ndarray, areas: np.ndarray, image_size: tuple[int, int] | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return HRNet's cleaned COCO boxes (N, 4) xywh and which of them it keeps (N,) bool.

    image_size: (w, h), or one for each box, (N, 2).
    As in its COCO loader, a box loses one pixel of width and height, and clipping at the left or top moves the box
    without shrinking it.
    """
    boxes = np.asarray(boxes_xywh, dtype=np.float64)
    top_left = np.maximum(0, boxes[..., :2])
    extent = np.maximum(0, boxes[..., 2:] - 1)
    bottom_right = np.minimum(np.asarray(image_size) - 1, top_left + extent)
    kept = (np.asarray(areas) > 0) & (bottom_right >= top_left).all(axis=-1)
    return np.concatenate([top_left, bottom_right - top_left], axis=-1), kept


def mpii_center_scale(center: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 0-based centres (..., 2) in px and scales (..., 2) in 200 px of MPII's annotation (HRNet's loader).

    The centre moves down by 15 * scale and the scale grows by 1.25 first, unless the centre's x is -1.
    """
    center = np.array(center, dtype=np.float64)
    scale = np.asarray(scale, dtype=np.float64)
    annotated = center[..., 0] != -1
    center[..., 1] += np.where(annotated, 15 * scale, 0)
    scale = np.where(annotated, scale * BOX_PADDING, scale)
    return center - 1, np.stack([scale, scale], axis=-1)


def boxes_of_keypoints(keypoints: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the tight boxes (N, 4) xyxy around (N, K, 2) keypoints where `found` (N, K); zeros where none is."""
    points = np.asarray(keypoints, dtype=np.float32)
    mask = np.asarray(found, dtype=bool)[..., None]
    low = np.where(mask, points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(mask, points, -np.inf).max(axis=1, initial=-np.inf)
    boxes = np.concatenate([low, high], axis=-1)
    return np.where(mask.any(axis=1), boxes, 0).astype(np.float32)
