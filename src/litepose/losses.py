"""How far a network's outputs are from the targets of a codec: one class for each codec.

Associative embedding: Newell et al. 2017, as mit-han-lab/litepose@00b702d computes it. Beyond that reference:
`foreground_weight`, masks with one plane for each keypoint, and full precision inside autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor


class TagTargets(Protocol):
    """A batch of associative-embedding targets (`codecs.ae.AETargets` with tensors).

    heatmaps: for each output (B, K, h, w).
    masks: for each output (B, 1, h, w) or (B, K, h, w), 1 = counts.
    tag_indices: (B, P, K, 2) flat index into the tag maps of the first output that has tags, and 1 where visible.
    """

    @property
    def heatmaps(self) -> Sequence[Tensor]: ...
    @property
    def masks(self) -> Sequence[Tensor]: ...
    @property
    def tag_indices(self) -> Tensor: ...


@dataclass(frozen=True)
class AELoss:
    """Masked squared error of the heatmaps, plus pull and push of the tags of the first output that has tags.

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
            push, pull = tag_loss(tags[0], targets.tag_indices, push=self.push)
            parts["push"] = self.push_factor * push
            parts["pull"] = self.pull_factor * pull
            return {**parts, "total": torch.stack(list(parts.values())).sum()}


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
