"""How the weights move: parameter groups, the learning rate of a step, averaged weights.

Warm-up as in mmcv 1.x (linear from a ratio of the rate), steps as in torch's MultiStepLR over epochs; averaging with
a warm-up as in timm's ModelEmaV3, buffers (BN statistics) included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from litepose.errors import RecipeError
from litepose.training.recipe import OptimSection


def make_optimizer(network: nn.Module, optim: OptimSection) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; norms and biases (all tensors of one axis) decay never, if no group says so.

    Raises RecipeError where a group of the recipe fits no parameter.
    """
    members: dict[tuple[bool, float, float], list[nn.Parameter]] = {}
    named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
    for name, parameter in sorted(named, key=lambda one: one[1].ndim <= 1):
        factor, decay = _factor_and_decay(name, parameter, optim)
        members.setdefault((parameter.ndim > 1, factor, decay), []).append(parameter)
    _check_groups([name for name, _ in named], optim)
    groups = [
        {"params": parameters, "weight_decay": decay, "lr_factor": factor}
        for (_, factor, decay), parameters in members.items()
    ]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    # On a GPU one kernel for all weights, which can also leave out a step (see guard.py).
    fused = True if named[0][1].is_cuda else None
    return kinds[optim.name](groups, lr=optim.lr, fused=fused)


def learning_rate(step: int, optim: OptimSection, *, steps_per_epoch: int, total_steps: int) -> float:
    """Return the rate of the update with this 0-based number; it depends on nothing else."""
    if optim.schedule == "cosine":
        start = min(optim.warmup_steps, total_steps)
        share = max(0, step - start) / max(1, total_steps - start)
        rate = optim.final_share + (1 - optim.final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    else:
        passed = sum(step >= epoch * steps_per_epoch for epoch in optim.step_epochs)
        rate = optim.step_factor**passed
    if step < optim.warmup_steps:
        rate *= 1 - (1 - step / optim.warmup_steps) * (1 - optim.warmup_from)
    return optim.lr * rate


def staged_learning_rate(step: int, optim: OptimSection, *, steps_per_epoch: int, stage_steps: int) -> float:
    """Return the rate of the update with this 0-based number where the schedule begins anew every `stage_steps`."""
    stage, within = divmod(step, stage_steps)
    if stage and optim.stage_lr is not None:
        optim = optim.model_copy(update={"lr": optim.stage_lr})
    return learning_rate(within, optim, steps_per_epoch=steps_per_epoch, total_steps=stage_steps)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use this rate, times each group's own factor, for the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_factor", 1.0)  # checkpoints from before there were factors have none


def _factor_and_decay(name: str, parameter: nn.Parameter, optim: OptimSection) -> tuple[float, float]:
    group = next((one for one in optim.groups if fnmatchcase(name, one.names)), None)
    decay = optim.weight_decay if parameter.ndim > 1 else 0.0
    if group is None:
        return 1.0, decay
    return group.lr_factor, decay if group.weight_decay is None else group.weight_decay


def _check_groups(names: list[str], optim: OptimSection) -> None:
    for group in optim.groups:
        if not any(fnmatchcase(name, group.names) for name in names):
            raise RecipeError(
                f"optim.groups: no parameter of the network fits names = {group.names!r}. It is a pattern of whole "
                f"names, in which * stands for anything; the {len(names)} names run from {names[0]} to {names[-1]}. "
                "Correct it or leave the group out."
            )


class AveragedWeights:
    """An exponential moving average of a network's whole state.

    state: name -> tensor, as a state dict; integer buffers are the network's latest.
    updates: how many were averaged; the decay of update t is min(decay, (1 + t) / (10 + t)), so that an early average
        forgets the random start.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's present state."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.decay else 0.0
        self.updates += 1
        averages, values = self._pairs(network)
        torch._foreach_lerp_(averages, values, 1 - decay)

    @torch.no_grad()
    def update_if(self, network: nn.Module, good: Tensor, updates: Tensor) -> None:
        """Take in the state where `good`, a bool on the device, without asking the device for it.

        updates: how many there were, as a tensor on the device; `self.updates` is the caller's to bring up to date. The
        state of a step that was not good is that of the step before.
        """
        averages, values = self._pairs(network)
        if not self.decay:
            torch._foreach_copy_(averages, values)
            return
        decay = ((1 + updates) / (10 + updates)).clamp(max=self.decay)
        differences = torch._foreach_sub(values, averages)
        torch._foreach_mul_(differences, torch.where(good, 1 - decay, 0.0).float())
        torch._foreach_add_(averages, differences)

    def _pairs(self, network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """Copy the integers; return the averages and the network's values of everything else."""
        averages: list[Tensor] = []
        values: list[Tensor] = []
        whole: list[tuple[Tensor, Tensor]] = []
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.state[name])
                values.append(tensor)
            else:
                whole.append((self.state[name], tensor))
        if whole:
            torch._foreach_copy_([average for average, _ in whole], [value for _, value in whole])
        return averages, values

    def to_checkpoint(self) -> dict[str, object]:
        """Return what `from_checkpoint` needs."""
        return {"updates": self.updates, "state": self.state}

    def from_checkpoint(self, saved: Mapping[str, object]) -> None:
        """Go on where `to_checkpoint` was called."""
        self.updates = int(saved["updates"])  # type: ignore[call-overload]
        for name, tensor in saved["state"].items():  # type: ignore[attr-defined]
            self.state[name].copy_(tensor)
