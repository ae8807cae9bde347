"""Everything that an interrupted training needs to go on as if nothing had happened, and its file.

The file holds tensors, numbers and strings only, so it opens with weights_only. It is written under another name,
flushed and renamed; the one before it stays as `checkpoint.previous.pt`.
"""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from litepose.errors import SettingError, TrainingError
from litepose.training.distillation import Distillation
from litepose.training.hints import Hints
from litepose.training.optim import AveragedWeights

NAME, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"


@dataclass
class TrainingState:
    """What changes from step to step.

    hints: what is trained beside the network and not kept, where the recipe asks for it. distillation: its teacher.
    scaler: of the losses, where they are computed in fp16.
    step: updates tried so far. bad_steps: the last ones in a row that were not finite. skipped: all of those.
    sums, counted: loss parts summed since the last line of the log.
    best: (AP, -loss) of the best evaluation so far. unimproved: the evaluations since then, none of them better.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: AveragedWeights
    hints: Hints | None = None
    distillation: Distillation | None = None
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False))
    step: int = 0
    bad_steps: int = 0
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    best: tuple[float, float] | None = None
    unimproved: int = 0

    def count(self, parts: Mapping[str, float]) -> None:
        """Add one step's values to the running sums."""
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.counted += 1

    def take_means(self) -> dict[str, float]:
        """Return the means since the last call and start anew."""
        means = {name: total / self.counted for name, total in self.sums.items()}
        self.sums, self.counted = {}, 0
        return means

    def to_checkpoint(self) -> dict[str, Any]:
        """Return the state as tensors and plain values, the random state of torch included."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        teachers = {"hints": self.hints, "distillation": self.distillation}
        return {
            **{name: teacher.to_checkpoint() for name, teacher in teachers.items() if teacher is not None},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.to_checkpoint(),
            "scaler": self.scaler.state_dict(),
            "numbers": numbers,
            "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
        }

    def from_checkpoint(self, saved: Mapping[str, Any]) -> None:
        """Go on where `to_checkpoint` was called."""
        self.network.load_state_dict(saved["network"])
        for group, own in zip(saved["optimizer"]["param_groups"], self.optimizer.param_groups, strict=True):
            group["fused"] = own["fused"]  # belongs to the device, which may be another one now
        self.optimizer.load_state_dict(saved["optimizer"])
        self.average.from_checkpoint(saved["average"])
        self.scaler.load_state_dict(saved.get("scaler", {}))
        if self.hints is not None:
            self.hints.from_checkpoint(saved["hints"])
        if self.distillation is not None:
            self.distillation.from_checkpoint(saved["distillation"])
        for name in _NUMBERS:
            setattr(self, name, saved["numbers"].get(name, getattr(self, name)))  # one may be newer than the file
        torch.set_rng_state(saved["random"]["cpu"])
        cuda: list[Tensor] = saved["random"]["cuda"]
        if cuda and len(cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(cuda)


_NUMBERS = ("step", "bad_steps", "skipped", "sums", "counted", "best", "unimproved")


def save_checkpoint(folder: Path, state: TrainingState, recipe: str, *, processes: int = 1) -> None:
    """Write the state with the recipe's text and the number of processes; always one complete file lies in `folder`.

    Raises TrainingError where it cannot be written; the one before it is then still there.
    """
    temporary = folder / f"{NAME}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save({**state.to_checkpoint(), "recipe": recipe, "processes": processes}, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch hides the first behind the second
        temporary.unlink(missing_ok=True)
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise TrainingError(
            f"The checkpoint of step {state.step} cannot be written to {folder}: {cause}. The one before it is "
            "untouched. Make room or give the folder its permissions back, then go on with --resume."
        ) from error
    if (folder / NAME).exists():
        (folder / NAME).replace(folder / PREVIOUS)
    temporary.replace(folder / NAME)


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the latest checkpoint of a run, or the one before it where that is broken. Raises TrainingError."""
    for path in (folder / NAME, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return saved
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            warnings.warn(f"{path} cannot be read ({error}); looking for an earlier one.", stacklevel=2)
    raise TrainingError(
        f"--resume: {folder} holds no checkpoint that can be read ({NAME}, {PREVIOUS}). "
        "Start without --resume, or name the folder of the run with -o."
    )


def check_is_new(folder: Path) -> None:
    """Raise SettingError where a run was begun in this folder."""
    if has_checkpoint(folder):
        raise SettingError(f"{folder} already holds a training. Add --resume to go on with it, or choose another -o.")


def has_checkpoint(folder: Path) -> bool:
    """Return whether a run was begun in this folder."""
    return (folder / NAME).exists() or (folder / PREVIOUS).exists()
