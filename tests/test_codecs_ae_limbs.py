"""Limb by limb matching of tags beyond the original's numbers: people made of its segments, mirrors, empty maps."""

from __future__ import annotations

import numpy as np
import pytest

from litepose.codecs import AECodec, Pass
from litepose.codecs.ae_limbs import limbs_of, match_limbs, unite
from litepose.codecs.grouping import Candidates
from litepose.errors import ModelError, SettingError
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14

SIZE, K = (256, 256), CROWDPOSE14.num_keypoints
CODEC = AECodec(tag_outputs=(True, True), grouping="limbs", detection_threshold=0.25, tag_threshold=0.1, nms_kernel=15)


def candidates(*rows):
    """rows: (keypoint name, tag), by keypoint."""
    rows = sorted((CROWDPOSE14.index(name), tag) for name, tag in rows)
    keypoints, tags = (np.array(column) for column in zip(*rows, strict=True))
    return Candidates(keypoints, np.zeros((len(rows), 2), int), np.ones(len(rows)), tags[:, None])


def outputs_of(keypoints, tags):
    """Ideal maps of people (N, K, 3) whose tags are `tags`."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    count = len(keypoints)
    targets = CODEC.encode(Sample(CROWDPOSE14, image, keypoints, np.zeros((count, 4)), np.ones(count)), SIZE)
    outputs = []
    for heatmaps, stride in zip(targets.heatmaps, CODEC.output_strides, strict=True):
        maps = np.zeros_like(heatmaps)
        y, x = np.mgrid[: maps.shape[1], : maps.shape[2]] * stride
        distances = (x - keypoints[:, :, 0, None, None]) ** 2 + (y - keypoints[:, :, 1, None, None]) ** 2
        maps[:] = np.asarray(tags, np.float32)[distances.argmin(axis=0)]
        outputs.append(np.concatenate([heatmaps, maps]))
    return tuple(outputs)


def two_people():
    rng = np.random.default_rng(0)
    keypoints = np.full((2, K, 3), 2.0)
    keypoints[..., 0] = rng.uniform(20, 100, (2, K)) + np.array([[0], [120]])
    keypoints[..., 1] = rng.uniform(20, 230, (2, K))
    return keypoints


def test_segments_become_the_people_that_were_drawn():
    truth = two_people()
    poses = CODEC.decode(CODEC.aggregate([Pass(outputs_of(truth, (1.0, 3.0)))], SIZE, CROWDPOSE14), CROWDPOSE14)
    assert len(poses) == 2 and poses.found.all()
    order = np.argsort(poses.keypoints[..., 0].mean(axis=1))
    assert np.abs(poses.keypoints[order] - truth[..., :2]).max() < 6


def test_a_mirrored_pass_finds_the_same_people():
    truth = two_people().round()
    turned = truth[:, CROWDPOSE14.mirror_indices].copy()
    turned[..., 0] = SIZE[0] - 1 - turned[..., 0]
    passes = [Pass(outputs_of(truth, (1.0, 3.0))), Pass(outputs_of(turned, (1.0, 3.0)), mirrored=True)]
    maps = CODEC.aggregate(passes, SIZE, CROWDPOSE14)
    assert maps.tags.shape == (2, K, *SIZE)
    poses = CODEC.decode(maps, CROWDPOSE14)
    assert len(poses) == 2 and poses.found.all()


def test_a_second_end_belongs_to_the_first_one_that_takes_it():
    found = candidates(("head_top", 0.50), ("head_top", 0.52), ("neck", 0.51))
    edges = match_limbs(found, limbs_of(CROWDPOSE14), 0.1)
    assert edges.tolist() == [[0, 0, 2]]


def test_people_that_hold_the_same_keypoint_are_not_joined():
    found = candidates(("left_shoulder", 0.1), ("left_shoulder", 0.2), ("right_shoulder", 0.1), ("neck", 0.2))
    # neck - the second left shoulder; the first left shoulder - right shoulder; then a limb between the two.
    edges = np.array([[1, 3, 1], [3, 0, 2], [2, 3, 2]])
    people = unite(found, edges, K)
    assert sorted(sorted(row[row >= 0].tolist()) for row in people) == [[0, 2], [1, 3]]


def test_maps_of_zeros_hold_nobody_and_others_are_seen_by_their_own_limbs():
    empty = tuple(np.zeros((2 * K, side, side), np.float32) for side in (64, 128))
    assert len(CODEC.decode(CODEC.aggregate([Pass(empty)], SIZE, CROWDPOSE14), CROWDPOSE14)) == 0
    assert limbs_of(COCO17) == COCO17.limb_indices
    assert len(limbs_of(CROWDPOSE14)) == 15


def test_maps_that_are_not_finite_and_an_unknown_grouping_are_errors():
    broken = tuple(np.full((2 * K, side, side), np.nan, np.float32) for side in (64, 128))
    with pytest.raises(ModelError, match="NaN or infinite"):
        CODEC.aggregate([Pass(broken)], SIZE, CROWDPOSE14)
    with pytest.raises(SettingError, match=r"limb.*limbs"):
        AECodec(grouping="limb")
