"""Distillation: the network learns, beside the annotations, what a bigger litepose model says of the same pictures.

Hinton et al. 2015 for classes; for heatmaps Zhang, Zhu and Ye, CVPR 2019 ("Fast Human Pose Estimation"): the squared
error to the teacher's maps is added to the one to the annotations'. Tags, which mean nothing but by their differences,
are learned where the annotated keypoints lie: the teacher's values are as good as any, and hold people apart. What
differs from these papers: teacher and student need not have the same keypoints, strides or input normalisation. The
teacher sees the same augmented pictures, in eval mode and without a gradient; keypoints are matched by name, outputs by
stride, maps resized where they differ.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from litepose import checkpoints, unfolding
from litepose.codecs import AECodec, HeatmapCodec
from litepose.codecs.heatmap_targets import HeatmapTargets
from litepose.errors import InputSizeError, LiteposeError, RecipeError
from litepose.geometry import check_input_size
from litepose.losses import Loss, heatmap_loss
from litepose.spec import PoseSpec
from litepose.training.data import Batch
from litepose.training.numerics import precision_of
from litepose.training.recipe import DistillationSection, Recipe
from litepose.weights import names, path_of


def open_distillation(recipe: Recipe, network: nn.Module, spec: PoseSpec, loss: Loss) -> Distillation | None:
    """Return the recipe's distillation into `network`, if it asks for one. Raises RecipeError."""
    section = recipe.distillation
    if section is None:
        return None
    path = path_of(section.teacher) if section.teacher in names() else Path(recipe.data.root) / section.teacher
    try:
        teacher, taught = _opened(path)
    except LiteposeError as error:
        raise RecipeError(
            f"The recipe's [distillation] teacher {section.teacher!r} cannot be opened: {error} Give a checkpoint or a "
            f"trainable .onnx file of litepose's, relative to data.root, or one of {', '.join(names())}."
        ) from error
    _check_fits(section, student=spec, teacher=taught)
    for size in [entry.size for entry in recipe.run.size_schedule] or [recipe.model.size]:
        try:
            check_input_size(size, taught.input.stride, name=taught.model)
        except InputSizeError as error:
            raise RecipeError(
                f"The recipe's [distillation] teacher looks at the student's pictures: {error}"
            ) from error
    device = next(network.parameters()).device
    layout = torch.channels_last if recipe.run.channels_last else torch.contiguous_format
    teacher.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    kinds = {AECodec.name: AEDistillation, HeatmapCodec.name: HeatmapDistillation}
    found = kinds[spec.codec.name](section, teacher, taught, spec, loss, path=path, precision=recipe.run.precision)
    found.watch(network)
    return found


def _opened(path: Path) -> tuple[nn.Module, PoseSpec]:
    """Return the network of a file and its spec. Raises LiteposeError where it holds none."""
    state, spec = unfolding.load(path) if path.suffix == ".onnx" else checkpoints.load(path)
    checkpoints.check_is_network(spec, path)
    network = checkpoints.build_network(spec)
    checkpoints.load_state(network, state, source=str(path))
    return network, spec


