"""AE targets drawn on the device that trains, for a batch at once.

Loader processes then send points (some kB a sample) instead of maps (some hundred). What a target is, `AECodec.plan`
and the numpy functions of `codecs.maps` say; this is the second drawing of the same plans, for memory of a GPU and
without a wait for it, and a test holds both to each other: masks and tag indices exactly, heatmaps up to 1e-6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litepose.codecs.ae_targets import AEPlan, AETargets, MapPlan
from litepose.codecs.maps import HOLE_SIGMAS, patch_corners

MOST_CELLS = 2**24  # of patches drawn at once: bounds the memory that wide gaussians take
FAR = 2**14  # where no keypoint is: a rival to nobody


@dataclass(frozen=True)
class MapPoints:
    """What one output of a batch is drawn from; arrays, or tensors once they are on the device.

    size: (w, h) in cells. num_keypoints: K. with_heatmaps: False = only the mask is drawn.
    corners: (M, 7) int32: plane b * K + k, then as in `codecs.maps.patch_corners`. sigmas: (M,) float32. widest: cells
        of the longest side of a patch on the map.
    ignore: (B, h, w) bool or None. known: (B, K) bool or None.
    holes: (H, 4) int32: plane, x, y, squared radius. reach: of the widest hole, cells.
    rivals: (H, R, 2) int32 x, y: learned keypoints of the same kind, to which a hole leaves the cells near them.
    """

    size: tuple[int, int]
    num_keypoints: int
    with_heatmaps: bool
    corners: Any
    sigmas: Any
    widest: int
    ignore: Any
    known: Any
    holes: Any
    reach: int
    rivals: Any


@dataclass(frozen=True)
class AEPoints:
    """The targets of a batch as points. count: B. tag_indices, and each more: (B, max_people, K, 2), see AETargets."""

    count: int
    maps: tuple[MapPoints, ...]
    tag_indices: Any
    more_tag_indices: tuple[Any, ...] = ()


def gather(plans: Sequence[AEPlan]) -> AEPoints:
    """Join the plans of a batch's samples."""
    outputs = zip(*(plan.maps for plan in plans), strict=True)
    maps = tuple(_gather_maps(list(output)) for output in outputs)
    more = tuple(np.stack(output) for output in zip(*(plan.more_tag_indices for plan in plans), strict=True))
    return AEPoints(len(plans), maps, np.stack([plan.tag_indices for plan in plans]), more)


def draw_batch(points: AEPoints) -> AETargets:
    """Return the batch's targets, drawn where its points are."""
    heatmaps: Any = tuple(_heatmaps(one, points.count) for one in points.maps)
    masks: Any = tuple(_masks(one, points.count, points.tag_indices.device) for one in points.maps)
    return AETargets(heatmaps, masks, points.tag_indices, points.more_tag_indices)


def _gather_maps(plans: list[MapPlan]) -> MapPoints:
    size, num_keypoints, count = plans[0].size, plans[0].cells.shape[1], len(plans)
    sample = np.repeat(np.arange(count), [len(plan.cells) for plan in plans])
    planes = sample[:, None] * num_keypoints + np.arange(num_keypoints)  # (N, K)
    cells = np.concatenate([plan.cells for plan in plans])
    sigmas = np.concatenate([plan.sigmas for plan in plans])
    learned = np.concatenate([plan.learned for plan in plans])
    unlearned = np.concatenate([plan.unlearned for plan in plans])

    persons, keypoints = np.nonzero(learned & (sigmas > 0)[:, None] & plans[0].with_heatmaps)
    corners = patch_corners(cells[persons, keypoints], sigmas[persons], size)
    corners = np.concatenate([planes[persons, keypoints, None], corners], axis=1)
    sides = corners[:, 5:] - corners[:, 3:5]
    ignore = known = None
    if any(plan.ignore is not None for plan in plans):
        nowhere = np.zeros(size[::-1], dtype=bool)
        ignore = np.stack([nowhere if plan.ignore is None else plan.ignore for plan in plans])
    if any(plan.known is not None for plan in plans):
        everything = np.ones(num_keypoints, dtype=bool)
        known = np.stack([everything if plan.known is None else plan.known for plan in plans])

    by, of = np.nonzero(unlearned)
    radii = HOLE_SIGMAS * sigmas[by]
    holes = np.column_stack([planes[by, of], cells[by, of], np.floor(radii**2).astype(np.int64)])
    return MapPoints(
        size, num_keypoints, plans[0].with_heatmaps, corners.astype(np.int32), sigmas[persons].astype(np.float32),
        int(sides.max(initial=0)), ignore, known, holes.astype(np.int32), int(np.ceil(radii.max(initial=0))),
        _rivals(planes[by, of], planes[learned], cells[learned]),
    )  # fmt: skip


