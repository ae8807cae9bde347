"""How long a picture takes, step by step: read, pre, network, decode, draw.

Each round does all steps once, in order, as in use (cold caches between them). Wall time is what a user waits; CPU
time (all threads of the process) is what to compare on a shared machine, where wall time moves by factors. Several
models take turns within a round, in turned order from round to round, and are compared by each round's ratio.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose import images
from litepose.drawing import draw
from litepose.errors import SettingError
from litepose.geometry import size_of
from litepose.predictor import Predictor

STEPS = ("read", "pre", "network", "decode", "draw")


@dataclass(frozen=True)
class StepTime:
    """Wall time: median and 90th percentile. cpu_ms: median CPU time of the whole process."""

    median_ms: float
    p90_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class BenchReport:
    """Times of pictures through one predictor.

    size: (w, h) of the network input, picture_size: of the picture; of several, those of the first.
    people: found in a picture, the mean of several, rounded; of a top-down model the boxes, each of which costs the
        same. gflops: 2 * MACs / median network time, which is CPU time for one thread (other processes do not count)
        and wall time for several. peak_share: of the given peak for the threads used.
    attained_gflops: of a dense convolution in the same engine with as many threads, attained_share: of that.
    memory_mb: the most the process ever held, with all models that it times. load: 1 minute's.
    cpu_ms: of each round, all steps, and network_cpu_ms: of its network.
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
    runtime: str = ""
    pictures: int = 1
    attained_gflops: float | None = None
    attained_share: float | None = None
    cpu_ms: tuple[float, ...] = ()
    network_cpu_ms: tuple[float, ...] = ()

    @property
    def total_ms(self) -> float:
        """Sum of the medians."""
        return sum(step.median_ms for step in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        values = {**asdict(self), "total_ms": self.total_ms}
        return {name: value for name, value in values.items() if name not in ("cpu_ms", "network_cpu_ms")}


@dataclass(frozen=True)
class Ratio:
    """How much faster one model is than another: the median of the rounds' ratios of CPU time, and the quartiles.

    network: of the networks alone. whole: of all steps.
    """

    first: str
    second: str
    network: tuple[float, float, float]
    whole: tuple[float, float, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        names = ("low", "median", "high")
        parts = {name: dict(zip(names, getattr(self, name), strict=True)) for name in ("network", "whole")}
        return {"first": self.first, "second": self.second, **parts}


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
    return benchmark_together(
        [predictor], [picture], boxes=boxes, repeat=repeat, warmup=warmup, peak_gflops=peak_gflops
    )[0]


def benchmark_together(
    predictors: Sequence[Predictor],
    pictures: Sequence[str | Path | bytes],
    *,
    boxes: np.ndarray | None = None,
    repeat: int = 30,
    warmup: int = 5,
    peak_gflops: float | None = None,
    attained_gflops: Mapping[str, float | None] | None = None,
) -> list[BenchReport]:
    """Time rounds in which each predictor takes the same picture, each round the next picture; see `benchmark`.

    boxes: for top-down models, of each picture. attained_gflops: of a dense convolution, by the engine's name.
    """
    if repeat < 1:
        raise SettingError(f"A benchmark needs at least one round; asked were {repeat}. Use --repeat 30.")
    if not predictors or not pictures:
        raise SettingError(f"A benchmark was asked of {len(predictors)} models and {len(pictures)} pictures; give one.")
    known = [_known_boxes(one, pictures[: warmup + repeat], boxes) for one in predictors]
    rounds: list[list[_Round]] = [[] for _ in predictors]
    for turn in range(warmup + repeat):
        which = turn % len(pictures)
        for number in list(range(len(predictors)))[:: -1 if turn % 2 else 1]:
            done = _round(predictors[number], pictures[which], known[number][which])
            rounds[number].append(done)
    attained = attained_gflops or {}
    return [
        _report(predictor, done[warmup:], min(len(pictures), repeat), peak_gflops, attained)
        for predictor, done in zip(predictors, rounds, strict=True)
    ]


def compare(reports: Sequence[BenchReport], names: Sequence[str]) -> list[Ratio]:
    """Return how much faster than the first each other model is; the reports are of one `benchmark_together`."""

    def quartiles(slow: Sequence[float], fast: Sequence[float]) -> tuple[float, float, float]:
        low, middle, high = np.percentile(np.array(slow) / np.array(fast), (25, 50, 75))
        return float(low), float(middle), float(high)

    first = reports[0]
    return [
        Ratio(
            names[0], name,
            quartiles(first.network_cpu_ms, other.network_cpu_ms), quartiles(first.cpu_ms, other.cpu_ms),
        )
        for name, other in zip(names[1:], reports[1:], strict=True)
    ]  # fmt: skip


def _known_boxes(
    predictor: Predictor, pictures: Sequence[str | Path | bytes], boxes: np.ndarray | None
) -> list[np.ndarray | None]:
    """Return each picture's boxes for a top-down model, detected where none are given: that is not timed."""
    if not predictor.takes_boxes:
        return [None] * len(pictures)
    frames = [predictor.frames(images.read(picture), boxes) for picture in pictures]
    return [np.array([frame.box for frame in found]).reshape(-1, 4) for found in frames]


def _report(
    predictor: Predictor,
    rounds: Sequence[_Round],
    num_pictures: int,
    peak_gflops: float | None,
    attained_gflops: Mapping[str, float | None],
) -> BenchReport:
    steps = {step: _summary([one.times[step] for one in rounds]) for step in STEPS}
    threads, engine = predictor.runtime.threads, _engine_name(predictor)
    network_ms = steps["network"].cpu_ms if threads == 1 else steps["network"].median_ms
    gflops = _gflops(predictor, float(np.mean([one.pixels for one in rounds])), network_ms)
    attained = attained_gflops.get(engine)
    return BenchReport(
        model=predictor.spec.model,
        size=predictor.frame(rounds[0].picture_size).size,
        picture_size=rounds[0].picture_size,
        people=round(float(np.mean([one.people for one in rounds]))),
        threads=threads,
        repeat=len(rounds),
        steps=steps,
        gflops=gflops,
        peak_share=gflops / (peak_gflops * threads) if gflops and peak_gflops else None,
        memory_mb=peak_memory_mb(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        top_down=predictor.takes_boxes,
        runtime=engine,
        pictures=num_pictures,
        attained_gflops=attained,
        attained_share=gflops / attained if gflops and attained else None,
        cpu_ms=tuple(1000 * sum(cpu for _, cpu in one.times.values()) for one in rounds),
        network_cpu_ms=tuple(1000 * one.times["network"][1] for one in rounds),
    )


def _engine_name(predictor: Predictor) -> str:
    """Return the name under which `open_runtime` knows the engine: its file's."""
    return type(predictor.runtime).__module__.rpartition(".")[2]


def as_jpeg(image: np.ndarray, *, quality: int = 90) -> bytes:
    """Return a picture as the bytes of a JPEG file, so that reading it can be timed."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@dataclass(frozen=True)
class _Round:
    """times: (wall s, CPU s) of each step. people: found, or boxes. pixels: of all inputs of the network."""

    times: dict[str, tuple[float, float]]
    picture_size: tuple[int, int]
    people: int
    pixels: int


def _round(predictor: Predictor, picture: str | Path | bytes, boxes: np.ndarray | None) -> _Round:
    """Do all steps once."""
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
    pixels = sum(tensor.shape[1] * tensor.shape[2] for tensor in tensors)
    return _Round(times, size_of(image), len(frames) if predictor.takes_boxes else len(poses), pixels)


def _summary(times: list[tuple[float, float]]) -> StepTime:
    wall, cpu = 1000 * np.array(times).T
    return StepTime(float(np.median(wall)), float(np.percentile(wall, 90)), float(np.median(cpu)))


def _gflops(predictor: Predictor, pixels: float, network_ms: float) -> float | None:
    """Convolutions cost in proportion to the input's area, so the spec's count for one size tells all."""
    cost = predictor.spec.provenance.get("cost")
    if not cost or not pixels:
        return None
    per_px = cost["macs"] / (cost["size"][0] * cost["size"][1])
    return float(2 * per_px * pixels / (network_ms * 1e6))


def peak_memory_mb() -> float | None:
    """Return the most memory that this process ever held; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)  # bytes on macOS, kB on Linux
