"""Work on several things at once, answers in the order of the things, bounded memory.

For pictures: an engine, OpenCV and numpy let go of Python's lock while they compute, so one picture is read or decoded
while the network runs on another.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from litepose.errors import SettingError

Thing = TypeVar("Thing")
Answer = TypeVar("Answer")

MAX_IN_FLIGHT = 64


def in_order(work: Callable[[Thing], Answer], things: Iterable[Thing], *, in_flight: int) -> Iterator[Future[Answer]]:
    """Yield `work(thing)` of each thing, done: its `result()` returns the answer or raises what that work raised.

    in_flight: how many are worked on at once, each in a thread; as many answers wait at most, and no thing is taken
        from `things` before it is its turn. What is not begun when the iterator is closed never will be.
    Raises SettingError.
    """
    if not 1 <= in_flight <= MAX_IN_FLIGHT:
        raise SettingError(
            f"{in_flight} pictures were to be in flight at once; possible are 1 to {MAX_IN_FLIGHT}. Give the number of "
            "cores, for instance."
        )
    return _in_order(work, iter(things), in_flight)


def _in_order(work: Callable[[Thing], Answer], things: Iterator[Thing], in_flight: int) -> Iterator[Future[Answer]]:
    waiting: deque[Future[Answer]] = deque()
    with ThreadPoolExecutor(in_flight, thread_name_prefix="litepose") as pool:
        try:
            waiting.extend(pool.submit(work, thing) for thing in itertools.islice(things, in_flight))
            while waiting:
                first = waiting.popleft()
                first.exception()  # waits
                waiting.extend(pool.submit(work, thing) for thing in itertools.islice(things, 1))
                yield first
                del first  # a large answer must not outlive its turn
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
