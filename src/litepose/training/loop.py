"""The training loop: pictures, loss, update, averages, log, evaluation, checkpoints; each process on one device.

Several processes, as torchrun starts them, take their parts of each step's pictures. Gradients, BN statistics and loss
parts are averaged over them, all else follows from these alike, so they stay equal bit by bit; the first one writes.

A run folder holds recipe.toml (resolved), log.jsonl, checkpoint.pt (to resume), last.safetensors and
best.safetensors (averaged weights with their spec: what `predict`, `eval` and `export` open).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

from litepose import checkpoints, files
from litepose.distributed import Share
from litepose.training.clock import Clock
from litepose.training.data import Batch
from litepose.training.endings import diverged, explained
from litepose.training.guard import GuardedSteps
from litepose.training.log import RunLog, describe
from litepose.training.numerics import chosen_kernels, precision_of
from litepose.training.optim import AveragedWeights, set_learning_rate
from litepose.training.recipe import Recipe
from litepose.training.setup import Evaluate, Run, set_up
from litepose.training.shown import shown_predictions
from litepose.training.state import save_checkpoint
from litepose.training.stop import StopOnSignal


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended.

    finished: False where a signal stopped it; the end of the recipe's patience finishes it too.
    best: None where nothing was evaluated. metrics: of the last evaluation.
    unreadable: (training set, ids of its pictures that could not be read) where there are some.
    stopped_by: the number of the signal, where one did.
    """

    finished: bool
    step: int
    last: Path
    best: Path | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    unreadable: tuple[tuple[str, tuple[int | str, ...]], ...] = ()
    stopped_by: int | None = None


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    start_from: str | Path | None = None,
    device: str = "cpu",
    evaluate: Evaluate | None = None,
    console: Console | None = None,
    share: Share | None = None,
) -> TrainingResult:
    """Train what the recipe says into the run folder.

    resume: go on from the folder's checkpoint. start_from: a checkpoint whose fitting weights are taken over.
    evaluate: network -> metrics with "loss"; the highest "AP", then the lowest "loss" says which weights are best.
        Default: on the recipe's validation data, with the decoder of inference.
    share: this process's part of each step's samples; None = all. All processes must call this, the first one writes
        and speaks, and a signal to any of them stops all after the same step.
    Raises RecipeError, SettingError, AnnotationError, CheckpointError, TrainingError.
    """
    share = share or Share()
    with share.hearing_of_deaths():
        return _train(
            recipe, Path(folder), resume=resume, start_from=start_from, device=device, evaluate=evaluate,
            console=console if share.is_first else None, share=share,
        )  # fmt: skip


def _train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool,
    start_from: str | Path | None,
    device: str,
    evaluate: Evaluate | None,
    console: Console | None,
    share: Share,
) -> TrainingResult:
    run, notes = set_up(
        recipe, folder, resume=resume, start_from=start_from, device=device, evaluate=evaluate, share=share
    )
    if share.is_first:
        files.remove_leftovers(folder)
        files.write_text(folder / "recipe.toml", recipe.to_toml())
    step = run.state.step
    log = RunLog(
        folder if share.is_first else None, work=run.work(run.total_steps), done=run.work(step), step=step,
        console=console,
    )  # fmt: skip
    with log, StopOnSignal() as stop, chosen_kernels(recipe.run, run.device):
        for note in notes:
            log.say(note)
        with explained(folder, lambda: run.state.step):
            return _go_on(run, log, stop)


def update(run: Run, batch: Batch) -> dict[str, float] | None:
    """Do one step of the optimizer; return the loss parts and "grad_norm", or None where a number was not finite.

    After such a step weights, averages and BN statistics are what they were before it.
    """
    network, optimizer = run.state.network, run.state.optimizer
    buffers = list(network.buffers())
    before = [buffer.clone() for buffer in buffers]
    values = _as_floats(_differentiate(run, batch))
    finite = all(math.isfinite(value) for value in values.values())
    if finite:
        optimizer.step()
        run.state.average.update(network)
    else:
        for buffer, old in zip(buffers, before, strict=True):
            buffer.copy_(old)
    run.state.scaler.update()
    optimizer.zero_grad(set_to_none=True)
    return values if finite else None


