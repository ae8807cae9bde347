"""OKS, IoU and the suppression of people found twice."""

import numpy as np

from litepose.poses import Poses
from litepose.similarity import iou, oks, oks_between, oks_nms, pose_areas, soft_oks_nms
from litepose.skeleton import COCO17

SIGMAS = COCO17.oks_sigmas


def people(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 200, (count, 17, 2))


def test_oks_of_a_person_with_itself_is_one():
    someone = people(1)
    assert oks(someone, someone, areas=np.array([900.0]), sigmas=SIGMAS)[0, 0] == 1.0


def test_oks_follows_the_formula_for_one_shifted_keypoint():
    someone = people(1)
    shifted = someone.copy()
    shifted[0, 5, 0] += 10
    wanted = (16 + np.exp(-(10**2) / (2 * 900 * (2 * SIGMAS[5]) ** 2))) / 17
    found = oks(shifted, someone, areas=np.array([900.0]), sigmas=SIGMAS)[0, 0]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)  # float64, one formula


def test_oks_leaves_out_keypoints_that_do_not_count():
    someone = people(1)
    shifted = someone.copy()
    shifted[0, 5] += 1000
    counted = np.ones((1, 17), dtype=bool)
    counted[0, 5] = False
    assert oks(shifted, someone, areas=np.array([900.0]), sigmas=SIGMAS, counted=counted)[0, 0] == 1.0


def test_oks_with_someone_of_whom_no_keypoint_counts_is_zero():
    someone = people(1)
    counted = np.zeros((1, 17), dtype=bool)
    assert oks(someone, someone, areas=np.array([900.0]), sigmas=SIGMAS, counted=counted)[0, 0] == 0.0


def test_oks_with_nobody_has_no_columns():
    assert oks(people(3), people(0), areas=np.zeros(0), sigmas=SIGMAS).shape == (3, 0)


def test_oks_between_people_is_symmetric_with_ones_on_the_diagonal():
    poses = Poses(COCO17, people(5), np.ones((5, 17)), np.ones(5))
    alike = oks_between(poses)
    np.testing.assert_array_equal(alike, alike.T)
    np.testing.assert_array_equal(np.diag(alike), 1)


def test_oks_nms_keeps_the_better_of_two_equal_people_and_the_one_apart():
    one, other = people(1)[0], people(1, seed=1)[0] + 1000
    kept = oks_nms(
        np.stack([one, one + 0.1, other]),
        np.array([0.3, 0.9, 0.5]),
        areas=np.full(3, 40_000.0),
        sigmas=SIGMAS,
        threshold=0.7,
    )
    assert kept.tolist() == [1, 2]


def test_oks_nms_of_nobody_keeps_nobody():
    kept = oks_nms(people(0), np.zeros(0), areas=np.zeros(0), sigmas=SIGMAS, threshold=0.5)
    assert kept.shape == (0,)


def test_iou_of_known_boxes():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 5]])
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [5, 5, 5, 5]])
    np.testing.assert_allclose(iou(boxes, others)[0], [1, 1 / 3, 0, 0])
    np.testing.assert_array_equal(iou(boxes, others)[1], 0)  # an empty box shares nothing, not even with itself


def test_area_of_people_without_boxes_comes_from_their_keypoints():
    keypoints = np.zeros((1, 17, 2))
    keypoints[0, 1] = (30, 20)
    keypoints[0, 2] = (10_000, 10_000)
    scores = np.ones((1, 17))
    scores[0, 2] = 0  # not found, so not inside
    assert pose_areas(Poses(COCO17, keypoints, scores, np.ones(1))).tolist() == [600]


def test_soft_oks_nms_takes_someone_apart_before_the_second_of_two_equal_people():
    one, other = people(1)[0], people(1, seed=1)[0] + 1000
    keypoints, scores = np.stack([one, one + 0.1, other]), np.array([0.8, 0.9, 0.5])
    settings = {"areas": np.full(3, 40_000.0), "sigmas": SIGMAS, "threshold": 0.9}
    # 0.8 * exp(-1 / 0.9) = 0.26, below 0.5
    assert soft_oks_nms(keypoints, scores, most=20, **settings).tolist() == [1, 2, 0]
    assert soft_oks_nms(keypoints, scores, most=2, **settings).tolist() == [1, 2]


def test_soft_oks_nms_of_nobody_keeps_nobody():
    kept = soft_oks_nms(people(0), np.zeros(0), areas=np.zeros(0), sigmas=SIGMAS, threshold=0.5, most=3)
    assert kept.shape == (0,)
