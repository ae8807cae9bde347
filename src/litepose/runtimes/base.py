"""What every runtime is: arrays through an engine. The engine is imported in the constructor, never before."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from litepose.spec import PoseSpec


class Runtime(Protocol):
    """The contract; a new runtime is one new file with one class that fulfils it.

    suffixes: the file names it opens, e.g. (".onnx",).
    requires: what pip must install for it.
    spec: of the opened model.
    """

    suffixes: ClassVar[tuple[str, ...]]
    requires: ClassVar[str]
    spec: PoseSpec

    def __init__(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> None: ...

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs in spec order, each (B, C, h, w) float32, for a normalised (B, 3, H, W) float32 batch."""
        ...
