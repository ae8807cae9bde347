"""The benchmark's report; its times themselves are the machine's affair."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dot_model import crop_spec, lay_out, paint, write_crop_model, write_dot_model
from litepose import machine_limits
from litepose.benchmark import STEPS, as_jpeg, benchmark, benchmark_together, compare
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


def test_models_take_turns_on_the_pictures_and_are_compared_by_rounds(model):
    predictors = [load(model, threads=1), load(model, threads=1, flip=True)]
    pictures = [as_jpeg(paint(lay_out(count, SIZE), SIZE), quality=100) for count in (1, 3)]
    reports = benchmark_together(predictors, pictures, repeat=4, warmup=0, attained_gflops={"onnx": 50.0})
    assert [(one.pictures, one.runtime, one.repeat) for one in reports] == [(2, "onnx", 4)] * 2
    assert reports[0].people == 2  # of 1 and 3
    assert [one.attained_gflops for one in reports] == [50.0, 50.0] and reports[0].attained_share is None  # no cost
    (ratio,) = compare(reports, ["plain", "flipped"])
    rounds = np.array(reports[0].network_cpu_ms) / np.array(reports[1].network_cpu_ms)
    assert (ratio.first, ratio.second) == ("plain", "flipped")
    assert ratio.network == pytest.approx(np.percentile(rounds, (25, 50, 75)))
    assert set(ratio.to_json()["whole"]) == {"low", "median", "high"}
    assert "cpu_ms" not in reports[0].to_json()


def test_a_top_down_model_beside_a_bottom_up_one_is_timed_by_what_its_detector_finds(model, tmp_path):
    boxes = np.array([[0, 0, 100, 200], [200, 100, 400, 400]])
    crops = load(write_crop_model(tmp_path / "crops.onnx"), threads=1, boxes=lambda picture: boxes)
    picture = as_jpeg(paint(lay_out(1, SIZE), SIZE), quality=100)
    reports = benchmark_together([load(model, threads=1), crops], [picture], repeat=2, warmup=1)
    assert [(one.people, one.top_down) for one in reports] == [(1, False), (2, True)]


def call(*arguments):
    from litepose.cli import main

    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        return end.code
    return 0


def test_the_command_compares_models_over_a_folder(model, tmp_path, capsys):
    for count in (1, 2):
        (tmp_path / f"{count}.jpg").write_bytes(as_jpeg(paint(lay_out(count, SIZE), SIZE), quality=100))
    report = tmp_path / "report.json"
    options = ("--source", tmp_path, "--repeat", 2, "--no-limits", "--json", report)
    assert call("bench", model, model, *options) == 0
    out = capsys.readouterr().out
    assert "dots.onnx (1): 2 pictures" in out and "dots.onnx (2) is faster than dots.onnx (1) by: network" in out
    content = json.loads(report.read_text())
    assert len(content["models"]) == 2 and content["ratios"][0]["network"]["median"] > 0
    assert call("bench", model, *options) == 0
    assert set(json.loads(report.read_text())["steps"]) == set(STEPS)  # one model: its report alone


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threads", "10000"], ["--threads", "256"]),
        (["--threads", "0"], ["--threads", "equal to 1"]),
        (["--source", "nothing"], ["no folder", "--image"]),
        (["--source", "empty"], ["no pictures"]),
        (["--source", "empty", "--image", "a.jpg"], ["one of them"]),
        (["--runtime", "warp"], ["warp", "onnx"]),
    ],
)
def test_bad_input_is_one_error(model, options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert call("bench", model, "--repeat", 1, "--no-limits", *options) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


def test_a_dense_convolution_runs_without_the_package_that_writes_onnx(monkeypatch):
    monkeypatch.setattr(machine_limits, "RUNS", 2)
    assert machine_limits.convolution_gflops("onnx", 1) > 0.1
    assert machine_limits.convolution_gflops("abacus", 1) is None


def test_multiply_adds_are_not_measured_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert machine_limits.fma_gflops() is None
