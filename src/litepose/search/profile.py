"""Measuring how long the parts of a search space take on this machine, and whole networks to judge their sum by.

Robust on a busy machine: with one thread it is processor time that counts; everything is timed in several rounds, each
over all parts in a new order, so that a disturbance hits no part in every round; the lower quartile of all samples
counts. (With two neighbours on each core it repeats within 4 %, the quickest sample within 5 %, a ratio to a reference
timed beside it within 8 %.)
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from litepose.errors import MissingPackageError, SettingError, nearest_name
from litepose.export import OPSETS
from litepose.export_rewrites import optimised_for_export
from litepose.models.litepose import LitePose
from litepose.runtimes.onnx import open_session
from litepose.search.latency import Checked, LatencyTable
from litepose.search.parts import Part, head_of, parts_of, parts_of_space
from litepose.search.space import SearchSpace, arch_key

ROUNDS = 5
SAMPLES = 3  # of each part in a round
QUANTILE = 25  # percent of the samples that are quicker than what counts
SHORTEST_SAMPLE_S = 2e-3  # clocks and calls are far below
NUM_FITTED, NUM_CHECKED = 16, 30  # whole networks

Shape = tuple[int, int, int]
Run = Callable[[], Any]
Build = Callable[[], tuple[nn.Module, Shape]]


def profile(
    space: SearchSpace,
    settings: Mapping[str, Any],
    *,
    runtime: str = "onnx",
    threads: int = 1,
    seed: int = 0,
    rounds: int = ROUNDS,
    networks: tuple[int, int] = (NUM_FITTED, NUM_CHECKED),
    progress: Callable[[int, int], None] | None = None,
) -> LatencyTable:
    """Measure a table for all networks of a space, for one picture at a time.

    settings: the other keyword arguments of `LitePose`. networks: how many whole ones scale and part_ms are fitted on,
    and on how many others that is checked, all drawn by `seed`. progress: called with (measurements done, in all).
    Raises SettingError for a runtime that cannot be timed, MissingPackageError.
    """
    rng = np.random.default_rng(seed)
    archs = _distinct(space, sum(networks), rng)
    head = head_of(settings)
    parts = parts_of_space(space, head)
    builds = {part.key: partial(_part, part) for part in parts}
    builds |= {arch_key(arch): partial(_network, arch, settings) for arch in archs}
    with tempfile.TemporaryDirectory() as folder:
        engine = engine_of(runtime, threads, Path(folder))
        whole_too = [*builds, *(arch_key(arch) for arch in archs)]  # their own noise does not average out over parts
        times_ms = measure(engine, builds, rng, order=whole_too, rounds=rounds, wall=threads > 1, progress=progress)
    table = LatencyTable(machine_of(runtime, threads), {part.key: times_ms[part.key] for part in parts})
    whole = []
    for arch in archs:
        keys = [part.key for part in parts_of(arch, head)]
        whole.append(Checked(arch_key(arch), len(keys), table.sum_of(keys), times_ms[arch_key(arch)]))
    fitted, checked = tuple(whole[: networks[0]]), tuple(whole[networks[0] :])
    return dataclasses.replace(table, fitted=fitted, checked=checked).refitted()


def measure(
    engine: Engine,
    builds: Mapping[str, Build],
    rng: np.random.Generator,
    *,
    order: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    wall: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return milliseconds of one run of each module: the lower quartile of the samples of all rounds.

    order: the names of one round, shuffled in each; None = every one once.
    wall: time that passes, for several threads; else processor time of this thread.
    """
    names = list(builds) if order is None else list(order)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for n in range(rounds):
        for i, which in enumerate(rng.permutation(len(names))):
            name = names[which]
            samples[name] += _samples_ms(engine(name, builds[name]), wall=wall)
            if progress is not None:
                progress(n * len(names) + i + 1, rounds * len(names))
    return {name: float(np.percentile(values, QUANTILE)) for name, values in samples.items()}


class OnnxEngine:
    """Modules through ONNX Runtime, written as `litepose export` writes networks. folder: for their files."""

    def __init__(self, threads: int, folder: Path) -> None:
        self.threads, self.folder = threads, folder

    def __call__(self, key: str, build: Build) -> Run:
        """Return a function that runs the module once."""
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.onnx"
        if not path.exists():
            module, shape = build()
            _write_onnx(module, shape, path)
        session = open_session(path, "cpu", self.threads)
        image = {"image": np.zeros(session.get_inputs()[0].shape, np.float32)}
        return lambda: session.run(None, image)


class TorchEngine:
    """Modules through PyTorch, normalisation folded."""

    def __init__(self, threads: int, folder: Path) -> None:
        torch.set_num_threads(threads)

    def __call__(self, key: str, build: Build) -> Run:
        """Return a function that runs the module once."""
        module, shape = build()
        module, image = optimised_for_export(module, None), torch.zeros(1, *shape)

        def run() -> None:
            with torch.inference_mode():
                module(image)

        return run


Engine = OnnxEngine | TorchEngine
ENGINES: dict[str, type[OnnxEngine] | type[TorchEngine]] = {"onnx": OnnxEngine, "torch": TorchEngine}


def engine_of(runtime: str, threads: int, folder: Path) -> Engine:
    """Return what runs modules. Raises SettingError for a runtime that cannot be timed part by part."""
    if runtime not in ENGINES:
        raise SettingError(f"No latencies by the runtime {runtime!r}. {nearest_name(runtime, ENGINES)}")
    return ENGINES[runtime](threads, folder)


def machine_of(runtime: str, threads: int) -> dict[str, Any]:
    """Return what times hold for: processor, runtime, threads, versions."""
    package = {"onnx": "onnxruntime", "torch": "torch"}[runtime]
    versions = {name: importlib.metadata.version(name) for name in ("litepose", package)}
    return {"processor": _processor(), "runtime": runtime, "threads": threads, "versions": versions}


def _part(part: Part) -> tuple[nn.Module, Shape]:
    return part.build(), part.input_shape


def _network(arch: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[nn.Module, Shape]:
    return LitePose(arch, **settings), (3, arch["img_size"], arch["img_size"])


def _distinct(space: SearchSpace, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return `count` networks drawn at random, fewer where the space has no more."""
    archs: dict[str, dict[str, Any]] = {}
    while len(archs) < min(count, space.num_archs):
        arch = space.sample(rng)
        archs[arch_key(arch)] = arch
    return list(archs.values())


def _write_onnx(module: nn.Module, shape: Sequence[int], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        try:
            torch.onnx.export(
                optimised_for_export(module, (shape[2], shape[1])),
                (torch.zeros(1, *shape),),
                str(path),
                input_names=["image"],
                opset_version=OPSETS[0],
                dynamo=False,
            )
        except ImportError as error:
            raise MissingPackageError(
                "A latency table needs the package onnx. Install it: pip install 'litepose[train]'"
            ) from error


def _samples_ms(run: Run, *, wall: bool) -> list[float]:
    """Return `SAMPLES` times of one run, each the mean over as many runs as a clock needs."""
    clock = time.perf_counter if wall else time.thread_time
    run()  # the first run reserves memory
    start = clock()
    run()
    repeats = max(1, round(SHORTEST_SAMPLE_S / max(clock() - start, 1e-6)))
    samples = []
    for _ in range(SAMPLES):
        start = clock()
        for _ in range(repeats):
            run()
        samples.append(1000 * (clock() - start) / repeats)
    return samples


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
