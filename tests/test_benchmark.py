"""The benchmark's report; its times themselves are the machine's affair."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dot_model import crop_spec, lay_out, paint, write_crop_model, write_dot_model
from litepose.benchmark import STEPS, as_jpeg, benchmark
from litepose.errors import PictureError, SettingError
from litepose.predictor import load

SIZE = (640, 480)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx")


def test_the_report_says_what_was_timed(model):
    picture = as_jpeg(paint(lay_out(2, SIZE), SIZE), quality=100)
    report = benchmark(load(model, threads=1), picture, repeat=3, warmup=1, peak_gflops=100)
    assert tuple(report.steps) == STEPS and all(0 < one.median_ms <= one.p90_ms for one in report.steps.values())
    assert (report.size, report.picture_size, report.people, report.threads) == ((384, 256), SIZE, 2, 1)
    assert report.total_ms == pytest.approx(sum(one.median_ms for one in report.steps.values()))
    assert report.memory_mb is None or report.memory_mb > 20
    content = json.loads(json.dumps(report.to_json()))
    assert set(content["steps"]["network"]) == {"median_ms", "p90_ms", "cpu_ms"}


def test_gflops_follow_from_the_specs_macs_and_the_inputs_area(model, tmp_path):
    import dataclasses

    from dot_model import dot_spec

    cost = {"size": [256, 256], "params": 1, "macs": 10**9, "macs_reference": 1}
    spec = dataclasses.replace(dot_spec(), provenance={"cost": cost})
    predictor = load(write_dot_model(tmp_path / "dots.onnx", spec=spec), threads=1, flip=True)
    report = benchmark(predictor, as_jpeg(np.zeros((480, 640, 3), np.uint8)), repeat=2, warmup=0, peak_gflops=1000)
    wanted = 2 * 1e9 * (384 / 256) * 2 / (report.steps["network"].cpu_ms * 1e6)  # two passes with flip
    assert report.gflops == pytest.approx(wanted) and report.peak_share == pytest.approx(wanted / 1000)


def test_a_top_down_model_is_timed_by_its_boxes(tmp_path):
    spec = crop_spec().with_provenance(cost={"size": [192, 256], "params": 1, "macs": 10**8, "macs_reference": 1})
    boxes = np.array([[0, 0, 100, 200], [200, 100, 400, 400], [300, 0, 640, 480]])
    detected = []

    def detect(picture):
        detected.append(picture.shape)
        return boxes[:2]

    predictor = load(write_crop_model(tmp_path / "crops.onnx", spec=spec), threads=1, flip=True, boxes=detect)
    picture = as_jpeg(np.zeros((480, 640, 3), np.uint8))
    report = benchmark(predictor, picture, boxes=boxes, repeat=2, warmup=0)
    assert (report.people, report.size, report.top_down, detected) == (3, (192, 256), True, [])
    assert report.gflops == pytest.approx(2 * 1e8 * 3 * 2 / (report.steps["network"].cpu_ms * 1e6))  # two passes each
    assert benchmark(predictor, picture, repeat=3, warmup=1).people == 2
    assert detected == [(480, 640, 3)]  # once, not in each round


def test_a_model_that_states_no_cost_has_no_gflops(model):
    report = benchmark(load(model, threads=1), as_jpeg(np.zeros((64, 64, 3), np.uint8)), repeat=1, warmup=0)
    assert report.gflops is None and report.peak_share is None and report.people == 0


def test_no_rounds_and_no_picture_are_refused(model):
    with pytest.raises(SettingError, match="repeat"):
        benchmark(load(model, threads=1), b"", repeat=0)
    with pytest.raises(PictureError, match="empty"):
        benchmark(load(model, threads=1), b"", repeat=1)
