"""Weights are never trained on pictures that they are measured on: the table of both that ships beside them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from litepose import weights
from litepose.runtimes import open_runtime

ROOT = Path(__file__).parents[1]
DATA = os.environ.get("LITEPOSE_DATA")
TABLE = json.loads((weights.FOLDER / "pictures.json").read_text(encoding="utf-8"))
TRAINING, VALIDATION = TABLE["training"], TABLE["validation"]
SET = re.compile(r"[\w-]+/[\w-]+\.json")


@pytest.fixture
def photographs(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import same_photographs

    yield same_photographs
    sys.modules.pop("same_photographs")


def provenance_of(name: str) -> dict:
    return dict(open_runtime(weights.path_of(name), threads=1).spec.provenance)


def source_of(name: str) -> str:
    """COCO's pictures, wherever they lie, have one numbering; LSPET's another."""
    return "lspet" if name.startswith("lspet/") else "coco"


def test_no_picture_is_in_training_and_in_validation():
    for trained, ids in TRAINING.items():
        assert len(set(ids)) == len(ids) > 0
        for measured, others in VALIDATION.items():
            if source_of(trained) == source_of(measured):
                assert not set(ids) & set(others), (trained, measured)


def test_the_validation_pictures_are_the_129_that_the_cards_speak_of():
    assert len(VALIDATION["coco/val.json"]) == 129
    assert len(VALIDATION["lspet/val.json"]) == 500
    assert {139, 785, 872} <= set(VALIDATION["coco/val.json"])


@pytest.mark.parametrize("name", weights.names())
def test_a_shipped_model_names_only_sets_of_the_table(name):
    facts = provenance_of(name)
    said = " ".join(facts["data"])
    named = set(SET.findall(said))
    assert "coco/train.json" in named and named <= set(TRAINING)
    assert facts["recipe"]["data"]["validation"]["source"] in VALIDATION
    assert "val-129" in facts["measured_on"]
    for count in re.findall(r"coco/train\.json \([^)]*?([\d,]+) COCO 2017 photographs", said):
        assert int(count.replace(",", "")) == len(TRAINING["coco/train.json"])


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
def test_the_table_is_what_the_files_hold(photographs):
    assert photographs.read_table(Path(str(DATA))) == TABLE
    assert photographs.as_text(TABLE) == (weights.FOLDER / "pictures.json").read_text(encoding="utf-8")


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
def test_no_photograph_is_in_both_under_two_names(photographs):
    assert photographs.same_photographs(Path(str(DATA))) == []


def test_a_photograph_is_known_again_scaled_compressed_cut_and_mirrored(photographs, tmp_path):
    image = cv2.imread(str(ROOT / "examples" / "astronaut.jpg"))
    height, width = image.shape[:2]
    changed = {
        "coco/val.json": [cv2.resize(image, (200, 160)), image[:, ::-1]],
        "lspet/val.json": [image[3 : height - 4, 5 : width - 2], np.roll(image, width // 2, axis=1)],
    }
    other = cv2.imread(str(ROOT / "examples" / "scene.jpg"))
    sets = {"coco/train.json": [other, image], "lspet/train.json": [other], "negatives/train.json": [other]}
    for name, pictures in {**changed, **sets}.items():
        folder = (tmp_path / name).parent / "images"
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(name).stem
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{part}{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
        listed = [{"id": number, "file_name": f"{part}{number}.jpg"} for number in range(len(pictures))]
        (tmp_path / name).write_text(json.dumps({"images": listed}))
    pairs = photographs.same_photographs(tmp_path)
    assert {(pair.validation, pair.training) for pair in pairs} == {
        ("coco/val.json:0", "coco/train.json:1"),
        ("coco/val.json:1", "coco/train.json:1"),
        ("lspet/val.json:0", "coco/train.json:1"),
    }  # the turned one is another picture
    parts = photographs.same_parts(tmp_path)
    assert ("lspet/val.json:0", "coco/train.json:1") in {(pair.validation, pair.training) for pair in parts}
