"""Live sources: cameras and network streams, connected again where they break off.

Times are those of arrival, from the first frame on, so that they go on over a break. Cameras are opened by number
through OpenCV, which counts them on every system; streams (RTSP, HTTP, ...) by PyAV.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from litepose.errors import VideoError
from litepose.video.base import Clip, VideoFrame, import_av
from litepose.video.files import picture_stream, upright

PATIENCE_S = 10.0  # without a frame, before a live source is given up
PAUSE_S = 0.5  # between two attempts
TIMEOUT_S = 5.0  # of one attempt, and of one read
# Streams are looked at for a second before the first frame comes out (FFmpeg: five). TCP loses nothing; cameras without
# it are asked by UDP. A file over HTTP goes on where it broke off.
RTSP_OPTIONS = {"analyzeduration": "1000000", "rtsp_flags": "prefer_tcp"}
OTHER_OPTIONS = {"analyzeduration": "1000000", "reconnect": "1", "reconnect_delay_max": "4"}
SECRETS = re.compile(r"(?<![a-z])(pass(?:word|wd)?|pwd|token|secret|key|auth)=[^&;/]*", re.IGNORECASE)


class _Connection(Protocol):
    def __call__(self) -> Iterator[np.ndarray]:
        """Connect and yield pictures until the source ends; raises VideoError, PlayedOut."""
        ...


class StreamError(VideoError):
    """A stream that cannot be had. reason: in a few words."""

    def __init__(self, shown: str, reason: str) -> None:
        super().__init__(f"{shown} cannot be opened: {reason}. Check the address, and that it is sending.")
        self.reason = reason


class PlayedOut(Exception):
    """A stream of a known length came to its end, so that there is nothing to wait for."""


class LiveSource:
    """A source that gives pictures as they happen. patience_s: how long it is waited for when it breaks off."""

    live = True
    duration_s: float | None = None
    rate: float | None = None

    def __init__(
        self, name: str, shown: str, connect: _Connection, *, clip: Clip, patience_s: float = PATIENCE_S
    ) -> None:
        self.name = name
        self.shown = shown
        self.clip = clip
        self.patience_s = patience_s
        self.reconnected = 0
        self._connect = connect

    def frames(self) -> Iterator[VideoFrame]:
        """Yield frames until nobody asks. Raises VideoError where the source cannot be had (any more)."""
        return self.clip.apply(self._numbered())

    def _numbered(self) -> Iterator[VideoFrame]:
        begun: float | None = None
        number, failure = 0, ""
        heard = time.monotonic()
        while True:
            try:
                for image in self._connect():
                    heard = time.monotonic()
                    begun = heard if begun is None else begun
                    if heard - begun >= self.clip.start_s:
                        yield VideoFrame(number, heard - begun, image)
                        number += 1
                failure = "it ended"
            except PlayedOut:
                return
            except VideoError as error:
                if begun is None:
                    raise
                failure = error.reason if isinstance(error, StreamError) else str(error)
            if begun is None:
                raise VideoError(f"{self.shown} gave no frame: it ended at once. Check that it is sending.")
            if time.monotonic() - heard > self.patience_s:
                raise VideoError(
                    f"{self.shown} broke off after {number} frames and gave none for {self.patience_s:g} s "
                    f"({failure}). What came before was used. Start again when it is back."
                )
            self.reconnected += 1
            time.sleep(min(PAUSE_S, self.patience_s / 2))


def open_camera(number: int, clip: Clip = Clip(), *, patience_s: float = PATIENCE_S) -> LiveSource:  # noqa: B008
    """Return a camera as a Source. Raises VideoError where there is none of that number."""

    def connect() -> Iterator[np.ndarray]:
        capture = cv2.VideoCapture(number)
        try:
            if not capture.isOpened():
                raise VideoError(f"There is no camera {number} that can be opened.{_cameras()}")
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            while True:
                done, image = capture.read()
                if not done:
                    return
                yield image
        finally:
            capture.release()

    source = LiveSource(f"camera{number}", f"Camera {number}", connect, clip=clip, patience_s=patience_s)
    return source


def open_stream(address: str, clip: Clip = Clip(), *, patience_s: float = PATIENCE_S) -> LiveSource:  # noqa: B008
    """Return a network stream as a Source; what is in front of its host's name (user, password) is never shown."""
    shown = without_password(address)

    def connect() -> Iterator[np.ndarray]:
        av = import_av()
        with connected(address) as container:
            stream = picture_stream(container, shown)
            asked = time.monotonic()
            try:
                for frame in container.decode(stream):
                    yield upright(frame)
                    asked = time.monotonic()
            except (av.FFmpegError, OSError) as error:
                raise StreamError(shown, _reason(error, asked)) from error
            if lasts(container):
                raise PlayedOut

    return LiveSource(name_of(address), shown, connect, clip=clip, patience_s=patience_s)


def is_rtsp(address: str) -> bool:
    """Return whether an address is of RTSP, whose sender never waits, not even with a file."""
    return address.lower().startswith("rtsp")


def lasts(container: Any) -> bool:
    """Return whether a container says how long it lasts."""
    return container.duration is not None and container.duration > 0


def connected(address: str) -> Any:
    """Return PyAV's container of an address. Raises VideoError, which does not show its password."""
    av = import_av()
    options = RTSP_OPTIONS if is_rtsp(address) else OTHER_OPTIONS
    asked = time.monotonic()
    try:
        return av.open(address, options=options, timeout=TIMEOUT_S)
    except (av.FFmpegError, OSError) as error:
        raise StreamError(without_password(address), _reason(error, asked)) from None


def without_password(address: str) -> str:
    """Return an address without user and password, and without what its parameters keep secret."""
    return SECRETS.sub(r"\1=***", re.sub(r"://[^/?#]*@", "://", address))


def name_of(address: str) -> str:
    """Return a file name for an address."""
    return re.sub(r"[^\w.-]+", "-", without_password(address).split("://", 1)[-1]).strip("-.") or "stream"


def _reason(error: BaseException, asked_s: float) -> str:
    """Return what FFmpeg says, in lower case; when it runs out of time, asked at asked_s, it says anything."""
    if time.monotonic() - asked_s >= TIMEOUT_S:
        return f"nothing came within {TIMEOUT_S:g} s"
    text = getattr(error, "strerror", None) or type(error).__name__
    return text[0].lower() + text[1:]


def _cameras() -> str:
    if not sys.platform.startswith("linux"):
        return " Possible numbers begin at 0; check that no other program uses it and that access is allowed."
    found = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video*"))
    return f" Possible: {', '.join(found)}." if found else " This machine has none (/dev/video*). Connect one."
