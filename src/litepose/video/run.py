"""The loop over a video: read, find people, track, smooth, draw, write or show; each step timed. Or in two passes: the
people of all frames first, then, once these were smoothed together, the pictures again to draw them.

What was done before an error, or before somebody stops, stays: drawn video and result files are whole at any end.
"""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import cv2
import numpy as np

from litepose.drawing import draw
from litepose.drawing_overlay import draw_timing
from litepose.geometry import size_of
from litepose.poses import Poses
from litepose.predictor import Predictor
from litepose.smoothing import PoseSmoother
from litepose.tracking import Tracker
from litepose.video.base import Source, VideoFrame
from litepose.video.reading import FrameReader
from litepose.video.writing import VideoWriter
from litepose.writers import PictureResult, ResultFiles

RECENT = 30  # frames that the overlay's medians are of

Show = Callable[[np.ndarray], bool]  # a drawn frame -> whether to go on


@dataclass(frozen=True)
class FrameResult:
    """One frame, its people, and the seconds that each step took; `dropped`: frames left out before it, live.

    image: drawn, where something is drawn.
    """

    frame: VideoFrame
    poses: Poses
    seconds: dict[str, float]
    dropped: int = 0
    image: np.ndarray | None = None


@dataclass(frozen=True)
class Drawing:
    """What is drawn. mirrored: as in a mirror, people and picture alike; left stays the person's left."""

    boxes: bool = False
    scores: bool = False
    ids: bool = True
    timing: bool = False
    mirrored: bool = False


@dataclass
class Timing:
    """The times of the last frames, for people to read while it runs and for a summary."""

    recent: dict[str, deque[float]] = field(default_factory=dict)
    ends: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def add(self, seconds: dict[str, float]) -> None:
        for step, value in seconds.items():
            self.recent.setdefault(step, deque(maxlen=RECENT)).append(value)
        self.ends.append(time.perf_counter())

    @property
    def medians(self) -> dict[str, float]:
        """Seconds of each step."""
        return {step: float(np.median(values)) for step, values in self.recent.items()}

    @property
    def rate(self) -> float:
        """Frames a second, end to end."""
        if len(self.ends) < 2:
            return 0.0
        return (len(self.ends) - 1) / max(self.ends[-1] - self.ends[0], 1e-9)


def predict_video(
    predictor: Predictor,
    source: Source,
    *,
    min_score: float = 0.0,
    tracker: Tracker | None = None,
    smoother: PoseSmoother | None = None,
    writer: VideoWriter | None = None,
    results: ResultFiles | None = None,
    show: Show | None = None,
    drawing: Drawing = Drawing(),
) -> Generator[FrameResult, None, None]:
    """Find the people of each frame, in order, while the next ones are being read.

    min_score: people below are left out, after tracking. tracker, smoother: fresh ones, this stream's own.
    writer, results: where drawn frames and people go; closed at the end. show: is given drawn frames, may end the loop.
    Yields after each frame; whoever stops asking ends it. Raises VideoError after the last frame that could be had.
    """

    def find(frame: VideoFrame, clock: _Clock) -> Poses:
        poses = _people(predictor, frame, clock)
        poses = _followed(poses, frame.time_s, tracker, smoother, clock)
        return poses[poses.scores >= min_score]

    return _loop(source, find, writer, results, show, drawing)


def draw_video(
    source: Source,
    people: Sequence[Poses],
    *,
    writer: VideoWriter | None = None,
    results: ResultFiles | None = None,
    show: Show | None = None,
    drawing: Drawing = Drawing(),
) -> Generator[FrameResult, None, None]:
    """Draw and write people who are known already, frame by frame: the second pass, after `smooth_offline`.

    people: of the frames that the source gives, in order; it ends with the shorter of both. The rest is as in
    `predict_video`.
    """
    waiting = iter(people)
    return _loop(source, lambda frame, clock: next(waiting, None), writer, results, show, drawing)


def _loop(
    source: Source,
    find: Callable[[VideoFrame, _Clock], Poses | None],
    writer: VideoWriter | None,
    results: ResultFiles | None,
    show: Show | None,
    drawing: Drawing,
) -> Generator[FrameResult, None, None]:
    """Read, find, draw, write and show; end with the frames, or where `find` returns None."""
    timing = Timing()
    with ExitStack() as outputs:
        reader = outputs.enter_context(FrameReader(source))
        for output in (writer, results):
            if output is not None:
                outputs.enter_context(output)
        frames = iter(reader)
        while True:
            clock = _Clock()
            frame = next(frames, None)
            clock.step("read")
            poses = None if frame is None else find(frame, clock)
            if frame is None or poses is None:
                return
            image = None
            if writer is not None or show is not None:
                image = drawn(frame.image, poses, drawing, timing)
                clock.step("draw")
            if writer is not None and image is not None:
                writer.add(image, frame.time_s)
            if results is not None:
                results.add(PictureResult(source.name, size_of(frame.image), poses, frame.number, frame.time_s))
            if writer is not None or results is not None:
                clock.step("write")
            timing.add(clock.seconds)
            yield FrameResult(frame, poses, clock.seconds, reader.dropped, image)
            if show is not None and image is not None and not show(image):
                return


def drawn(image: np.ndarray, poses: Poses, drawing: Drawing, timing: Timing | None = None) -> np.ndarray:
    """Return a copy of a frame with its people, and how long the last frames took where that is wanted."""
    if drawing.mirrored:
        image = cv2.flip(image, 1)
        poses = mirrored(poses, image.shape[1])
    canvas = draw(image, poses, boxes=drawing.boxes, scores=drawing.scores, ids=drawing.ids)
    if drawing.timing and timing is not None and timing.ends:
        draw_timing(canvas, timing.rate, {step: 1000 * value for step, value in timing.medians.items()})
    return canvas


def mirrored(poses: Poses, width: int) -> Poses:
    """Return people where they are in the mirrored picture; whose left hand it is does not change."""
    keypoints = poses.keypoints.copy()
    keypoints[..., 0] = width - 1 - keypoints[..., 0]
    boxes = poses.boxes
    if boxes is not None:
        boxes = np.stack([width - 1 - boxes[:, 2], boxes[:, 1], width - 1 - boxes[:, 0], boxes[:, 3]], axis=-1)
    return dataclasses.replace(poses, keypoints=keypoints, boxes=boxes)


class _Clock:
    """Times one frame's steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def step(self, name: str) -> None:
        """End a step, which began where the last one ended."""
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._last
        self._last = now


def _people(predictor: Predictor, frame: VideoFrame, clock: _Clock) -> Poses:
    """Return the people of one frame; a top-down model's detector is a step of its own."""
    looked_at = predictor.frames(frame.image)
    if predictor.takes_boxes:
        clock.step("detect")
    tensors = [predictor.prepare(frame.image, view) for one in looked_at for view in one.views]
    clock.step("pre")
    outputs = predictor.forward(tensors)
    clock.step("network")
    poses = predictor.decode(looked_at, iter(outputs))
    clock.step("decode")
    return poses


def _followed(
    poses: Poses, time_s: float, tracker: Tracker | None, smoother: PoseSmoother | None, clock: _Clock
) -> Poses:
    """Return the people with ids and steadied, as far as that is wanted."""
    if tracker is not None:
        poses = tracker.update(poses, time_s)
    if smoother is not None:
        poses = smoother.update(poses, time_s)
    if tracker is not None or smoother is not None:
        clock.step("track")
    return poses
