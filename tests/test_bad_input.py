"""Bad input over the whole product, through the command line: one clear error, exit code 2, nothing half-written.

Each case makes its bad file in a desk of good ones, runs one command, and states the class of the error and words of
its message: what was asked or found, and what to do. Mistakes that only concern a part (one picture of many, one
keypoint of a person) warn and let the rest go on: the tables at the end.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bad_files import (
    SIZE,
    Make,
    cut_model,
    data,
    folder,
    foreign_weights,
    good_truth,
    half_a_picture,
    huge_png,
    model,
    nothing,
    pickle_bomb,
    recipe,
    text,
    torch_bomb,
    truth,
    twice,
)
from bad_topdown import BOXES, TOP_DOWN
from dot_model import dot_spec, lay_out, paint, with_version, write_crop_model, write_dot_model
from litepose import cli, errors
from litepose.spec import SPEC_KEY


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with a good picture, model and annotation file."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "1.png"), paint(lay_out(1, SIZE), SIZE))
    cv2.imwrite(str(folder / "good.png"), paint(lay_out(1, SIZE), SIZE))
    write_dot_model(folder / "dots.onnx")
    write_crop_model(folder / "crops.onnx")
    (folder / "truth.json").write_text(json.dumps(good_truth()))
    return folder


def call(arguments: list[str]) -> tuple[int, BaseException | None]:
    """Run the command line in this process; return the exit code and the error behind it."""
    try:
        cli.main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0), stop.__cause__
    return 0, None


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# The cases: name -> (how to make the bad thing, command, class of the error, words of its message) ----------------

PREDICT = "predict -m dots.onnx --threads 1 -o out"
EVAL = "eval -m dots.onnx --threads 1 --json report.json --data"
CONVERT = "convert -m litepose_xs --skeleton coco17 -o out.safetensors"
TRAIN = "train -o run"
TORCH = ("convert", "export", "train", "info")  # commands that need torch

PICTURES: dict[str, tuple[Make, str, str, list[str]]] = {
    "absent picture": (nothing, f"{PREDICT} gone.png", "PictureError", ["no file", "gone.png"]),
    "misspelt picture": (nothing, f"{PREDICT} goood.png", "PictureError", ["goood.png", "good.png"]),
    "text as picture": (text("text.jpg", "hello"), f"{PREDICT} text.jpg", "PictureError", ["text.jpg", "no picture"]),
    "empty picture": (data("empty.jpg", b""), f"{PREDICT} empty.jpg", "PictureError", ["empty.jpg", "0 bytes"]),
    "truncated jpeg": (half_a_picture("half.jpg"), f"{PREDICT} half.jpg", "PictureError", ["half.jpg", "cut off"]),
    "truncated png": (half_a_picture("half.png"), f"{PREDICT} half.png", "PictureError", ["half.png", "cut off"]),
    "huge picture": (huge_png, f"{PREDICT} huge.png", "PictureError", ["huge.png", "1600 megapixels", "max"]),
    "empty folder": (folder("hollow"), f"{PREDICT} hollow", "PictureError", ["hollow"]),
    "glob without files": (nothing, f"{PREDICT} *.webp", "PictureError", [r"\*.webp"]),
    "unknown format": (nothing, f"{PREDICT} good.png --json a.json --format xml", "SettingError", ["xml", "openpose"]),
    "json over input": (nothing, f"{PREDICT} good.png --json good.png", "SettingError", ["overwrite", "another"]),
    "output is a file": (text("taken", "x"), "predict -m dots.onnx -o taken good.png", "LiteposeError", ["taken"]),
    "size of letters": (nothing, f"{PREDICT} good.png --size big", "SettingError", ["'big'", "256x256"]),
    "size off stride": (nothing, f"{PREDICT} good.png --size 100x100", "InputSizeError", ["100x100", "Use 112x112"]),
    "scales of letters": (nothing, f"{PREDICT} good.png --scales a,b", "SettingError", ["a,b", "0.5,1,2"]),
    "scale of zero": (nothing, f"{PREDICT} good.png --scales 0", "SettingError", ["0.1 to 10"]),
    "unknown decoding": (nothing, f"{PREDICT} good.png --decode quick", "LiteposeError", ["quick", "exact", "fast"]),
    "unknown device": (nothing, f"{PREDICT} good.png --device tpu", "LiteposeError", ["tpu", "cpu"]),
    "unknown runtime": (nothing, f"{PREDICT} good.png --runtime tvm", "LiteposeError", ["tvm", "onnx"]),
}

MODELS: dict[str, tuple[Make, str, str, list[str]]] = {
    "unknown model": (nothing, "predict -m litepose_xxs good.png", "ModelError", ["litepose_xxs", "path of"]),
    "absent model": (nothing, "predict -m gone.onnx good.png", "ModelError", ["gone.onnx"]),
    "text as model": (
        text("text.onnx", "hi"),
        "predict -m text.onnx good.png",
        "ModelError",
        ["text.onnx", "no model"],
    ),
    "truncated model": (cut_model, "predict -m cut.onnx good.png", "ModelError", ["cut.onnx"]),
    "unknown suffix": (text("net.pb", "x"), "predict -m net.pb good.png", "ModelError", ["net.pb", "onnx"]),
    "folder as model": (folder("net.onnx"), "predict -m net.onnx good.png", "ModelError", ["net.onnx"]),
    "model without spec": (
        model("bare.onnx", metadata={}),
        "predict -m bare.onnx good.png",
        "SpecError",
        ["bare.onnx", "spec"],
    ),
    "model with a newer spec": (
        model("newer.onnx", metadata={SPEC_KEY: with_version(dot_spec(), 99)}),
        "predict -m newer.onnx good.png",
        "SpecError",
        ["newer.onnx", "version 99", "Upgrade"],
    ),
    "model with a broken spec": (
        model("mangled.onnx", metadata={SPEC_KEY: "{"}),
        "predict -m mangled.onnx good.png",
        "SpecError",
        ["mangled.onnx"],
    ),
    "maps of another shape": (
        model("narrow.onnx", channels=5),
        "predict -m narrow.onnx good.png",
        "ModelError",
        ["narrow.onnx", "channels|shape"],
    ),
    "text as checkpoint": (
        text("text.safetensors", "hi"),
        "predict -m text.safetensors good.png",
        "ModelError",
        ["text.safetensors"],
    ),
    "bench of nothing": (nothing, "bench gone.onnx", "ModelError", ["gone.onnx"]),
    "bench on no picture": (nothing, "bench dots.onnx --image gone.png", "PictureError", ["no file", "gone.png"]),
    "info on nothing": (nothing, "info litepose_xz", "ModelError", ["litepose_xz", "Did you mean"]),
    "info at an odd size": (nothing, "info litepose_xs --size 100x100", "InputSizeError", ["100x100", "112x112"]),
    "pickle bomb": (pickle_bomb, f"{CONVERT} bomb.pth", "CheckpointError", ["bomb.pth"]),
    "pickle bomb in a zip": (torch_bomb, f"{CONVERT} zipbomb.pth", "CheckpointError", ["zipbomb.pth"]),
    "text as official file": (text("text.pth", "hi"), f"{CONVERT} text.pth", "CheckpointError", ["text.pth"]),
    "absent official file": (nothing, f"{CONVERT} gone.pth", "CheckpointError", ["gone.pth"]),
    "weights of another network": (foreign_weights, f"{CONVERT} foreign.pth", "CheckpointError", ["missing", "layer"]),
    "convert into another kind": (
        nothing,
        "convert x.pth -m litepose_xs --skeleton coco17 -o x.onnx",
        "SettingError",
        [".safetensors", "export"],
    ),
    "export of nothing": (nothing, "export gone.safetensors -o out.onnx", "CheckpointError", ["gone.safetensors"]),
    "export of text": (
        text("t.safetensors", "hi"),
        "export t.safetensors -o out.onnx",
        "CheckpointError",
        ["t.safetensors"],
    ),
}

SKELETONS: dict[str, tuple[Make, str, str, list[str]]] = {
    "unknown skeleton": (nothing, "info litepose_xs --skeleton coco71", "SkeletonError", ["coco71", "Did you mean"]),
    "skeleton that is no json": (
        text("s1.json", "{"),
        "info litepose_xs --skeleton s1.json",
        "SkeletonError",
        ["s1.json", "no JSON"],
    ),
    "skeleton with a strange limb": (
        text("s2.json", '{"name": "s", "keypoints": ["a"], "limbs": [["a", "b"]]}'),
        "info litepose_xs --skeleton s2.json",
        "SkeletonError",
        ["'b'", "no keypoint"],
    ),
    "arch that is no json": (text("a1.json", "{"), "info litepose_xs --arch a1.json", "LiteposeError", ["a1.json"]),
    "arch without its fields": (
        text("a2.json", "{}"),
        "info litepose_xs --arch a2.json",
        "ModelError",
        ["arch lacks 'img_size'", "It needs"],
    ),
}

EXTRA = {"id": 9, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 0, "area": 9.0}

ANNOTATIONS: dict[str, tuple[Make, str, str, list[str]]] = {
    "absent annotations": (nothing, f"{EVAL} gone.json", "AnnotationError", ["gone.json"]),
    "annotations that are no json": (text("no.json", "{"), f"{EVAL} no.json", "AnnotationError", ["no.json", "JSON"]),
    "annotations that are a list": (text("list.json", "[]"), f"{EVAL} list.json", "AnnotationError", ["list.json"]),
    "no images field": (
        truth("a.json", lambda d: d.pop("images")),
        f"{EVAL} a.json",
        "AnnotationError",
        ["'images' is missing"],
    ),
    "no annotations field": (
        truth("b.json", lambda d: d.pop("annotations")),
        f"{EVAL} b.json",
        "SettingError",
        ["no annotations to score against", "--save-results"],
    ),
    "no images": (truth("c.json", lambda d: d["images"].clear()), f"{EVAL} c.json", "AnnotationError", ["empty"]),
    "no file name": (
        truth("d.json", lambda d: d["images"][0].pop("file_name")),
        f"{EVAL} d.json",
        "AnnotationError",
        ["file_name"],
    ),
    "no image id": (
        truth("e.json", lambda d: d["annotations"][0].pop("image_id")),
        f"{EVAL} e.json",
        "AnnotationError",
        ["image_id"],
    ),
    "too few keypoints": (
        truth("f.json", lambda d: d["annotations"][0]["keypoints"].pop()),
        f"{EVAL} f.json",
        "AnnotationError",
        ["50 keypoint values", "needs 51"],
    ),
    "keypoints of letters": (
        truth("g.json", lambda d: d["annotations"][0].update(keypoints=["x"] * 51)),
        f"{EVAL} g.json",
        "AnnotationError",
        ["numbers"],
    ),
    "box of three numbers": (
        truth("h.json", lambda d: d["annotations"][0].update(bbox=[1, 2, 3])),
        f"{EVAL} h.json",
        "AnnotationError",
        ["four numbers"],
    ),
    "segment of letters": (
        truth("h6.json", lambda d: d["annotations"].append({**EXTRA, "segmentation": "abc"})),
        f"{EVAL} h6.json",
        "AnnotationError",
        ["list of polygons", "abc"],
    ),
    "annotations that are numbers": (
        truth("h4.json", lambda d: d.update(annotations=[1, 2])),
        f"{EVAL} h4.json",
        "AnnotationError",
        ["annotation"],
    ),
    "images that are numbers": (
        truth("h5.json", lambda d: d.update(images=[1, 2])),
        f"{EVAL} h5.json",
        "AnnotationError",
        ["image"],
    ),
    "image id twice": (truth("i.json", twice("images")), f"{EVAL} i.json", "AnnotationError", ["1", "more than once"]),
    "annotation id twice": (
        truth("j.json", twice("annotations")),
        f"{EVAL} j.json",
        "AnnotationError",
        ["more than once"],
    ),
    "pictures nowhere": (
        truth("k.json", lambda d: d["images"][0].update(file_name="gone.png")),
        f"{EVAL} k.json",
        "AnnotationError",
        ["none of its 1 pictures", "--images"],
    ),
    "pictures in no folder": (nothing, f"{EVAL} truth.json --images gone", "AnnotationError", ["gone"]),
    "keypoints of another animal": (
        truth("l.json", lambda d: d["categories"][0].update(keypoints=[f"leg_{i}" for i in range(17)])),
        f"{EVAL} l.json",
        "AnnotationError",
        ["leg_0"],
    ),
    "unknown synthetic option": (nothing, f"{EVAL} synthetic:peeple=3", "LiteposeError", ["peeple", "people"]),
    "synthetic backwards": (nothing, f"{EVAL} synthetic:people=9-1", "LiteposeError", ["people=9-1", "Swap"]),
    "packing of nothing": (nothing, "data pack gone.json -o packed", "AnnotationError", ["gone.json"]),
}

RECIPES: dict[str, tuple[Make, str, str, list[str]]] = {
    "unknown recipe": (
        nothing,
        f"{TRAIN} litepose_xs_sinthetic",
        "RecipeError",
        ["litepose_xs_sinthetic", "Did you mean"],
    ),
    "absent recipe": (nothing, f"{TRAIN} gone.toml", "RecipeError", ["gone.toml"]),
    "recipe that is no toml": (text("r1.toml", "[model"), f"{TRAIN} r1.toml", "RecipeError", ["r1.toml", "no TOML"]),
    "unknown key": (
        recipe("r2.toml", "warmup_steps", "warmup_stepps"),
        f"{TRAIN} r2.toml",
        "RecipeError",
        ["r2.toml", "warmup_stepps", "Did you mean 'warmup_steps'"],
    ),
    "missing key": (recipe("r3.toml", "batch = 16", ""), f"{TRAIN} r3.toml", "RecipeError", ["run.batch is missing"]),
    "impossible value": (
        recipe("r4.toml", "batch = 16", "batch = -1"),
        f"{TRAIN} r4.toml",
        "RecipeError",
        ["run.batch = -1"],
    ),
    "unknown network": (
        recipe("r5.toml", '"litepose_xs"', '"litepose_xz"'),
        f"{TRAIN} r5.toml",
        "ModelError",
        ["litepose_xz", "Did you mean"],
    ),
    "unknown codec setting": (
        recipe("r6.toml", "sigma = 2.0", "sigmaa = 2.0"),
        f"{TRAIN} r6.toml",
        "LiteposeError",
        ["sigmaa", "sigma"],
    ),
    "unknown augmentation": (
        recipe("r7.toml", "rotation_deg", "rotation_degrees"),
        f"{TRAIN} r7.toml",
        "RecipeError",
        ["rotation_degrees"],
    ),
    "input off the stride": (
        recipe("r8.toml", "[128, 128]", "[100, 128]"),
        f"{TRAIN} r8.toml",
        "InputSizeError",
        ["100x128"],
    ),
    "setting without value": (
        nothing,
        f"{TRAIN} litepose_xs_synthetic --set optim.lr",
        "RecipeError",
        ["optim.lr", "section.key=value"],
    ),
    "data that is not there": (
        nothing,
        f"{TRAIN} litepose_xs_synthetic --data gone.json",
        "AnnotationError",
        ["gone.json"],
    ),
    "resume of nothing": (nothing, f"{TRAIN} litepose_xs_synthetic --resume", "TrainingError", ["--resume", "run"]),
    "start from text": (
        text("w.safetensors", "hi"),
        f"{TRAIN} litepose_xs_synthetic --from w.safetensors",
        "CheckpointError",
        ["w.safetensors"],
    ),
    "start from a file that cannot be trained on": (
        nothing,
        f"{TRAIN} litepose_xs_synthetic --from dots.onnx",
        "CheckpointError",
        ["dots.onnx", "folded", "--trainable"],
    ),
    "start from nothing": (
        nothing,
        f"{TRAIN} litepose_xs_synthetic --from litepose_xxs",
        "ModelError",
        ["litepose_xxs", "litepose_xs"],
    ),
}

ERRORS = PICTURES | MODELS | SKELETONS | ANNOTATIONS | RECIPES | BOXES | TOP_DOWN


def test_the_table_is_long_enough():
    assert len(ERRORS) >= 40
    assert len(ERRORS) == sum(map(len, (PICTURES, MODELS, SKELETONS, ANNOTATIONS, RECIPES, BOXES, TOP_DOWN)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ERRORS)
def test_bad_input_is_one_clear_error_and_leaves_nothing_behind(name, desk, monkeypatch, capsys):
    make, command, kind, words = ERRORS[name]
    if command.split()[0] in TORCH or "safetensors" in command:
        pytest.importorskip("torch")
    monkeypatch.chdir(desk)
    make(desk)
    before = files_of(desk)
    code, error = call(command.split())
    message = capsys.readouterr().err
    assert code == 2, message
    assert isinstance(error, getattr(errors, kind)), f"{type(error).__name__}: {error}"
    assert message.startswith("litepose: ")
    assert "Traceback" not in message
    for word in words:
        assert re.search(word, message), f"{word!r} is not in: {message}"
    assert files_of(desk) == before


# What concerns only a part: the rest goes on ----------------------------------------------------------------


def grey(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    return np.full(shape, 90, dtype)


ODD_PICTURES = {
    "1x1": lambda: grey((1, 1, 3)),
    "one row": lambda: grey((1, 300, 3)),
    "grey": lambda: grey((64, 64)),
    "RGBA": lambda: grey((64, 64, 4)),
    "16 bit": lambda: grey((64, 64, 3), np.uint16),
}


@pytest.mark.parametrize("name", ODD_PICTURES)
def test_odd_pictures_are_read_and_drawn(name, desk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    cv2.imwrite(str(tmp_path / "odd.png"), ODD_PICTURES[name]())
    code, _ = call(f"predict -m dots.onnx --threads 1 -o {tmp_path}/out {tmp_path}/odd.png".split())
    assert code == 0, capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "out" / "odd.png")) is not None


def test_one_bad_picture_of_three_is_named_and_the_others_are_done(desk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes((desk / "good.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"hello")
    out = tmp_path / "out"
    code, error = call(f"predict -m dots.onnx --threads 1 -o {out} --json {out}/p.json {tmp_path}".split())
    assert (code, type(error)) == (2, errors.PictureError)
    message = capsys.readouterr().err
    assert "1 of 3 pictures" in message
    assert "b.png" in message
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png", "p.json"]


def not_a_number(content: dict[str, Any]) -> None:
    content["annotations"][0]["keypoints"][0] = float("nan")


def box_outside(content: dict[str, Any]) -> None:
    content["annotations"][0]["bbox"] = [-50, -50, 9000, 9000]


def one_missing(content: dict[str, Any]) -> None:
    content["images"].append({"id": 2, "file_name": "gone.png", "width": 9, "height": 9})


def stranger(content: dict[str, Any]) -> None:
    content["annotations"].append({**content["annotations"][0], "id": 2, "image_id": 77})


# name -> (change of the good file, word of the warning or None, people that count)
PARTLY = {
    "NaN keypoint": (not_a_number, "NaN", 1),
    "box far outside": (box_outside, None, 1),
    "no people": (lambda content: content["annotations"].clear(), None, 0),
    "one picture missing": (one_missing, "gone.png", 1),
    "people of an unlisted picture": (stranger, "no listed picture", 1),
    "no box": (lambda content: content["annotations"][0].pop("bbox"), None, 1),
    "box of letters around no keypoints": (
        lambda content: content["annotations"].append({**EXTRA, "bbox": list("abcd")}),
        None,
        1,
    ),
    "segment of one point": (
        lambda content: content["annotations"].append({**EXTRA, "segmentation": [[1, 2]]}),
        None,
        1,
    ),
    "no area": (lambda content: content["annotations"][0].pop("area"), None, 1),
}


@pytest.mark.parametrize("name", PARTLY)
def test_doubtful_annotations_warn_by_name_and_the_rest_is_scored(name, desk, tmp_path, monkeypatch, capsys):
    pytest.importorskip("hotcoco")
    change, word, people = PARTLY[name]
    content = good_truth()
    change(content)
    monkeypatch.chdir(desk)
    (tmp_path / "t.json").write_text(json.dumps(content))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        arguments = f"eval -m dots.onnx --threads 1 --data {tmp_path}/t.json --images images --json {tmp_path}/r.json"
        code, _ = call(arguments.split())
    said = capsys.readouterr().err
    assert code == 0, said
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["settings"]["pictures"], report["settings"]["people"]) == (1, people)
    warned = [line for line in said.splitlines() if line.startswith("litepose: warning: ")]
    assert word is None or any(word in line and "t.json" in line for line in warned)


DOUBTFUL_BOXES = {"of zero area": {"bbox": [20, 20, 0, 50]}, "of another picture": {"image_id": "elsewhere"}}


@pytest.mark.parametrize("name", DOUBTFUL_BOXES)
def test_a_doubtful_box_among_good_ones_warns_and_the_rest_is_looked_at(name, desk, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(desk)
    good = {"image_id": "good", "category_id": 1, "bbox": [10, 10, 236, 236], "score": 0.9}
    (tmp_path / "some.json").write_text(json.dumps([good, {**good, **DOUBTFUL_BOXES[name]}]))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        arguments = f"predict -m crops.onnx --threads 1 --json {tmp_path}/p.json good.png --boxes {tmp_path}/some.json"
        code, _ = call(f"{arguments} -o {tmp_path}/out".split())
    said = capsys.readouterr().err
    assert code == 0, said
    assert re.search(r"litepose: warning: .*some\.json: 1 .*left out", said), said
    assert len(json.loads((tmp_path / "p.json").read_text())["pictures"][0]["people"]) == 1
