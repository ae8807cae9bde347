"""How long one picture takes, step by step: read, pre, network, decode, draw.

Each round does all steps once, in order, as in use (cold caches between them). Wall time is what a user waits; CPU
time (all threads of the process) is what to compare on a shared machine, where wall time moves by factors.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose import images
from litepose.drawing import draw
from litepose.errors import SettingError
from litepose.geometry import size_of
from litepose.predictor import Frame, Predictor

STEPS = ("read", "pre", "network", "decode", "draw")


@dataclass(frozen=True)
class StepTime:
    """Wall time: median and 90th percentile. cpu_ms: median CPU time of the whole process."""

    median_ms: float
    p90_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class BenchReport:
    """Times of one picture through one predictor.

    size: (w, h) of the network input. people: found in the picture; of a top-down model the boxes, each of which costs
        the same. gflops: 2 * MACs / median network time, which is
        CPU time for one thread (other processes do not count) and wall time for several.
    peak_share: of the given peak for the threads used. memory_mb: the most the process ever held. load: 1 minute's.
    """

    model: str
    size: tuple[int, int]
    picture_size: tuple[int, int]
    people: int
    threads: int
    repeat: int
    steps: dict[str, StepTime]
    gflops: float | None
    peak_share: float | None
    memory_mb: float | None
    load: float | None
    top_down: bool = False

    @property
    def total_ms(self) -> float:
        """Sum of the medians."""
        return sum(step.median_ms for step in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {**asdict(self), "total_ms": self.total_ms}


def benchmark(
    predictor: Predictor,
    picture: str | Path | bytes,
    *,
    boxes: np.ndarray | None = None,
    repeat: int = 30,
    warmup: int = 5,
    peak_gflops: float | None = None,
) -> BenchReport:
    """Time `repeat` rounds over one picture (a file or its bytes), after `warmup` rounds that do not count.

    boxes: (M, 4) or (M, 5) of the people, for a top-down model; None = what its detector finds, which is not timed.
    peak_gflops: what one core can do in float32, for the share of it that the network reaches.
    Raises PictureError, SettingError.
    """
    if repeat < 1:
        raise SettingError(f"A benchmark needs at least one round; asked were {repeat}. Use --repeat 30.")
    image = images.read(picture)
    frames = predictor.frames(image, boxes)
    if predictor.takes_boxes:
        boxes = np.array([frame.box for frame in frames]).reshape(-1, 4)
    rounds = [_round(predictor, picture, boxes) for _ in range(warmup + repeat)][warmup:]
    steps = {step: _summary([times[step] for times, _ in rounds]) for step in STEPS}
    picture_size = size_of(image)
    size = predictor.frame(picture_size).size
    threads = predictor.runtime.threads
    network_ms = steps["network"].cpu_ms if threads == 1 else steps["network"].median_ms
    gflops = _gflops(predictor, frames, network_ms)
    return BenchReport(
        model=predictor.spec.model,
        size=size,
        picture_size=picture_size,
        people=len(frames) if predictor.takes_boxes else rounds[-1][1],
        threads=threads,
        repeat=repeat,
        steps=steps,
        gflops=gflops,
        peak_share=gflops / (peak_gflops * threads) if gflops and peak_gflops else None,
        memory_mb=peak_memory_mb(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        top_down=predictor.takes_boxes,
    )


def as_jpeg(image: np.ndarray, *, quality: int = 90) -> bytes:
    """Return a picture as the bytes of a JPEG file, so that reading it can be timed."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _round(
    predictor: Predictor, picture: str | Path | bytes, boxes: np.ndarray | None
) -> tuple[dict[str, tuple[float, float]], int]:
    """Do all steps once; return (wall s, CPU s) of each and the number of people."""
    times: dict[str, tuple[float, float]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        times[step] = (time.perf_counter() - wall, time.process_time() - cpu)
        return result

    image = timed("read", lambda: images.read(picture))
    frames = predictor.frames(image, boxes)
    tensors = timed("pre", lambda: [predictor.prepare(image, view) for frame in frames for view in frame.views])
    outputs = timed("network", lambda: predictor.forward(tensors))
    poses = timed("decode", lambda: predictor.decode(frames, iter(outputs)))
    timed("draw", lambda: draw(image, poses))
    return times, len(poses)


def _summary(times: list[tuple[float, float]]) -> StepTime:
    wall, cpu = 1000 * np.array(times).T
    return StepTime(float(np.median(wall)), float(np.percentile(wall, 90)), float(np.median(cpu)))


def _gflops(predictor: Predictor, frames: Sequence[Frame], network_ms: float) -> float | None:
    """Convolutions cost in proportion to the input's area, so the spec's count for one size tells all."""
    cost = predictor.spec.provenance.get("cost")
    if not cost or not frames:
        return None
    per_px = cost["macs"] / (cost["size"][0] * cost["size"][1])
    pixels = sum(view.warp.size[0] * view.warp.size[1] for frame in frames for view in frame.views)
    return 2 * per_px * pixels / (network_ms * 1e6)


def peak_memory_mb() -> float | None:
    """Return the most memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kB on Linux
