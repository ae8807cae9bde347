"""What a network is about to learn, as one picture: augmented samples with the targets drawn from them.

Everything is drawn from the targets, not from the annotations, so a mistake between the two shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from litepose import drawing, drawing_sheet
from litepose.codecs import AECodec, HeatmapCodec
from litepose.codecs.ae_targets import AETargets
from litepose.codecs.heatmap_targets import HeatmapTargets, cell_px
from litepose.geometry import Warp, size_of
from litepose.poses import Poses
from litepose.skeleton import Skeleton
from litepose.spec import PoseSpec
from litepose.training.data import TrainingSamples

SIDES_PX = (192, 320)  # of a tile's longer side, shorter and longer
PARTLY_COLOUR = (0, 160, 255)
LEGEND = (
    "Left: people as the targets group them, one colour each; hatched: nothing is learned there.",
    "Right: the heatmaps of the finest output together; hatched in orange: not learned for some keypoints.",
)


@dataclass(frozen=True)
class Learned:
    """Targets as they can be drawn.

    people: in input px. heatmap: (h, w) float32 from 0 to 1, the highest of all keypoints.
    nowhere, partly: (h, w) bool, where no keypoint is learned, and where some are not.
    unknown: names of the keypoints that are not learned anywhere. grouped: whether the targets say who is who.
    """

    people: Poses
    heatmap: np.ndarray
    nowhere: np.ndarray
    partly: np.ndarray
    unknown: tuple[str, ...] = ()
    grouped: bool = True


def contact_sheet(samples: TrainingSamples, spec: PoseSpec, numbers: Sequence[int], *, title: str) -> np.ndarray:
    """Return the training's samples of these numbers as one picture, (H, W, 3) uint8 BGR."""
    tiles = []
    for number in numbers:
        sample, size = samples.draw(number)
        learned = learned_from(spec.codec.encode(sample, size), spec, size)
        source = samples.sources[samples.plan(number)[0]].name
        lines = [f"{number}: {source}, {sample.id}"[:80], _words(learned)]
        tiles.append(drawing_sheet.with_lines(draw_learned(np.ascontiguousarray(sample.image), learned), lines))
    return drawing_sheet.arrange(tiles, title=(title, *LEGEND))


def draw_learned(image: np.ndarray, learned: Learned) -> np.ndarray:
    """Return a sample's picture twice, side by side: with its people, and dimmed with its heatmaps."""
    size = size_of(image)
    smallest, largest = (side / max(size) for side in SIDES_PX)
    zoom = min(max(1.0, smallest), largest)
    shown = (round(size[0] * zoom), round(size[1] * zoom))
    image = cv2.resize(image, shown, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    nowhere, partly = (_enlarged(region, shown) for region in (learned.nowhere, learned.partly))
    people = learned.people.warped(Warp.resize(size, shown))
    left = drawing.draw_apart(drawing.hatch(image, nowhere), people)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) // 2 + 20
    grey = drawing.hatch(drawing.hatch(grey, partly, colour=PARTLY_COLOUR), nowhere)
    right = drawing.draw_heatmap(grey, learned.heatmap, Warp.identity(shown))
    gap = drawing_sheet.paper(shown[1], 2)
    return np.concatenate([left, gap, right], axis=1)


def learned_from(targets: Any, spec: PoseSpec, size: tuple[int, int]) -> Learned:
    """Return what targets of one sample, of a (w, h) input, teach."""
    codec = spec.codec
    if isinstance(targets, AETargets) and isinstance(codec, AECodec):
        return _from_tags(targets, codec, spec.skeleton)
    if isinstance(targets, HeatmapTargets) and isinstance(codec, HeatmapCodec):
        return _from_one_person(targets, codec, spec.skeleton)
    return _from_heatmaps(targets, spec.skeleton, size)


def _from_tags(targets: AETargets, codec: AECodec, skeleton: Skeleton) -> Learned:
    count = skeleton.num_keypoints
    finest = max(i for i, flag in enumerate(codec.heatmap_outputs) if flag)
    missing = targets.masks[finest] == 0  # (1, h, w), or (K, h, w) where keypoints differ
    whole = missing.all(axis=(1, 2)) & (len(missing) > 1)
    unknown = tuple(name for name, lost in zip(skeleton.keypoints, whole, strict=False) if lost)
    nowhere = missing.all(axis=0)
    partly = missing[~whole].any(axis=0) & ~nowhere
    people, heatmap = _grouped(targets, codec, skeleton), _highest(targets.heatmaps[finest][:count])
    return Learned(people, heatmap, nowhere, partly, unknown)


