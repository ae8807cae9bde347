"""Samples of one step become one batch, whatever their masks look like."""

import numpy as np
import pytest

pytest.importorskip("torch")

from litepose.codecs.ae import AETargets
from litepose.training.data import collate


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
