"""`litepose eval` on results files, of protocols chosen by name, and of pictures without truth."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import write_dot_model
from dot_pictures import write_dot_pictures
from litepose import cli
from litepose.skeleton import COCO17, CROWDPOSE14

pytest.importorskip("hotcoco")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of dotted people, and the same file as a CrowdPose one and as a list without annotations."""
    folder = tmp_path_factory.mktemp("results")
    write_dot_model(folder / "dots.onnx")
    data = write_dot_pictures(folder / "data", count=3)
    crowd = {**data, "images": [{**one, "crowdIndex": n / 2} for n, one in enumerate(data["images"])]}
    places = [COCO17.keypoints.index(name) for name in CROWDPOSE14.keypoints[:12]]
    crowd["annotations"] = [
        {
            **{key: value for key, value in one.items() if key != "area"},
            "keypoints": np.array(one["keypoints"]).reshape(-1, 3)[places].ravel().tolist() + [0] * 6,
        }
        for one in data["annotations"]
    ]
    crowd["categories"] = [{"id": 1, "name": "person", "keypoints": list(CROWDPOSE14.keypoints)}]
    (folder / "data" / "crowd.json").write_text(json.dumps(crowd))
    (folder / "data" / "pictures.json").write_text(json.dumps({"images": data["images"], "categories": []}))
    return folder


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", *map(str, arguments)])
    return int(stop.value.code or 0)


def of_model(folder: Path, data: str, *options: str | Path) -> int:
    return run("-m", folder / "dots.onnx", "--data", folder / "data" / data, "--threads", "1", *options)


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("protocol", [(), ("--protocol", "coco"), ("--protocol", "pck")], ids=["auto", "coco", "pck"])
def test_saved_results_score_to_the_bit_as_the_model_did(folder, tmp_path, protocol):
    results = tmp_path / "results.json"
    assert of_model(folder, "truth.json", *protocol, "--json", tmp_path / "a.json", "--save-results", results) == 0
    scored = ("--results", results, "--data", folder / "data" / "truth.json")
    assert run(*scored, *protocol, "--json", tmp_path / "b.json") == 0
    direct, again = read(tmp_path / "a.json"), read(tmp_path / "b.json")
    assert again["stats"] == direct["stats"]
    assert again["protocol"] == direct["protocol"]
    assert again["settings"]["people"] == direct["settings"]["people"] == 6
    assert {"image_id", "category_id", "keypoints", "score"} <= set(read(results)[0])


def test_the_pck_of_each_keypoint_is_printed_in_a_line_of_its_own(folder, capsys):
    assert of_model(folder, "truth.json", "--protocol", "pck") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["left_shoulder", "1.000"] for line in lines), lines


def test_a_crowdpose_file_is_scored_by_its_own_protocol_with_clean_numbers_beside(folder, tmp_path, capsys):
    results = tmp_path / "results.json"
    people = [
        {"image_id": one["image_id"], "category_id": 1, "keypoints": one["keypoints"], "score": 1.0}
        for one in read(folder / "data" / "crowd.json")["annotations"]
    ]
    results.write_text(json.dumps(people))
    scored = ("--results", results, "--data", folder / "data" / "crowd.json")
    assert run(*scored, "--json", tmp_path / "report.json") == 0
    report = read(tmp_path / "report.json")
    assert report["protocol"] == "crowdpose"
    assert list(report["stats"]) == ["AP", "AP50", "AP75", "AR", "AR50", "AR75", "easy", "medium", "hard"]
    assert list(report["stats"].values()) == pytest.approx([1] * 9)
    assert list(report["clean"]) == list(report["stats"])
    printed = capsys.readouterr().out
    assert "official" in printed and "clean" in printed


def test_pictures_without_truth_are_predicted_and_the_ids_are_the_lists(folder, tmp_path, capsys):
    results = tmp_path / "results.json"
    assert of_model(folder, "pictures.json", "--images", folder / "data" / "images", "--save-results", results) == 0
    assert sorted({one["image_id"] for one in read(results)}) == [1, 2, 3]
    assert len(read(results)) == 6
    assert "6 people found in 3 pictures" in capsys.readouterr().out


