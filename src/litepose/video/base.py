"""What a video is here: frames with a number, a time and a picture, from a source that says how fast and how long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from litepose.errors import MissingPackageError, SettingError, VideoError


@dataclass(frozen=True)
class VideoFrame:
    """number: from 0 on, counted from where reading began. time_s: in the video; live, since it began."""

    number: int
    time_s: float
    image: np.ndarray


@dataclass(frozen=True)
class Clip:
    """The part of a video that is read.

    start_s, stop_s: in the video; None = to its end. stride: every how manieth frame. max_frames: after the stride.
    """

    start_s: float = 0.0
    stop_s: float | None = None
    stride: int = 1
    max_frames: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < math.inf:
            raise SettingError(f"A video starts at 0 s or later; found start {self.start_s:g}.")
        if self.stop_s is not None and not self.stop_s > self.start_s:
            raise SettingError(f"A video stops after it starts; found start {self.start_s:g} and stop {self.stop_s:g}.")
        if self.stride < 1 or (self.max_frames is not None and self.max_frames < 1):
            raise SettingError(f"stride and max_frames are 1 or more; found {self.stride} and {self.max_frames}.")

    def apply(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield the frames of this part; a frame belongs to it from start_s on and before stop_s."""
        given = 0
        for frame in frames:
            if self.stop_s is not None and frame.time_s >= self.stop_s:
                return
            if frame.number % self.stride == 0:
                given += 1
                yield frame
                if given == self.max_frames:
                    return


class Source(Protocol):
    """Where frames come from.

    name: for files written. live: frames come as they happen, whether they are wanted or not.
    rate: frames a second where it is known. duration_s: of the part that is read, where it is known.
    """

    name: str
    live: bool
    rate: float | None
    duration_s: float | None

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the frames of the clip. Raises VideoError, after the last one that could be had."""
        ...


def import_av() -> Any:
    """Return PyAV. Raises MissingPackageError.

    Its log stays off, as it is by default: with it on, a decoder's threads wait for the interpreter's lock, and we for
    them.
    """
    try:
        import av
    except ImportError as error:
        raise MissingPackageError(
            "Videos need the package av, which is not installed. Install it: pip install 'litepose[video]'."
        ) from error
    return av


def no_frames(name: str, clip: Clip) -> VideoError:
    """Return the error of a video, or a part of one, without any frame."""
    if clip.start_s > 0:
        return VideoError(f"{name} has no frame from {clip.start_s:g} s on. Start earlier: --start.")
    return VideoError(f"{name} holds no frames. Record or export it again.")
