"""How far a network's outputs are from the targets of a codec: one class for each codec.

Associative embedding: Newell et al. 2017, as mit-han-lab/litepose@00b702d computes it. Top-down heatmaps:
HRNet/Lite-HRNet@7b9049d with mmpose 0.13, and zhang943/lpn-pytorch@f397525 (`half`). Part affinity fields:
Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284. Beyond these references:
`foreground_weight`, masks with one plane for each keypoint, and full precision inside autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from litepose.errors import SettingError


class TagTargets(Protocol):
    """A batch of associative-embedding targets (`codecs.ae.AETargets` with tensors).

    heatmaps: for each output (B, K, h, w).
    masks: for each output (B, 1, h, w) or (B, K, h, w), 1 = counts.
    tag_indices: (B, P, K, 2) flat index into the tag maps of the first output that has tags, and 1 where visible.
    more_tag_indices, where there are any: the same of each further output that has tags.
    """

    @property
    def heatmaps(self) -> Sequence[Tensor]: ...
    @property
    def masks(self) -> Sequence[Tensor]: ...
    @property
    def tag_indices(self) -> Tensor: ...


class PersonTargets(Protocol):
    """A batch of top-down targets (`codecs.heatmap.HeatmapTargets` with tensors).

    heatmaps: (B, K, h, w), or (B, 3K, h, w) of triples heat, x offset, y offset ("udp_combined").
    weights: (B, K), 0 = not learned.
    """

    @property
    def heatmaps(self) -> Tensor: ...
    @property
    def weights(self) -> Tensor: ...


class FieldTargets(Protocol):
    """A batch of part affinity targets (`codecs.paf_targets.PafTargets` with tensors).

    heatmaps: (B, K + 1, h, w). pafs: (B, 2L, h, w). heatmap_mask, paf_mask: as these, or (B, 1, h, w); 1 = counts.
    """

    @property
    def heatmaps(self) -> Tensor: ...
    @property
    def pafs(self) -> Tensor: ...
    @property
    def heatmap_mask(self) -> Tensor: ...
    @property
    def paf_mask(self) -> Tensor: ...


class Loss(Protocol):
    """What the training calls: the network's outputs and the codec's targets, batched tensors, to named scalars.

    One is "total", which is minimised; the others are its parts.
    """

    def __call__(self, outputs: Sequence[Tensor], targets: Any) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class AELoss:
    """Masked squared error of the heatmaps, plus pull and push of the tags of every output that has tags.

    push: "exp" (the LitePose configurations) or "max" (a hinge at tag distance 1).
    heatmap_factors: one for each output.
    foreground_weight: w weighs each cell with 1 + w * target over the batch's mean of that, so that few people on much
        background do not leave the network at "nothing anywhere"; 0 is the reference.
    """

    push: Literal["exp", "max"] = "exp"
    heatmap_factors: tuple[float, ...] = (1.0, 1.0)
    push_factor: float = 1e-3
    pull_factor: float = 1e-3
    foreground_weight: float = 0.0

    def __call__(self, outputs: Sequence[Tensor], targets: TagTargets) -> dict[str, Tensor]:
        """Return the parts as they enter the sum (factors applied), "heatmap_0" ... "push" "pull", and their "total".

        outputs: each (B, C, h, w) starts with as many heatmaps as its targets have; what follows are tags.
        """
        with torch.autocast(outputs[0].device.type, enabled=False):
            parts: dict[str, Tensor] = {}
            tags: list[Tensor] = []
            for i, (output, target) in enumerate(zip(outputs, targets.heatmaps, strict=True)):
                num_heatmaps = target.shape[1]
                if num_heatmaps:
                    heatmaps = output[:, :num_heatmaps].float()
                    loss = heatmap_loss(heatmaps, target, targets.masks[i], self.foreground_weight)
                    parts[f"heatmap_{i}"] = self.heatmap_factors[i] * loss
                if output.shape[1] > num_heatmaps:
                    tags.append(output[:, num_heatmaps:].float())
            indices = (targets.tag_indices, *getattr(targets, "more_tag_indices", ()))
            losses = [tag_loss(one, index, push=self.push) for one, index in zip(tags, indices, strict=True)]
            push, pull = (torch.stack(values).sum() for values in zip(*losses, strict=True))
            parts["push"] = self.push_factor * push
            parts["pull"] = self.pull_factor * pull
            return {**parts, "total": torch.stack(list(parts.values())).sum()}


@dataclass(frozen=True)
class HeatmapLoss:
    """Squared error of one person's maps, weighted by keypoint.

    half: the factor 0.5 of HRNet's and LPN's code, which mmpose (and so Lite-HRNet) leaves out. Triples with offsets
        always carry it, as in mmpose.
    ohkm: only so many keypoints count, in each sample those with the largest error; 0 = all.
    foreground_weight: as in `AELoss`; 0 is the reference.
    Raises SettingError where a number is below 0.
    """

    half: bool = False
    ohkm: int = 0
    foreground_weight: float = 0.0

    def __post_init__(self) -> None:
        for name in ("ohkm", "foreground_weight"):
            if getattr(self, name) < 0:
                raise SettingError(f"HeatmapLoss was asked for {name} {getattr(self, name)}. Give 0 (off) or more.")

    def __call__(self, outputs: Sequence[Tensor], targets: PersonTargets) -> dict[str, Tensor]:
        """Return "heatmap" and, the same, "total". outputs: one tensor, shaped as the targets' heatmaps."""
        with torch.autocast(outputs[0].device.type, enabled=False):
            errors = self._errors(outputs[0].float(), targets.heatmaps.float(), targets.weights.float())  # (B, K)
            if 0 < self.ohkm < errors.shape[1]:
                errors = errors.topk(self.ohkm, dim=1).values
            loss = errors.mean()
            return {"heatmap": loss, "total": loss}

    def _errors(self, output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Return the mean over the cells of each keypoint's squared error: (B, K)."""
        weights = weights[..., None, None]
        if target.shape[1] == 3 * weights.shape[1]:
            triples = output.unflatten(1, (-1, 3)), target.unflatten(1, (-1, 3))  # (B, 3K, h, w) -> (B, K, 3, h, w)
            found, wanted = (part.unbind(2) for part in triples)
            heat = wanted[0]
            # mmpose 0.13, CombinedTargetMSELoss: offsets count where heat is wanted.
            parts = [found[0] - heat, heat * (found[1] - wanted[1]), heat * (found[2] - wanted[2])]
            squared = sum((0.5 * (weights * part).square() for part in parts), torch.zeros_like(heat))
        else:
            heat = target
            # The weight stands inside the square, so 1.5 counts as 2.25.
            squared = (weights * (output - target)).square() * (0.5 if self.half else 1.0)
        if self.foreground_weight:
            foreground = 1 + self.foreground_weight * heat
            squared = squared * (foreground / foreground.mean())
        return squared.mean((2, 3))


@dataclass(frozen=True)
class PafLoss:
    """Squared error of heatmaps and fields, summed over channels and cells, of every stage of the network alike.

    heatmap_factor, paf_factor: 1 is the reference, which halves every sum; so do we.
    Raises SettingError where a factor is below 0.
    """

    heatmap_factor: float = 1.0
    paf_factor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("heatmap_factor", "paf_factor"):
            if getattr(self, name) < 0:
                raise SettingError(f"PafLoss was asked for {name} {getattr(self, name)}. Give 0 (off) or more.")

    def __call__(self, outputs: Sequence[Tensor], targets: FieldTargets) -> dict[str, Tensor]:
        """Return "heatmaps" and "pafs" of the last stage, those of earlier ones as "heatmaps_before_1" ..., "total".

        outputs: heatmaps and fields of the last stage, then of the one before it, and so on.
        """
        with torch.autocast(outputs[0].device.type, enabled=False):
            parts: dict[str, Tensor] = {}
            for i, (heatmaps, pafs) in enumerate(zip(outputs[::2], outputs[1::2], strict=True)):
                stage = f"_before_{i}" if i else ""
                heat = _half_sum(heatmaps.float(), targets.heatmaps, targets.heatmap_mask)
                parts[f"heatmaps{stage}"] = self.heatmap_factor * heat
                parts[f"pafs{stage}"] = self.paf_factor * _half_sum(pafs.float(), targets.pafs, targets.paf_mask)
            return {**parts, "total": torch.stack(list(parts.values())).sum()}


def _half_sum(found: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
    """Return half the masked squared error of a sample, summed over everything; the mask stands inside the square."""
    return ((found - wanted) * mask).square().sum() / (2 * len(found))


def heatmap_loss(heatmaps: Tensor, target: Tensor, mask: Tensor, foreground_weight: float = 0.0) -> Tensor:
    """Return the mean squared error over (B, K, h, w); masked cells count as exact, not as absent."""
    squared = (heatmaps - target).square() * mask
    if foreground_weight:
        weight = 1 + foreground_weight * target
        squared = squared * (weight / weight.mean())
    return squared.mean()


def tag_loss(tags: Tensor, tag_indices: Tensor, *, push: str = "exp") -> tuple[Tensor, Tensor]:
    """Return (push, pull) averaged over the batch; a picture without people counts as 0 for both.

    tags: (B, T, h, w). tag_indices: (B, P, K, 2) as in `TagTargets`.
    """
    batch, num_people, num_keypoints, _ = tag_indices.shape
    index = tag_indices[..., 0].reshape(batch, -1).long()
    visible = (tag_indices[..., 1] > 0).to(tags.dtype)  # (B, P, K)
    of_keypoints = tags.reshape(batch, -1).gather(1, index).reshape(batch, num_people, num_keypoints)

    num_visible = visible.sum(-1)  # (B, P)
    present = (num_visible > 0).to(tags.dtype)
    counted = num_visible.clamp(min=1)
    of_people = (of_keypoints * visible).sum(-1) / counted  # (B, P), the gradient flows through these means too
    people = present.sum(-1)  # (B,)

    # Newell et al. 2017, eq. 2, first term: the mean over people of the variance of their tags.
    variance = ((of_keypoints - of_people[..., None]).square() * visible).sum(-1) / counted
    pull = variance.sum(-1) / people.clamp(min=1)
    return _push(of_people, present, people, push).mean(), pull.mean()


def _push(of_people: Tensor, present: Tensor, people: Tensor, kind: str) -> Tensor:
    """Return for each picture half the mean closeness over ordered pairs of different people: (B,)."""
    distance = of_people[:, :, None] - of_people[:, None, :]  # (B, P, P)
    closeness = torch.exp(-distance.square()) if kind == "exp" else (1 - distance.abs()).relu()
    total = (closeness * present[:, :, None] * present[:, None, :]).sum((1, 2)) - people  # each is at 0 of itself
    pairs = (people * (people - 1)).clamp(min=1)
    return torch.where(people > 1, 0.5 * total / pairs, torch.zeros_like(total))


def segmentation_loss(logits: Tensor, labels: Tensor, *, ignored: int = 255) -> Tensor:
    """Return the mean cross-entropy over the pixels whose label is not `ignored`; 0 where there are none.

    logits: (B, C, h, w). labels: (B, h, w) whole numbers, the class of each pixel.
    """
    with torch.autocast(logits.device.type, enabled=False):
        total = F.cross_entropy(logits.float(), labels.long(), ignore_index=ignored, reduction="sum")
        return total / (labels != ignored).sum().clamp(min=1)


# Codec name -> loss.
LOSSES: dict[str, type[Any]] = {"ae": AELoss, "heatmap": HeatmapLoss, "paf": PafLoss}