def _rivals(holes: np.ndarray, planes: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return for each hole's plane the (M, 2) cells that lie in it: (H, R, 2) int32, filled up with FAR."""
    if not len(holes):
        return np.zeros((0, 0, 2), dtype=np.int32)
    order = np.argsort(planes, kind="stable")
    first, end = (np.searchsorted(planes[order], holes, side=side) for side in ("left", "right"))
    most = int((end - first).max(initial=0))
    which = first[:, None] + np.arange(most)
    rivals = np.full((len(holes), most, 2), FAR, dtype=np.int32)
    real = which < end[:, None]
    rivals[real] = cells[order][which[real]]
    return rivals


def _heatmaps(points: MapPoints, count: int) -> Tensor:
    """Return (B, K, h, w) float32, or (B, 0, h, w) for an output without heatmaps."""
    width, height = points.size
    planes = points.num_keypoints if points.with_heatmaps else 0
    maps = torch.zeros(count * planes * height * width, device=points.corners.device)
    for corners, sigmas in _in_parts(points.widest**2, points.corners, points.sigmas):
        plane, left, top, x0, y0, x1, y1 = corners.long().unbind(1)
        x, across = _profile(left, x0, x1, sigmas, points.widest)  # (M, P)
        y, down = _profile(top, y0, y1, sigmas, points.widest)
        index = (plane[:, None] * height + y)[:, :, None] * width + x[:, None, :]  # (M, P, P)
        heats = down[:, :, None] * across[:, None, :]
        maps.scatter_reduce_(0, index.flatten(), heats.flatten(), "amax")
    return maps.view(count, planes, height, width)


def _profile(start: Tensor, first: Tensor, end: Tensor, sigmas: Tensor, widest: int) -> tuple[Tensor, Tensor]:
    """Return the cells that patches cover along one axis and the gaussian there, 0 beyond the end: twice (M, P)."""
    cells = first[:, None] + torch.arange(widest, device=first.device)
    distance = (cells - start[:, None]) - (3 * sigmas[:, None] + 1)
    heats = torch.exp(-distance.square() / (2 * sigmas[:, None].square()))
    # A cell beyond the end repeats the first one, where a heat of 0 changes nothing.
    within = cells < end[:, None]
    return torch.where(within, cells, first[:, None]), heats * within


def _masks(points: MapPoints, count: int, device: torch.device) -> Tensor:
    """Return (B, 1, h, w) float32, or (B, K, h, w) where keypoints differ."""
    (width, height), num_keypoints = points.size, points.num_keypoints
    masks = torch.ones(count, 1, height, width, device=device)
    if points.ignore is not None:
        masks[:, 0] = (~points.ignore).float()
    if points.known is None and not len(points.holes):
        return masks
    masks = masks.repeat(1, num_keypoints, 1, 1)
    around = torch.arange(-points.reach, points.reach + 1, device=device)
    own = around[:, None].square() + around.square()  # (P, P)
    for holes, rivals in _in_parts(len(around) ** 2 * (1 + points.rivals.shape[1]), points.holes, points.rivals):
        plane, x, y, squared_radius = holes.long().unbind(1)
        rows, columns = y[:, None] + around, x[:, None] + around  # (H, P)
        apart = (rows[:, None] - rivals[..., 1:]).square()[..., None] + (columns[:, None] - rivals[..., :1]).square()[
            ..., None, :
        ]  # (H, R, P, P)
        hole = (own <= squared_radius[:, None, None]) & (own < apart).all(1)
        hole &= ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        index = (plane[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
        masks.view(-1).scatter_reduce_(0, index.flatten(), (~hole).float().flatten(), "amin")
    return masks if points.known is None else masks * points.known[:, :, None, None]


def _in_parts(cells: int, *arrays: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield rows of the arrays together, few enough that `cells` for each make no more than MOST_CELLS."""
    if len(arrays[0]):
        yield from zip(*(array.split(max(1, MOST_CELLS // max(1, cells))) for array in arrays), strict=True)
