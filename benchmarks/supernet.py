"""What slicing costs: a step of a supernet that trains one sub-network, against a step of that network alone; memory.

    python benchmarks/supernet.py [--archs litepose_xs litepose_s] [--side 128] [--batch 16] [--rounds 12]

Time: one process, one thread, whole steps of the training loop (forward, backward, clipping, AdamW, averaged weights)
on one batch of drawn people. The supernet is the authors' widest network (5.8 million parameters), its draws fixed to
one published network; it and that network take turns within a round, in turned order from round to round. The C
library keeps freed memory (see docs/experiments.md on malloc): without that, page faults come and go by luck and move
either by a fifth. Printed are the median CPU and wall times and the median of the rounds' ratios with its quartiles.
Memory: a process of its own for each, a few steps; the growth of the peak of the resident memory (Linux) since before
the training was set up: once with blocks above 64 kB given back as soon as they are free, so that the peak is what
the training needs, and once as the C library keeps them by default. The supernet is measured with its widest network
drawn and with a sandwich of four networks a step, against the widest network alone. Needs torch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402

from litepose.models.litepose import VARIANTS  # noqa: E402
from litepose.models.litepose_super import WIDEST  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.data import Batch  # noqa: E402
from litepose.training.recipe import load_recipe  # noqa: E402
from litepose.training.supernet import Draws  # noqa: E402

WARM_UP = 2  # rounds that do not count
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
STEPS_OF_MEMORY = 4


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archs", nargs="*", default=["litepose_xs", "litepose_s"], help="published networks")
    parser.add_argument("--side", type=int, default=128, help="of the input, px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--time-of", choices=VARIANTS, help="measure this in this process and end")
    parser.add_argument("--memory-of", choices=MEMORY, help="measure this in this process and end")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if asked.time_of:
        compare_steps(asked.time_of, asked.side, asked.batch, asked.rounds)
        return
    if asked.memory_of:
        print(peak_mb(asked.memory_of, asked.side, asked.batch))
        return
    print(f"torch {torch.__version__}, one thread, {asked.batch} pictures of {asked.side}x{asked.side}, {asked.rounds} "
          f"rounds; load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")  # fmt: skip
    print(
        "network       alone CPU ms   supernet CPU ms   ratio (quartiles)     alone wall ms   supernet wall ms   ratio"
    )
    sizes = ["--side", str(asked.side), "--batch", str(asked.batch)]
    for name in asked.archs:
        print(in_process([*sizes, "--rounds", str(asked.rounds), "--time-of", name], KEEPING))
    print("\npeak memory of a training, MB")
    for title, variables in (("needed", RETURNING), ("as kept by default", {})):
        peaks: dict[str, float] = {}
        for what in MEMORY:
            peaks[what] = float(in_process([*sizes, "--memory-of", what], variables))
            ratio = peaks[what] / peaks["widest-alone"]
            print(f"{title:20s} {what:18s} {peaks[what]:8.0f}   {ratio:.3f} of the widest alone")


def in_process(arguments: list[str], variables: dict[str, str]) -> str:
    """Return the last line that this script prints in a process with these environment variables."""
    command, environment = [sys.executable, __file__, *arguments], {**os.environ, **variables}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def compare_steps(name: str, side: int, batch: int, rounds: int) -> None:
    """Print a line: steps of one published network, alone and inside the supernet."""
    arch = VARIANTS[name]["arch"]
    with tempfile.TemporaryDirectory() as folder:
        runs = [alone(arch, side, batch, Path(folder)), inside([arch], side, batch, Path(folder))]
    batches = [next(iter(run.batches())) for run in runs]
    cpu: list[list[float]] = [[], []]
    wall: list[list[float]] = [[], []]
    for i in range(WARM_UP + rounds):
        for which in (0, 1) if i % 2 else (1, 0):
            seconds = step(runs[which], batches[which])
            if i >= WARM_UP:
                cpu[which].append(1e3 * seconds[0])
                wall[which].append(1e3 * seconds[1])
    ratios = [b / a for a, b in zip(*cpu, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    alone_ms, inside_ms = map(statistics.median, cpu)
    alone_wall, inside_wall = map(statistics.median, wall)
    print(f"{name:12s} {alone_ms:13.0f} {inside_ms:17.0f}   {middle:.3f} ({low:.3f}, {high:.3f})"
          f"{alone_wall:18.0f}{inside_wall:19.0f}   {inside_wall / alone_wall:.3f}")  # fmt: skip


def step(run: loop.Run, batch: Batch) -> tuple[float, float]:
    """Do one step; return CPU and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    assert loop.update(run, batch) is not None
    run.state.step += 1
    return time.process_time() - cpu, time.perf_counter() - wall


def peak_mb(what: str, side: int, batch: int) -> float:
    """Return the growth of this process's peak memory over a few steps, MB."""
    before = peak_resident()
    with tempfile.TemporaryDirectory() as folder:
        archs = MEMORY[what]
        run = alone(WIDEST, side, batch, Path(folder)) if archs is None else inside(archs, side, batch, Path(folder))
    pictures = next(iter(run.batches()))
    for _ in range(STEPS_OF_MEMORY):
        step(run, pictures)
    return (peak_resident() - before) / 1e6


def peak_resident() -> int:
    """Return the most memory that this process had so far, bytes; getrusage's begins with its parent's."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def alone(arch: dict[str, Any], side: int, batch: int, folder: Path) -> loop.Run:
    """Return a training of one network, set up."""
    file = folder / "arch.json"
    file.write_text(json.dumps(arch))
    return set_up(["model.name=litepose_xs", f"model.arch={file}"], side, batch, folder)


def inside(archs: list[dict[str, Any]], side: int, batch: int, folder: Path) -> loop.Run:
    """Return a training of the authors' supernet, set up, that trains these sub-networks in every step."""
    run = set_up(
        ["model.name=litepose_super", "supernet.space=authors", "supernet.sampling=uniform"], side, batch, folder
    )
    assert run.supernet is not None
    run.supernet.draws = Fixed(**vars(run.supernet.draws), fixed=archs, side=side)
    run.samples.size_at = run.supernet.draws.size_at
    return run


@dataclasses.dataclass(frozen=True)
class Fixed(Draws):
    """The same draw in every step."""

    fixed: list[dict[str, Any]]
    side: int

    def size_at(self, share: float) -> tuple[int, int]:
        return self.side, self.side

    def archs(self, step: int) -> list[dict[str, Any]]:
        return self.fixed


def set_up(changes: list[str], side: int, batch: int, folder: Path) -> loop.Run:
    people = f"synthetic:people=1-4,seed=1,size={side},length={batch}"
    recipe = load_recipe(
        "litepose_xs_synthetic",
        [f"model.size=[{side}, {side}]", f"run.batch={batch}", "run.workers=0", "run.threads=1", *changes],
    ).with_data([people])
    recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"size_schedule": ()})})
    run, _ = loop.set_up(
        recipe, folder / "run", resume=False, start_from=None, device="cpu", evaluate=nothing, rank=0, world=1
    )
    return run


def nothing(network: torch.nn.Module) -> dict[str, float]:
    return {"loss": 0.0}


_NARROW = VARIANTS["litepose_xs"]["arch"]
# What is trained in each step; None: the widest network without a supernet.
MEMORY: dict[str, list[dict[str, Any]] | None] = {
    "widest-alone": None,
    "supernet-widest": [WIDEST],
    "supernet-sandwich": [WIDEST, _NARROW, _NARROW, _NARROW],
}


if __name__ == "__main__":
    main()
