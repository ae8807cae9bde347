"""`litepose eval` from the command line, with a network whose people are known."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import K, lay_out, paint, write_dot_model
from litepose import cli
from litepose.skeleton import COCO17

pytest.importorskip("faster_coco_eval")

SIZE = (512, 512)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dot model and two pictures with two dotted people each, annotated."""
    folder = tmp_path_factory.mktemp("dots")
    write_dot_model(folder / "dots.onnx")
    (folder / "images").mkdir()
    people = lay_out(2, SIZE)
    annotations = []
    for image_id in (1, 2):
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), paint(people, SIZE))
        for keypoints in people:
            low, high = keypoints.min(axis=0) - 10, keypoints.max(axis=0) + 10
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": K,
                "keypoints": np.column_stack([keypoints, np.full(K, 2)]).ravel().tolist(),
                "bbox": [*low.tolist(), *(high - low).tolist()], "area": float((high - low).prod()),
            })  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": SIZE[0], "height": SIZE[1]} for i in (1, 2)]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(data))
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
