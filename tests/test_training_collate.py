"""Samples of one step become one batch, whatever their masks look like."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose.codecs.ae import AETargets  # noqa: E402
from litepose.codecs.heatmap_targets import HeatmapTargets  # noqa: E402
from litepose.losses import LOSSES  # noqa: E402
from litepose.training.data import collate  # noqa: E402


def target(planes: int, value: float) -> AETargets:
    maps = tuple(np.zeros((3, side, side), np.float32) for side in (2, 4))
    masks = tuple(np.full((planes, side, side), value, np.float32) for side in (2, 4))
    return AETargets(maps, masks, np.zeros((1, 3, 2), np.int32))


def test_a_mask_for_all_keypoints_is_repeated_beside_a_mask_for_each():
    image = np.zeros((8, 8, 3), np.uint8)
    batch = collate([(image, target(1, 0.25)), (image, target(3, 1.0))])
    assert [tuple(mask.shape) for mask in batch.targets.masks] == [(2, 3, 2, 2), (2, 3, 4, 4)]
    assert batch.targets.masks[0][0].unique().tolist() == [0.25]
    assert batch.targets.masks[0][1].unique().tolist() == [1.0]


def test_masks_for_all_keypoints_stay_as_small_as_they_are():
    image = np.zeros((8, 8, 3), np.uint8)
    batch = collate([(image, target(1, 1.0)), (image, target(1, 0.0))])
    assert tuple(batch.targets.masks[1].shape) == (2, 1, 4, 4)


def test_top_down_targets_of_several_people_become_a_batch_that_the_loss_reads():
    image = np.zeros((8, 8, 3), np.uint8)
    heats = [np.full((2, 2, 2), value, np.float32) for value in (1, 3)]
    batch = collate([(image, HeatmapTargets(heat, np.array([1, 0], np.float32))) for heat in heats])
    targets = batch.drawn_targets()
    assert targets.weights.tolist() == [[1, 0], [1, 0]]
    loss = LOSSES["heatmap"]()((torch.zeros(2, 2, 2, 2),), targets)
    assert float(loss["total"]) == 2.5  # (1 + 9) / 2 people / 2 keypoints
