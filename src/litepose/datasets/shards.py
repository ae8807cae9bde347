"""Files read at random, here and there: each mapped into memory once, in every process that reads it."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Shards:
    """The contents of some files by place; they may travel to other processes, open files stay behind."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._maps: dict[int, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "_maps": {}}

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on of the file with this number."""
        return bytes(self.view(shard, offset, size))

    def view(self, shard: int, offset: int, size: int) -> memoryview:
        """Return the same bytes without copying them."""
        if shard not in self._maps:
            with self.paths[shard].open("rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._maps[shard])[offset : offset + size]
