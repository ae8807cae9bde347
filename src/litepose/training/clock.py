"""How fast a training is."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from litepose.training.data import Batch


class Clock:
    """How fast the steps since the last question were, and what share of the time was spent waiting for pictures."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.restart()

    def restart(self) -> None:
        """Leave the time until now (an evaluation) out."""
        self.time, self.waited = time.monotonic(), 0.0

    def fed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, counting the time that each was waited for."""
        asked = time.monotonic()
        for batch in batches:
            self.waited += time.monotonic() - asked
            yield batch
            asked = time.monotonic()

    def read(self, step: int) -> tuple[float, float]:
        """Return steps per second and the share of waiting, and begin anew."""
        passed = max(time.monotonic() - self.time, 1e-9)
        speed, share = (step - self.step) / passed, self.waited / passed
        self.step = step
        self.restart()
        return speed, share
