"""Model files with integer layers: what is calibrated, chosen, compared, kept, and what the file says of itself."""

import dataclasses
import inspect
import json

import numpy as np
import onnx
import pytest

from dot_model import dot_spec, lay_out, paint, write_dot_model
from litepose.errors import ExportError, ModelError, SettingError
from litepose.evaluation import open_data
from litepose.poses import Poses
from litepose.predictor import load
from litepose.quantization import quantize_model, this_target
from litepose.quantization.calibration import collect
from litepose.quantization.compare import compare_people, time_turns
from litepose.quantization.graph import FloatGraph
from litepose.quantization.report import QuantizationReport, Timing
from litepose.quantization.run import LIMIT, _check_plain
from litepose.skeleton import COCO17
from quantized_dots import SIZE, SPOILING, write_annotated, write_layered_dots, write_pictures

ELSEWHERE = "x86" if this_target() == "arm" else "arm"  # a target whose speed this machine does not judge


def call(*arguments):
    from litepose.cli import main

    try:
        main([str(one) for one in arguments])
    except SystemExit as end:
        return end.code
    return 0


def quantized(tmp_path, weights=None, **settings):
    """Quantize the dot model with three pictures; return (float file, report)."""
    model = write_layered_dots(tmp_path / "dots.onnx", *([] if weights is None else [weights]))
    data = open_data(write_pictures(tmp_path / "pictures"))
    settings = {"target": ELSEWHERE, **settings}
    return model, quantize_model(model, data, tmp_path / "int8.onnx", **settings)


def integer_convs(path):
    """The names of the convolutions whose weights are stored as integers."""
    graph = onnx.load(str(path)).graph
    unpacked = {out for node in graph.node if node.op_type == "DequantizeLinear" for out in node.output}
    return {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in unpacked}


def test_a_quantized_file_finds_the_same_people_and_says_how_it_was_made(tmp_path):
    model, report = quantized(tmp_path)
    assert report.kept and report.path.is_file() and report.layers == ("conv0", "conv1")
    assert report.likeness > 0.99 and report.people == (3, 3)
    picture = paint(lay_out(1, SIZE), SIZE)
    before, after = load(model, threads=1)(picture), load(report.path, threads=1)(picture)
    np.testing.assert_allclose(after.keypoints, before.keypoints, atol=0.5)  # px: a level of 1/255 moves a peak little
    facts = load(report.path, threads=1).spec.provenance["quantized"]
    assert facts["calibration"] == {
        "data": facts["calibration"]["data"],
        "pictures": 3,
        "looked_at": 3,
        "inputs": 3,
        "method": "percentile",
    }
    assert facts["calibration"]["data"].endswith("pictures") and facts["target"] == ELSEWHERE
    assert facts["layers"] == 2 and len(facts["float_model"]["sha256"]) == 64


def test_the_layers_that_make_the_outputs_stay_float(tmp_path):
    _, report = quantized(tmp_path)
    assert integer_convs(report.path) == {"conv0", "conv1"}  # the third makes the maps: the rest has no weights
    assert report.num_layers == 3 and not report.costly


def test_a_layer_that_loses_much_stays_float(tmp_path):
    _, report = quantized(tmp_path, SPOILING)
    assert max(report.errors_of_all.values()) > 0.5
    assert max(report.errors.values()) < 0.1
    assert set(report.layers) == {"conv0", "conv1"} and set(report.costly) == {"conv2", "conv3"}
    assert report.likeness > 0.99


def test_errors_are_told_apart_by_output_and_kind(tmp_path):
    _, report = quantized(tmp_path)
    assert set(report.errors) == {"maps0 heatmap", "maps0 tag", "maps1 heatmap"}


