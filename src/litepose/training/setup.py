"""One training, set up: what its recipe names built and opened, the state that changes, where in the run it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from litepose import checkpoints
from litepose.distributed import Share
from litepose.errors import RecipeError
from litepose.losses import Loss
from litepose.spec import PoseSpec
from litepose.training.batch_norm import synchronise
from litepose.training.data import Batch, TrainingSamples, batches, steps_per_epoch
from litepose.training.distillation import open_distillation
from litepose.training.guard import GuardedSteps
from litepose.training.hints import open_hints
from litepose.training.numerics import make_scaler, open_device
from litepose.training.optim import AveragedWeights, make_optimizer, staged_learning_rate
from litepose.training.recipe import Recipe
from litepose.training.sources import open_sources, open_validation
from litepose.training.start import (
    check_same_processes,
    check_same_recipe,
    make_loss,
    make_spec,
    notes_of_processes,
    take_over,
)
from litepose.training.state import TrainingState, check_is_new, load_checkpoint
from litepose.training.supernet import SupernetSteps, SupernetValidation, open_steps
from litepose.training.validate import Validation

Evaluate = Callable[[nn.Module], Mapping[str, float]]


@dataclass
class Run:
    """One training, set up: all that stays, and the state that changes. share: of this process.

    guard: what updates on a device that nobody waits for, or None. supernet: what a step does where the network is one.
    """

    recipe: Recipe
    folder: Path
    device: torch.device
    spec: PoseSpec
    loss: Loss
    evaluate: Evaluate | None
    samples: TrainingSamples
    state: TrainingState
    steps_per_epoch: int
    share: Share
    guard: GuardedSteps | None = None
    supernet: SupernetSteps | None = None

    @property
    def total_steps(self) -> int:
        return self.recipe.run.stages * self.stage_steps

    @property
    def stage_steps(self) -> int:
        return self.recipe.run.epochs * self.steps_per_epoch

    @property
    def gave_up(self) -> bool:
        """Whether the recipe's patience with weights that become no better is used up."""
        return 0 < self.recipe.run.patience_evaluations <= self.state.unimproved

    @property
    def ended(self) -> bool:
        return self.gave_up or self.state.step == self.total_steps

    def learning_rate(self, step: int) -> float:
        """Return the rate of the update with this 0-based number."""
        rate = staged_learning_rate(
            step, self.recipe.optim, steps_per_epoch=self.steps_per_epoch, stage_steps=self.stage_steps
        )
        return rate * self.share.count if self.recipe.optim.scale_lr else rate

    @property
    def samples_per_step(self) -> int:
        """Of all processes."""
        return self.recipe.run.batch * self.share.count

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of the steps that are left."""
        run = self.recipe.run
        return batches(
            self.samples, first_step=self.state.step, last_step=self.state.step if self.ended else self.total_steps,
            batch=run.batch, workers=run.workers, rank=self.share.rank, world=self.share.count, device=self.device,
        )  # fmt: skip

    def work(self, step: int) -> float:
        """Return the input pixels of all steps before `step`, as a measure of time: sizes grow on the way."""
        if self.supernet is not None:  # there they are drawn, and all alike on average
            return step
        starts = [math.ceil(entry.from_share * self.total_steps) for entry in self.recipe.run.size_schedule] or [0]
        total = 0.0
        for start, end in zip(starts, [*starts[1:], self.total_steps], strict=True):
            width, height = self.recipe.size_at(start / self.total_steps)
            total += max(0, min(step, end) - start) * width * height
        return total


def set_up(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool,
    start_from: str | Path | None,
    device: str,
    evaluate: Evaluate | None,
    share: Share | None = None,
) -> tuple[Run, list[str]]:
    """Build everything that a training needs; return it with notes for the user. See `train`."""
    if not resume:
        check_is_new(folder)
    share = share or Share()
    saved = share.agreed(load_checkpoint(folder) if resume and share.is_first else None)
    if saved is not None:
        check_same_recipe(recipe, saved["recipe"])
        check_same_processes(share.count, saved.get("processes", 1))
    spec = make_spec(recipe)
    sources, weights = open_sources(recipe, spec.input)
    spec = spec.with_provenance(data=[source.name for source in sources])
    loss = make_loss(recipe, spec)
    place = open_device(share.device(device), recipe.run.precision)

    if recipe.run.threads:
        torch.set_num_threads(recipe.run.threads)
    torch.manual_seed(recipe.run.seed)
    network = checkpoints.build_network(spec)
    notes = [] if start_from is None or saved is not None else take_over(network, start_from, spec=spec)
    layout = torch.channels_last if recipe.run.channels_last else torch.contiguous_format
    network = network.to(device=place, memory_format=layout).train()  # type: ignore[call-overload]
    if recipe.run.sync_batchnorm and share.count > 1:
        synchronise(network)
    state = _make_state(recipe, network, spec, loss, place)
    for name, teacher in (("hints", state.hints), ("distillation", state.distillation)):
        spec = spec if teacher is None else spec.with_provenance(**{name: teacher.provenance})
    if saved is not None:
        state.from_checkpoint(saved)
        notes.append(f"Going on after step {state.step}.")
    notes += notes_of_processes(recipe, share.count)
    samples_per_step = recipe.run.batch * share.count
    per_epoch = steps_per_epoch(recipe.run.epoch_samples, sources, samples_per_step)
    total_steps = recipe.run.stages * recipe.run.epochs * per_epoch
    supernet = open_steps(recipe, network, spec, loss, total_steps=total_steps, share=share)
    samples = TrainingSamples(
        sources, weights, codec=spec.codec, size_at=recipe.size_at if supernet is None else supernet.draws.size_at,
        samples_per_step=samples_per_step, total=total_steps * samples_per_step,
        seed=recipe.run.seed, targets=recipe.run.targets,
    )  # fmt: skip
    if evaluate is None:
        evaluate = _make_evaluate(recipe, spec, loss, samples, place, share)
    if evaluate is None and recipe.run.patience_evaluations:
        raise RecipeError(
            f"run.patience_evaluations = {recipe.run.patience_evaluations}, and there are no validation pictures by "
            "which weights become better. Name some in [data.validation], or set it to 0."
        )
    guard = GuardedSteps(state) if place.type == "cuda" else None
    run = Run(recipe, folder, place, spec, loss, evaluate, samples, state, per_epoch, share, guard, supernet)
    return run, notes


def _make_state(recipe: Recipe, network: nn.Module, spec: PoseSpec, loss: Loss, device: torch.device) -> TrainingState:
    """Return the state before the first step."""
    optimizer = make_optimizer(network, recipe.optim)
    hints = open_hints(recipe, network, optimizer)
    distillation = open_distillation(recipe, network, spec, loss)
    average, scaler = AveragedWeights(network, recipe.optim.ema_decay), make_scaler(recipe.run, device)
    if recipe.run.compile:
        network.compile()  # the passes alone, at the first step; copies, names and weights stay as they are
    return TrainingState(network, optimizer, average, hints, distillation, scaler)


def _make_evaluate(
    recipe: Recipe, spec: PoseSpec, loss: Loss, samples: TrainingSamples, device: torch.device, share: Share
) -> Evaluate | None:
    """Return what judges the weights on the recipe's validation pictures, None where it names none."""
    pictures = open_validation(recipe)
    if pictures is None or recipe.data.validation is None:
        return None
    limit = recipe.data.validation.limit

    def judge(of: PoseSpec) -> Validation:
        return Validation(pictures, of, loss, device=str(device), limit=limit, share=share)

    return judge(spec) if recipe.supernet is None else SupernetValidation(judge, spec, recipe, samples)
