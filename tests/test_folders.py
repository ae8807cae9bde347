"""Many pictures at once: order, names, broken files, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import lay_out, paint, write_crop_model, write_dot_model
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.folders import boxes_of_files, predict_files
from litepose.predictor import load

SIZE = (640, 480)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx"), threads=1)


@pytest.fixture
def folder(tmp_path):
    """a.png with two people, broken.jpg, c.bmp with one."""
    people = lay_out(2, SIZE)
    cv2.imwrite(str(tmp_path / "a.png"), paint(people, SIZE))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8nothing")
    cv2.imwrite(str(tmp_path / "c.bmp"), paint(people[:1], SIZE))
    return tmp_path


def test_broken_files_are_reported_and_the_rest_goes_on(predictor, folder, tmp_path):
    files = sorted(folder.iterdir())
    outcomes = list(predict_files(predictor, files, output=tmp_path / "out"))
    assert [outcome.file for outcome in outcomes] == files
    assert [None if one.result is None else len(one.result.poses) for one in outcomes] == [2, None, 1]
    assert isinstance(outcomes[1].error, PictureError) and "broken.jpg" in str(outcomes[1].error)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.bmp"]
    drawn, plain = cv2.imread(str(tmp_path / "out" / "a.png")), cv2.imread(str(folder / "a.png"))
    assert drawn.shape == plain.shape and (drawn != plain).any()


def test_without_an_output_nothing_is_drawn(predictor, folder):
    before = sorted(folder.iterdir())
    outcomes = list(predict_files(predictor, before[:1]))
    assert outcomes[0].drawn is None and sorted(folder.iterdir()) == before


def test_people_below_the_score_are_left_out(predictor, folder):
    (outcome,) = predict_files(predictor, [folder / "a.png"], min_score=1e9)
    assert len(outcome.result.poses) == 0


@pytest.mark.parametrize("nested", [False, True])
def test_inputs_are_never_overwritten(predictor, folder, nested):
    files = [folder / "a.png"]
    output = folder / "sub" / ".." if nested else folder
    (folder / "sub").mkdir()
    before = files[0].read_bytes()
    with pytest.raises(SettingError, match="overwrite"):
        list(predict_files(predictor, files, output=output))
    assert files[0].read_bytes() == before


def test_an_output_that_is_a_file_is_refused(predictor, folder):
    with pytest.raises(SettingError, match="Name a folder"):
        list(predict_files(predictor, [folder / "a.png"], output=folder / "c.bmp"))


def test_files_of_equal_names_keep_their_folders(predictor, tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "1.png"), np.zeros((8, 8, 3), np.uint8))
    files = [tmp_path / "x" / "1.png", tmp_path / "y" / "1.png"]
    outcomes = list(predict_files(predictor, files, output=tmp_path / "out"))
    assert [one.result.name for one in outcomes] == ["x/1.png", "y/1.png"]
    assert all(one.drawn is not None and one.drawn.is_file() for one in outcomes)


def test_a_kind_that_is_not_written_comes_out_as_png(predictor, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "a.jfif")
    (outcome,) = predict_files(predictor, [tmp_path / "a.jfif"], output=tmp_path / "out")
    assert outcome.drawn == tmp_path / "out" / "a.jfif.png" and outcome.drawn.is_file()


def test_huge_pictures_are_refused_unless_allowed(predictor, folder):
    (outcome,) = predict_files(predictor, [folder / "a.png"], max_megapixels=0.1)
    assert "megapixels" in str(outcome.error)
    (outcome,) = predict_files(predictor, [folder / "a.png"], max_megapixels=None)
    assert outcome.error is None


def test_each_file_gets_its_boxes(folder, tmp_path):
    predictor = load(write_crop_model(tmp_path / "crops.onnx"), threads=1)
    files = sorted(path for path in folder.iterdir() if path.suffix != ".onnx")
    box = np.array([[0, 0, 640, 480]])
    outcomes = list(predict_files(predictor, files, boxes=[box, box, np.zeros((0, 4))]))
    assert [None if one.result is None else len(one.result.poses) for one in outcomes] == [1, None, 0]
    with pytest.raises(SettingError, match=r"a\.png, 640x480.*700"):
        list(predict_files(predictor, files[:1], boxes=[box + 700]))


def test_boxes_of_a_file_belong_to_pictures_by_name_stem_or_number(tmp_path):
    rows = [
        {"image_id": key, "category_id": 1, "bbox": [n, 0, 5, 5], "score": 0.5}
        for n, key in enumerate(["a.png", "b", 139, 7])
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    files = [Path("x/a.png"), Path("b.jpg"), Path("000000000139.jpg"), Path("c.jpg")]
    with pytest.warns(UserWarning, match=r"1 of the 4 pictures.*\(7\)"):
        boxes = boxes_of_files(tmp_path / "boxes.json", files)
    assert [rows[:, 0].tolist() for rows in boxes] == [[0], [1], [2], []]
    with pytest.raises(AnnotationError, match=r"none is among"):
        boxes_of_files(tmp_path / "boxes.json", [Path("d.jpg")])
