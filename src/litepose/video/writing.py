"""Drawn videos that browsers play: VP9 in WebM, MP4 or Matroska, with the times of the frames.

VP9 by libvpx (BSD) is the one codec written: every current browser plays it, and it needs no licence; at its realtime
setting a frame of 1280x720 costs 9 ms (one core). A file is whole, or not there: it is written under another name.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from litepose.errors import SettingError, VideoError
from litepose.files import check_writable, replacing
from litepose.geometry import Warp, size_of
from litepose.video.base import import_av

SUFFIXES = (".webm", ".mp4", ".mkv")
CODEC = "libvpx-vp9"
OPTIONS = {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0", "row-mt": "1"}
TICKS = 90_000  # a second
DEFAULT_RATE = 25.0  # told to the encoder where it is not known


class VideoWriter:
    """A context that writes frames as they are added; at its end, also after an error, the file plays.

    Without a frame there is no file. Raises SettingError, MissingPackageError, VideoError.
    """

    def __init__(self, path: str | Path, *, rate: float | None = None) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            raise SettingError(f"Cannot write {path}: videos are written as {', '.join(SUFFIXES)}. Rename it.")
        check_writable(self.path)
        self._av = import_av()
        self._rate = Fraction(rate or DEFAULT_RATE).limit_denominator(1001)
        self._place = contextlib.ExitStack()
        self._container: Any = None
        self._stream: Any = None
        self._size = (0, 0)
        self._first_s = 0.0
        self._last_tick = -1
        self.frames = 0

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._container is None:
            return
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        self._place.close()  # takes its name

    def add(self, image: np.ndarray, time_s: float) -> None:
        """Write the next frame, (H, W, 3) uint8 BGR. The first one begins the video; a later one of another size is
        letterboxed into the first one's."""
        if self._container is None:
            self._open(size_of(image))
            self._first_s = time_s
        if size_of(image) != self._size:
            image = Warp.letterbox(size_of(image), self._size).image(image)
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
        tick = max(round((time_s - self._first_s) * TICKS), self._last_tick + TICKS // 1000)
        frame.pts, frame.time_base = tick, Fraction(1, TICKS)
        self._last_tick = tick
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
        self.frames += 1

    def _open(self, size: tuple[int, int]) -> None:
        temporary = self._place.enter_context(replacing(self.path))
        try:
            self._container = self._av.open(str(temporary), "w")
            stream = self._container.add_stream(CODEC, rate=self._rate, options=dict(OPTIONS))
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, TICKS)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            self._container = None
            self._place.pop_all()
            temporary.unlink(missing_ok=True)
            raise VideoError(
                f"Cannot write {self.path}: this FFmpeg has no {CODEC} for {size[0]}x{size[1]} ({error}). Install the "
                "wheels of av: pip install --force-reinstall av."
            ) from error
        self._stream, self._size = stream, size