def test_activations_are_signed_for_arm_and_unsigned_for_x86(tmp_path):
    for target, kind in (("arm", onnx.TensorProto.INT8), ("x86", onnx.TensorProto.UINT8)):
        _, report = quantized(tmp_path, target=target, keep=True)
        graph = onnx.load(str(report.path)).graph
        kinds = {one.name: one.data_type for one in graph.initializer}
        made = {kinds[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}
        assert made == {kind}
        load(report.path, threads=1)(paint(lay_out(1, SIZE), SIZE))


def test_percentiles_cut_off_what_is_rare(tmp_path):
    graph = FloatGraph(write_layered_dots(tmp_path / "dots.onnx"), tmp_path)
    values = np.full((1, 3, 192, 192), 0.5, np.float32)
    values[0, :, 0, 0] = 50
    inputs = [values, np.full((1, 3, 128, 64), 0.25, np.float32)]  # of two sizes
    for method, highest in (("minmax", 50.0), ("percentile", 0.55)):
        top = graph.ranges(inputs, method)["conv0"].range_value[1]
        assert float(np.max(top)) == pytest.approx(highest, abs=0.1)  # a histogram's bins are 50 / 2048 wide or so


def test_calibration_takes_only_pictures_with_people(tmp_path):
    predictor = load(write_layered_dots(tmp_path / "dots.onnx"), threads=1)
    data = open_data(write_pictures(tmp_path / "pictures", (0, 1, 0, 2, 0)))
    calibration = collect(predictor, data, pictures=4)
    assert (calibration.pictures, calibration.looked, len(calibration.inputs)) == (2, 5, 2)
    assert all(one.shape == (1, 3, 192, 192) and one.max() > 0 for one in calibration.inputs)


def test_broken_pictures_are_passed_over(tmp_path):
    predictor = load(write_layered_dots(tmp_path / "dots.onnx"), threads=1)
    folder = write_pictures(tmp_path / "pictures", (1,))
    (folder / "broken.png").write_bytes(b"no picture")
    calibration = collect(predictor, open_data(folder), pictures=2)
    assert (calibration.pictures, calibration.unreadable) == (1, 1)


def test_a_top_down_model_is_calibrated_in_annotated_boxes_and_scored(tmp_path):
    pytest.importorskip("hotcoco")
    model = write_layered_dots(tmp_path / "crops.onnx", crops=True)
    report = quantize_model(model, open_data(write_annotated(tmp_path)), tmp_path / "int8.onnx", target=ELSEWHERE)
    assert report.calibration["inputs"] == 2
    before, after = report.measures["AP"]
    assert before > 0.5 and abs(before - after) < 0.01
    provenance = load(report.path, threads=1).spec.provenance
    assert provenance["metrics"]["AP"] == pytest.approx(after, abs=1e-4)
    assert provenance["measured_on"].endswith("people.json, annotated boxes, 2 pictures")


def some_report(**changes) -> QuantizationReport:
    timing = Timing(10.0, 8.0, 0.8, 1, "x86_64")
    report = QuantizationReport(
        path=None, model="m", target="x86", here="x86", layers=("a",), num_layers=2, costly={}, errors={},
        errors_of_all={}, timing=timing, measures={"AP": (0.5, 0.495)}, likeness=0.95, people=(9, 9), test="t",
        num_pictures=5, num_bytes=(4, 1), calibration={},
    )  # fmt: skip
    return dataclasses.replace(report, **changes)


def test_a_file_is_kept_unless_it_is_slower_here_or_loses_a_point():
    slow = Timing(10.0, 15.0, 1.5, 1, "x86_64")
    assert some_report().faults == ()
    assert "1.50 times" in some_report(timing=slow).faults[0]
    assert some_report(timing=slow, target="arm").faults == ()  # timed on the wrong kind of machine
    assert "loses 2.0 points of AP" in some_report(measures={"AP": (0.5, 0.48)}).faults[0]
    assert "points of PCK" in some_report(measures={"PCK": (0.5, 0.4)}).faults[0]
    assert "mean OKS is 0.50" in some_report(measures={}, likeness=0.5).faults[0]
    assert some_report(measures={}, likeness=None).faults == ()
    assert "no layer" in some_report(layers=()).faults[0]


def test_a_file_that_is_not_worth_it_is_not_written_unless_asked_for(tmp_path, monkeypatch):
    slow = Timing(1.0, 2.0, 2.0, 1, "x86_64")
    monkeypatch.setattr("litepose.quantization.run.time_turns", lambda *_: slow)
    told = []
    with pytest.raises(ExportError, match=r"not kept.*slower here: 2.00 times.*--keep"):
        quantized(tmp_path, target=this_target(), on_report=told.append)
    assert [one.kept for one in told] == [False] and not (tmp_path / "int8.onnx").exists()
    assert not list(tmp_path.glob(".*"))  # no temporary file, nothing half-evaluated
    _, report = quantized(tmp_path, target=this_target(), keep=True)
    assert report.kept and report.path.is_file() and len(report.faults) == 1


def test_a_file_that_loses_too_much_is_told_of_with_what_would_lose_less(tmp_path, monkeypatch):
    monkeypatch.setattr("litepose.quantization.report.LEAST_LIKENESS", 2.0)
    with pytest.raises(ExportError, match=r"mean OKS is .*--max-error below 0\.07 \(fewer layers as int8\)"):
        quantized(tmp_path)


def test_the_command_allows_the_error_that_the_function_allows():
    from litepose.commands.quantize import run

    assert inspect.signature(run).parameters["max_error"].default == LIMIT


def people(*points, scores=None):
    keypoints = np.array([[[x, y]] * 17 for x, y in points], dtype=np.float32).reshape(-1, 17, 2)
    keypoints += 10 * np.arange(17, dtype=np.float32)[:, None]
    scores = np.ones(len(points)) if scores is None else np.array(scores)
    return Poses(COCO17, keypoints, np.ones((len(points), 17)), scores)


def test_likeness_is_the_mean_over_the_first_models_people():
    same = {1: people((0, 0), (900, 0)), 2: people()}
    alike = compare_people(same, {1: people((0, 0), (9000, 0)), 2: people((5, 5))})
    assert alike.oks == pytest.approx(0.5) and alike.people == (2, 3)
    assert compare_people(same, same).oks == pytest.approx(1.0)
    assert compare_people(same, {1: people(), 2: people()}).oks == 0
    faint = {1: people((0, 0), scores=[0.1])}
    assert compare_people(faint, faint).oks is None and compare_people(faint, faint).people == (0, 0)


class Counter:
    """A runtime that counts its calls."""

    threads = 1

    def __init__(self):
        self.calls = []

    def __call__(self, batch):
        self.calls.append(batch)


def test_both_files_take_turns_on_the_same_inputs():
    first, second = Counter(), Counter()
    timing = time_turns(first, second, ["a", "b"], rounds=4)
    assert first.calls == second.calls and first.calls[:3] == ["a", "b", "a"]
    assert timing.threads == 1 and timing.ratio > 0


def test_the_command_prints_a_table_and_writes_the_report(tmp_path, capsys):
    model, pictures = write_layered_dots(tmp_path / "dots.onnx"), write_pictures(tmp_path / "pictures")
    output, report = tmp_path / "int8.onnx", tmp_path / "report.json"
    options = ("--data", pictures, "-o", output, "--target", ELSEWHERE, "--json", report)
    assert call("quantize", model, *options) == 0
    out = capsys.readouterr().out
    assert "people found" in out and "2 of 3 layers compute with integers" in out and "litepose bench" in out
    content = json.loads(report.read_text())
    assert content["kept"] and content["people"]["int8"] == 3 and content["latency"]["ratio"] > 0
    assert call("predict", pictures, "-m", output, "-o", tmp_path / "drawn") == 0
    assert call("bench", output, "--repeat", 1, "--people", 1, "--no-limits") == 0


@pytest.mark.parametrize(
    ("error", "words", "counts", "options"),
    [
        (SettingError, ["finds nobody", "3 pictures", "with people"], (0, 0, 0), {}),
        (SettingError, ["No target 'raspberry'", "arm"], (1,), {"target": "raspberry"}),
        (SettingError, ["No method 'entropy'", "minmax"], (1,), {"method": "entropy"}),
        (SettingError, ["above 0"], (1,), {"max_error": 0}),
        (SettingError, ["needs pictures"], (1,), {"pictures": 0}),
        (SettingError, ["boxes", "whole picture"], (1,), {"boxes": "gt"}),
    ],
)
def test_bad_settings_are_one_error(tmp_path, error, words, counts, options):
    model = write_layered_dots(tmp_path / "dots.onnx")
    data = open_data(write_pictures(tmp_path / "pictures", counts))
    with pytest.raises(error) as caught:
        quantize_model(model, data, tmp_path / "int8.onnx", **options)
    assert all(word in str(caught.value) for word in words), caught.value
    assert not (tmp_path / "int8.onnx").exists()


def test_what_cannot_be_quantized_is_refused(tmp_path):
    model, report = quantized(tmp_path)
    data = open_data(tmp_path / "pictures")
    with pytest.raises(ModelError, match=r"int8\.onnx was to be quantized.*integers already"):
        quantize_model(report.path, data, tmp_path / "twice.onnx")
    checkpoint = tmp_path / "model.safetensors"
    checkpoint.write_bytes(b"anything")
    with pytest.raises(ModelError, match=r"litepose export .*model\.safetensors -o model\.onnx"):
        quantize_model(checkpoint, data, tmp_path / "twice.onnx")
    with pytest.raises(SettingError, match=r"possible is \.onnx"):
        quantize_model(model, data, tmp_path / "int8.tflite")
    with pytest.raises(ModelError, match="no convolution"):
        quantize_model(write_dot_model(tmp_path / "bare.onnx"), data, tmp_path / "twice.onnx")


def test_a_file_with_pixels_or_peaks_inside_is_refused(tmp_path):
    spec = dot_spec()
    pixels = dataclasses.replace(spec, input=dataclasses.replace(spec.input, pixels=True))
    with pytest.raises(ModelError, match="exported with --pixels,"):
        _check_plain(pixels, tmp_path / "a.onnx")
    _check_plain(spec, tmp_path / "a.onnx")


def test_an_empty_folder_and_another_engine_are_one_message(tmp_path, capsys):
    model = write_layered_dots(tmp_path / "dots.onnx")
    (tmp_path / "empty").mkdir()
    assert call("quantize", model, "--data", tmp_path / "empty", "-o", tmp_path / "a.onnx") == 2
    assert "no pictures" in capsys.readouterr().err
    pictures = write_pictures(tmp_path / "pictures", (1,))
    assert call("quantize", model, "--data", pictures, "-o", tmp_path / "a.onnx", "--runtime", "ncnn") == 2
    assert "'ncnn'" in capsys.readouterr().err


def test_weights_that_stay_float_keep_their_half_precision(tmp_path):
    wide = np.concatenate([np.eye(3), np.zeros((37, 3))]).astype(np.float32)
    narrow = np.concatenate([np.eye(3), np.zeros((3, 37))], axis=1).astype(np.float32)
    graph = FloatGraph(
        write_layered_dots(tmp_path / "dots.onnx", (np.eye(3, dtype=np.float32), wide, narrow)), tmp_path
    )
    ranges = graph.ranges([np.ones((1, 3, 64, 64), np.float32)], "minmax")
    stored = {one.name: one.data_type for one in graph.quantized(["conv0"], ranges, target="x86").graph.initializer}
    assert stored["weight1_half"] == onnx.TensorProto.FLOAT16 and "weight1" not in stored  # 120 values of 0 and 1
    graph.model.graph.initializer[[one.name for one in graph.model.graph.initializer].index("weight1")].CopyFrom(
        onnx.numpy_helper.from_array(np.full((40, 3, 1, 1), 0.1, np.float32), "weight1")
    )
    stored = {one.name: one.data_type for one in graph.quantized(["conv0"], ranges, target="x86").graph.initializer}
    assert stored["weight1"] == onnx.TensorProto.FLOAT  # 0.1 is no half
