"""Requests that wait for a thread: so many and no more, so that memory and waiting stay bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class Place:
    """A request's right to be computed. It ends when the request ends or, if later, when its work does."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._owners = 1
        self._lock = threading.Lock()

    def share(self) -> None:
        """Add an owner, who leaves too."""
        with self._lock:
            self._owners += 1

    def leave(self) -> None:
        """End one owner's part; the last one frees the place."""
        with self._lock:
            self._owners -= 1
            free = self._owners == 0
        if free:
            self._leave()


class Jobs:
    """`workers` threads and `queue` places to wait for them."""

    def __init__(self, workers: int, queue: int) -> None:
        self.places = workers + queue
        self.taken = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="litepose")

    def take(self) -> Place | None:
        """Return a place, or None where all are taken."""
        with self._lock:
            if self.taken == self.places:
                return None
            self.taken += 1
        return Place(self._free)

    async def run(self, place: Place, work: Callable[[], T], *, timeout_s: float) -> T:
        """Return what `work` returns in a thread. Raises TimeoutError; work that began goes on and keeps the place."""
        place.share()
        try:
            future = self._threads.submit(work)
        except BaseException:
            place.leave()
            raise
        future.add_done_callback(lambda _: place.leave())
        return await asyncio.wait_for(asyncio.wrap_future(future), max(timeout_s, 0.0))

    def close(self) -> None:
        """Wait for work that began; what waits is given up."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _free(self) -> None:
        with self._lock:
            self.taken -= 1
