"""How long the networks take on this machine, each beside one and the same other: CPU time of ONNX Runtime, one thread.

A shared machine is slower or faster from one minute to the next, so no two networks are compared over minutes: a
network's runs and the reference's take turns, and the ratio of their medians is what is kept. CPU time leaves out when
other processes had the core. Weights are random and inputs black: they change no time.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose import checkpoints
from litepose.errors import SettingError
from litepose.export import export_onnx
from litepose.files import check_writable, write_report
from litepose.published.rows import Row
from litepose.runtimes import Runtime, open_runtime
from litepose.skeleton import SKELETONS

REFERENCE = ("litepose_xs", (256, 256), 14)
REFERENCE_WORDS = "litepose_xs at 256x256 with 14 keypoints"
MOST_ROUNDS, FEWEST_ROUNDS = 11, 5
ENOUGH_S = 8.0  # of rounds: no new one is begun once the fewest are done
VIEWS = (1, 2)  # without and with flip test: how many crops a person costs


@dataclass(frozen=True)
class Latency:
    """What one input costs. ratio: to the reference's time, by rounds that took turns; flip_ratio: of two views, where
    the network looks at crops. ms, reference_ms: the medians in these rounds."""

    ratio: float
    flip_ratio: float | None
    ms: float
    reference_ms: float
    rounds: int


@dataclass(frozen=True)
class Latencies:
    """All that was measured. by_key: `Row.key` -> Latency. machine, load: where, and how busy at the worst."""

    machine: str
    load: float | None
    by_key: dict[str, Latency]

    @property
    def reference_ms(self) -> float:
        """The reference's time: the median over all its medians."""
        return float(np.median([one.reference_ms for one in self.by_key.values()]))

    def frame_rate(self, key: str, *, flip: bool = False) -> float | None:
        """Return how many inputs a second a network computes here; None where it was not measured so."""
        one = self.by_key.get(key)
        ratio = None if one is None else one.flip_ratio if flip else one.ratio
        return None if ratio is None else 1000 / (ratio * self.reference_ms)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `read_latencies` takes them."""
        return {
            "what": f"CPU time of ONNX Runtime, one thread, relative to {REFERENCE_WORDS}",
            "machine": self.machine,
            "load": self.load,
            "latencies": {key: asdict(one) for key, one in sorted(self.by_key.items())},
        }


def nothing_measured() -> Latencies:
    """Return measurements of nothing."""
    return Latencies(_machine(), None, {})


def read_latencies(path: Path) -> Latencies:
    """Read what `measure` kept; nothing where there is no such file. Raises SettingError."""
    import json

    if not path.exists():
        return nothing_measured()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        by_key = {key: Latency(**one) for key, one in data["latencies"].items()}
        return Latencies(str(data["machine"]), data["load"], by_key)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(
            f"--measure {path} holds no measurements of ours ({type(error).__name__}: {error}). Name another file; it "
            "is made where there is none."
        ) from error


def measure(rows: Sequence[Row], path: Path, progress: Callable[[str], None] | None = None) -> Latencies:
    """Measure what `path` lacks, keep it there after each network, return all. progress: is told what comes next.

    Raises SettingError, also where the file comes from another machine: its ratios would not compare.
    """
    check_writable(path)
    kept = read_latencies(path)
    todo = list({row.key: row for row in rows if row.key not in kept.by_key}.values())
    if todo and kept.by_key and kept.machine != _machine():
        raise SettingError(
            f"--measure {path} was measured on {kept.machine}, and lacks {len(todo)} networks; this is {_machine()}. "
            "Name another file to measure all of them here."
        )
    with tempfile.TemporaryDirectory() as folder:
        reference = _exported(*REFERENCE, Path(folder) / "reference.onnx") if todo else None
        for number, row in enumerate(todo, start=1):
            if progress is not None:
                progress(f"{number}/{len(todo)} {row.key}")
            assert reference is not None
            runtime = _exported(row.model, row.size, row.num_keypoints, Path(folder) / "network.onnx")
            latency = compare(runtime, row.size, reference, REFERENCE[1], views=VIEWS if row.top_down else VIEWS[:1])
            kept = Latencies(kept.machine, _busier(kept.load), {**kept.by_key, row.key: latency})
            write_report(path, kept.to_json())
    return kept


def compare(
    network: Callable[[np.ndarray], Any],
    size: tuple[int, int],
    reference: Callable[[np.ndarray], Any],
    reference_size: tuple[int, int],
    *,
    views: Sequence[int] = VIEWS,
    clock: Callable[[], float] = time.process_time,
) -> Latency:
    """Let a network and the reference take turns, and return their times. views: batches of the network.

    clock: seconds; the CPU time of this process.
    """
    inputs = [np.zeros((count, 3, size[1], size[0]), dtype=np.float32) for count in views]
    calls = [(reference, np.zeros((1, 3, *reference_size[::-1]), dtype=np.float32))]
    calls += [(network, batch) for batch in inputs]
    rounds: list[list[float]] = []
    start = time.monotonic()
    for number in range(1 + MOST_ROUNDS):
        times = []
        for call, batch in calls:
            before = clock()
            call(batch)
            times.append(1000 * (clock() - before))
        if number:  # the first is a warm-up
            rounds.append(times)
        if len(rounds) >= FEWEST_ROUNDS and time.monotonic() - start > ENOUGH_S:
            break
    reference_ms, ms, *flipped = np.median(rounds, axis=0).tolist()
    return Latency(
        ratio=round(ms / reference_ms, 4),
        flip_ratio=round(flipped[0] / reference_ms, 4) if flipped else None,
        ms=round(ms, 3),
        reference_ms=round(reference_ms, 3),
        rounds=len(rounds),
    )


def _exported(model: str, size: tuple[int, int], num_keypoints: int, path: Path) -> Runtime:
    """Return a network as `litepose export` writes it, opened with one thread."""
    skeleton = next(one for one in SKELETONS.values() if one.num_keypoints == num_keypoints)
    spec = checkpoints.default_spec(model, skeleton, size=size)
    export_onnx(checkpoints.build_network(spec).eval(), spec, path, size=size)
    return open_runtime(path, threads=1)


def _busier(load: float | None) -> float | None:
    now = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return now if load is None or now is None else round(max(load, now), 1)


def _machine() -> str:
    """Name the processor and what computes."""
    from importlib.metadata import version

    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, onnxruntime {version('onnxruntime')}"
