"""The contact sheet: the same random pictures for every model, the people drawn, what is found counted."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import crop_spec, dot_spec, write_crop_model, write_dot_model
from dot_pictures import write_dot_pictures
from litepose import drawing_sheet

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def sheet(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import contact_sheet

    yield contact_sheet
    sys.modules.pop("contact_sheet")


def test_it_draws_the_people_of_a_bottom_up_model_and_counts_them(sheet, tmp_path, capsys):
    write_dot_pictures(tmp_path / "data", count=5)
    model = write_dot_model(tmp_path / "dots.onnx", spec=dot_spec(size=(512, 512)))
    data, out = tmp_path / "data" / "truth.json", tmp_path / "sheet.jpg"
    sheet.main([str(model), "--data", str(data), "--count", "3", "--seed", "1", "-o", str(out)])
    assert "6 of 6 well, 6 found" in capsys.readouterr().out
    drawn = cv2.imread(str(out))
    assert drawn.shape[1] > 3 * sheet.LONGEST_PX  # three tiles side by side
    plain = cv2.resize(cv2.imread(str(tmp_path / "data" / "images" / "1.png")), (312, 312))
    tile = drawn[3 * drawing_sheet.LINE_PX + 10 :, 10:][:312, :312]
    assert np.abs(tile.astype(int) - plain).mean() > 2  # limbs are drawn into it


def test_a_top_down_model_gets_the_annotated_boxes_or_another_models(sheet, tmp_path, capsys):
    write_dot_pictures(tmp_path / "data", count=2, people=1)
    crops = write_crop_model(tmp_path / "crops.onnx", spec=crop_spec())
    blind = write_dot_model(tmp_path / "blind.onnx", spec=dot_spec(detection_threshold=0.999999))
    data, out = str(tmp_path / "data" / "truth.json"), str(tmp_path / "sheet.jpg")
    sheet.main([str(crops), "--data", data, "-o", out])
    assert "2 of 2 pictures of data/truth.json, seed 0, boxes: gt: 2 of 2 well, 2 found" in capsys.readouterr().out
    sheet.main([str(crops), "--data", data, "--boxes", str(blind), "-o", out])
    assert " 0 found" in capsys.readouterr().out


def test_the_same_seed_draws_the_same_pictures_and_another_one_others(sheet, tmp_path):
    write_dot_pictures(tmp_path / "data", count=12, people=1, size=(192, 192))
    from litepose.evaluation import open_data
    from litepose.predictor import load

    finder = load(write_dot_model(tmp_path / "dots.onnx", spec=dot_spec(size=(192, 192))), threads=1)
    data = open_data(tmp_path / "data" / "truth.json")

    def ids(seed: int) -> list:
        looked = sheet.look(finder, data, boxes=None, count=5, rng=np.random.default_rng(seed))
        return [sample.id for sample, _ in looked]

    assert ids(0) == ids(0) == sorted(set(ids(0)))
    assert ids(0) != ids(1)


def test_tiles_of_different_height_stand_in_rows_below_the_title():
    tiles = [np.full((height, 400, 3), 10 * n, np.uint8) for n, height in enumerate((100, 60, 80, 100))]
    made = drawing_sheet.arrange(tiles, title=["above"])
    head, row = 2 * drawing_sheet.LINE_PX, 100 + drawing_sheet.MARGIN_PX
    left = drawing_sheet.MARGIN_PX
    assert (made[head + 10 : head + 70, left + 410 : left + 810] == 10).all()
    assert (made[head + 70 : head + 110, left + 410 : left + 810] == drawing_sheet.PAPER).all()
    assert (made[head + row + 10 : head + row + 110, left : left + 400] == 30).all()  # the fourth begins a row
    assert drawing_sheet.with_lines(tiles[0], ["x" * 500]).shape[1] == 400
