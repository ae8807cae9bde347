"""PCKh: what counts as right, how people are brought into the order of the list, .mat files good and bad."""

import json
import sys

import numpy as np
import pytest

import mpii_files as made
from litepose.datasets import open_dataset
from litepose.errors import AnnotationError, MissingPackageError
from litepose.metrics.pckh import (
    PckhTruth,
    check_installed,
    evaluate_pckh,
    head_sizes,
    in_record_order,
    read_truth_mat,
    truth_beside,
)
from litepose.poses import Poses
from litepose.skeleton import COCO17, MPII16

ANKLE, NECK, HEAD, PELVIS = (MPII16.index(name) for name in ("left_ankle", "neck", "head_top", "pelvis"))


def truth(people: int = 1, size: float = 10.0) -> PckhTruth:
    return PckhTruth(np.tile(made.POSE, (people, 1, 1)), np.ones((people, 16)), np.full(people, size))


def moved(keypoint: int, by: float) -> np.ndarray:
    points = made.POSE.copy()
    points[keypoint, 0] += by
    return points[None]


def test_a_keypoint_is_right_up_to_half_the_head_size():
    assert evaluate_pckh(truth(), moved(ANKLE, 5.0)).per_keypoint["left_ankle"] == 1
    stats = evaluate_pckh(truth(), moved(ANKLE, 5.001))
    assert stats.per_keypoint["left_ankle"] == 0 and stats.per_keypoint["right_ankle"] == 1
    assert stats.groups["Ankle"] == 0.5 and stats.groups["Knee"] == 1
    assert stats.mean == 13 / 14


def test_pelvis_and_thorax_are_not_in_the_mean_and_the_neck_is():
    assert evaluate_pckh(truth(), moved(PELVIS, 9)).mean == 1
    assert evaluate_pckh(truth(), moved(NECK, 9)).mean == 13 / 14


def test_between_0_10_and_0_11_only_the_published_mean_finds_it_right():
    stats = evaluate_pckh(truth(), moved(HEAD, 1.05))
    assert (stats.mean_at_0_11, stats.mean_at_0_10) == (1, 13 / 14)
    said = stats.to_json()["stats"]
    assert said["Mean@0.1 (as published: at 0.11)"] == 1 and said["Mean@0.10"] == 13 / 14


def test_the_mean_weighs_each_labelled_keypoint_alike_and_groups_weigh_their_sides():
    labelled = np.ones((4, 16), bool)
    labelled[1:, MPII16.index("left_wrist")] = False  # right wrists: 4 labelled, left: 1
    points = np.tile(made.POSE, (4, 1, 1))
    points[0, MPII16.index("left_wrist")] += 50
    stats = evaluate_pckh(PckhTruth(np.tile(made.POSE, (4, 1, 1)), labelled, np.full(4, 10.0)), points)
    assert stats.groups["Wrist"] == 0.5
    assert stats.mean == (14 * 4 - 3 - 1) / (14 * 4 - 3)


def test_what_is_not_found_is_wrong_and_what_is_not_labelled_does_not_count():
    assert evaluate_pckh(truth(), np.full((1, 16, 2), np.nan)).mean == 0
    nobody = PckhTruth(made.POSE[None], np.zeros((1, 16)), [10.0])
    stats = evaluate_pckh(nobody, made.POSE[None])
    assert stats.mean == -1 and set(stats.groups.values()) == {-1}


def test_the_report_is_plain_json_with_the_settings():
    report = json.loads(json.dumps(evaluate_pckh(truth(3), np.tile(made.POSE, (3, 1, 1))).to_json()))
    assert list(report["stats"])[:8] == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"]
    assert report["protocol"] == "mpii-pckh" and report["settings"]["people"] == 3
    assert report["per_keypoint"]["left_wrist"] == 1


def test_predictions_of_another_number_of_people_are_refused():
    with pytest.raises(AnnotationError, match=r"asked for 2 annotated people.*found predictions of shape \(1, 16, 2\)"):
        evaluate_pckh(truth(2), made.POSE[None])


def test_heads_without_size_and_parts_that_do_not_fit_are_refused():
    with pytest.raises(AnnotationError, match=r"1 of 2 MPII people have a head without size .* number 1"):
        PckhTruth(np.zeros((2, 16, 2)), np.ones((2, 16)), [3.0, 0.0])
    with pytest.raises(AnnotationError, match="needs labelled of shape"):
        PckhTruth(np.zeros((2, 16, 2)), np.ones((2, 15)), [3.0, 1.0])


# From pictures to the order of the list ---------------------------------------------------------


def poses(*people: np.ndarray, scores: float = 1.0) -> Poses:
    return Poses(MPII16, np.array(people), np.full((len(people), 16), scores), np.ones(len(people)))


def test_a_list_its_mat_file_and_the_people_of_its_pictures_give_a_score(tmp_path):
    records = [made.record("b.jpg"), made.record("a.jpg", (3, 0)), made.record("b.jpg", (9, 2), missing=[0])]
    path = made.write(tmp_path, records)
    made.write_mat(path.with_name("gt_valid.mat"), records, head_side=20)
    dataset = open_dataset(path)
    found = {}
    for index, image in enumerate(dataset.ids):
        keypoints = dataset[index].keypoints[..., :2].copy()
        keypoints[:, HEAD, 0] += 9  # the head size is 0.6 * 20 * sqrt(2) = 17 px, half of it 8.5
        found[image] = poses(*keypoints)
    records_by_image = {image: dataset.records(index) for index, image in enumerate(dataset.ids)}
    arranged = in_record_order(found, records_by_image, num_records=dataset.num_records)
    np.testing.assert_allclose(arranged[1, 1], made.POSE[1] + [3, 0])
    stats = evaluate_pckh(truth_beside(path), arranged)
    assert stats.groups == {"Head": 0.0, **dict.fromkeys(("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle"), 1.0)}
    assert stats.mean == (14 * 3 - 1 - 3) / (14 * 3 - 1)