def _grouped(targets: AETargets, codec: AECodec, skeleton: Skeleton) -> Poses:
    """Return the people of the tags; where all keypoints share one map, which keypoint is which is not known."""
    first, count = codec.tag_outputs.index(True), skeleton.num_keypoints
    stride, (height, width) = codec.output_strides[first], targets.masks[first].shape[1:]
    index, visible = targets.tag_indices[..., 0].astype(np.int64), targets.tag_indices[..., 1] > 0
    kinds, cells = np.divmod(index, height * width)
    if not codec.tag_per_keypoint:
        skeleton = dataclasses.replace(skeleton, limbs=())
        kinds = np.broadcast_to(np.arange(index.shape[1]), index.shape)
    rows = np.flatnonzero((visible & (kinds < count)).any(axis=1))
    keypoints, scores = np.zeros((len(rows), count, 2), np.float32), np.zeros((len(rows), count), np.float32)
    for n, row in enumerate(rows):
        which = visible[row] & (kinds[row] < count)  # without the centre
        places = np.stack([cells[row, which] % width, cells[row, which] // width], axis=-1)
        keypoints[n, kinds[row, which]] = (places + 0.5) * stride  # the middle of what is truncated to the cell
        scores[n, kinds[row, which]] = 1
    return Poses(skeleton, keypoints, scores, np.ones(len(rows)))


def _from_one_person(targets: HeatmapTargets, codec: HeatmapCodec, skeleton: Skeleton) -> Learned:
    maps = targets.heatmaps.reshape(skeleton.num_keypoints, codec.maps_per_keypoint, *targets.heatmaps.shape[1:])[:, 0]
    height, width = maps.shape[1:]
    flat = maps.reshape(len(maps), -1)
    at_top = flat == flat.max(axis=1, keepdims=True)
    where = np.indices((height, width)).reshape(2, -1)[::-1]  # x, y of each cell
    cells = (at_top @ where.T) / at_top.sum(axis=1, keepdims=True)  # the middle of a disc of equal heat
    seen = (targets.weights > 0) & (flat.max(axis=1) > 0)
    keypoints = cells * cell_px(codec.encoding, codec.output_stride, (width, height))
    people = Poses(skeleton, keypoints[None], seen[None].astype(np.float32), np.ones(1))
    unknown = tuple(name for name, weight in zip(skeleton.keypoints, targets.weights, strict=True) if weight == 0)
    learned = maps[targets.weights > 0]
    nowhere = np.zeros((height, width), bool)
    return Learned(people, _highest(learned) if len(learned) else nowhere.astype(np.float32), nowhere, nowhere, unknown)


def _from_heatmaps(targets: Any, skeleton: Skeleton, size: tuple[int, int]) -> Learned:
    """Return what any other targets show: their heatmaps and the mask of these, where they have some."""
    maps = getattr(targets, "heatmaps", ())
    finest = np.asarray(maps[-1] if isinstance(maps, tuple) and maps else maps, dtype=np.float32)
    blank = np.zeros((size[1] // 4, size[0] // 4), np.float32)
    heatmap = _highest(finest[: skeleton.num_keypoints]) if finest.ndim == 3 else blank
    mask = getattr(targets, "heatmap_mask", None)
    nowhere = np.zeros(heatmap.shape, bool) if mask is None else (mask == 0).all(axis=0)
    return Learned(Poses.empty(skeleton), heatmap, nowhere, np.zeros_like(nowhere), grouped=False)


def _highest(maps: np.ndarray) -> np.ndarray:
    heatmap: np.ndarray = maps.max(axis=0)
    return heatmap / max(1.0, float(heatmap.max()))


def _enlarged(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(region.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _words(learned: Learned) -> str:
    if not learned.grouped:
        return "these targets do not group people: see the heatmaps"
    count = len(learned.people)
    text = f"{count} {'person' if count == 1 else 'people'} with {int(learned.people.found.sum())} keypoints"
    if learned.unknown:
        names = ", ".join(learned.unknown[:3]) + (", ..." if len(learned.unknown) > 3 else "")
        text += f"; not learned: {names}"
    return text