def _differentiate(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Compute the step's gradient and set its learning rate; return the loss parts and "grad_norm"."""
    state, recipe = run.state, run.recipe
    set_learning_rate(state.optimizer, run.learning_rate(state.step))
    parts = _mean([_backward(run, one) for one in batch.parts(recipe.run.accumulate)])
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if recipe.run.accumulate > 1:
        torch._foreach_div_(gradients, float(recipe.run.accumulate))
    statistics = [buffer for buffer in state.network.buffers() if buffer.is_floating_point()]
    run.share.average([*gradients, *statistics, *parts.values()])
    state.scaler.unscale_(state.optimizer)
    norm = nn.utils.clip_grad_norm_(parameters, recipe.optim.clip_norm or math.inf)
    return {**parts, "grad_norm": norm}


def _backward(run: Run, batch: Batch) -> dict[str, Tensor]:
    """Add a batch's gradient to every parameter's; return the loss parts."""
    state, images = run.state, batch.normalised(run.spec.input)
    if run.recipe.run.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    precision = precision_of(run.recipe.run.precision, run.device)
    if run.supernet is not None:
        parts = run.supernet.differentiate(
            images, batch.targets, step=state.step, precision=precision, scale=state.scaler.scale
        )
    else:
        with precision:
            parts = run.loss(state.network(images), batch.targets)
        if state.hints is not None:
            parts = state.hints.add(parts, batch)
        if state.distillation is not None:
            parts = state.distillation.add(parts, batch)
        state.scaler.scale(parts["total"]).backward()
    return {name: part.detach().float() for name, part in parts.items()}


def _mean(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}


def _go_on(run: Run, log: RunLog, stop: StopOnSignal) -> TrainingResult:
    """Do the steps that are left, or those until a signal comes."""
    state, limits = run.state, run.recipe.run
    metrics: Mapping[str, float] = {}
    saved_at, clock, stopped_by = time.monotonic(), Clock(state.step), 0
    for batch in clock.fed(run.batches()):
        _advance(run, batch)
        done = state.step == run.total_steps
        stopped_by = run.share.largest(stop.number or 0)
        epoch, rest = divmod(state.step, run.steps_per_epoch)
        log_due = state.step % limits.log_steps == 0 or done
        save_due = rest == 0 or stopped_by or time.monotonic() - saved_at > 60 * limits.checkpoint_minutes
        if log_due or save_due:
            _settle(run)
        if log_due:
            _log(run, log, clock)
        stage_done = state.step % run.stage_steps == 0
        if rest == 0 and (stage_done or (limits.evaluate_epochs and epoch % limits.evaluate_epochs == 0)):
            metrics = _judge(run, log)
            if stage_done and not done:
                _begin_stage(run, log)
            clock.restart()
        if save_due:
            _save(run)
            saved_at = time.monotonic()
        if run.ended or stopped_by:
            break
    if run.gave_up:
        log.say(f"Ended early after step {state.step}: in {state.unimproved} evaluations no weights were better.")
    last, best = run.folder / "last.safetensors", run.folder / "best.safetensors"
    if not run.ended:  # else the last evaluation kept them
        _keep(run, "last", metrics)
    kept_best, broken = best if best.exists() else None, _unreadable(run)
    return TrainingResult(run.ended, state.step, last, kept_best, metrics, broken, None if run.ended else stopped_by)


def _unreadable(run: Run) -> tuple[tuple[str, tuple[int | str, ...]], ...]:
    """Return what any process could not read, to the first one."""
    everybody = run.share.gathered([tuple(source.unreadable) for source in run.samples.sources])
    ids = [tuple(dict.fromkeys(one for part in parts for one in part)) for parts in zip(*everybody, strict=True)]
    return tuple((source.name, some) for source, some in zip(run.samples.sources, ids) if some)  # noqa: B905


def _advance(run: Run, batch: Batch) -> None:
    """Do one step and count it. Raises TrainingError after too many bad ones; with a guard `_settle` does that."""
    if run.guard is None:
        values = update(run, batch)
        run.state.step += 1
        _count(run, values)
        return
    run.guard.remember()
    run.guard.apply(_differentiate(run, batch))
    run.state.scaler.update()
    run.state.step += 1


def _settle(run: Run) -> None:
    """Bring the guard's numbers, where there is one, into the state. Raises TrainingError."""
    if run.guard is not None and run.guard.settle() >= run.recipe.run.bad_steps:
        raise diverged(run.folder, run.state.step, run.recipe.run.bad_steps)


def _count(run: Run, values: Mapping[str, float] | None) -> None:
    """Add a step's values to the running sums, or stop after too many steps without any."""
    state, limit = run.state, run.recipe.run.bad_steps
    if values is not None:
        state.bad_steps = 0
        state.count(values)
        return
    state.bad_steps += 1
    state.skipped += 1
    if state.bad_steps >= limit:
        raise diverged(run.folder, run.state.step, run.recipe.run.bad_steps)


def _log(run: Run, log: RunLog, clock: Clock) -> None:
    """Write the means since the last record."""
    state = run.state
    means = state.take_means()
    rate = run.learning_rate(state.step - 1)
    seen = state.step * run.samples_per_step
    steps_per_second, data_wait = clock.read(state.step)
    speed = steps_per_second * run.samples_per_step
    size = run.samples.size_at((state.step - 1) / run.total_steps)
    record = {"epoch": state.step / run.steps_per_epoch, "samples": seen, "lr": rate, "size": list(size), **means}
    log.record(
        "train", state.step, {**record, "skipped": state.skipped, "pictures_per_s": speed, "data_wait": data_wait}
    )
    shown = {name: value for name, value in means.items() if name != "grad_norm"}
    log.progress(
        run.work(state.step), f"step {state.step}/{run.total_steps}  {describe(shown)}  {speed:.1f} pictures/s"
    )


def _judge(run: Run, log: RunLog) -> Mapping[str, float]:
    """Evaluate the averaged weights; keep them as last, and as best where they are."""
    metrics: Mapping[str, float] = {}
    if run.evaluate is not None:
        network = copy.deepcopy(run.state.network)
        network.load_state_dict(run.state.average.state)
        metrics = run.share.agreed(run.evaluate(network.eval()))
        log.record("validation", run.state.step, dict(metrics))
        log.pictures("validation", run.state.step, lambda: shown_predictions(run.evaluate, network))
        log.say(f"step {run.state.step}: {describe(metrics)}")
        value = (metrics.get("AP", 0.0), -metrics["loss"])
        run.state.unimproved += 1
        if math.isfinite(sum(value)) and (run.state.best is None or value > run.state.best):
            run.state.best, run.state.unimproved = value, 0
            _keep(run, "best", metrics)
    _keep(run, "last", metrics)
    return metrics


def _begin_stage(run: Run, log: RunLog) -> None:
    """Go on from the best weights so far with a fresh optimizer, as LPN's iterative training does at each stage."""
    state, best = run.state, run.folder / "best.safetensors"
    kept = checkpoints.load(best)[0] if run.share.is_first and best.exists() else None
    kept = run.share.agreed(kept)
    state.network.load_state_dict(state.average.state if kept is None else kept)
    state.optimizer.state.clear()
    state.average = AveragedWeights(state.network, run.recipe.optim.ema_decay)
    if run.guard is not None:
        run.guard = GuardedSteps(state)
    stage = state.step // run.stage_steps
    log.say(
        f"Stage {stage + 1} of {run.recipe.run.stages} begins with the {'last' if kept is None else 'best'} weights."
    )


def _save(run: Run) -> None:
    if run.share.is_first:
        save_checkpoint(run.folder, run.state, run.recipe.to_toml(), processes=run.share.count)


def _keep(run: Run, name: str, metrics: Mapping[str, float]) -> Path:
    """Write the averaged weights with their spec; return their path."""
    path = run.folder / f"{name}.safetensors"
    if not run.share.is_first:
        return path
    seen = run.state.step * run.samples_per_step
    spec = run.spec.with_provenance(step=run.state.step, samples_seen=seen, metrics=dict(metrics))
    return checkpoints.save(path, run.state.average.state, spec)


def _as_floats(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Return scalars as numbers with one transfer from the device."""
    numbers = torch.stack([value.detach().float() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
