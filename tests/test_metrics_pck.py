"""PCK over the torso diagonal."""

import numpy as np
import pytest

from litepose.errors import SettingError, SkeletonError
from litepose.metrics.pck import evaluate_pck
from litepose.metrics.truth import truth_from_samples
from litepose.poses import Poses, Sample
from litepose.skeleton import COCO17, Skeleton

SHOULDER, HIP, KNEE, NOSE = (COCO17.index(name) for name in ("left_shoulder", "right_hip", "left_knee", "nose"))


def person(x: float = 100.0) -> np.ndarray:
    """All keypoints at (x, 100) but the hip, 50 px below: a diagonal of 50 px, so 10 px are right at 0.2."""
    keypoints = np.tile([x, 100.0, 2.0], (17, 1))
    keypoints[HIP, 1] = 150
    return keypoints


def truth_of(*people: np.ndarray):
    n = len(people)
    return truth_from_samples([
        Sample(COCO17, np.zeros((8, 8, 3), np.uint8), np.array(people).reshape(n, 17, 3), np.zeros((n, 4)),
               np.full(n, 5000.0), id=1)
    ])  # fmt: skip


def found(*people: np.ndarray) -> dict[int, Poses]:
    keypoints = np.array(people)[..., :2]
    return {1: Poses(COCO17, keypoints, np.ones(keypoints.shape[:2]), np.ones(len(keypoints)))}


def test_a_keypoint_is_right_up_to_a_fifth_of_the_diagonal():
    moved = person()
    moved[KNEE, 0] += 9.99
    moved[NOSE, 0] += 10.01
    stats = evaluate_pck(truth_of(person()), found(moved), COCO17)
    assert stats.per_keypoint["left_knee"] == 1
    assert stats.per_keypoint["nose"] == 0
    assert stats.mean == 16 / 17


def test_threshold_widens_what_is_right():
    moved = person()
    moved[NOSE, 0] += 20
    assert evaluate_pck(truth_of(person()), found(moved), COCO17, threshold=0.5).mean == 1


def test_people_without_the_diagonal_are_skipped_and_counted():
    without_hip, without_length = person(), person()
    without_hip[HIP] = 0
    without_length[HIP] = without_length[SHOULDER]
    stats = evaluate_pck(truth_of(person(), without_hip, without_length), found(person()), COCO17)
    assert (stats.num_people, stats.num_skipped) == (1, 2)
    assert stats.mean == 1


def test_each_true_person_is_compared_with_the_found_one_of_the_best_oks():
    stats = evaluate_pck(truth_of(person(100), person(300)), found(person(301), person(500), person(99)), COCO17)
    assert stats.mean == 1


def test_nobody_found_and_keypoints_not_found_are_wrong():
    assert evaluate_pck(truth_of(person()), {}, COCO17).mean == 0
    poses = found(person())[1]
    scores = poses.keypoint_scores.copy()
    scores[0, NOSE] = 0
    poses = Poses(COCO17, poses.keypoints, scores, poses.scores)
    assert evaluate_pck(truth_of(person()), {1: poses}, COCO17).per_keypoint["nose"] == 0


def test_unlabelled_keypoints_and_empty_truth_have_no_score():
    hidden = person()
    hidden[NOSE] = 0
    stats = evaluate_pck(truth_of(hidden), found(person()), COCO17)
    assert (stats.per_keypoint["nose"], stats.mean) == (-1, 1)
    assert evaluate_pck(truth_of(), {}, COCO17).mean == -1


def test_report_states_its_settings():
    report = evaluate_pck(truth_of(person()), found(person()), COCO17).to_json()
    assert report["stats"]["PCK"] == 1
    assert report["settings"]["threshold"] == 0.2
    assert report["settings"]["skipped_without_diagonal"] == 0
    assert "left_shoulder to right_hip" in report["settings"]["of"]


def test_skeleton_without_the_diagonal_is_an_error():
    hand = Skeleton("hand", ("wrist", "thumb"), oks_sigmas=(0.1, 0.1))
    with pytest.raises(SkeletonError, match="left_shoulder and right_hip; hand lacks"):
        evaluate_pck(truth_of(person()), {}, hand)


def test_threshold_must_be_positive():
    with pytest.raises(SettingError, match="positive"):
        evaluate_pck(truth_of(person()), {}, COCO17, threshold=0)