def test_a_folder_of_pictures_is_predicted_and_the_ids_are_the_names_numbers(folder, tmp_path):
    pictures = tmp_path / "some"
    pictures.mkdir()
    pixels = cv2.imread(str(folder / "data" / "images" / "1.png"))
    for number in (7, 42):
        cv2.imwrite(str(pictures / f"COCO_test_{number:012d}.png"), pixels)
    assert run("-m", folder / "dots.onnx", "--data", pictures, "--save-results", tmp_path / "results.json") == 0
    assert sorted({one["image_id"] for one in read(tmp_path / "results.json")}) == [7, 42]
    named = {one["id"]: one["file_name"] for one in read(tmp_path / "results.images.json")["images"]}
    assert named == {7: "COCO_test_000000000007.png", 42: "COCO_test_000000000042.png"}


def test_pictures_without_truth_need_a_place_for_the_people(folder, capsys):
    assert of_model(folder, "pictures.json", "--images", folder / "data" / "images") == 2
    assert "--save-results" in capsys.readouterr().err


def test_no_results_at_all_score_zero(folder, tmp_path):
    (tmp_path / "none.json").write_text("[]")
    scored = ("--results", tmp_path / "none.json", "--data", folder / "data" / "truth.json")
    assert run(*scored, "--json", tmp_path / "report.json") == 0
    stats = read(tmp_path / "report.json")["stats"]
    assert (stats["AP"], stats["AR"], stats["PCK"]) == (0, 0, 0)


def test_more_than_twenty_people_in_a_picture_are_cut_and_it_is_said(folder, tmp_path, capsys):
    someone = read(folder / "data" / "truth.json")["annotations"][0]["keypoints"]
    false = [0.0, 0.0, 1.0] * 17
    crowd = [{"image_id": 1, "category_id": 1, "keypoints": false, "score": 0.9} for _ in range(20)]
    crowd.append({"image_id": 1, "category_id": 1, "keypoints": someone, "score": 0.1})
    (tmp_path / "crowd.json").write_text(json.dumps(crowd))
    scored = ("--results", tmp_path / "crowd.json", "--data", folder / "data" / "truth.json")
    assert run(*scored, "--json", tmp_path / "report.json") == 0
    assert "In 1 picture more than 20 people were found" in capsys.readouterr().out
    report = read(tmp_path / "report.json")
    assert report["settings"]["pictures_with_more"] == 1
    assert report["stats"]["AR"] == 0, "the right one is the 21st"


def test_scores_that_single_precision_would_make_equal_keep_their_order(folder, tmp_path):
    truth = read(folder / "data" / "truth.json")["annotations"]
    false = {"image_id": 1, "category_id": 1, "keypoints": [0.0, 0.0, 1.0] * 17, "score": 0.5 + 1e-12}
    true = [
        {**false, "image_id": one["image_id"], "keypoints": one["keypoints"], "score": 0.5 + 2e-12} for one in truth
    ]
    (tmp_path / "close.json").write_text(json.dumps([false, *true]))
    scored = ("--results", tmp_path / "close.json", "--data", folder / "data" / "truth.json")
    assert run(*scored, "--json", tmp_path / "report.json") == 0
    assert read(tmp_path / "report.json")["stats"]["AP"] == pytest.approx(1)


