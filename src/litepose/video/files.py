"""Video files, frame by frame through PyAV: their own times, turned upright, of constant memory.

A file may vary its frame rate, begin late, be cut off or hold damaged parts: what can be decoded is given, with the
times that it has; then an error says what was missing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose.errors import VideoError
from litepose.video.base import Clip, VideoFrame, import_av, no_frames

SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".ogv",
    ".3gp", ".mjpeg", ".mjpg", ".y4m",
)  # fmt: skip
MISSING_S = 0.5  # a video that ends so much earlier than it says was cut off
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class VideoFile:
    """A file as a Source. Raises VideoError where it cannot be played at all.

    path: where it lies, or what messages shall call it. name: for files written; None = the path's. connect: opens a
    file that lies elsewhere, as PyAV's container.
    """

    live = False

    def __init__(
        self,
        path: str | Path,
        clip: Clip = Clip(),  # noqa: B008 - frozen
        *,
        name: str | None = None,
        connect: Callable[[], Any] | None = None,
    ) -> None:
        self.path = str(path)
        self.name = Path(self.path).name if name is None else name
        self.clip = clip
        self._open = connect or functools.partial(open_container, self.path)
        with self._open() as container:
            stream = picture_stream(container, self.path)
            rate = stream.guessed_rate or stream.average_rate
            self.rate = float(rate) if rate else None
            whole = _duration_s(container, stream)
        self.whole_s = whole
        end = whole if clip.stop_s is None else clip.stop_s if whole is None else min(whole, clip.stop_s)
        self.duration_s = None if end is None else max(end - clip.start_s, 0.0)

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames of the clip. Raises VideoError at the end where the file is damaged, cut off or empty."""
        given = False
        for frame in self.clip.apply(self._decoded()):
            given = True
            yield frame
        if not given:
            raise no_frames(self.path, self.clip)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Yield all frames from the start of the clip on."""
        av = import_av()
        number, damaged, last_s = 0, 0, 0.0
        with self._open() as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            began = 0.0 if container.start_time is None else container.start_time / av.time_base
            if self.clip.start_s > 0:
                container.seek(int((began + self.clip.start_s) * av.time_base))
            for decoded in _all_frames(av, container, stream):
                if decoded is None:
                    damaged += 1
                    continue
                time_s = last_s + self._gap_s() if decoded.time is None else decoded.time - began
                last_s = time_s
                if time_s >= self.clip.start_s - 1e-6:
                    yield VideoFrame(number, time_s, upright(decoded))
                    number += 1
        self._check_whole(number, damaged, last_s)

    def _check_whole(self, frames: int, damaged: int, last_s: float) -> None:
        """Raise VideoError where parts could not be decoded, or the end is missing."""
        if damaged and not frames:
            raise VideoError(
                f"{self.path} cannot be decoded: all {damaged} parts of its video are damaged. Copy it again."
            )
        missing = 0.0 if self.whole_s is None else self.whole_s - last_s - self._gap_s()
        if missing > MISSING_S:
            raise VideoError(
                f"{self.path} is cut off: it says that it lasts {self.whole_s:.2f} s and ends at {last_s:.2f} s. What "
                "is there was used. Copy or download it again for the rest."
            )
        if damaged:
            raise VideoError(
                f"{self.path} is damaged: {damaged} parts of its video could not be decoded; the {frames} frames that "
                "could be were used. Copy or download it again."
            )

    def _gap_s(self) -> float:
        return 1 / self.rate if self.rate else 1 / 25


def open_container(path: str) -> Any:
    """Return PyAV's open container of a file. Raises VideoError, MissingPackageError."""
    av = import_av()
    try:
        return av.open(path)
    except FileNotFoundError as error:
        raise VideoError(f"There is no video {path}. Check the name.") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(
            f"{path} cannot be opened as a video: {_reason(error)}. It is empty, cut off before its index, or of a "
            "kind that FFmpeg does not read. Copy it again, or convert it to MP4 or WebM."
        ) from error


def picture_stream(container: Any, name: str) -> Any:
    """Return the first stream with moving pictures. Raises VideoError for sound alone and for unknown codecs."""
    streams = [one for one in container.streams.video if not _is_cover(one)]
    if not len(container.streams):
        raise VideoError(
            f"{name} cannot be opened as a video: nothing is in it. It was probably cut off. Copy it again."
        )
    if not streams:
        found = sorted({one.type for one in container.streams})
        raise VideoError(f"{name} has no moving pictures: it holds {', '.join(found)}. Give one with a video stream.")
    if streams[0].codec_context is None:
        raise VideoError(
            f"{name} holds video of a codec that this FFmpeg cannot decode. Convert it to H.264, VP9 or AV1 first."
        )
    return streams[0]


def upright(frame: Any) -> np.ndarray:
    """Return a decoded frame as (H, W, 3) uint8 BGR, turned as a phone's recording asks."""
    image: np.ndarray = frame.to_ndarray(format="bgr24")
    turn = TURNS.get(round(frame.rotation) % 360)
    return image if turn is None else cv2.rotate(image, turn)


def _all_frames(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Yield decoded frames, None for each packet that could not be decoded."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):  # the rest cannot be read
            yield None
            return
        if packet is None:
            return
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            yield None
            continue
        yield from decoded


def _duration_s(container: Any, stream: Any) -> float | None:
    """Return when the pictures end, in seconds from the container's start: of the stream where it says so."""
    if stream.duration is not None and stream.time_base:
        begun = (stream.start_time or 0) * stream.time_base - (container.start_time or 0) / 1_000_000
        return float(stream.duration * stream.time_base + begun)
    if container.duration is None:
        return None
    # Matroska counts from 0 to the end, wherever the pictures begin.
    begun_us = container.start_time or 0 if "matroska" in container.format.name else 0
    return (container.duration - begun_us) / 1_000_000


def _is_cover(stream: Any) -> bool:
    """Return whether a stream is the picture on a piece of music."""
    return "attached_pic" in str(getattr(stream, "disposition", "")).lower()


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text[0].lower() + text[1:] if text else type(error).__name__
