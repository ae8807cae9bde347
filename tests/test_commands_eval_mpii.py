"""`litepose eval` on an MPII list, with a network that finds dots in crops."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import mpii_files as made
from dot_model import K, crop_spec, paint, write_crop_model, write_dot_model
from litepose import cli
from litepose.skeleton import MPII16, Skeleton
from litepose.spec import PoseSpec

# MPII's keypoints and one more, as many as the network has maps: people are matched by name. No pairs, because a dot of
# a left wrist is one in the mirror too.
DOTS = Skeleton("dots17", (*MPII16.keypoints, "nose"), oks_sigmas=(0.1,) * K)
SIZE = (512, 512)
BLOCK = np.stack([np.arange(K) % 4 * 40.0, np.arange(K) // 4 * 40.0], axis=-1)
PAIR = np.stack([BLOCK + np.array([50, 100]), BLOCK + np.array([320, 200])]).astype(np.float32)
NAMES = {"mpii": ("annotations", "mpii_val.json", "mpii_gt_val.mat"), "hrnet": ("annot", "valid.json", "gt_valid.mat")}


def record(image: str, person: np.ndarray) -> dict:
    centre = (person.min(axis=0) + person.max(axis=0)) / 2
    return made.record(
        image, joints=(person[:16] + 1).tolist(), center=[float(centre[0]), float(centre[1]) - 15], scale=1.0
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Models and, in both layouts, four people: two and one of them once more in a picture, one where nothing is."""
    folder = tmp_path_factory.mktemp("mpii")
    spec: PoseSpec = dataclasses.replace(crop_spec(size=(256, 256)), skeleton=DOTS)
    write_crop_model(folder / "crops.onnx", spec=spec)
    write_crop_model(folder / "coco.onnx")
    write_dot_model(folder / "dots.onnx")
    records = [record("b.png", PAIR[0]), record("a.png", PAIR[1]), record("b.png", PAIR[1]), record("b.png", PAIR[0])]
    for layout, (under, name, mat) in NAMES.items():
        path = made.write(folder / layout, records, name=name, under=under, pictures=False)
        made.write_mat(path.with_name(mat), records, head_side=20)
        cv2.imwrite(str(folder / layout / "images" / "b.png"), paint(PAIR, SIZE))
        cv2.imwrite(str(folder / layout / "images" / "a.png"), np.zeros((*SIZE, 3), np.uint8))
    return folder


def evaluate(folder: Path, layout: str, *options: str, model: str = "crops.onnx") -> int:
    under, name, _ = NAMES[layout]
    data = str(folder / layout / under / name)
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "-m", str(folder / model), "--data", data, "--threads", "1", *options])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("flip", [(), ("--flip",)], ids=["plain", "flip"])
@pytest.mark.parametrize("layout", NAMES)
def test_each_record_is_scored_in_its_own_box_and_one_where_nothing_is_found_is_missed(
    folder, tmp_path, capsys, layout, flip
):
    assert evaluate(folder, layout, *flip, "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["protocol"] == "mpii-pckh"
    wanted = ("Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean")
    assert {name: report["stats"][name] for name in wanted} == dict.fromkeys(wanted, 0.75)
    settings = report["settings"]
    assert (settings["people"], settings["pictures"], settings["boxes"]) == (4, 2, "gt")
    assert (settings["flip"], settings["skeleton"]) == (bool(flip), "dots17")
    printed = capsys.readouterr().out
    assert "mpii-pckh" in printed and "Boxes: gt (annotated)." in printed and "4 people in 2 pictures" in printed
    table = [line for line in printed.splitlines() if "Shoulder" in line or "0.750" in line or "published" in line]
    assert len(table) == 3 and max(map(len, table)) <= 80


def test_limit_looks_at_the_first_pictures_of_the_list(folder, tmp_path):
    assert evaluate(folder, "mpii", "--limit", "1", "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["settings"]["people"], report["stats"]["Mean"]) == (3, 1)


@pytest.mark.parametrize(
    ("options", "model", "words"),
    [
        ((), "dots.onnx", ["dots was to be scored", "top-down model"]),
        ((), "coco.onnx", ["coco17", "lacks pelvis, thorax, neck, head_top", "mpii16"]),
        (("--boxes", "picture"), "crops.onnx", ["--boxes picture", "MPII list", "Leave --boxes out"]),
    ],
)
def test_what_pckh_cannot_be_measured_on_is_refused(folder, capsys, options, model, words):
    assert evaluate(folder, "mpii", *options, model=model) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said


def test_an_unreadable_picture_is_named_and_its_people_are_not_in_the_numbers(folder, tmp_path, capsys):
    records = [record("c.png", PAIR[0]), record("d.png", PAIR[1])]
    path = made.write(tmp_path, records, pictures=False)
    made.write_mat(path.with_name("gt_valid.mat"), records)
    cv2.imwrite(str(tmp_path / "images" / "c.png"), paint(PAIR, SIZE))
    (tmp_path / "images" / "d.png").write_bytes(b"no picture")
    arguments = ["eval", "-m", str(folder / "crops.onnx"), "--data", str(path), "--threads", "1"]
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--json", str(tmp_path / "report.json")])
    assert stop.value.code == 2
    assert "d.png" in capsys.readouterr().err
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["settings"]["people"], report["stats"]["Mean"]) == (1, 1)


def test_saved_results_are_a_mat_file_that_scores_as_the_model_did(folder, tmp_path):
    results, under, name = tmp_path / "pred.mat", *NAMES["hrnet"][:2]
    assert evaluate(folder, "hrnet", "--json", str(tmp_path / "a.json"), "--save-results", str(results)) == 0
    data = str(folder / "hrnet" / under / name)
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "--results", str(results), "--data", data, "--json", str(tmp_path / "b.json")])
    assert not stop.value.code
    direct, again = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert again["stats"] == direct["stats"]
    assert 0 < again["stats"]["Mean"] < 1


def test_a_mat_file_of_other_people_is_refused(folder, tmp_path, capsys):
    from scipy.io import savemat

    under, name, _ = NAMES["hrnet"]
    savemat(tmp_path / "pred.mat", {"preds": np.zeros((3, 16, 2))})
    with pytest.raises(SystemExit) as stop:
        cli.main(["eval", "--results", str(tmp_path / "pred.mat"), "--data", str(folder / "hrnet" / under / name)])
    assert stop.value.code == 2
    assert "(4, 16, 2)" in capsys.readouterr().err


def test_a_page_says_why_pckh_is_what_it_is(folder, tmp_path):
    assert evaluate(folder, "hrnet", "--report", str(tmp_path / "why")) == 0
    assert "PCKh" in (tmp_path / "why" / "index.html").read_text()
