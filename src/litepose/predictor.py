"""Pictures go in, people come out: picture -> frames -> views -> batch -> runtime -> codec -> people in picture pixels.

A frame is a part of the picture in which the codec looks for people: all of it for a bottom-up model, the crop around
one box for a top-down model. A view is what one forward pass looks at: its frame once, or several times for flip and
multi-scale tests; the codec merges what the passes gave, and joins the people of all frames. Sizes and their order are
those of HigherHRNet and LitePose (mit-han-lab/litepose@00b702d, valid.py), crops those of HRNet; one thing differs:
what shrinks to less than a third (crops: a fifth) is area-averaged first, because sampling a phone photo bilinearly at
every twelfth pixel loses thin limbs.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose import images
from litepose.codecs import Found, MapLayers, Pass
from litepose.detectors import (
    Detector,
    OnnxDetector,
    PoseDetector,
    checked_boxes,
    usable_boxes,
    whole_picture,
)
from litepose.errors import LiteposeError, PictureError, SettingError
from litepose.geometry import Warp, check_input_size, round_up, size_of
from litepose.in_order import in_order
from litepose.poses import Poses
from litepose.runtimes import Runtime, open_runtime
from litepose.runtimes.onnx import has_spec
from litepose.spec import BOX_RULES, InputSpec
from litepose.weights import DEFAULT, names, path_of

MAX_ASPECT = 8  # a picture longer than this is letterboxed, or a strip of 1x1000 would become an input of 256x256000
# COCO's longest side is 640: at inputs from 224 on, and at crops from 192x256 on (zoom 0.24 and more), its numbers are
# the reference's.
MIN_BILINEAR_ZOOM = 1 / 3
MIN_BILINEAR_CROP_ZOOM = 0.2
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


@dataclass(frozen=True)
class Frame:
    """The part of a picture in which the codec looks for people.

    warp: from picture to network input at scale 1. views: the passes over it. area: picture px^2.
    box: (4,) float32 xyxy, of the person for whom the picture was cropped; None = the whole picture. score: of the box.
    """

    warp: Warp
    views: tuple[View, ...]
    area: float
    box: np.ndarray | None = None
    score: float = 1.0


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
    boxes: str | Path | Detector | Predictor | None = None,
) -> Predictor:
    """Open a shipped model by name, an exported file or a checkpoint. See Predictor for the settings.

    device: "cpu" or "cuda". threads: of the engine; None = one for each physical core that this process may use.
    runtime: the engine's name where the file's suffix leaves a choice. boxes: see `open_detector`; device and threads
        are the detector's too.
    Raises ModelError, SpecError, SettingError, MissingPackageError.
    """
    engine = open_runtime(path_of(name_or_path), device=device, threads=threads, runtime=runtime)
    predictor = Predictor(engine, decode=decode, flip=flip, size=size, scales=scales)
    if boxes is not None:
        predictor.check_takes_boxes()
        predictor.detector = open_detector(boxes, device=device, threads=threads)
    return predictor


class Predictor:
    """Finds people in pictures. Any number of threads may use one predictor at once.

    decode: "exact" or "fast" (see the codec); None = what the model's spec says.
    flip: average with the mirrored picture. scales: average over several sizes.
    size: (w, h) of the network input, into which pictures are letterboxed or boxes cropped; None = the model's rule.
    boxes: where the boxes of a top-down model come from in calls that give none; None = from litepose_xs, which ships
        and is opened at the first such call.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        decode: str | None = None,
        flip: bool = False,
        size: tuple[int, int] | None = None,
        scales: Sequence[float] = (1.0,),
        boxes: Detector | None = None,
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
        if boxes is not None:
            self.check_takes_boxes()
            self.detector = boxes
        # Pictures of one size share it: making one costs as much as decoding a person.
        self._whole_frame = functools.lru_cache(maxsize=64)(self._frame)

    @property
    def takes_boxes(self) -> bool:
        """Whether the model looks at one box for each person (top-down), and not at the whole picture."""
        return self.spec.input.resize in BOX_RULES

    def check_takes_boxes(self) -> None:
        """Raise SettingError for a model that looks at the whole picture."""
        if not self.takes_boxes:
            raise SettingError(
                f"{self.spec.model} was given boxes of people; it looks at the whole picture and finds everybody by "
                f"itself. Leave the boxes out, or take a model whose resize rule is one of {', '.join(BOX_RULES)}."
            )

    @functools.cached_property
    def detector(self) -> Detector:
        """Where boxes come from in calls that give none."""
        return _default_detector(self.spec.model, self.runtime.threads)

    def __call__(self, picture: Picture, boxes: np.ndarray | None = None) -> Poses:
        """Return the people of one picture (BGR uint8 array, path or file bytes): picture pixels, best first.

        boxes: (M, 4) x1, y1, x2, y2 or (M, 5) with a score, of the people, for a top-down model; None = from the
            predictor's detector.
        Raises PictureError, SettingError.
        """
        return self.batch([picture], [boxes])[0]

    def batch(self, pictures: Iterable[Picture], boxes: Iterable[np.ndarray | None] | None = None) -> list[Poses]:
        """Return the people of several pictures of any sizes; equal input sizes share forward passes.

        boxes: one array for each picture, as in a call.
        """
        pixels = [as_image(picture) for picture in pictures]
        given = [None] * len(pixels) if boxes is None else list(boxes)
        if len(given) != len(pixels):
            raise SettingError(
                f"{len(pixels)} pictures came with {len(given)} arrays of boxes. Give one for each, None where the "
                "detector shall look."
            )
        plans = [self.frames(image, one) for image, one in zip(pixels, given, strict=True)]
        tensors = [
            self.prepare(image, view)
            for image, frames in zip(pixels, plans, strict=True)
            for frame in frames
            for view in frame.views
        ]
        outputs = iter(self.forward(tensors))
        return [self.decode(frames, outputs) for frames in plans]

    def predict_many(
        self,
        pictures: Iterable[Picture],
        boxes: Iterable[np.ndarray | None] | None = None,
        *,
        in_flight: int = 2,
    ) -> Iterator[Poses | LiteposeError]:
        """Yield the people of each picture, in order, as a call finds them; of one that cannot be used, its error.

        pictures: any number, taken as they are needed. boxes: one array for each, as in a call.
        in_flight: pictures worked on at once: one is read or decoded while the network runs on the next. With as many
            as there are cores, an engine of one thread finds most people a second.
        Raises SettingError.
        """
        if self.takes_boxes and boxes is None:
            _ = self.detector  # opened once, and before any thread asks for it
        pairs = ((one, None) for one in pictures) if boxes is None else _paired(pictures, boxes)
        answers = in_order(lambda pair: self(*pair), pairs, in_flight=in_flight)
        return (_poses_or_error(answer) for answer in answers)

    def maps(self, picture: Picture, box: np.ndarray | None = None) -> Any:
        """Return what the codec decodes (its own type), aggregated over all views, in the frame of `frame`."""
        image = as_image(picture)
        views = self.views(size_of(image), box)
        passes = _passes(views, iter(self.forward([self.prepare(image, view) for view in views])))
        return self.codec.aggregate(passes, self.frame(size_of(image), box).size, self.skeleton)

    def layers(self, picture: Picture, boxes: np.ndarray | None = None) -> tuple[tuple[Frame, MapLayers], ...]:
        """Return the maps of each frame of a picture, to be shown; boxes: as in a call."""
        image = as_image(picture)
        frames = self.frames(image, boxes)
        outputs = iter(self.forward([self.prepare(image, view) for frame in frames for view in frame.views]))
        shown = []
        for frame in frames:
            maps = self.codec.aggregate(_passes(frame.views, outputs), frame.warp.size, self.skeleton)
            shown.append((frame, self.codec.layers(maps, self.skeleton)))
        return tuple(shown)

    def frames(self, image: np.ndarray, boxes: np.ndarray | None = None) -> tuple[Frame, ...]:
        """Return where people are looked for: in the whole picture, or around each box, given or detected."""
        size = size_of(image)
        if boxes is not None:
            self.check_takes_boxes()
            return tuple(self._frame(size, box) for box in checked_boxes(boxes, size))
        if not self.takes_boxes:
            return (self._whole_frame(size),)
        return tuple(self._frame(size, box) for box in usable_boxes(self.detector(image), size))

    def frame(self, picture_size: tuple[int, int], box: np.ndarray | None = None) -> Warp:
        """Return the warp into the frame in which the codec finds people: the input at scale 1.

        box: (4,) xyxy, the crop of a top-down model; None = the whole picture.
        """
        return self._warp(picture_size, 1.0, box)

    def views(self, picture_size: tuple[int, int], box: np.ndarray | None = None) -> tuple[View, ...]:
        """Return the forward passes over a frame of a (w, h) picture: largest scale first, plain before mirrored."""
        warps = [(scale, self._warp(picture_size, scale, box)) for scale in self.scales]
        for scale, warp in warps:
            check_input_size(warp.size, self.spec.input.stride, name=f"{self.spec.model} at scale {scale:g}")
        return tuple(
            View(warp, mirrored, scale) for scale, warp in warps for mirrored in (False, True)[: 1 + self.flip]
        )

    def prepare(self, image: np.ndarray, view: View) -> np.ndarray:
        """Return the network input of one view: (3, H, W) float32."""
        lowest = MIN_BILINEAR_CROP_ZOOM if self.takes_boxes else MIN_BILINEAR_ZOOM
        border = round(255 * float(np.mean(self.spec.input.mean))) if self.spec.input.resize == "height" else 0
        tensor = normalise(_warped(image, view.warp, lowest, border), self.spec.input)
        return tensor[..., ::-1] if view.mirrored else tensor

    def forward(self, tensors: Sequence[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """Run the network on inputs of any sizes; return each one's maps, (C, h, w) in spec order."""
        outputs: list[tuple[np.ndarray, ...]] = [()] * len(tensors)
        for places in _alike(tensors):
            chosen = [tensors[place] for place in places]
            maps = self.runtime(np.stack(chosen) if len(chosen) > 1 else chosen[0][None])
            for row, place in enumerate(places):
                outputs[place] = tuple(one[row] for one in maps)
        return outputs

    def decode(self, frames: Sequence[Frame], outputs: Iterator[tuple[np.ndarray, ...]]) -> Poses:
        """Return the people that the forward passes over a picture's frames show: picture pixels, best first.

        outputs: of each frame's views, in order; only these are taken.
        """
        found = []
        for frame in frames:
            maps = self.codec.aggregate(_passes(frame.views, outputs), frame.warp.size, self.skeleton)
            poses = self.codec.decode(maps, self.skeleton).warped(frame.warp.inverse)
            if frame.box is not None:
                poses = dataclasses.replace(poses, boxes=np.tile(frame.box, (len(poses), 1)))
            found.append(Found(poses, frame.area, frame.score))
        poses = self.codec.join(found, self.skeleton).sorted()
        return poses if poses.boxes is not None else dataclasses.replace(poses, boxes=poses.keypoint_boxes)

    def _frame(self, picture_size: tuple[int, int], box: np.ndarray | None = None) -> Frame:
        """Return one frame. box: (5,) xyxy and score, or None for the whole picture."""
        place, score = (None, 1.0) if box is None else (box[:4], float(box[4]))
        warp = self.frame(picture_size, place)
        extent = np.array(warp.size, dtype=np.float64) - (self.spec.input.resize == "box_udp")  # see Warp.udp
        return Frame(warp, self.views(picture_size, place), float(extent.prod() / warp.zoom**2), place, score)

    def _warp(self, picture_size: tuple[int, int], scale: float, box: np.ndarray | None) -> Warp:
        rule, stride = self.spec.input.resize, self.spec.input.stride
        if rule == "short_side" and self.size is None:
            short, aspect = min(self.spec.input.size), max(picture_size) / min(picture_size)
            if aspect <= MAX_ASPECT:
                return Warp.higherhrnet(picture_size, short, scale=scale, min_scale=min(self.scales))
            long = round_up(MAX_ASPECT * short, stride)
            size = (long, short) if picture_size[0] > picture_size[1] else (short, long)
        else:
            size = self.size or self.spec.input.size
        larger = (round_up(round(size[0] * scale), stride), round_up(round(size[1] * scale), stride))
        if self.takes_boxes:
            box = np.array([0, 0, *picture_size]) if box is None else box
            udp = rule == "box_udp"
            base = Warp.box(box, size, udp=udp)
            return base if scale == 1 else base.then(_spread(size, larger, udp=udp))
        if rule == "height" and self.size is None and picture_size[0] <= MAX_ASPECT * picture_size[1]:
            base = Warp.openpose(picture_size, size[1], stride=stride)
            larger = (round_up(round(base.size[0] * scale), stride), larger[1])
        else:
            base = Warp.resize(picture_size, size) if rule == "stretch" else Warp.letterbox(picture_size, size)
        return base if scale == 1 else base.then(Warp.resize(base.size, larger))


def _paired(
    pictures: Iterable[Picture], boxes: Iterable[np.ndarray | None]
) -> Iterator[tuple[Picture, np.ndarray | None]]:
    """Yield each picture with its boxes. Raises SettingError where one of them ends before the other."""
    nothing = object()
    for count, (picture, given) in enumerate(itertools.zip_longest(pictures, boxes, fillvalue=nothing)):
        if picture is nothing or given is nothing:
            raise SettingError(
                f"Pictures and arrays of boxes ended at different places: after {count} of each there was another "
                f"{'array of boxes' if picture is nothing else 'picture'}. Give one for each, None where the detector "
                "shall look."
            )
        yield picture, given  # type: ignore[misc]


def _poses_or_error(answer: Future[Poses]) -> Poses | LiteposeError:
    try:
        return answer.result()
    except LiteposeError as error:
        return error


def open_detector(
    source: str | Path | Detector | Predictor, *, device: str = "cpu", threads: int | None = None
) -> Detector:
    """Return where the boxes of people come from.

    source: "picture" (one box, all of it), a shipped bottom-up model's name, the path of a pose model or of an ONNX
        person detector, a Predictor, or any callable picture -> boxes (see `detectors.Detector`).
    Raises ModelError, SpecError, SettingError, MissingPackageError.
    """
    if isinstance(source, Predictor):
        return PoseDetector(source)
    if not isinstance(source, str | Path):
        return source
    if str(source) == "picture":
        return whole_picture
    path = path_of(source)
    if path.suffix.lower() == ".json":
        raise SettingError(
            f"Boxes were to come from a detector, {path}; it is a file of boxes that belong to pictures. Read it with "
            'detectors.read_box_file and give each call its own, or give a model, a detector or "picture".'
        )
    if path.suffix.lower() == ".onnx" and path.is_file() and not has_spec(path):
        return OnnxDetector(path, device=device, threads=threads)
    return PoseDetector(load(path, device=device, threads=threads))


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

    A table for each channel: the same bits as (pixel / 255 - mean) / std in float32, 0.07 ms at 256x256. Files that
    normalise by themselves get the pixels: uint8.
    """
    planes = cv2.split(image)
    if spec.pixels:
        return np.stack(planes[::-1] if spec.colour == "RGB" else planes)
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


def _warped(image: np.ndarray, warp: Warp, min_zoom: float, border: int = 0) -> np.ndarray:
    if warp.zoom < min_zoom:
        factor = int(1 / warp.zoom)
        size = size_of(image)
        small = (max(1, size[0] // factor), max(1, size[1] // factor))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        warp = Warp.resize(small, size).then(warp)
    return warp.image(image, border=border)


def _passes(views: Sequence[View], outputs: Iterator[tuple[np.ndarray, ...]]) -> list[Pass]:
    """Pair each view with the next of `outputs`."""
    return [Pass(next(outputs), view.mirrored, view.scale) for view in views]


def _spread(source: tuple[int, int], size: tuple[int, int], *, udp: bool) -> Warp:
    """Return the warp from one (w, h) crop to a larger one of the same box: what `Warp.box` of that size gives."""
    factors = (np.array(size, dtype=np.float64) - udp) / (np.array(source) - udp)
    return Warp(np.diag([*factors, 1.0])[:2], size)


def _default_detector(model: str, threads: int) -> Detector:
    if DEFAULT not in names():
        raise SettingError(
            f"{model} looks at one box for each person, and was given none. {DEFAULT}, which would find them, does not "
            "ship with this installation. Give boxes in the call, or where they come from: load(..., boxes=...)."
        )
    return open_detector(DEFAULT, threads=threads)


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