def test_pictures_nobody_looked_at_and_keypoints_not_found_stay_nan():
    arranged = in_record_order(
        {"a": poses(made.POSE, scores=0)}, {"a": np.array([1]), "b": np.array([0])}, num_records=2
    )
    assert np.isnan(arranged).all()
    assert len(truth(2).only([1])) == 1


def test_people_on_another_skeleton_are_matched_by_name():
    person = Poses(COCO17, np.arange(34.0).reshape(1, 17, 2), np.ones((1, 17)), np.ones(1))
    arranged = in_record_order({"a": person}, {"a": np.array([0])}, num_records=1)
    np.testing.assert_array_equal(arranged[0, ANKLE], person.keypoints[0, COCO17.index("left_ankle")])
    assert np.isnan(arranged[0, [HEAD, NECK, PELVIS]]).all()


def test_more_or_fewer_people_than_boxes_are_refused():
    with pytest.raises(AnnotationError, match="a has 2 boxes and 1 people were found"):
        in_record_order({"a": poses(made.POSE)}, {"a": np.array([0, 1])}, num_records=2)
    with pytest.raises(AnnotationError, match="found in b, which the annotations do not list"):
        in_record_order({"b": poses(made.POSE)}, {"a": np.array([0])}, num_records=1)


# .mat files -------------------------------------------------------------------------------------


def test_a_mat_file_is_read_by_name_whatever_the_order_of_its_rows(tmp_path):
    order = np.random.default_rng(0).permutation(16)
    records = [made.record("a.jpg", missing=[2])]
    plain = read_truth_mat(made.write_mat(tmp_path / "a.mat", records))
    mixed = [made.record("a.jpg")]
    mixed[0]["joints"] = [records[0]["joints"][k] for k in order]
    mixed[0]["joints_vis"] = [records[0]["joints_vis"][k] for k in order]
    read = read_truth_mat(made.write_mat(tmp_path / "b.mat", mixed, names=[made.MAT_NAMES[k] for k in order]))
    np.testing.assert_array_equal(read.keypoints, plain.keypoints)
    np.testing.assert_array_equal(read.labelled, plain.labelled)
    assert plain.labelled[0].tolist() == [k != 2 for k in range(16)]
    np.testing.assert_array_equal(plain.keypoints[0, 3], made.POSE[3])
    np.testing.assert_allclose(plain.head_sizes, 0.6 * np.hypot(20, 20))


def test_a_file_that_is_no_mat_is_refused(tmp_path):
    for name, content in (("text.mat", b"joints"), ("empty.mat", b""), ("half.mat", b"MATLAB 5.0" + bytes(200))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(AnnotationError, match=f"{name} (cannot be read as a .mat file|lacks)"):
            read_truth_mat(tmp_path / name)
    with pytest.raises(AnnotationError, match="There is no"):
        read_truth_mat(tmp_path)


def test_a_mat_file_of_something_else_is_refused_by_what_it_lacks(tmp_path):
    with pytest.raises(AnnotationError, match=r"lacks jnt_missing \(16, N\), .*; found dataset_joints"):
        read_truth_mat(made.save_mat(tmp_path / "x.mat"))
    arrays = {"jnt_missing": np.zeros((16, 3)), "pos_gt_src": np.zeros((16, 3)), "headboxes_src": np.zeros((2, 2, 3))}
    with pytest.raises(AnnotationError, match="does not hold the shapes"):
        read_truth_mat(made.save_mat(tmp_path / "y.mat", **arrays))
    with pytest.raises(AnnotationError, match="dataset_joints lacks rank; found wing"):
        read_truth_mat(made.save_mat(tmp_path / "z.mat", names=("wing", *made.MAT_NAMES[1:]), **arrays))
    arrays["pos_gt_src"] = np.zeros((16, 2, 3))
    with pytest.raises(AnnotationError, match=r"flat\.mat: 3 of 3 MPII people have a head without size"):
        read_truth_mat(made.save_mat(tmp_path / "flat.mat", **arrays))


def test_the_mat_file_is_found_beside_either_layout_and_asked_for_where_it_is_missing(tmp_path):
    for annotations, mat in (("valid.json", "gt_valid.mat"), ("mpii_val.json", "mpii_gt_val.mat")):
        with pytest.raises(AnnotationError, match=f"head boxes .* looked for .*{mat}.* beside it"):
            truth_beside(tmp_path / annotations)
        (tmp_path / mat).write_bytes(b"")
        assert truth_beside(tmp_path / annotations) == tmp_path / mat


def test_without_scipy_the_package_to_install_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    for call in (check_installed, lambda: read_truth_mat(tmp_path / "gt_valid.mat")):
        with pytest.raises(MissingPackageError, match=r"litepose\[eval\]"):
            call()


def test_head_size_is_six_tenths_of_the_diagonal():
    np.testing.assert_allclose(head_sizes([[1, 1, 4, 5], [4, 5, 1, 1]]), [3, 3])
