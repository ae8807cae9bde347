"""What a step of a supernet's training does, and how a supernet is judged: the parts that differ from one network's.

Each step trains some sub-networks on one batch. Wang et al., CVPR 2022, draw one for each step ("uniform"); Yu and
Huang, "Universally Slimmable Networks and Improved Training Techniques", ICCV 2019, take the largest, the smallest and
some between, and let the largest teach the others in place ("sandwich").

What differs from mit-han-lab/litepose@00b702d: input size and archs are a function of the seed and the step alone, so
all processes draw the same and a resumed training goes on with the same; targets are made for each input size and not
resized; blocks of all depths are drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from litepose.losses import Loss
from litepose.models.litepose_super import LitePoseSuper
from litepose.search.space import SearchSpace
from litepose.spec import PoseSpec
from litepose.supernet import Supernet, recalibrate
from litepose.training.calibration import picture_batches
from litepose.training.data import TrainingSamples
from litepose.training.distributed import agreed
from litepose.training.recipe import Recipe, SupernetSection

SIZE_STREAM, ARCH_STREAM = 3, 4  # of the run's seed; samples take 0 to 2

Arch = dict[str, Any]
Judge = Callable[[nn.Module], Mapping[str, float]]


@dataclass(frozen=True)
class Draws:
    """The input size and the archs of each step, pure in (seed, step)."""

    space: SearchSpace
    section: SupernetSection
    seed: int
    total_steps: int

    def size_at(self, share: float) -> tuple[int, int]:
        """Return the input size (w, h) of the step at this share of the run."""
        rng = np.random.default_rng([self.seed, SIZE_STREAM, round(share * self.total_steps)])
        side = int(rng.choice(self.space.input_sizes))
        return side, side

    def archs(self, step: int) -> list[Arch]:
        """Return the archs of the step with this 0-based number; of a sandwich the largest comes first."""
        rng = np.random.default_rng([self.seed, ARCH_STREAM, step])
        if self.section.sampling == "uniform":
            return [self.space.sample(rng)]
        between = [self.space.sample(rng) for _ in range(self.section.random)]
        return [self.space.largest(), self.space.smallest(), *between]


def open_steps(
    recipe: Recipe, network: nn.Module, spec: PoseSpec, loss: Loss, *, total_steps: int
) -> SupernetSteps | None:
    """Return what the steps of the recipe's supernet do, None where it trains one network."""
    if recipe.supernet is None:
        return None
    assert isinstance(network, LitePoseSuper), type(network)
    draws = Draws(recipe.supernet.search_space(), recipe.supernet, recipe.run.seed, total_steps)
    return SupernetSteps(network, spec, draws, loss)


class SupernetSteps:
    """Computes the gradients of a step. network: the supernet that is trained."""

    def __init__(self, network: LitePoseSuper, spec: PoseSpec, draws: Draws, loss: Loss) -> None:
        self.supernet = Supernet(network, spec)
        self.draws, self.loss = draws, loss

    def differentiate(
        self, images: Tensor, targets: Any, *, step: int, precision: contextlib.AbstractContextManager[Any]
    ) -> dict[str, Tensor]:
        """Give every parameter the gradient of the mean loss of the step's sub-networks; return its parts.

        Of a sandwich also "total_largest" and "total_smallest". What no sub-network of the step uses (blocks that are
        too deep, maps of other kernels) gets a gradient of 0, so that all processes have the same parameters.
        """
        archs = agreed(self.draws.archs(step))
        losses: list[dict[str, Tensor]] = []
        for i, arch in enumerate(archs):
            with precision:
                outputs = self.supernet(images, arch)
                parts = self.loss(outputs, targets)
            (parts["total"] / len(archs)).backward()  # one after the other: no more memory than one network takes
            losses.append({name: part.detach() for name, part in parts.items()})
            if i == 0 and self.draws.section.distillation:
                targets = self._taught(targets, outputs)
        for parameter in self.supernet.network.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        means = {name: torch.stack([parts[name] for parts in losses]).mean() for name in losses[0]}
        if len(losses) == 1:
            return means
        return {**means, "total_largest": losses[0]["total"], "total_smallest": losses[1]["total"]}

    def _taught(self, targets: Any, outputs: tuple[Tensor, ...]) -> Any:
        """Return the targets with heatmaps moved towards those of the largest network, for the others.

        Tags have no targets of their own, only groups: these stay the annotation's.
        """
        share, mixed = self.draws.section.distillation, []
        for target, output in zip(targets.heatmaps, outputs, strict=True):
            taught = output[:, : target.shape[1]].detach().float().clamp(min=0)
            mixed.append(torch.lerp(target, taught, share))
        return dataclasses.replace(targets, heatmaps=tuple(mixed))


class SupernetValidation:
    """Judges the largest and the smallest sub-network of a supernet, their BN statistics measured anew.

    judge: (spec of a network) -> what judges networks of that spec. samples: those after the last give statistics.
    """

    def __init__(
        self, judge: Callable[[PoseSpec], Judge], spec: PoseSpec, recipe: Recipe, samples: TrainingSamples
    ) -> None:
        assert recipe.supernet is not None
        self.judge, self.spec, self.samples = judge, spec, samples
        self.space, self.batch = recipe.supernet.search_space(), recipe.run.batch
        self.batches = recipe.supernet.calibration_batches

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return "loss", "AP", ... of the largest sub-network, "loss_smallest", "AP_smallest", ... of the other.

        Each is judged at its arch's own input size.
        """
        assert isinstance(network, LitePoseSuper), type(network)
        supernet = Supernet(network, self.spec)
        metrics: dict[str, float] = {}
        for arch, suffix in ((self.space.largest(), ""), (self.space.smallest(), "_smallest")):
            alone, spec = supernet.sub_network(arch)
            device = next(alone.parameters()).device
            size = spec.input.size
            pictures = picture_batches(
                self.samples, size, spec.input, batches=self.batches, batch=self.batch, device=device
            )
            recalibrate(alone, pictures)
            metrics |= {name + suffix: value for name, value in self.judge(spec)(alone).items()}
        return metrics
