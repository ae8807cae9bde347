"""A training looked at before it begins: its first samples, what its network costs, what a step takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from litepose import counting, images
from litepose.benchmark import peak_memory_mb
from litepose.training import loop
from litepose.training.contact_sheet import contact_sheet
from litepose.training.data import Batch, collate
from litepose.training.recipe import Recipe
from litepose.training.setup import Run, set_up

SHEET = "contact_sheet.png"
SHOWN = 10  # samples
WARM_STEPS, TIMED_STEPS = 1, 2


@dataclass(frozen=True)
class DryRun:
    """What a training would be.

    sheet: the contact sheet. notes: of setting it up. params, macs: of the network at `size`, its largest input (w, h).
    memory_mb: the most that the steps held: of the GPU, else of the whole process; None where the system does not say.
    step_s: of one step at that size, its pictures being there. picture_s: to prepare one, on one processor.
    hours: of the whole training without its evaluations; waits: whether it would wait for pictures.
    """

    recipe: Recipe
    sheet: Path
    notes: tuple[str, ...]
    params: int
    macs: int
    size: tuple[int, int]
    samples: int
    steps: int
    memory_mb: float | None
    step_s: float
    picture_s: float
    hours: float
    waits: bool


def dry_run(recipe: Recipe, folder: str | Path, *, start_from: str | Path | None = None, device: str = "cpu") -> DryRun:
    """Set a training up, draw its first samples into the folder, do three steps for the clock, and forget them.

    Nothing but the contact sheet is written. Raises what `loop.train` raises before its first step.
    """
    run, notes = set_up(
        recipe, Path(folder), resume=False, start_from=start_from, device=device, evaluate=lambda network: {},
    )  # fmt: skip
    title = f"{recipe.model.name}: the first {SHOWN} samples of the training, as the network sees them"
    sheet = contact_sheet(run.samples, run.spec, range(min(SHOWN, len(run.samples))), title=title)
    path = Path(folder) / SHEET
    images.write(path, sheet)

    first, size = _largest(run)
    counts = counting.count(run.state.network, size)
    step_s, picture_s, memory_mb = _timed(run, first)
    loading_s = picture_s * recipe.run.batch / max(1, recipe.run.workers)
    passing_s = step_s + loading_s if recipe.run.workers == 0 else max(step_s, loading_s)
    seconds = passing_s * run.work(run.total_steps) / (run.work(first + 1) - run.work(first))
    return DryRun(
        recipe=recipe, sheet=path, notes=tuple(notes), params=counts.params, macs=counts.macs, size=size,
        samples=run.total_steps * recipe.run.batch, steps=run.total_steps, memory_mb=memory_mb, step_s=step_s,
        picture_s=picture_s, hours=seconds / 3600, waits=loading_s > step_s,
    )  # fmt: skip


def describe(result: DryRun) -> Iterator[str]:
    """Yield the result as lines of text."""
    width, height = result.size
    run = result.recipe.run
    yield f"Network: {result.params / 1e6:.2f} M parameters, {result.macs / 1e9:.2f} GMACs at {width}x{height}"
    yield f"Training: {result.steps} steps of {run.batch}, {result.samples / 1e6:.2f} M samples"
    yield f"One step: {1e3 * result.step_s:.0f} ms at {width}x{height}; one picture: {1e3 * result.picture_s:.1f} ms"
    if result.memory_mb is not None:
        yield f"Memory: {result.memory_mb:.0f} MB in these steps"
    waiting = ", waiting for pictures: more workers or a packed set would help" if result.waits else ""
    yield f"Time: about {result.hours:.1f} hours and the evaluations{waiting}"
    yield f"Samples: {result.sheet}"


def _largest(run: Run) -> tuple[int, tuple[int, int]]:
    """Return a step at which the input is largest, and its size (w, h)."""
    shares = [entry.from_share for entry in run.recipe.run.size_schedule] or [0.0]
    steps = [min(run.total_steps - 1, -int(-share * run.total_steps // 1)) for share in shares]
    sizes = [run.samples.size_at(step / run.total_steps) for step in steps]
    best = max(range(len(steps)), key=lambda i: sizes[i][0] * sizes[i][1])
    return steps[best], sizes[best]


def _timed(run: Run, step: int) -> tuple[float, float, float | None]:
    """Return seconds of a step and of a picture, and MB; the network learns from it, which nobody keeps."""
    cuda = run.device.type == "cuda"
    started = time.process_time()
    numbers = range(step * run.recipe.run.batch, (step + 1) * run.recipe.run.batch)
    batch: Batch = collate([run.samples[min(n, len(run.samples) - 1)] for n in numbers], device=run.device)
    picture_s = (time.process_time() - started) / len(numbers)
    if cuda:
        torch.cuda.reset_peak_memory_stats(run.device)
    seconds = []
    for number in range(WARM_STEPS + TIMED_STEPS):
        started = time.monotonic()
        loop.update(run, batch)
        if cuda:
            torch.cuda.synchronize(run.device)
        if number >= WARM_STEPS:
            seconds.append(time.monotonic() - started)
    memory_mb = torch.cuda.max_memory_allocated(run.device) / 1e6 if cuda else peak_memory_mb()
    return statistics.median(seconds), picture_s, memory_mb
