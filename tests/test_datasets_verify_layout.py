"""`litepose data verify coco ROOT`: whether a download is whole and where the recipes look for it."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import coco_files as made
import mpii_files
from litepose import cli, images
from litepose.datasets import layouts
from litepose.datasets.verify_layout import verify_layout
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.skeleton import CROWDPOSE14
from litepose.training.recipe import load_recipe, recipe_names
from litepose.training.sources import check_present


@pytest.fixture(autouse=True)
def no_official_counts(monkeypatch):
    """Let made roots pass for official ones; a test of counts sets its own."""
    for name, layout in layouts.LAYOUTS.items():
        splits = tuple(dataclasses.replace(split, counts={}) for split in layout.splits)
        monkeypatch.setitem(layouts.LAYOUTS, name, dataclasses.replace(layout, splits=splits))


def put(folder, file, data, pictures):
    """Write a COCO-like file and its pictures to two places of a root."""
    made.write(folder / "made", data)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "made" / "people.json").rename(folder / file)
    shutil.copytree(folder / "made" / "images", folder / pictures, dirs_exist_ok=True)
    shutil.rmtree(folder / "made")


def renamed(data, prefix, **fields):
    """Give the pictures other names, so that two splits share none."""
    for record in data["images"]:
        record |= {"file_name": f"{prefix}{record['file_name']}", **fields}
    return data


def coco_root(tmp_path, *, pictures="{}2017"):
    root = tmp_path / "coco"
    for split, count in (("train", 3), ("val", 2)):
        (root / "made").mkdir(parents=True)
        data = renamed(made.coco(count, [made.person(n, image=n) for n in range(1, count + 1)]), split)
        put(root, f"annotations/person_keypoints_{split}2017.json", data, pictures.format(split))
    return root


def crowdpose_root(tmp_path):
    root = tmp_path / "crowdpose"
    for split in ("trainval", "test"):
        (root / "made").mkdir(parents=True)
        people = [made.person(keypoints=[50, 50, 2] * 14, num_keypoints=12, area=None)]
        data = renamed(made.coco(2, people), split, crowdIndex=0.5)
        data["categories"][0]["keypoints"] = list(CROWDPOSE14.keypoints)
        put(root, f"json/crowdpose_{split}.json", data, "images")
    return root


def kinds(report):
    return {one.kind: one.broken for one in report.findings}


def test_every_recipe_of_a_published_set_names_files_of_its_layout():
    places = {layout.root: {split.files[0] for split in layout.splits} for layout in layouts.LAYOUTS.values()}
    seen = set()
    for name in recipe_names():
        recipe = load_recipe(name)
        if recipe.data.root in places:
            sources = {entry.source for entry in (*recipe.data.train, recipe.data.validation)}
            assert sources <= places[recipe.data.root], name
            assert not any(entry.images for entry in (*recipe.data.train, recipe.data.validation)), "found by layout"
            seen.add(recipe.data.root)
    assert seen == set(places)


def test_a_recipe_without_its_data_says_where_pictures_go(tmp_path):
    with pytest.raises(AnnotationError, match=r"person_keypoints_train2017\.json .annotations. and its pictures, .*"):
        check_present(load_recipe("litepose_xs_coco", [f"data.root={tmp_path}"]))
    assert layouts.pictures_of("annot/train.json") == "images"
    assert layouts.pictures_of("annotations/person_keypoints_val2017.json") == "val2017"
    assert layouts.pictures_of("people.json") is None


@pytest.mark.parametrize("pictures", ["{}2017", "images/{}2017"])
def test_a_whole_download_passes_in_both_published_layouts(tmp_path, pictures, capsys):
    root = coco_root(tmp_path, pictures=pictures)
    report = verify_layout("coco", root)
    assert not report.broken
    assert {one.name: one.report.counts["keypoints"] for one in report.splits} == {"train": 51, "val": 34}
    assert kinds(report) == {"optional file not there": False}
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "verify", "coco", str(root), "--json", str(tmp_path / "r.json")])
    assert stop.value.code in (0, None)
    assert json.loads((tmp_path / "r.json").read_text())["splits"]["train"]["counts"]["people"] == 3
    assert "note: optional file not there: person_detection_results/" in capsys.readouterr().out


def test_counts_that_are_not_the_official_ones_are_broken(tmp_path, monkeypatch):
    layout = layouts.LAYOUTS["coco"]
    train = dataclasses.replace(layout.splits[0], counts={"pictures": 118_287, "people with keypoints": 3})
    monkeypatch.setitem(layouts.LAYOUTS, "coco", dataclasses.replace(layout, splits=(train, layout.splits[1])))
    report = verify_layout("coco", coco_root(tmp_path))
    broken = [one for one in report.findings if one.broken]
    assert [one.kind for one in broken] == ["count differs from the official file's"]
    assert broken[0].where == "train: 3 pictures, the official file has 118,287"


def test_headers_show_missing_empty_cut_and_swapped_pictures(tmp_path):
    root = coco_root(tmp_path)
    (root / "val2017" / "val1.jpg").unlink()
    (root / "val2017" / "val2.jpg").write_bytes(b"")
    whole = (root / "train2017" / "train1.jpg").read_bytes()
    (root / "train2017" / "train1.jpg").write_bytes(whole[:-100])
    path = root / "annotations" / "person_keypoints_train2017.json"
    data = json.loads(path.read_text())
    data["images"][1] |= {"width": 110, "height": 120}
    path.write_text(json.dumps(data))
    train, val = (one.report for one in verify_layout("coco", root).splits)
    assert [(one.kind, one.broken) for one in train.findings] == [
        ("picture unreadable", True), ("width and height swapped", False),
    ]  # fmt: skip
    assert "cut off" in train.findings[0].where
    assert [one.kind for one in val.findings] == ["picture missing", "picture unreadable"]


def test_only_a_deep_look_sees_damage_inside(tmp_path):
    root = coco_root(tmp_path)
    path = root / "train2017" / "train1.png"
    images.write(path, np.random.default_rng(0).integers(0, 255, (110, 120, 3), dtype=np.uint8))
    damaged = bytearray(path.read_bytes())
    damaged[60:-12] = bytes(len(damaged) - 72)
    (root / "train2017" / "train1.jpg").write_bytes(damaged)  # a PNG by content
    assert not verify_layout("coco", root).broken
    assert verify_layout("coco", root, deep=True).broken


def test_the_size_of_a_jpeg_with_something_behind_its_end_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    images.write(path, np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data + bytes(5000))
    assert images.stored_size(path) == (300, 200)
    path.write_bytes(data[:-2] + bytes(5000))
    with pytest.raises(PictureError, match="cut off"):
        images.stored_size(path)


def test_a_picture_in_training_and_validation_is_broken(tmp_path):
    root = coco_root(tmp_path)
    path = root / "annotations" / "person_keypoints_val2017.json"
    data = json.loads(path.read_text())
    data["images"][0]["file_name"] = "train1.jpg"
    path.write_text(json.dumps(data))
    found = [one for one in verify_layout("coco", root).findings if one.kind == "pictures in two splits"]
    assert [one.where for one in found] == ["1 of train are in val too, for instance train1.jpg"]


def test_crowdpose_needs_two_files_and_its_traps_are_notes(tmp_path):
    root = crowdpose_root(tmp_path)
    report = verify_layout("crowdpose", root)
    assert not report.broken and report.findings == ()
    assert {one.name: one.report is not None for one in report.splits} == {
        "trainval": True, "test": True, "train": False, "val": False,
    }  # fmt: skip
    assert [one.kind for one in report.splits[0].report.findings] == ["num_keypoints differs"]
    path = root / "json" / "crowdpose_test.json"
    path.write_text(path.read_text().replace("crowdIndex", "other"))
    assert kinds(verify_layout("crowdpose", root)) == {"no crowdIndex": False}
    path.unlink()
    assert kinds(verify_layout("crowdpose", root)) == {"annotation file missing": True}
    shutil.rmtree(root / "images")
    (root / "images.zip").write_bytes(b"")
    report = verify_layout("crowdpose", root)
    assert kinds(report)["folder of pictures missing"]
    assert "images.zip is still packed" in report.findings[0].where


def test_mpii_is_known_under_the_names_of_hrnet_and_of_mmpose(tmp_path):
    root = tmp_path / "mpii"
    for name, image in (("train", "a.jpg"), ("valid", "b.jpg")):
        mpii_files.write(root, [mpii_files.record(image)], name=f"{name}.json")
    report = verify_layout("mpii", root)
    assert kinds(report) == {"not where the recipes look": False, "optional file not there": False}
    assert "--set data.train.0.source=annot/train.json" in report.findings[0].where
    assert "--set data.validation.source=annot/valid.json" in report.findings[1].where
    (root / "annot").rename(root / "annotations")
    (root / "annotations" / "train.json").rename(root / "annotations" / "mpii_train.json")
    (root / "annotations" / "valid.json").rename(root / "annotations" / "mpii_val.json")
    (root / "annotations" / "mpii_gt_val.mat").write_bytes(b"")
    report = verify_layout("mpii", root)
    assert not report.broken and report.findings == ()


def test_a_root_of_another_layout_is_one_message_that_says_where_files_go(tmp_path):
    root = coco_root(tmp_path)
    with pytest.raises(AnnotationError, match=r"found coco/.*coco is laid out so: give that folder"):
        verify_layout("coco", tmp_path)
    with pytest.raises(AnnotationError, match=r"coco is laid out so: give that folder"):
        verify_layout("coco", root / "annotations")
    other = tmp_path / "other"
    (root / "annotations").rename(other)
    with pytest.raises(AnnotationError, match=r"Move .*other/person_keypoints_train2017.json to .*/annotations/"):
        verify_layout("coco", tmp_path)
    shutil.rmtree(other)
    with pytest.raises(AnnotationError, match=r"found train2017/, val2017/\. Download the annotations"):
        verify_layout("coco", root)
    with pytest.raises(AnnotationError, match=r"There is no folder .*holds annotations/person_keypoints_train2017"):
        verify_layout("coco", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["coco"], "wants the folder"), (["cocoa", "."], "coco"), (["coco", ".", "--images", "x"], "single file")],
)
def test_wrong_arguments_are_one_message_and_exit_code_two(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "verify", *arguments])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_layout_is_an_error():
    with pytest.raises(SettingError, match="crowdpose"):
        verify_layout("crowdpos", ".")
