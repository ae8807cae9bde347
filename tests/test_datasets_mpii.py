"""MPII lists: places, boxes, people grouped by picture, and what is said about a bad file."""

import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import mpii_files as made
from litepose.datasets import open_dataset, read_annotations
from litepose.datasets.mpii import MpiiDataset, boxes_of
from litepose.errors import AnnotationError
from litepose.geometry import mpii_center_scale, xywh_to_center_scale, xyxy_to_xywh
from litepose.skeleton import MPII16
from parity.fixtures import load_case

DATA = os.environ.get("LITEPOSE_DATA")
FLOAT32 = 1e-5  # boxes are float32: 6e-5 px at 1,000 px


def opened(folder, *records, **options) -> MpiiDataset:
    return open_dataset(made.write(folder, list(records)), **options)


def test_places_become_zero_based_and_missing_keypoints_unlabelled(tmp_path):
    dataset = opened(tmp_path, made.record(missing=[0, 9]))
    sample = dataset[0]
    assert dataset.skeleton is MPII16 and list(dataset.ids) == ["1.jpg"] and sample.id == "1.jpg"
    assert sample.size == (120, 110) and sample.ignore is None and sample.labelled is None
    assert sample.visible[0].tolist() == [k not in (0, 9) for k in range(16)]
    np.testing.assert_array_equal(sample.keypoints[0, 1:9, :2], made.POSE[1:9])
    np.testing.assert_array_equal(sample.keypoints[0, [0, 9]], np.zeros((2, 3)))
    assert sample.keypoints[0, 1, 2] == 2


def test_the_keypoints_stand_in_the_order_of_the_skeleton(tmp_path):
    place = dict(zip(MPII16.keypoints, opened(tmp_path, made.record())[0].keypoints[0, :, :2].tolist(), strict=True))
    assert place["head_top"][1] < place["neck"][1] < place["thorax"][1] < place["pelvis"][1]
    for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        assert place[f"right_{part}"][0] < place[f"left_{part}"][0], "she faces us"


def test_a_box_is_the_square_around_the_moved_centre(tmp_path):
    sample = opened(tmp_path, made.record())[0]
    # centre (51, 47) and scale 0.5: 0.5 * 15 px down, 1 px up and left, 100 px wide
    np.testing.assert_allclose(sample.boxes, [[0, 3.5, 100, 103.5]])
    np.testing.assert_allclose(sample.areas, [0.53 * 100 * 100])


@pytest.mark.parametrize(("topic", "case", "names"), [
    ("topdown-center-scale", "mpii-center-scale", ("ann_center", "ann_scale")),
    ("pckh", "mpii16", ("anno_center", "anno_scale")),
])  # fmt: skip
def test_the_crop_of_a_box_is_that_of_hrnets_loader(topic, case, names):
    _, a = load_case(topic, case)
    center, scale = (a[name] for name in names)
    found = xywh_to_center_scale(xyxy_to_xywh(boxes_of(center, scale)), (256, 256))
    for ours, geometry, loader in zip(found, mpii_center_scale(center, scale), (a["center"], a["scale"]), strict=True):
        np.testing.assert_allclose(ours, geometry, rtol=FLOAT32)
        np.testing.assert_allclose(ours, loader, rtol=FLOAT32)


def test_the_keypoints_are_those_of_hrnets_loader(tmp_path):
    _, a = load_case("pckh", "mpii16")
    labelled = a["missing"] == 0
    records = [
        {"image": "1.jpg", "center": center.tolist(), "scale": float(scale), "joints": points.tolist(),
         "joints_vis": seen.astype(int).tolist()}
        for center, scale, points, seen in zip(a["anno_center"], a["anno_scale"], a["gt"], labelled, strict=True)
    ]  # fmt: skip
    with pytest.warns(UserWarning, match=r"1 records have no centre \(-1; the first: record number 3 of 1.jpg\)"):
        sample = opened(tmp_path, *records)[0]
    np.testing.assert_array_equal(sample.visible, a["visible"][..., 0] > 0)
    np.testing.assert_allclose(sample.keypoints[labelled][:, :2], a["joints"][labelled][:, :2], rtol=FLOAT32)


def test_a_picture_is_one_sample_whose_people_keep_their_place_in_the_list(tmp_path):
    records = [made.record("b.jpg"), made.record("a.jpg", (1, 0)), made.record("b.jpg", (2, 0))]
    dataset = opened(tmp_path, *records)
    assert list(dataset.ids) == ["b.jpg", "a.jpg"] and dataset.num_records == 3
    assert [dataset.records(i).tolist() for i in range(2)] == [[0, 2], [1]]
    assert dataset.path(1) == tmp_path / "images" / "a.jpg"
    np.testing.assert_array_equal(dataset[0].keypoints[:, 0, 0], made.POSE[0, 0] + [0, 2])


def test_mmposes_layout_is_found_too(tmp_path):
    path = made.write(tmp_path, [made.record()], name="mpii_val.json", under="annotations")
    assert len(open_dataset(path)[0]) == 1


def test_the_people_can_be_seen_on_another_skeleton(tmp_path):
    sample = opened(tmp_path, made.record(), skeleton="coco17")[0]
    shoulder = sample.skeleton.index("left_shoulder")
    np.testing.assert_array_equal(sample.keypoints[0, shoulder], [60, 25, 2])
    assert not sample.labelled[sample.skeleton.index("nose")]


def test_what_a_single_person_lacks_can_unlabel_the_channel(tmp_path):
    labelled = opened(tmp_path, made.record(missing=[4]), missing_unlabelled=True)[0].labelled
    assert not labelled[4] and labelled.sum() == 15


