"""The formats of other projects, field by field: of pictures, of a video's frames, with and without ids."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

from litepose.errors import MissingPackageError, SettingError
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.writers import FORMATS, PictureResult, ResultFiles, check_target, is_folder, write_results

SIZE = (200, 100)


def people(*ids: int) -> Poses:
    """People 10 px apart with nose at (50, 20), left eye not found."""
    points = np.stack([np.linspace(50, 82, 17), np.linspace(20, 84, 17)], axis=-1)
    keypoints = np.stack([points + 10 * n for n in range(len(ids))]).astype(np.float32)
    scores = np.full((len(ids), 17), 0.875)
    scores[:, 1] = 0
    return Poses(COCO17, keypoints, scores, np.full(len(ids), 0.75), track_ids=np.array(ids))


def written(tmp_path, format, poses, *, video=False):
    """Write two frames (pictures); return (path, files written)."""
    path = tmp_path / "out"
    stamps = [(10, 0.4), (12, 0.48)] if video else [(None, None)] * 2
    results = [
        PictureResult("clip.mp4" if video else f"p{i}.jpg", SIZE, poses, frame=frame, time_s=time_s)
        for i, (frame, time_s) in enumerate(stamps)
    ]
    if not video:
        return path, write_results(path, results, format=format, model="m")
    with ResultFiles(path, format=format, model="m", skeleton=COCO17, video="clip.mp4") as files:
        for result in results:
            files.add(result)
    return path, files.written


def lines(path):
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_openpifpaf_lines_count_frames_from_one_and_hold_its_fields(tmp_path):
    path, _ = written(tmp_path, "openpifpaf", people(7, -1), video=True)
    first, second = lines(path)
    assert (list(first), first["frame"], second["frame"]) == (["frame", "predictions"], 11, 13)
    person, other = first["predictions"]
    assert list(person) == ["keypoints", "bbox", "score", "category_id", "id_"]
    assert person["keypoints"][:6] == [50, 20, 0.88, 52, 24, 0] and len(person["keypoints"]) == 51
    assert person["bbox"] == [50, 20, 32, 64] and person["score"] == 0.75 and person["id_"] == 7
    assert "id_" not in other


def test_openpifpaf_pictures_are_a_file_each(tmp_path):
    path, _ = written(tmp_path, "openpifpaf", people(7))
    assert sorted(one.name for one in path.iterdir()) == ["p0.jpg.predictions.json", "p1.jpg.predictions.json"]
    assert json.loads((path / "p0.jpg.predictions.json").read_text())[0]["category_id"] == 1


def test_ultralytics_labels_are_shares_with_score_and_id(tmp_path):
    path, _ = written(tmp_path, "ultralytics-txt", people(7, -1), video=True)
    assert sorted(one.name for one in path.iterdir()) == ["clip_11.txt", "clip_13.txt"]
    first, second = (path / "clip_11.txt").read_text().splitlines()
    numbers = [float(part) for part in first.split()]
    assert numbers[:5] == pytest.approx([0, 66 / 200, 52 / 100, 32 / 200, 64 / 100])
    assert numbers[5:8] == pytest.approx([0.25, 0.2, 0.875]) and numbers[8:11] == [0, 0, 0]
    assert numbers[5 + 51 :] == [0.75, 7] and len(second.split()) == 5 + 51 + 1


def test_ultralytics_writes_nothing_for_a_picture_without_people(tmp_path):
    path, files = written(tmp_path, "ultralytics-txt", Poses.empty(COCO17))
    assert not path.exists() and [one.name for one in files] == ["out.about.json"]


def test_ultralytics_json_is_its_list_of_results_line_by_line(tmp_path):
    path, _ = written(tmp_path, "ultralytics-json", people(7))
    person = lines(path)[0][0]
    assert list(person) == ["name", "class", "confidence", "box", "track_id", "keypoints"]
    assert person["box"] == {"x1": 50, "y1": 20, "x2": 82, "y2": 84} and person["name"] == "person"
    assert person["keypoints"]["x"][0] == 50 and person["keypoints"]["visible"][:2] == [0.875, 0]


def test_tfjs_poses_have_named_keypoints_box_and_id(tmp_path):
    path, _ = written(tmp_path, "tfjs", people(7))
    pose = lines(path)[0][0]
    assert list(pose) == ["score", "keypoints", "box", "id"] and pose["id"] == 7
    assert pose["keypoints"][0] == {"x": 50, "y": 20, "score": 0.875, "name": "nose"}
    assert pose["box"] == {"xMin": 50, "yMin": 20, "xMax": 82, "yMax": 84, "width": 32, "height": 64}


def test_csv_has_a_row_for_each_keypoint_found(tmp_path):
    path, _ = written(tmp_path, "csv", people(7, -1), video=True)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 2 * 2 * 16
    assert rows[0] == {
        "file": "clip.mp4", "frame": "10", "time_s": "0.400000", "person": "0", "track_id": "7",
        "person_score": "0.7500", "keypoint": "nose", "x": "50.000", "y": "20.000", "score": "0.8750",
    }  # fmt: skip
    assert rows[16]["track_id"] == "" and rows[16]["person"] == "1"


def test_openpose_frames_have_twelve_digits_and_the_persons_id(tmp_path):
    path, _ = written(tmp_path, "openpose", people(7, -1), video=True)
    names = sorted(one.name for one in path.iterdir())
    assert names == ["clip_000000000010_keypoints.json", "clip_000000000012_keypoints.json"]
    content = json.loads((path / names[0]).read_text())
    assert [person["person_id"] for person in content["people"]] == [[7], [-1]]


def test_coco_records_of_a_video_have_frames_as_ids_and_track_ids(tmp_path):
    path, _ = written(tmp_path, "coco", people(7, -1), video=True)
    records = json.loads(path.read_text())
    assert [(one["image_id"], one.get("track_id")) for one in records] == [(10, 7), (10, None), (12, 7), (12, None)]
    beside = json.loads(path.with_suffix(".images.json").read_text())
    assert beside["images"][1]["id"] == 12 and beside["images"][1]["time_s"] == 0.48 and beside["info"]["video"]


def test_litepose_frames_have_number_time_and_ids(tmp_path):
    path, _ = written(tmp_path, "litepose", people(7, -1), video=True)
    content = json.loads(path.read_text())
    assert content["video"] == "clip.mp4" and content["keypoints"] == list(COCO17.keypoints)
    frame = content["pictures"][1]
    assert (frame["frame"], frame["time_s"], frame["width"]) == (12, 0.48, 200)
    assert [person.get("track_id") for person in frame["people"]] == [7, None]


@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("format", sorted(FORMATS))
def test_sizes_keypoints_skeleton_and_units_are_said_once_in_every_format(format, video, tmp_path):
    path, files = written(tmp_path, format, people(1), video=video)
    texts = [one.read_text() for one in (*files, *(path.iterdir() if path.is_dir() else ()))]
    together = "".join(texts)
    assert '"left_eye"' in together and '"width": 200' in together
    if format not in ("coco", "litepose"):
        about = json.loads((tmp_path / "out.about.json").read_text())
        assert about["keypoints"] == list(COCO17.keypoints) and about["skeleton"]["name"] == "coco17"
        assert (about["width"], about["height"], about["format"]) == (*SIZE, format) and about["units"]


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_what_was_added_before_an_error_stays(format, tmp_path):
    path = tmp_path / "out"
    with (
        pytest.raises(RuntimeError, match="camera"),
        ResultFiles(path, format=format, model="m", skeleton=COCO17, video="0") as files,
    ):
        files.add(PictureResult("0", SIZE, people(1), frame=0, time_s=0.0))
        raise RuntimeError("camera")
    assert path.exists() and not list(tmp_path.glob(".*"))
    if path.is_file() and format in ("coco", "litepose"):
        json.loads(path.read_text())


def test_an_error_before_anything_was_added_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), ResultFiles(tmp_path / "a", format="csv", model="m", skeleton=None, video="0"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_places_that_do_not_fit_the_format_are_refused(tmp_path):
    assert is_folder("openpifpaf") and not is_folder("openpifpaf", video=True)
    with pytest.raises(SettingError, match="Name a file in it"):
        check_target(tmp_path, "openpifpaf", video=True)
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="Name a folder"):
        check_target(tmp_path / "file", "ultralytics-txt")


def test_a_data_frame_has_the_columns_of_the_csv():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = people(7, -1).to_dataframe()
    assert list(frame.columns) == ["person", "track_id", "person_score", "keypoint", "x", "y", "score"]
    assert len(frame) == 32
    assert frame.iloc[0]["keypoint"] == "nose"
    assert frame.iloc[0]["track_id"] == 7 and pandas.isna(frame.iloc[16]["track_id"])
    assert frame.groupby("person")["x"].min().tolist() == [50, 60]


def test_supervision_gets_zeros_for_what_was_not_found():
    pytest.importorskip("supervision", reason="supervision is not installed")
    points = people(7, 3).to_supervision()
    assert points.xy.shape == (2, 17, 2) and points.xy[0, 1].tolist() == [0, 0] and points.xy[0, 0].tolist() == [50, 20]
    assert points.data["tracker_id"].tolist() == [7, 3]


@pytest.mark.parametrize("package", ["pandas", "supervision"])
def test_an_absent_package_is_named_with_its_install_line(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    method = {"pandas": "to_dataframe", "supervision": "to_supervision"}[package]
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        getattr(people(1), method)()
