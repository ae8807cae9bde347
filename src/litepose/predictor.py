"""Pictures go in, people come out: picture -> views -> batch -> runtime -> codec -> people in picture pixels.

A view is what one forward pass looks at. A bottom-up model looks at the whole picture once, or several times for flip
and multi-scale tests; the codec merges what the passes gave. Sizes and their order are those of HigherHRNet and
LitePose (mit-han-lab/litepose@00b702d, valid.py); one thing differs: pictures that shrink to less than a third are
area-averaged first, because sampling a phone photo bilinearly at every twelfth pixel loses thin limbs.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose import images
from litepose.codecs import Pass
from litepose.errors import PictureError, SettingError
from litepose.geometry import Warp, check_input_size, round_up, size_of
from litepose.poses import Poses
from litepose.runtimes import Runtime, open_runtime
from litepose.spec import InputSpec
from litepose.weights import path_of

MAX_ASPECT = 8  # a picture longer than this is letterboxed, or a strip of 1x1000 would become an input of 256x256000
MIN_BILINEAR_ZOOM = 1 / 3  # COCO's longest side is 640: at inputs from 224 on its numbers are the reference's
BATCH_SIZE = 8  # forward passes that run together

Picture = np.ndarray | str | Path | bytes


@dataclass(frozen=True)
class View:
    """One forward pass over a picture: `warp` leads from picture to network input.

    mirrored: the network sees the input mirrored; the warp knows nothing of it.
    scale: of a multi-scale test.
    """

    warp: Warp
    mirrored: bool = False
    scale: float = 1.0


def load(
    name_or_path: str | Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    runtime: str | None = None,
    decode: str | None = None,
    flip: bool = False,
    size: tuple[int, int] | None = None,
    scales: Sequence[float] = (1.0,),
) -> Predictor:
    """Open a shipped model by name, an exported file or a checkpoint. See Predictor for the settings.

    device: "cpu" or "cuda". threads: of the engine; None = one for each physical core that this process may use.
    runtime: the engine's name where the file's suffix leaves a choice.
    Raises ModelError, SpecError, SettingError, MissingPackageError.
    """
    engine = open_runtime(path_of(name_or_path), device=device, threads=threads, runtime=runtime)
    return Predictor(engine, decode=decode, flip=flip, size=size, scales=scales)


class Predictor:
    """Finds people in pictures. Any number of threads may use one predictor at once.

    decode: "exact" or "fast" (see the codec); None = what the model's spec says.
    flip: average with the mirrored picture. scales: average over several sizes.
    size: (w, h) of the network input, into which pictures are letterboxed; None = the model's own resize rule.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        decode: str | None = None,
        flip: bool = False,
        size: tuple[int, int] | None = None,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        self.runtime = runtime
        self.spec = runtime.spec
        self.skeleton = self.spec.skeleton
        self.codec = self.spec.codec if decode is None else dataclasses.replace(self.spec.codec, mode=decode)  # type: ignore[type-var]
        self.flip = flip
        self.scales = _checked_scales(scales)
        self.size = size if size is not None else runtime.size
        if self.size is not None:
            check_input_size(self.size, self.spec.input.stride, name=self.spec.model or "The model")
        if self.spec.input.resize == "box":
            raise SettingError(
                f"{self.spec.model} looks at one box per person; this version predicts with models that look at the "
                "whole picture (short_side, letterbox, stretch)."
            )

    def __call__(self, picture: Picture) -> Poses:
        """Return the people of one picture (BGR uint8 array, path or file bytes): picture pixels, best first."""
        return self.batch([picture])[0]

    def batch(self, pictures: Iterable[Picture]) -> list[Poses]:
        """Return the people of several pictures of any sizes; equal input sizes share forward passes."""
        pixels = [as_image(picture) for picture in pictures]
        plans = [self.views(size_of(image)) for image in pixels]
        tensors = [self.prepare(image, view) for image, views in zip(pixels, plans, strict=True) for view in views]
        outputs = iter(self.forward(tensors))
        return [
            self.decode(size_of(image), self.passes(views, outputs)) for image, views in zip(pixels, plans, strict=True)
        ]

    def maps(self, picture: Picture) -> Any:
        """Return what the codec decodes (its own type), aggregated over all views, in the frame of `frame`."""
        image = as_image(picture)
        views = self.views(size_of(image))
        passes = self.passes(views, iter(self.forward([self.prepare(image, view) for view in views])))
        return self.codec.aggregate(passes, self.frame(size_of(image)).size, self.skeleton)

    def views(self, picture_size: tuple[int, int]) -> tuple[View, ...]:
        """Return the forward passes over a (w, h) picture: largest scale first, plain before mirrored."""
        warps = [(scale, self._warp(picture_size, scale)) for scale in self.scales]
        for scale, warp in warps:
            check_input_size(warp.size, self.spec.input.stride, name=f"{self.spec.model} at scale {scale:g}")
        return tuple(
            View(warp, mirrored, scale) for scale, warp in warps for mirrored in (False, True)[: 1 + self.flip]
        )

    def frame(self, picture_size: tuple[int, int]) -> Warp:
        """Return the warp into the frame in which the codec finds people: the input at scale 1."""
        return self._warp(picture_size, 1.0)

    def prepare(self, image: np.ndarray, view: View) -> np.ndarray:
        """Return the network input of one view: (3, H, W) float32."""
        tensor = normalise(_warped(image, view.warp), self.spec.input)
        return tensor[..., ::-1] if view.mirrored else tensor

    def forward(self, tensors: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """Run the network on inputs of any sizes; return each one's maps, (C, h, w) in spec order."""
        outputs: list[tuple[np.ndarray, ...]] = [()] * len(tensors)
        for places in _alike(tensors):
            maps = self.runtime(np.stack([tensors[place] for place in places]))
            for row, place in enumerate(places):
                outputs[place] = tuple(one[row] for one in maps)
        return outputs

    def passes(self, views: Sequence[View], outputs: Iterator[tuple[np.ndarray, ...]]) -> list[Pass]:
        """Pair each view with the next of `outputs`."""
        return [Pass(next(outputs), view.mirrored, view.scale) for view in views]

    def decode(self, picture_size: tuple[int, int], passes: Sequence[Pass]) -> Poses:
        """Return the people that the forward passes over a (w, h) picture show: picture pixels, best first."""
        frame = self.frame(picture_size)
        found = self.codec.decode(self.codec.aggregate(passes, frame.size, self.skeleton), self.skeleton)
        poses = found.warped(frame.inverse).sorted()
        return poses if poses.boxes is not None else dataclasses.replace(poses, boxes=poses.keypoint_boxes)

    def _warp(self, picture_size: tuple[int, int], scale: float) -> Warp:
        rule, short = self.spec.input.resize, min(self.spec.input.size)
        size = self.size or self.spec.input.size
        if self.size is None and rule == "short_side":
            aspect = max(picture_size) / min(picture_size)
            if aspect <= MAX_ASPECT:
                return Warp.higherhrnet(picture_size, short, scale=scale, min_scale=min(self.scales))
            long = round_up(MAX_ASPECT * short, self.spec.input.stride)
            size = (long, short) if picture_size[0] > picture_size[1] else (short, long)
        base = Warp.resize(picture_size, size) if rule == "stretch" else Warp.letterbox(picture_size, size)
        if scale == 1:
            return base
        width, height = (round_up(round(side * scale), self.spec.input.stride) for side in size)
        return base.then(Warp.resize(size, (width, height)))


def as_image(picture: Picture) -> np.ndarray:
    """Return a picture's pixels: reads paths and file bytes, checks arrays. Raises PictureError."""
    if isinstance(picture, str | Path | bytes):
        return images.read(picture)
    if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        found = f"{picture.dtype} of {picture.shape}" if isinstance(picture, np.ndarray) else type(picture).__name__
        raise PictureError(
            f"A picture in memory must be an (H, W, 3) uint8 array in BGR order; found {found}. "
            "Convert it (cv2.cvtColor, astype), or give a path."
        )
    if picture.size == 0:
        raise PictureError(f"A picture in memory has no pixels: its shape is {picture.shape}.")
    return picture


def normalise(image: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return an (H, W, 3) uint8 BGR picture as the network wants it: (3, H, W) float32, spec's colour order.

    A table for each channel: the same bits as (pixel / 255 - mean) / std in float32, 0.07 ms at 256x256.
    """
    planes = cv2.split(image)
    tensor = np.empty((3, *image.shape[:2]), dtype=np.float32)
    for target, plane, table in zip(
        tensor, planes[::-1] if spec.colour == "RGB" else planes, _tables(spec.mean, spec.std), strict=True
    ):
        cv2.LUT(plane, table, dst=target)
    return tensor


@functools.lru_cache(maxsize=8)
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    levels = np.arange(256, dtype=np.float32) / 255
    return tuple(((levels - np.float32(m)) / np.float32(s))[None] for m, s in zip(mean, std, strict=True))


def _warped(image: np.ndarray, warp: Warp) -> np.ndarray:
    if warp.zoom < MIN_BILINEAR_ZOOM:
        factor = int(1 / warp.zoom)
        size = size_of(image)
        small = (max(1, size[0] // factor), max(1, size[1] // factor))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        warp = Warp.resize(small, size).then(warp)
    return warp.image(image)


def _alike(tensors: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Yield the places of tensors of one shape, at most BATCH_SIZE at a time."""
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, tensor in enumerate(tensors):
        by_shape.setdefault(tensor.shape, []).append(place)
    for places in by_shape.values():
        yield from (places[i : i + BATCH_SIZE] for i in range(0, len(places), BATCH_SIZE))


def _checked_scales(scales: Sequence[float]) -> tuple[float, ...]:
    ordered = tuple(sorted((float(scale) for scale in scales), reverse=True))  # the reference's order
    if not ordered or not all(0.1 <= scale <= 10 for scale in ordered):
        raise SettingError(f"Scales must be numbers from 0.1 to 10; found {list(scales)}. Use for instance 0.5, 1, 2.")
    return ordered
