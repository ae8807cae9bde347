"""Feature hints: inner maps of the student learn to predict those of a frozen teacher that sees the same pictures.

FitNets, Romero et al. 2015. What differs from that paper: hints last for the whole training instead of a first stage,
several maps get one each, and the teacher's maps are standardised, so that one factor fits all of them. The teacher is
any network in an ONNX file; what it was made for does not matter. The projections are trained and lie in the training's
checkpoint, never among the weights that are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from litepose.errors import RecipeError, SettingError
from litepose.spec import InputSpec
from litepose.training.data import Batch
from litepose.training.recipe import HintsSection, Recipe
from litepose.training.teacher import Teacher, near

SMALLEST_STD = 1e-3  # added to each channel's, so that one that never varies stays at 0


def open_hints(recipe: Recipe, network: nn.Module, optimizer: torch.optim.Optimizer) -> Hints | None:
    """Return the recipe's hints, if it asks for any, their projections trained by `optimizer`. Raises RecipeError."""
    if recipe.hints is None:
        return None
    tensors = dict.fromkeys(name for entry in recipe.hints.maps for name in entry.teacher)
    device = next(network.parameters()).device
    teacher = Teacher(Path(recipe.data.root) / recipe.hints.teacher, tensors, device=device)
    sizes = [entry.size for entry in recipe.run.size_schedule] or [recipe.model.size]
    hints = Hints(recipe.hints, network, teacher, sizes=sizes)
    optimizer.add_param_group({"params": list(hints.parameters()), "weight_decay": 0.0})
    return hints


class Hints(nn.Module):
    """The 1x1 projections that predict the teacher's maps from the student's, and the loss of that.

    sizes: the (w, h) inputs of the training, at each of which the maps must fit.
    """

    def __init__(
        self, section: HintsSection, network: nn.Module, teacher: Teacher, *, sizes: Iterable[tuple[int, int]]
    ) -> None:
        super().__init__()
        self.section, self.teacher = section, teacher
        mean, std = ((a / 255, b / 255, c / 255) for a, b, c in (section.mean, section.std))
        self.rule = InputSpec(size=(1, 1), colour=section.colour, mean=mean, std=std)
        self._seen: dict[str, Tensor] = {}
        _watch(network, [entry.student for entry in section.maps], self._seen)
        first = next(network.parameters())
        for width, height in sizes:
            blank = torch.zeros(1, 3, height, width, device=first.device)
            with torch.no_grad():
                network.eval()(blank)
            network.train()
            pairs = self._pairs(teacher(blank))
        self.projections = nn.ModuleList(nn.Conv2d(one.shape[1], other.shape[1], 1) for one, other in pairs)
        self.to(first.device)

    def add(self, parts: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the loss parts with "hint_<student>" for each map, factor applied, also in "total".

        To be called after the student has seen the batch.
        """
        pairs = self._pairs(self.teacher(batch.normalised(self.rule)))
        hints = {}
        for entry, projection, (student, teacher) in zip(self.section.maps, self.projections, pairs, strict=True):
            error = projection(student.float()) - teacher
            hints[f"hint_{entry.student}"] = self.section.factor * error.square().mean()
        return {**parts, **hints, "total": torch.stack([parts["total"], *hints.values()]).sum()}

    @property
    def provenance(self) -> dict[str, str]:
        """What the weights say about their teacher."""
        return {"teacher": self.teacher.path.name, "sha256": self.teacher.sha256}

    def to_checkpoint(self) -> dict[str, Any]:
        """Return what `from_checkpoint` needs."""
        return {"projections": self.state_dict(), "sha256": self.teacher.sha256}

    def from_checkpoint(self, saved: Mapping[str, Any]) -> None:
        """Go on where `to_checkpoint` was called. Raises SettingError where the teacher is another one."""
        if saved["sha256"] != self.teacher.sha256:
            raise SettingError(
                f"--resume goes on with the same teacher, and {self.teacher.path} is another file than at the start: "
                f"sha256 {saved['sha256'][:12]}... -> {self.teacher.sha256[:12]}.... Put the first one there."
            )
        self.load_state_dict(saved["projections"])

    def _pairs(self, maps: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return for each hint the student's map and the teacher's, joined, at the student's stride."""
        pairs = []
        for entry in self.section.maps:
            student = self._seen.pop(entry.student, None)
            if student is None or student.ndim != 4:
                raise RecipeError(
                    f"The recipe's [hints] student {entry.student!r} gives no map (B, C, h, w). Name a module that "
                    "does, for instance stages.1."
                )
            pooled = [_pooled(name, maps[name], entry.student, student) for name in entry.teacher]
            pairs.append((student, torch.cat(pooled, 1)))
        return pairs


def _pooled(name: str, values: Tensor, student_name: str, student: Tensor) -> Tensor:
    """Standardise a teacher's map by channel over the batch; average it down to the student's (h, w)."""
    height, width = student.shape[2:]
    factor = values.shape[2] // height if values.ndim == 4 else 0
    if not factor or values.shape[2:] != (factor * height, factor * width):
        raise RecipeError(
            f"The recipe's [hints] pairs the student's {student_name!r}, {tuple(student.shape)}, with the teacher's "
            f"{name!r}, {tuple(values.shape)}, whose height and width must be the same whole multiple of the "
            "student's. Pair maps of the same stride, or a finer one of the teacher."
        )
    mean, std = values.mean((0, 2, 3), keepdim=True), values.std((0, 2, 3), correction=0, keepdim=True)
    return functional.avg_pool2d((values - mean) / (std + SMALLEST_STD), factor)


def _watch(network: nn.Module, names: Iterable[str], seen: dict[str, Tensor]) -> None:
    """Put the output of each named module into `seen`, whenever it computes one. Raises RecipeError."""
    modules = {name: module for name, module in network.named_modules() if name}
    for name in names:
        if name not in modules:
            raise RecipeError(f"The recipe's [hints] student {name!r} is no part of the network. {near(name, modules)}")
        modules[name].register_forward_hook(_keep_in(seen, name))


def _keep_in(seen: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    """Return a hook; a plain function, because a copy of the network (for evaluation) copies everything else."""

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            seen[name] = output

    return keep
