"""Result files, read back by their own conventions."""

from __future__ import annotations

import json

import numpy as np
import pytest

from litepose.errors import SettingError
from litepose.poses import Poses
from litepose.skeleton import COCO17, CROWDPOSE14, OPENPOSE18
from litepose.writers import FORMATS, PictureResult, write_results


def people(count: int, skeleton=COCO17, *, seed: int = 0) -> Poses:
    rng = np.random.default_rng(seed)
    keypoints = rng.uniform(10, 90, (count, skeleton.num_keypoints, 2))
    scores = rng.uniform(0.2, 1.4, (count, skeleton.num_keypoints))  # AE heat may exceed 1
    scores[:, 3] = 0
    return Poses(skeleton, keypoints, scores, scores.mean(axis=1))


def results(*names: str, counts=(2, 0, 1)) -> list[PictureResult]:
    return [PictureResult(name, (100, 80), people(n)) for name, n in zip(names, counts, strict=False)]


def test_coco_results_load_in_cocos_own_evaluation(tmp_path):
    from pycocotools.coco import COCO

    given = results("000000000036.jpg", "000000000049.jpg", "000000000077.jpg")
    paths = write_results(tmp_path / "r.json", given, format="coco", model="litepose_xs")
    assert [path.name for path in paths] == ["r.json", "r.images.json"]
    records = json.loads(paths[0].read_text())
    assert [record["image_id"] for record in records] == [36, 36, 77]
    np.testing.assert_allclose(
        np.array(records[0]["keypoints"]).reshape(17, 3)[:, :2], given[0].poses.keypoints[0], atol=1e-3
    )
    assert records[0]["score"] == pytest.approx(float(given[0].poses.scores[0]))
    beside = json.loads(paths[1].read_text())
    assert beside["images"][1] == {"id": 49, "file_name": "000000000049.jpg", "width": 100, "height": 80}
    assert beside["categories"][0]["keypoints"] == list(COCO17.keypoints)
    truth = COCO()
    truth.dataset = {**beside, "annotations": []}
    truth.createIndex()
    assert len(truth.loadRes(str(paths[0])).anns) == 3


@pytest.mark.parametrize("names", [("a.jpg", "b.jpg", "c.jpg"), ("x/1.jpg", "y/1.jpg", "z/2.jpg")])
def test_coco_ids_are_counted_where_names_give_none_or_repeat(names, tmp_path):
    paths = write_results(tmp_path / "r.json", results(*names), format="coco", model="m")
    assert [image["id"] for image in json.loads(paths[1].read_text())["images"]] == [1, 2, 3]


def test_openpose_files_have_its_fields_order_and_neck(tmp_path):
    given = results("a.jpg", "b.jpg")
    paths = write_results(tmp_path / "poses", given, format="openpose", model="m")
    assert [path.name for path in paths] == ["a_keypoints.json", "b_keypoints.json", "poses.about.json"]
    content = json.loads(paths[0].read_text())
    assert content["version"] == 1.3 and len(content["people"]) == 2
    person = content["people"][0]
    assert person["person_id"] == [-1]
    assert all(person[f"{part}_keypoints_3d"] == [] for part in ("pose", "face", "hand_left", "hand_right"))
    triples = np.array(person["pose_keypoints_2d"]).reshape(18, 3)
    poses = given[0].poses
    for name in ("nose", "right_wrist", "left_ankle"):
        np.testing.assert_allclose(
            triples[OPENPOSE18.index(name), :2], poses.keypoints[0, COCO17.index(name)], atol=1e-3
        )
    shoulders = poses.keypoints[0, [COCO17.index("left_shoulder"), COCO17.index("right_shoulder")]]
    np.testing.assert_allclose(triples[OPENPOSE18.index("neck"), :2], shoulders.mean(axis=0), atol=1e-3)
    assert triples[OPENPOSE18.index("left_ear")].tolist() == [0, 0, 0]  # not found
    assert triples[:, 2].max() <= 1
    assert json.loads(paths[1].read_text())["people"] == []


def test_openpose_takes_a_neck_that_the_skeleton_has(tmp_path):
    poses = people(1, CROWDPOSE14)
    path, _ = write_results(tmp_path, [PictureResult("a.jpg", (9, 9), poses)], format="openpose", model="m")
    triples = np.array(json.loads(path.read_text())["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
    np.testing.assert_allclose(triples[1, :2], poses.keypoints[0, CROWDPOSE14.index("neck")], atol=1e-3)
    assert triples[OPENPOSE18.index("nose")].tolist() == [0, 0, 0]  # CrowdPose has none


def test_a_neck_needs_both_shoulders(tmp_path):
    poses = people(1)
    poses.keypoint_scores[0, COCO17.index("left_shoulder")] = 0
    path, _ = write_results(tmp_path, [PictureResult("a.jpg", (9, 9), poses)], format="openpose", model="m")
    triples = np.array(json.loads(path.read_text())["people"][0]["pose_keypoints_2d"]).reshape(18, 3)
    assert triples[1].tolist() == [0, 0, 0]


def test_openpose_files_of_equal_stems_do_not_overwrite_each_other(tmp_path):
    paths = write_results(tmp_path, results("a.jpg", "a.png"), format="openpose", model="m")
    assert [path.name for path in paths[:-1]] == ["a_keypoints.json", "a.png_keypoints.json"]


def test_litepose_files_explain_themselves_and_read_back(tmp_path):
    given = results("x/a.jpg", "b.jpg", "c.jpg")
    (path,) = write_results(tmp_path / "new" / "r.json", given, format="litepose", model="litepose_xs")
    content = json.loads(path.read_text())
    assert content["model"] == "litepose_xs" and content["keypoints"] == list(COCO17.keypoints)
    assert content["skeleton"]["name"] == "coco17" and "pixels" in content["units"]
    counts = {one["file"]: len(one["people"]) for one in content["pictures"]}
    assert counts == {"x/a.jpg": 2, "b.jpg": 0, "c.jpg": 1}
    person, poses = content["pictures"][0]["people"][1], given[0].poses
    np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], poses.keypoints[1], atol=1e-3)
    np.testing.assert_allclose(np.array(person["keypoints"])[:, 2], poses.keypoint_scores[1], atol=1e-3)
    np.testing.assert_allclose(person["box"], poses.keypoint_boxes[1], atol=0.01)


def test_track_ids_are_written_where_there_are_any(tmp_path):
    poses = people(2)
    tracked = Poses(COCO17, poses.keypoints, poses.keypoint_scores, poses.scores, None, np.array([7, 3]))
    (path,) = write_results(tmp_path / "r.json", [PictureResult("a", (9, 9), tracked)], format="litepose", model="m")
    assert [one["track_id"] for one in json.loads(path.read_text())["pictures"][0]["people"]] == [7, 3]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_no_pictures_at_all_give_valid_files(format, tmp_path):
    for path in write_results(tmp_path / "r", [], format=format, model="m"):
        if format == "csv" and path.name == "r":
            assert path.read_text().startswith("file,frame,")
        elif path.read_text():  # no pictures are no lines
            json.loads(path.read_text())


def test_an_unknown_format_is_met_with_the_known_ones(tmp_path):
    with pytest.raises(SettingError, match="Did you mean 'coco'"):
        write_results(tmp_path / "r.json", [], format="cocco", model="m")
