"""The verbs predict, bench, export and models, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import K, dot_spec, lay_out, paint, write_crop_model, write_dot_model
from litepose import cli, weights
from tiny_model import write_tiny_checkpoint

SIZE = (640, 480)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx"))


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    people = lay_out(2, SIZE)
    cv2.imwrite(str(folder / "one.png"), paint(people[:1], SIZE))
    cv2.imwrite(str(folder / "two.png"), paint(people, SIZE))
    return folder


def call(*arguments: object) -> int:
    """Run the command line in this process; return its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_predict_prints_draws_and_writes(model, photos, tmp_path, capsys):
    report = tmp_path / "out" / "people.json"
    assert call("predict", photos, "-m", model, "-o", tmp_path / "out", "--json", report, "--threads", 1) == 0
    out = capsys.readouterr().out
    assert "one.png: 1 person, " in out and "two.png: 2 people, " in out and "3 people in 2 pictures" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "people.json", "two.png"]
    assert [len(one["people"]) for one in json.loads(report.read_text())["pictures"]] == [1, 2]


def test_predict_without_places_draws_into_its_own_folder(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("predict", "photos/*.png", "-m", model, "--threads", 1) == 0
    assert sorted(path.name for path in (tmp_path / "litepose-out").iterdir()) == ["one.png", "two.png"]


def test_predict_with_json_alone_draws_nothing(model, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("predict", photos, "-m", model, "--json", "p", "--format", "openpose", "--threads", 1) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "p.about.json", "photos"]
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["one_keypoints.json", "two_keypoints.json"]


def test_predict_counts_one_picture_and_names_the_folder_of_openpose_files(model, photos, tmp_path, capsys):
    folder = tmp_path / "p"
    assert call("predict", photos / "one.png", "-m", model, "--json", folder, "--format", "openpose") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"1 person in 1 picture -> {folder}/"


def test_predict_lists_a_link_to_nothing_in_a_folder_as_broken(model, photos, tmp_path, capsys):
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    assert call("predict", photos, "-m", model, "--json", tmp_path / "r.json") == 2
    said = capsys.readouterr().err
    assert "1 of 3 pictures" in said and "gone.jpg is a link to nowhere.jpg, which is not there" in said


def test_predict_goes_on_past_broken_files_and_exits_with_two(model, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"no picture")
    report = tmp_path / "r.json"
    assert call("predict", photos, "-m", model, "--json", report, "--threads", 1) == 2
    printed = capsys.readouterr()
    assert "bad.jpg: not read" in printed.out
    assert "1 of 3 pictures could not be read" in printed.err and "bad.jpg is no picture" in printed.err
    assert len(json.loads(report.read_text())["pictures"]) == 2


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> str:
    return str(write_crop_model(tmp_path_factory.mktemp("crops") / "crops.onnx"))


BLOCK = np.stack([np.arange(K) % 4 * 50.0, np.arange(K) // 4 * 50.0], axis=-1)  # one person, 150x200 px
PAIR = np.stack([BLOCK + np.array([60, 100]), BLOCK + np.array([400, 120])]).astype(np.float32)
PAIR_BOXES = [[20, 70, 230, 260], [360, 90, 230, 260]]  # x, y, width, height


def people_of(report: Path) -> list[int]:
    return [len(one["people"]) for one in json.loads(report.read_text())["pictures"]]


@pytest.fixture
def pair(tmp_path) -> Path:
    """A folder with 000000000007.png, two people far apart, and b.png, the same."""
    folder = tmp_path / "pair"
    folder.mkdir()
    for name in ("000000000007.png", "b.png"):
        cv2.imwrite(str(folder / name), paint(PAIR, SIZE))
    return folder


@pytest.mark.parametrize("key", [7, "000000000007", "000000000007.png"])
def test_predict_takes_the_boxes_of_a_file_by_the_pictures_name_or_number(crops, pair, tmp_path, key):
    rows = [{"image_id": key, "category_id": 1, "bbox": box, "score": 0.9} for box in PAIR_BOXES]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    report = tmp_path / "r.json"
    options = ["--boxes", tmp_path / "boxes.json", "--json", report, "--threads", 1]
    assert call("predict", pair, "-m", crops, *options) == 0
    assert people_of(report) == [2, 0]
    found = json.loads(report.read_text())["pictures"][0]["people"]
    boxes = sorted(person["box"] for person in found)
    np.testing.assert_allclose(boxes, [[x, y, x + w, y + h] for x, y, w, h in PAIR_BOXES])


def test_predict_takes_boxes_from_another_model_or_the_whole_picture(crops, model, pair, tmp_path):
    report = tmp_path / "r.json"
    assert call("predict", pair, "-m", crops, "--boxes", model, "--json", report, "--threads", 1) == 0
    assert people_of(report) == [2, 2]
    assert call("predict", pair, "-m", crops, "--boxes", "picture", "--json", report, "--threads", 1) == 0
    assert people_of(report) == [1, 1]


def test_predict_with_a_top_down_model_works_without_boxes(crops, pair, tmp_path):
    report = tmp_path / "r.json"  # the shipped model looks for people among dots; who it finds is its own affair
    assert call("predict", pair / "b.png", "-m", crops, "--json", report, "--threads", 1) == 0
    assert len(people_of(report)) == 1


def test_bench_of_a_top_down_model_times_as_many_boxes_as_are_asked_for(crops, tmp_path, capsys):
    report = tmp_path / "b.json"
    assert call("bench", crops, "--people", 3, "--repeat", 1, "--json", report) == 0
    assert "input 192x256, 3 boxes, 1 thread" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert (content["people"], content["size"], content["top_down"]) == (3, [192, 256], True)
    assert call("bench", crops, "--people", 0, "--repeat", 1) == 0
    assert "0 boxes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.jpg"], "no file nowhere.jpg"),
        (["PHOTOS", "--format", "xml"], "'xml'"),
        (["PHOTOS", "--size", "big"], "--size wants"),
        (["PHOTOS", "--size", "100x100"], "112x112"),
        (["PHOTOS", "--scales", "1;2"], "--scales wants"),
        (["PHOTOS", "--decode", "best"], "'best'"),
        (["PHOTOS", "-o", "PHOTOS"], "overwrite"),
        (["PHOTOS", "--json", "PHOTOS/one.png"], "overwrite"),
        (["PHOTOS", "--json", "PHOTOS"], "is a folder"),
        (["PHOTOS", "--json", "PHOTOS/one.png", "--format", "openpose"], "is a file"),
        (["PHOTOS", "--json", "PHOTOS/one.png/people.json"], "Choose another place"),
        (["PHOTOS", "-o", "PHOTOS/one.png/drawn"], "Choose another place"),
        (["PHOTOS", "--min-score", "nan"], "--min-score wants a number from 0 to 1; found nan"),
        (["PHOTOS", "--min-score", "1.5"], "found 1.5"),
        (["PHOTOS", "--device", "abacus"], "abacus"),
        (["PHOTOS", "--runtime", "torch"], ".safetensors"),
        (["PHOTOS", "--boxes", "picture"], "dots was given boxes of people; it looks at the whole picture"),
        (["PHOTOS", "-m", "litepose_xxl"], "neither shipped nor a file"),
        (["PHOTOS", "-m", "PHOTOS/one.png"], "suffix"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing_behind(
    arguments, word, model, photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = [argument.replace("PHOTOS", str(photos)) for argument in arguments]
    assert call("predict", *given, *([] if "-m" in given else ["-m", model])) == 2
    printed, error = capsys.readouterr()
    assert "one.png: " not in printed  # it is said before any picture is read
    assert error.startswith("litepose: ") and word in error and "Traceback" not in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_bench_prints_every_step_and_writes_its_report(model, tmp_path, capsys):
    picture = tmp_path / "picture.jpg"
    cv2.imwrite(str(picture), np.zeros((90, 120, 3), np.uint8))
    report = tmp_path / "bench.json"
    assert call("bench", model, "--image", picture, "--repeat", 2, "--json", report) == 0
    out = capsys.readouterr().out
    assert all(f"\n{step}" in out for step in ("read", "pre", "network", "decode", "draw"))
    assert json.loads(report.read_text())["size"] == [384, 256]


def test_bench_draws_its_own_people(tmp_path, capsys):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    assert call("bench", checkpoint, "--size", "64x64", "--people", 1, "--repeat", 1) == 0
    assert "picture 640x480" in capsys.readouterr().out


def test_export_prints_the_error_before_the_file(tmp_path, capsys):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    target = tmp_path / "out" / "tiny.onnx"
    assert call("export", checkpoint, "-o", target, "--dynamic", "--half-weights", "--note", "licence=MIT") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("against the checkpoint: max error ") and "mean" in first
    assert second.startswith(f"{target}: ") and second.endswith(" MB")
    assert weights.card_of("tiny", *spec_and_size(target)).licence == "MIT"


def spec_and_size(path: Path):
    from litepose.runtimes import open_runtime

    return open_runtime(path, threads=1).spec, path.stat().st_size


def test_export_refuses_notes_without_a_value(tmp_path, capsys):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    assert call("export", checkpoint, "-o", tmp_path / "tiny.onnx", "--note", "licence") == 2
    assert "KEY=VALUE" in capsys.readouterr().err
    assert not (tmp_path / "tiny.onnx").exists()


def test_models_lists_what_ships(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert call("models") == 0
    assert "litepose train" in capsys.readouterr().out
    spec = dot_spec().with_provenance(
        cost={"params": 1_500_000, "macs": 900_000_000, "size": [256, 256]},
        metrics={"AP": 0.123},
        measured_on="val-129",
    )
    write_dot_model(tmp_path / "dots.onnx", spec=spec)
    monkeypatch.setenv("COLUMNS", "200")
    assert call("models") == 0
    row = capsys.readouterr().out.splitlines()[-1]
    assert all(word in row for word in ("dots", "coco17", "256x256", "1.50 M", "0.90 G", "0.123 on val-129", "MIT"))
    assert call("models", "--json", tmp_path / "models.json") == 0
    assert json.loads((tmp_path / "models.json").read_text())[0]["metrics"] == {"AP": 0.123}


def test_an_installation_without_models_says_so_and_what_to_do(tmp_path, monkeypatch, photos, capsys):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert call("predict", photos) == 2
    said = capsys.readouterr().err
    assert "No models ship" in said and "litepose train" in said and "Possible: nothing" not in said


def test_a_shipped_model_is_called_by_its_name(tmp_path, monkeypatch, photos):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    write_dot_model(tmp_path / "dots.onnx")
    report = tmp_path / "r.json"
    assert call("predict", photos, "-m", "dots", "--json", report, "--threads", 1) == 0
    assert json.loads(report.read_text())["model"] == "dots"