def test_a_test_split_gives_people_without_keypoints(tmp_path):
    with pytest.warns(UserWarning, match="no record has keypoints"):
        sample = opened(tmp_path, made.record(joints=None, joints_vis=None))[0]
    assert len(sample) == 1 and not sample.visible.any()
    np.testing.assert_allclose(sample.boxes, [[0, 3.5, 100, 103.5]])


NAN = float("nan")


@pytest.mark.parametrize(("fields", "said"), [
    ({"joints": [[1, 2]] * 15}, "record number 1 of 1.jpg has 'joints' .* needed: 16 x 2 numbers"),
    ({"joints": [[1, "x"]] * 16}, "has 'joints'"),
    ({"joints_vis": [1] * 17}, "has 'joints_vis' .* needed: 16 numbers"),
    ({"joints_vis": None}, "'joints_vis' nothing"),
    ({"joints": None}, "1 of 2 records have no 'joints' .the first: record number 1"),
    ({"center": [1, 2, 3]}, "has 'center' .1, 2, 3.; needed: 2 numbers"),
    ({"center": None}, "'center' nothing"),
    ({"scale": "tall"}, "has 'scale' tall; needed: a number"),
    ({"image": 7}, "record number 1 names no image"),
    ({"scale": 0, "joints_vis": [0] * 16}, "neither a usable centre and scale nor keypoints .the first: rec"),
])  # fmt: skip
def test_a_broken_record_is_named(tmp_path, fields, said):
    path = made.write(tmp_path, [made.record()])
    with pytest.raises(AnnotationError, match=said):
        MpiiDataset([made.record(), made.record() | fields if None not in fields.values() else made.record(**fields)],
                    name="mpii", images=path.parent.parent / "images")  # fmt: skip


def test_keypoints_that_are_no_numbers_count_as_not_labelled(tmp_path):
    record = made.record()
    record["joints"][3] = [NAN, 5]
    with pytest.warns(UserWarning, match="1 keypoints are NaN or infinite .the first in record number 0 of 1.jpg"):
        sample = opened(tmp_path, record)[0]
    assert sample.visible.sum() == 15 and np.isfinite(sample.keypoints).all()


@pytest.mark.parametrize("fields", [{"scale": NAN}, {"scale": -1}, {"center": [NAN, 4]}])
def test_a_broken_centre_or_scale_gives_the_box_of_the_keypoints(tmp_path, fields):
    with pytest.warns(UserWarning, match="boxes of their keypoints are used"):
        sample = opened(tmp_path, made.record(**fields))[0]
    np.testing.assert_array_equal(sample.boxes, [[32, 5, 68, 95]])


def test_a_person_of_one_keypoint_still_has_an_area(tmp_path):
    with pytest.warns(UserWarning, match="boxes of their keypoints"):
        sample = opened(tmp_path, made.record(scale=0, missing=range(1, 16)))[0]
    np.testing.assert_allclose(sample.areas, 0.53)


def test_missing_pictures_are_left_out_and_the_places_in_the_list_stay(tmp_path):
    path = made.write(tmp_path, [made.record("a.jpg"), made.record("b.jpg")])
    (tmp_path / "images" / "a.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 of 2 pictures are not in .*\(a\.jpg\); left out"):
        dataset = open_dataset(path)
    assert list(dataset.ids) == ["b.jpg"] and dataset.records(0).tolist() == [1] and dataset.num_records == 2
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(AnnotationError, match="none of its 2 pictures lies in"):
        open_dataset(path)


@pytest.mark.parametrize(("content", "said"), [
    ("[]", "an empty list. Possible are"),
    ("[1, 2]", "a list of something else. Possible are"),
    ("7", "one value. Possible are"),
    ('[{"image_id": 1, "category_id": 1, "keypoints": [], "score": 0.5}]', "a list of 1 COCO results"),
])  # fmt: skip
def test_other_lists_are_told_from_annotations(tmp_path, content, said):
    (tmp_path / "images").mkdir()
    (tmp_path / "some.json").write_text(content)
    with pytest.raises(AnnotationError, match=re.escape(said)):
        open_dataset(tmp_path / "some.json")


def test_what_reads_only_coco_files_says_so(tmp_path):
    path = made.write(tmp_path, [made.record()])
    with pytest.raises(AnnotationError, match="holds an MPII list; a COCO keypoint file is needed here"):
        read_annotations(path)
    with pytest.raises(AnnotationError, match="boxes of other people"):
        open_dataset(path, other_people=tmp_path / "others.json")


# Real pictures ----------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
def test_real_people_stand_with_their_keypoints_inside_their_crops():
    path = Path(DATA) / "samples" / "mpii" / "test_mpii.json"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = open_dataset(path, images=path.parent)
    assert len(dataset) == 5 and dataset.num_records == 5
    heads = []
    for index in range(5):
        sample = dataset[index]
        center, scale = xywh_to_center_scale(xyxy_to_xywh(sample.boxes), (256, 256))
        half = 100 * scale[0]
        points = sample.keypoints[0][sample.visible[0], :2]
        assert (np.abs(points - center[0]) <= half * 1.05).all(), sample.id
        assert (points >= 0).all() and (points < sample.size).all()
        place = {name: sample.keypoints[0, k] for k, name in enumerate(MPII16.keypoints)}
        heads.append(place["head_top"][1] < place["neck"][1] < place["pelvis"][1])
    assert all(heads), "all five stand or sit upright"
