"""The values `Poses` and `Sample`: shapes, choosing, joining, moving, COCO records."""

import json

import numpy as np
import pytest

from litepose.errors import SkeletonError
from litepose.geometry import Warp
from litepose.poses import Poses, Sample, concatenate, warp_boxes
from litepose.skeleton import COCO17, CROWDPOSE14


def some(count: int = 3, *, seed: int = 0, boxes: bool = True) -> Poses:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(0, 200, (count, 17, 2))
    corners = np.concatenate([keypoints.min(1), keypoints.max(1)], axis=1) if boxes else None
    return Poses(COCO17, keypoints, rng.uniform(0.1, 1, (count, 17)), rng.uniform(0, 1, count), corners)


def test_values_become_float32_and_wrong_shapes_are_explained():
    poses = some()
    assert poses.keypoints.dtype == poses.scores.dtype == np.float32
    with pytest.raises(
        SkeletonError, match=r"coco17 with 3 people need keypoints of shape \(3, 17, 2\); found \(3, 14, 2\)"
    ):
        Poses(COCO17, np.zeros((3, 14, 2)), np.zeros((3, 17)), np.zeros(3))


@pytest.mark.parametrize("which", [1, [1], slice(1, 2), np.array([False, True, False])], ids=str)
def test_people_are_chosen_by_index_list_slice_and_mask(which):
    poses = some()
    chosen = poses[which]
    assert len(chosen) == 1
    np.testing.assert_array_equal(chosen.keypoints, poses.keypoints[1:2])
    np.testing.assert_array_equal(chosen.boxes, poses.boxes[1:2])


def test_nobody_is_a_value_like_any_other():
    nobody = Poses.empty(COCO17)
    assert len(nobody) == 0
    assert nobody.to_coco(1) == []
    assert len(nobody.sorted()) == len(nobody.mapped_to(CROWDPOSE14)) == len(concatenate([nobody, nobody])) == 0
    assert nobody.keypoint_boxes.shape == (0, 4)


def test_sorting_puts_the_best_first_and_keeps_ties_in_order():
    poses = some()
    poses = Poses(COCO17, poses.keypoints, poses.keypoint_scores, np.array([0.5, 0.9, 0.5]))
    ordered = poses.sorted()
    np.testing.assert_array_equal(ordered.keypoints, poses.keypoints[[1, 0, 2]])


def test_joined_people_keep_boxes_only_where_all_have_them():
    joined = concatenate([some(2), some(1, seed=1)])
    assert len(joined) == 3
    assert joined.boxes.shape == (3, 4)
    assert concatenate([some(2), some(1, boxes=False)]).boxes is None


def test_people_on_different_skeletons_do_not_join():
    with pytest.raises(SkeletonError, match=r"Map them to one skeleton first"):
        concatenate([some(1), Poses.empty(CROWDPOSE14)])


def test_mapping_to_another_skeleton_goes_by_name_and_the_rest_is_not_found():
    mapped = some().mapped_to(CROWDPOSE14)
    np.testing.assert_array_equal(mapped.keypoints[:, 4], some().keypoints[:, COCO17.index("left_wrist")])
    assert not mapped.found[:, CROWDPOSE14.index("neck")].any()


def test_moving_there_and_back_changes_nothing():
    warp = Warp.letterbox((640, 480), (256, 256))
    back = some().warped(warp).warped(warp.inverse)
    np.testing.assert_allclose(back.keypoints, some().keypoints, atol=1e-3)  # float32, two roundings of hundreds of px
    np.testing.assert_allclose(back.boxes, some().boxes, atol=1e-3)


def test_a_mirrored_box_stays_a_box():
    boxes = warp_boxes(np.array([[10, 20, 30, 40]]), Warp.mirror((100, 100)))
    assert boxes.tolist() == [[69, 20, 89, 40]]


def test_coco_records_hold_plain_values_and_read_back():
    poses = some(2)
    records = json.loads(json.dumps(poses.to_coco("beach")))
    assert [record["image_id"] for record in records] == ["beach", "beach"]
    assert len(records[0]["keypoints"]) == 51
    np.testing.assert_allclose(records[1]["bbox"][:2], poses.keypoints[1].min(axis=0), atol=1e-3)  # 3 decimals
    back = Poses.from_coco(records, COCO17)
    np.testing.assert_allclose(back.keypoints, poses.keypoints, atol=1e-3)
    np.testing.assert_allclose(back.scores, poses.scores, atol=1e-6)
    assert len(Poses.from_coco([], COCO17)) == 0


def test_keypoints_that_were_not_found_do_not_widen_the_box():
    scores = np.ones((1, 17))
    scores[0, 3] = 0
    keypoints = np.full((1, 17, 2), 50.0)
    keypoints[0, 3] = 9999
    keypoints[0, 4] = (60, 70)
    assert Poses(COCO17, keypoints, scores, np.ones(1)).keypoint_boxes.tolist() == [[50, 50, 60, 70]]


def test_a_sample_knows_its_size_and_what_is_labelled():
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 5, 2] = 1
    sample = Sample(COCO17, np.zeros((40, 60, 3), np.uint8), keypoints, np.zeros((1, 4)), np.zeros(1))
    assert sample.size == (60, 40)
    assert sample.visible.sum() == 1
    assert len(sample) == 1
