"""What every runtime is: arrays through an engine. The engine is imported in the constructor, never before.

A runtime file holds one class and names it `RUNTIME`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from litepose.errors import InputSizeError, SettingError, SpecError
from litepose.spec import PoseSpec

MAX_THREADS = 256


class Runtime(Protocol):
    """What a predictor needs of an engine.

    suffixes: the file names that belong to it, e.g. (".onnx",). requires: what pip must install for it.
    spec: of the opened model.
    size: (w, h) where the file was exported for one input size, None where it takes any.
    threads: that the engine computes with.
    """

    suffixes: ClassVar[tuple[str, ...]]
    requires: ClassVar[str]
    spec: PoseSpec
    size: tuple[int, int] | None
    threads: int

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the outputs in spec order, each (B, C, h, w) float32, for a normalised (B, 3, H, W) float32 batch.

        Where the spec's input says pixels, the batch is uint8; where an output's stride is 0, it is no map but a table.

        Any number of threads may call at once.
        """
        ...


class FileRuntime(Runtime, Protocol):
    """The contract of a runtime that opens model files; a new one is one new file with one class that fulfils it.

    also_opens: suffixes that belong to another runtime and that it opens when asked for by name.
    precisions: in what numbers it can compute, the default first; where there are several, the constructor takes
        `precision`.
    package: what Python imports. path: of the model file.
    """

    also_opens: ClassVar[tuple[str, ...]]
    precisions: ClassVar[tuple[str, ...]]
    package: ClassVar[str]
    path: Path

    def __init__(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> None: ...


def check_outputs(outputs: tuple[np.ndarray, ...], batch: np.ndarray, spec: PoseSpec, source: str | Path) -> None:
    """Raise SpecError where the maps are not those that the spec promises for this batch."""
    count, _, height, width = batch.shape
    wanted = tuple(
        (count, one.channels, *((height // one.stride, width // one.stride) if one.stride else ()))
        for one in spec.outputs
    )
    found = tuple(output.shape[: len(shape)] for output, shape in zip(outputs, wanted, strict=True))
    if found != wanted:
        raise SpecError(
            f"{source} does not compute what its pose spec says: for an input of {width}x{height} the spec promises "
            f"maps of {wanted}, the network gave {found}. Export the model again."
        )


def check_input(batch: np.ndarray, size: tuple[int, int] | None, source: str | Path) -> None:
    """Raise InputSizeError where a file of one input size is given another."""
    found = (batch.shape[3], batch.shape[2])
    if size is not None and found != size:
        raise InputSizeError(
            f"{source} was exported for an input of {size[0]}x{size[1]}; it was given {found[0]}x{found[1]}. "
            "Use that size, or export it for the other; .onnx and .xml files take any with --dynamic."
        )


def checked_threads(threads: int | None) -> int:
    """Return how many threads an engine computes with: as asked; None = the physical cores. Raises SettingError."""
    most = max(MAX_THREADS, os.cpu_count() or 1)
    if threads is not None and not 1 <= threads <= most:
        raise SettingError(
            f"An engine was to compute with {threads} threads; possible are 1 to {most}, and more than the "
            f"{physical_cores()} physical cores of this process make nothing faster. Leave --threads out, or use fewer."
        )
    return threads or physical_cores()


def physical_cores() -> int:
    """Return how many physical cores this process may use: affinity, sibling threads and a container's quota count."""
    if hasattr(os, "sched_getaffinity"):
        logical = os.sched_getaffinity(0)
    else:
        logical = set(range(os.cpu_count() or 1))
    siblings = {_siblings(cpu) for cpu in logical}
    return max(1, min(len(siblings), _quota_cores()))


def _siblings(cpu: int) -> str:
    try:
        return Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text().strip()
    except OSError:  # not Linux: take each logical core for a physical one
        return str(cpu)


def _quota_cores() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no control group, or "max"
        return os.cpu_count() or 1