GOOD = {"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51, "score": 0.5}
BROKEN = {
    "unknown picture": ([{**GOOD, "image_id": 99}], ["99", "3", "Give the annotation file"]),
    "id of another kind": ([{**GOOD, "image_id": "1"}], ["1", "(1 is not '1')"]),
    "unhashable id": ([{**GOOD, "image_id": [1]}], ["[1]"]),
    "unknown category": ([{**GOOD, "category_id": 5}], ["category 5", "people are category 1"]),
    "16 keypoints": ([{**GOOD, "keypoints": [1.0] * 48}], ["16 keypoints", "coco17", "17"]),
    "no list": ([{**GOOD, "keypoints": "much"}], ["'much'"]),
    "words": ([{**GOOD, "keypoints": ["a"] * 51}], ["no numbers"]),
    "NaN score": ([GOOD, {**GOOD, "score": math.nan}], ["1 of 2 records", "number 1"]),
    "infinite place": ([{**GOOD, "keypoints": [math.inf] * 51}], ["NaN or infinity"]),
    "no score": ([{"image_id": 1, "category_id": 1, "keypoints": [1.0] * 51}], ["lacks score"]),
    "an object": ({"people": []}, ["JSON dict, not a list", "--save-results"]),
    "numbers": ([1, 2], ["record number 0 lacks"]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_results_that_cannot_be_meant_are_refused_with_one_sentence(folder, tmp_path, capsys, name):
    content, words = BROKEN[name]
    (tmp_path / "broken.json").write_text(json.dumps(content))
    assert run("--results", tmp_path / "broken.json", "--data", folder / "data" / "truth.json") == 2
    said = capsys.readouterr().err
    assert said.startswith("litepose: ")
    for word in ["broken.json", *words]:
        assert word in said, said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--results", "gone.json"), "cannot be read"),
        ((), "either a model"),
        (("-m", "litepose_xs", "--results", "gone.json"), "either a model"),
        (("-m", "litepose_xs", "--protocol", "cocoo"), "coco"),
        (("-m", "litepose_xs", "--protocol", "mpii"), "no MPII list"),
        (("-m", "litepose_xs", "--protocol", "crowdpose"), "crowdIndex"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(folder, capsys, arguments, words):
    assert run("--data", folder / "data" / "truth.json", *arguments) == 2
    assert words in capsys.readouterr().err


def test_results_need_an_annotation_file(folder, tmp_path, capsys):
    (tmp_path / "results.json").write_text("[]")
    assert run("--results", tmp_path / "results.json", "--data", "synthetic") == 2
    assert "needs the annotation file" in capsys.readouterr().err
    assert run("--results", tmp_path / "results.json", "--data", folder / "data" / "pictures.json") == 2
    assert "without annotations" in capsys.readouterr().err


def test_truth_without_areas_is_scored_on_areas_of_boxes_and_it_is_said(folder, tmp_path, capsys):
    data = read(folder / "data" / "truth.json")
    for one in data["annotations"]:
        del one["area"]
    path = folder / "data" / "no_areas.json"
    path.write_text(json.dumps(data))
    assert of_model(folder, "no_areas.json", "--json", tmp_path / "report.json") == 0
    assert "6 of 6 people have no area" in capsys.readouterr().err
    assert read(tmp_path / "report.json")["stats"]["AR50"] == 1


def test_a_page_says_why_the_model_fails(folder, tmp_path, capsys):
    assert of_model(folder, "truth.json", "--report", tmp_path / "why") == 0
    page = (tmp_path / "why" / "index.html").read_text()
    assert "dots.onnx" in page
    assert "Why it fails" in capsys.readouterr().out
    for protocol in ("coco", "pck"):
        scored = ("--results", tmp_path / f"{protocol}.json", "--data", folder / "data" / "truth.json")
        (tmp_path / f"{protocol}.json").write_text("[]")
        assert run(*scored, "--protocol", protocol, "--report", tmp_path / protocol) == 0
        assert (tmp_path / protocol / "index.html").is_file()


def test_a_page_about_pictures_without_truth_is_refused(folder, tmp_path, capsys):
    options = (
        "--images",
        folder / "data" / "images",
        "--save-results",
        tmp_path / "r.json",
        "--report",
        tmp_path / "w",
    )
    assert of_model(folder, "pictures.json", *options) == 2
    assert "without annotations" in capsys.readouterr().err
