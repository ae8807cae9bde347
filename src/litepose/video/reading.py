"""Frames read ahead in a thread: a few of a file, the newest alone of a live source."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType

from litepose.video.base import Source, VideoFrame

AHEAD = 4  # frames of a file that wait decoded


class FrameReader:
    """A context that gives a source's frames as an iterator while its thread reads on.

    Of a live source only the newest frame waits, so that what is shown is never late; `dropped` counts the others. Of a
    file all come, and reading waits for whoever takes them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.dropped = 0
        self._most = 1 if source.live else AHEAD
        self._waiting: deque[VideoFrame] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="litepose-reader", daemon=True)

    def __enter__(self) -> FrameReader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=0.5 if self.source.live else 10)  # a camera may hang; its thread ends with us

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            with self._changed:
                # A timeout, so that Ctrl-C is heard on every system.
                while not self._waiting and not self._ended:
                    self._changed.wait(timeout=0.2)
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
                self._changed.notify_all()
            yield frame
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        frames = self.source.frames()
        try:
            for frame in frames:
                if not self._put(frame):
                    break
        except BaseException as error:
            self._error = error
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _put(self, frame: VideoFrame) -> bool:
        """Let a frame wait; return whether more are wanted."""
        with self._changed:
            if self.source.live:
                while len(self._waiting) >= self._most:
                    self._waiting.popleft()
                    self.dropped += 1
            while len(self._waiting) >= self._most and not self._closed:
                self._changed.wait(timeout=0.2)
            if self._closed:
                return False
            self._waiting.append(frame)
            self._changed.notify_all()
            return True
