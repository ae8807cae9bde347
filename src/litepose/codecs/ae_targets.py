"""What associative embedding wants a network to say: planned as points, then drawn as maps.

Source: the target generators of mit-han-lab/litepose@00b702d. `AECodec.plan` decides everything, `draw` only draws; so
`litepose.training.points` can draw a batch of plans on the device that trains, to the same maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.codecs.maps import cut_holes, draw_gaussians


@dataclass(frozen=True)
class AETargets:
    """What a network should say about one sample; batched, every array has a leading B.

    heatmaps: one (K, h, w) float32 for each output; (0, h, w) for an output without heatmaps.
    masks: one (1, h, w) or (K, h, w) float32 for each output, 0 where nothing may be learned.
    tag_indices: (max_people, K, 2) int32: index into the flattened tag maps (K*h*w, or h*w where all keypoints share
        one) of the first output that has tags, then 1. Each person's visible keypoints are packed to the front; the
        rest is 0.
    more_tag_indices: the same of each further output that has tags.
    """

    heatmaps: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]
    tag_indices: np.ndarray
    more_tag_indices: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class MapPlan:
    """What one output is to learn of one sample, before anything is drawn.

    size: (w, h) in cells. with_heatmaps: False = this output has no heatmaps, only its mask counts.
    cells: (N, K, 2) int64 x, y. sigmas: (N,) float64, cells.
    learned: (N, K) bool, where a gaussian is drawn. unlearned: (N, K) bool, where the mask gets a hole.
    ignore: (h, w) bool, masked for all keypoints, or None. known: (K,) bool, keypoints not masked as a whole, or None.
    """

    size: tuple[int, int]
    with_heatmaps: bool
    cells: np.ndarray
    sigmas: np.ndarray
    learned: np.ndarray
    unlearned: np.ndarray
    ignore: np.ndarray | None
    known: np.ndarray | None


@dataclass(frozen=True)
class AEPlan:
    """Targets of one sample as points: some kB, where the maps have hundreds.

    tag_indices, more_tag_indices: as in AETargets.
    """

    maps: tuple[MapPlan, ...]
    tag_indices: np.ndarray
    more_tag_indices: tuple[np.ndarray, ...] = ()


def draw(plan: AEPlan) -> AETargets:
    """Return the targets that a plan stands for."""
    heatmaps = tuple(_heatmaps(one) for one in plan.maps)
    masks = tuple(_mask(one) for one in plan.maps)
    return AETargets(heatmaps, masks, plan.tag_indices, plan.more_tag_indices)


def _heatmaps(plan: MapPlan) -> np.ndarray:
    width, height = plan.size
    maps = np.zeros((plan.cells.shape[1] if plan.with_heatmaps else 0, height, width), dtype=np.float32)
    if plan.with_heatmaps:
        draw_gaussians(maps, plan.cells, plan.learned, plan.sigmas)
    return maps


def _mask(plan: MapPlan) -> np.ndarray:
    """Return where one output may be learned from: (1, h, w), or (K, h, w) where keypoints differ, float32."""
    width, height = plan.size
    mask = np.ones((1, height, width), dtype=np.float32)
    if plan.ignore is not None:
        mask[0] = ~plan.ignore
    if plan.known is None and not plan.unlearned.any():
        return mask
    masks = np.repeat(mask, plan.cells.shape[1], axis=0)  # (1, h, w) -> (K, h, w)
    cut_holes(masks, plan.cells, plan.unlearned, plan.learned, plan.sigmas)
    if plan.known is not None:
        masks[~plan.known] = 0
    return masks
