"""`litepose eval` from the command line, with a network whose people are known."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import K, paint, write_crop_model, write_dot_model
from dot_pictures import SIZE, write_dot_pictures
from litepose import cli
from litepose.skeleton import COCO17

pytest.importorskip("hotcoco")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dot model and two pictures with two dotted people each, annotated."""
    folder = tmp_path_factory.mktemp("dots")
    write_dot_model(folder / "dots.onnx")
    data = write_dot_pictures(folder, count=2)
    images = data["images"]
    images.append({"id": 3, "file_name": "3.png", "width": 512, "height": 512})
    (folder / "images" / "3.png").write_bytes(b"no picture")
    (folder / "broken.json").write_text(json.dumps(data))
    return folder


def evaluate(folder: Path, name: str, *options: str) -> int:
    arguments = ["eval", "-m", str(folder / "dots.onnx"), "--data", str(folder / name), "--threads", "1", *options]
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_network_that_finds_everyone_scores_high_and_the_report_says_how(folder, tmp_path, capsys):
    assert evaluate(folder, "truth.json", "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["stats"]["AR50"] == 1
    assert report["stats"]["PCK"] > 0.9
    assert report["settings"]["pictures"] == 2
    assert report["settings"]["people"] == 4
    assert (report["settings"]["scales"], report["settings"]["max_people"]) == ([1.0], 20)
    printed = capsys.readouterr().out
    assert "4 people in 2 pictures" in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if "AP50" in line or "0." in line)


def test_limit_looks_at_the_first_pictures_only(folder, tmp_path):
    assert evaluate(folder, "truth.json", "--limit", "1", "--json", str(tmp_path / "report.json")) == 0
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["pictures"] == 1


def test_an_unreadable_picture_is_named_after_the_report_and_the_exit_code_is_two(folder, tmp_path, capsys):
    assert evaluate(folder, "broken.json", "--json", str(tmp_path / "report.json")) == 2
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["pictures"] == 2
    assert report["settings"]["unreadable"][0]["id"] == 3
    captured = capsys.readouterr()
    assert "4 people in 2 pictures" in captured.out
    assert "1 picture could not be read" in captured.err
    assert "3.png" in captured.err


def test_synthetic_people_need_no_files(folder, tmp_path):
    arguments = ["eval", "-m", str(folder / "dots.onnx"), "--data", "synthetic:people=1,seed=3", "--limit", "2"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--threads", "1", "--json", str(tmp_path / "report.json")])
    assert stop.value.code == 0
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["data"].startswith("synthetic")


# Top-down ----------------------------------------------------------------------------------------------

BLOCK = np.stack([np.arange(K) % 4 * 40.0, np.arange(K) // 4 * 40.0], axis=-1)
PAIR = np.stack([BLOCK + np.array([50, 100]), BLOCK + np.array([320, 200])]).astype(np.float32)


@pytest.fixture(scope="module")
def top_down(tmp_path_factory) -> Path:
    """A crop model, one picture with two people far apart, annotated, and files of boxes."""
    folder = tmp_path_factory.mktemp("crops")
    write_crop_model(folder / "crops.onnx")
    write_dot_model(folder / "dots.onnx")
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "1.png"), paint(PAIR, SIZE))
    annotations, boxes = [], []
    for keypoints in PAIR:
        low, high = keypoints.min(axis=0) - 12, keypoints.max(axis=0) + 12
        bbox = [*low.tolist(), *(high - low).tolist()]
        annotations.append({
            "id": len(annotations) + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": K,
            "keypoints": np.column_stack([keypoints, np.full(K, 2)]).ravel().tolist(),
            "bbox": bbox, "area": float((high - low).prod()),
        })  # fmt: skip
        boxes.append({"image_id": 1, "category_id": 1, "bbox": bbox, "score": 0.9})
    data = {
        "images": [{"id": 1, "file_name": "1.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}],
    }
    (folder / "truth.json").write_text(json.dumps(data))
    (folder / "boxes.json").write_text(json.dumps(boxes))
    (folder / "one.json").write_text(json.dumps(boxes[:1]))
    (folder / "strange.json").write_text(json.dumps([{**boxes[0], "image_id": "1"}]))
    (folder / "outside.json").write_text(json.dumps([{**boxes[0], "bbox": [600, 10, 50, 50]}]))
    return folder


def evaluate_crops(folder: Path, *options: str, model: str = "crops.onnx") -> int:
    arguments = ["eval", "-m", str(folder / model), "--data", str(folder / "truth.json"), "--threads", "1", *options]
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("boxes", "recall", "said"),
    [
        (None, 1, "Boxes: gt (annotated). Published AP takes a detector's: --boxes FILE.json."),
        ("gt", 1, "Boxes: gt (annotated)."),
        ("boxes.json", 1, "Boxes: boxes.json."),
        ("one.json", 0.5, "Boxes: one.json."),
        ("dots.onnx", 1, "Boxes: dots.onnx."),
        ("picture", 0.5, "Boxes: picture."),
    ],
)
def test_a_top_down_model_is_scored_with_the_boxes_that_the_report_names(
    top_down, tmp_path, capsys, boxes, recall, said
):
    given = [] if boxes is None else ["--boxes", str(top_down / boxes) if "." in boxes else boxes]
    assert evaluate_crops(top_down, *given, "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["stats"]["AR50"] == recall
    assert report["settings"]["boxes"] == (boxes or "gt")
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ("strange.json", ["1 pictures ('1')", "such as 1"]),
        ("outside.json", ["1 of 1 boxes of picture 1 in", "512x512", "600, 10, 650, 60"]),
        ("gone.json", ["gone.json cannot be read"]),
        ("gone", ["'gone'", "neither shipped nor a file"]),
        ("gone.onnx", ["gone.onnx"]),
    ],
)
def test_boxes_that_do_not_belong_to_the_data_are_refused(top_down, capsys, boxes, words):
    assert evaluate_crops(top_down, "--boxes", str(top_down / boxes) if "." in boxes else boxes) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_a_bottom_up_model_takes_no_boxes(top_down, tmp_path, capsys):
    assert evaluate_crops(top_down, "--boxes", "gt", model="dots.onnx") == 2
    assert "finds everybody by itself" in capsys.readouterr().err
    assert evaluate_crops(top_down, "--json", str(tmp_path / "report.json"), model="dots.onnx") == 0
    assert "boxes" not in json.loads((tmp_path / "report.json").read_text())["settings"]