class Distillation:
    """A frozen teacher, and how far the student is from it; a subclass for each codec.

    precision: of the teacher's computation, as of the training's. path: of the teacher, for messages and provenance.
    """

    def __init__(
        self,
        section: DistillationSection,
        teacher: nn.Module,
        taught: PoseSpec,
        student: PoseSpec,
        loss: Loss,
        *,
        path: Path,
        precision: str,
    ) -> None:
        self.section, self.teacher, self.path, self.precision = (
            section,
            teacher.eval().requires_grad_(False),
            path,
            precision,
        )
        self.taught, self.student, self.loss = taught, student, loss
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        device = next(teacher.parameters()).device
        source = torch.from_numpy(student.skeleton.positions_in(taught.skeleton)).to(device)
        self.known = source >= 0  # (K,), of the student's keypoints
        self.source = source.clamp(min=0)  # (K,), which keypoint of the teacher's it is
        self._seen: list[Sequence[Tensor]] = []

    def watch(self, network: nn.Module) -> None:
        """Keep the outputs of a network whenever it computes them to learn, as `add` needs them."""
        seen = self._seen  # the hook is copied with the network (for evaluation); of the object it must know no more

        def keep(module: nn.Module, inputs: Any, outputs: Sequence[Tensor]) -> None:
            if module.training:
                seen[:] = [outputs]

        network.register_forward_hook(keep)

    def add(self, parts: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the loss parts with "distilled_heatmaps" and "distilled_tags", factors applied, also in "total".

        To be called after the student has seen the batch.
        """
        images = batch.normalised(self.taught.input)
        with torch.no_grad(), precision_of(self.precision, images.device):
            taught = [output.float() for output in self.teacher(images)]
        outputs = [output.float() for output in self._seen.pop()]
        distilled = self._errors(outputs, taught, batch)
        return {**parts, **distilled, "total": torch.stack([parts["total"], *distilled.values()]).sum()}

    @property
    def provenance(self) -> dict[str, str]:
        """What the weights say about their teacher."""
        return {"teacher": self.path.name, "model": self.taught.model, "sha256": self.sha256}

    def to_checkpoint(self) -> dict[str, str]:
        """Return what `from_checkpoint` needs."""
        return {"sha256": self.sha256}

    def from_checkpoint(self, saved: Mapping[str, str]) -> None:
        """Raise RecipeError where the teacher is another one than that of `to_checkpoint`."""
        if saved["sha256"] != self.sha256:
            raise RecipeError(
                f"--resume goes on with the same teacher, and {self.path} is another file than at the start: sha256 "
                f"{saved['sha256'][:12]}... -> {self.sha256[:12]}.... Put the first one there."
            )

    def _errors(self, outputs: list[Tensor], taught: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        raise AssertionError("each codec's subclass says how")


class AEDistillation(Distillation):
    """Of associative embedding: heatmaps everywhere, weighted as in the loss; at annotated keypoints the first tags."""

    def _errors(self, outputs: list[Tensor], taught: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        errors = {}
        if self.section.heatmap_factor:
            errors["distilled_heatmaps"] = self.section.heatmap_factor * self._heatmap_error(outputs, taught)
        if self.section.tag_factor:
            error = self._tag_error(outputs, taught, batch.targets.tag_indices)
            errors["distilled_tags"] = self.section.tag_factor * error
        return errors

    def _heatmap_error(self, outputs: list[Tensor], taught: list[Tensor]) -> Tensor:
        own: Any = self.student.codec
        other: Any = self.taught.codec
        found = [i for i, flag in enumerate(other.heatmap_outputs) if flag]
        weight: float = getattr(self.loss, "foreground_weight", 0.0)
        factors = getattr(self.loss, "heatmap_factors", (1.0,) * len(outputs))
        total, everywhere = outputs[0].new_zeros(()), outputs[0].new_ones(())
        for i, output in enumerate(outputs):
            if not own.heatmap_outputs[i]:
                continue
            nearest = min(found, key=lambda j: abs(math.log(other.output_strides[j] / own.output_strides[i])))
            target = _resized(taught[nearest][:, self.source], output).clamp(min=0)
            heatmaps = output[:, : len(self.source)]
            total = total + factors[i] * heatmap_loss(
                heatmaps[:, self.known], target[:, self.known], everywhere, weight
            )
        return total

    def _tag_error(self, outputs: list[Tensor], taught: list[Tensor], tag_indices: Tensor) -> Tensor:
        """Return the mean squared difference at the annotated keypoints; tag_indices: (B, P, K, 2), see AETargets."""
        own, other = (_tags(maps, spec) for maps, spec in ((outputs, self.student), (taught, self.taught)))
        target = _resized(other, own)
        known = self.known.new_ones(own.shape[1])
        if own.shape[1] > 1:  # one map for each keypoint, after them the centre's
            centre = own.shape[1] - len(self.source)
            target = target[:, functional.pad(self.source, (0, centre))]
            known = functional.pad(self.known, (0, centre))
        index = tag_indices[..., 0].flatten(1).long()  # (B, P * K)
        cells = own.shape[2] * own.shape[3]
        counted = (tag_indices[..., 1].flatten(1) > 0) & known[index // cells]
        difference = (own.flatten(1) - target.flatten(1)).gather(1, index)
        return (difference.square() * counted).sum() / counted.sum().clamp(min=1)


class HeatmapDistillation(Distillation):
    """Of top-down heatmaps: the loss itself, with the teacher's maps in the place of the annotations'."""

    def _errors(self, outputs: list[Tensor], taught: list[Tensor], batch: Batch) -> dict[str, Tensor]:
        codec: Any = self.student.codec
        count = codec.maps_per_keypoint
        maps = _resized(taught[0], outputs[0]).unflatten(1, (-1, count))[:, self.source].flatten(1, 2)
        weights: Any = self.known.float().expand(len(maps), -1)
        error = self.loss(outputs, HeatmapTargets(maps, weights))["total"]  # type: ignore[arg-type]
        return {"distilled_heatmaps": self.section.heatmap_factor * error}


def _tags(outputs: list[Tensor], spec: PoseSpec) -> Tensor:
    """Return the tag maps of the first output that has some: (B, T, h, w)."""
    codec: Any = spec.codec
    first = codec.tag_outputs.index(True)
    heatmaps = spec.skeleton.num_keypoints + codec.center_keypoint
    return outputs[first][:, heatmaps * codec.heatmap_outputs[first] :]


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    """Return (B, C, h, w) maps at the height and width of others, bilinear with half-pixel centres."""
    if maps.shape[2:] == like.shape[2:]:
        return maps
    return functional.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)


def _check_fits(section: DistillationSection, *, student: PoseSpec, teacher: PoseSpec) -> None:
    """Raise RecipeError where the student cannot learn from the teacher."""
    own, other = student.codec, teacher.codec
    said = f"The recipe's [distillation] teacher {section.teacher!r} is {teacher.model} with codec {other.name!r}"
    if own.name not in (AECodec.name, HeatmapCodec.name):
        raise RecipeError(
            f"The recipe's [distillation] is for networks with codec {AECodec.name!r} or {HeatmapCodec.name!r}; "
            f"{student.model} is trained with {own.name!r}. Leave [distillation] out."
        )
    if own.name != other.name:
        raise RecipeError(
            f"{said}; {student.model} is trained with {own.name!r}. Bottom-up networks learn from bottom-up ones and "
            "top-down from top-down: take such a teacher."
        )
    if not (student.skeleton.positions_in(teacher.skeleton) >= 0).any():
        raise RecipeError(
            f"{said} on {teacher.skeleton.name}, which has no keypoint of {student.skeleton.name}. Take a teacher of "
            "the same kind of people."
        )
    if isinstance(own, HeatmapCodec) and isinstance(other, HeatmapCodec):
        if own.encoding != other.encoding:
            raise RecipeError(
                f"{said} and encoding {other.encoding!r}, whose maps mean something else than {own.encoding!r} of the "
                "recipe's [codec]. Train with the teacher's encoding, or take another teacher."
            )
        if not section.heatmap_factor or section.tag_factor:
            raise RecipeError(
                "The recipe's [distillation] is of top-down networks, which have heatmaps alone. Give a heatmap_factor "
                "above 0 and leave tag_factor out."
            )
    elif own.tag_per_keypoint != other.tag_per_keypoint and section.tag_factor:  # type: ignore[attr-defined]
        raise RecipeError(
            f"{said}, and of both networks one has a tag for each keypoint, the other one for all. Set tag_factor to "
            "0, or the recipe's codec.tag_per_keypoint as the teacher's."
        )
