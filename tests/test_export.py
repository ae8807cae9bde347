"""Exported files compute what the network computes, or are not kept."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from litepose import checkpoints, cli, export, weights
from litepose.errors import ExportError, InputSizeError, SettingError
from litepose.export import example_input, export_onnx, weights_sha256
from litepose.predictor import load
from litepose.runtimes import open_runtime
from litepose.skeleton import COCO17, CROWDPOSE14
from litepose.spec import SPEC_KEY, PoseSpec
from tiny_model import tiny_network


@pytest.fixture(scope="module")
def tiny():
    return tiny_network()


def outputs_of(network, batch: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output.numpy() for output in network(torch.from_numpy(batch))]


@pytest.mark.parametrize("opset", [17, 18, 20])
def test_a_fixed_file_computes_what_the_network_computes(tiny, tmp_path, opset):
    network, spec = tiny
    report = export_onnx(network, spec, tmp_path / "tiny.onnx", opset=opset)
    runtime = open_runtime(report.path, threads=1)
    batch = example_input(spec.input, (64, 64), seed=7)
    for found, wanted in zip(runtime(batch), outputs_of(network, batch), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * report.largest)  # float32 in another order
    assert runtime.size == (64, 64)
    assert onnx.load(str(report.path)).opset_import[0].version == opset
    assert 0 < report.max_error <= report.allowed and report.mean_error <= report.max_error


def test_a_dynamic_file_takes_any_batch_and_size(tiny, tmp_path):
    network, spec = tiny
    runtime = open_runtime(export_onnx(network, spec, tmp_path / "tiny.onnx", dynamic=True).path, threads=1)
    batch = np.concatenate([example_input(spec.input, (192, 128), seed=seed) for seed in (1, 2)])
    for found, wanted in zip(runtime(batch), outputs_of(network, batch), strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())  # float32 in another order
    assert runtime.size is None


def test_the_file_says_what_it_is(tiny, tmp_path):
    network, spec = tiny
    path = export_onnx(network, spec, tmp_path / "tiny.onnx", size=(96, 64)).path
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    assert [one.name for one in model.graph.input] == ["image"]
    assert [one.name for one in model.graph.output] == [one.name for one in spec.outputs]
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    inside = PoseSpec.from_json({one.key: one.value for one in model.metadata_props}[SPEC_KEY])
    assert inside.input.size == (96, 64) and inside.skeleton == spec.skeleton and inside.codec == spec.codec
    assert inside.provenance["weights_sha256"] == weights_sha256(network)
    assert inside.provenance["cost"]["params"] == sum(one.numel() for one in network.parameters())
    assert inside.provenance["cost"]["macs"] > 0 and inside.provenance["cost"]["size"] == [96, 64]


def test_the_file_holds_no_path_of_the_machine(tiny, tmp_path):
    network, spec = tiny
    old = spec.with_provenance(recipe={"data": {"train": [{"source": "/home/ann/set/people.json"}]}})
    content = export_onnx(network, old, tmp_path / "tiny.onnx").path.read_bytes()
    assert b"set/people.json" in content
    for private in ("/home/ann", str(tmp_path), str(Path(export.__file__).parents[2]), sys.prefix):
        assert private.encode() not in content


def test_half_weights_halve_the_file_and_stay_near(tiny, tmp_path):
    network, spec = tiny_network(skeleton=CROWDPOSE14)
    whole = export_onnx(network, spec, tmp_path / "whole.onnx")
    half = export_onnx(network, spec, tmp_path / "half.onnx", half_weights=True)
    weights = {one.name: one for one in onnx.load(str(half.path)).graph.initializer}
    stored = sum(len(one.raw_data) for one in weights.values())
    full = sum(len(one.raw_data) for one in onnx.load(str(whole.path)).graph.initializer)
    assert 0.5 <= stored / full < 0.6  # biases and constants stay
    assert whole.max_error < half.max_error <= half.allowed
    assert half.allowed == pytest.approx(export.HALF_TOLERANCE * half.largest)


def test_a_file_that_computes_something_else_is_reported_and_not_kept(tiny, tmp_path, monkeypatch):
    network, spec = tiny
    monkeypatch.setattr(export, "optimised_for_export", lambda *_: tiny_network(seed=5)[0])  # an exporter gone wrong
    seen = []
    with pytest.raises(ExportError, match="not kept"):
        export_onnx(network, spec, tmp_path / "tiny.onnx", on_checked=seen.append)
    assert len(seen) == 1 and not seen[0].passed
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_file_that_was_there(tiny, tmp_path, monkeypatch):
    network, spec = tiny
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"old")
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(ExportError):
        export_onnx(network, spec, path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_weights_that_are_not_numbers_are_not_exported(tmp_path):
    network, spec = tiny_network()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match="NaN"):
        export_onnx(network, spec, tmp_path / "tiny.onnx")


def test_weights_beyond_half_precision_are_not_halved(tmp_path):
    network, spec = tiny_network()
    with torch.no_grad():
        network.heads[0].refined.pointwise.weight[0, 0] = 1e6
    with pytest.raises(ExportError, match="65504"):
        export_onnx(network, spec, tmp_path / "tiny.onnx", half_weights=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "settings", "error", "word"),
    [
        ("tiny.pt", {}, SettingError, r"tiny\.onnx"),
        ("tiny.onnx", {"size": (100, 64)}, InputSizeError, "112x64"),
        ("tiny.onnx", {"opset": 11}, SettingError, "17 to 20"),
    ],
)
def test_an_impossible_export_is_refused(tiny, tmp_path, name, settings, error, word):
    with pytest.raises(error, match=word):
        export_onnx(*tiny, tmp_path / name, **settings)
    assert list(tmp_path.iterdir()) == []


def test_two_exports_of_the_same_weights_are_the_same_bytes(tiny, tmp_path):
    one, two = (export_onnx(*tiny, tmp_path / name, dynamic=True).path for name in ("one.onnx", "two.onnx"))
    assert one.read_bytes() == two.read_bytes()


def test_an_exported_file_predicts_what_its_checkpoint_predicts(tmp_path):
    from litepose import checkpoints

    network, spec = tiny_network()
    with torch.no_grad():  # raise the heat above the threshold, so that random maps show "people"
        for head in network.heads:
            head.refined.pointwise.weight[:17] *= 20
    checkpoint = checkpoints.save(tmp_path / "tiny.safetensors", network.state_dict(), spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the exporter's own warnings must not reach the user
        exported = export_onnx(network, spec, tmp_path / "tiny.onnx", dynamic=True).path
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    by_file, by_torch = (load(path, threads=1)(picture) for path in (exported, checkpoint))
    assert len(by_torch) > 0
    np.testing.assert_allclose(by_file.keypoints, by_torch.keypoints, atol=1e-3)
    np.testing.assert_allclose(by_file.scores, by_torch.scores, rtol=1e-4)  # float32 in another order


def test_a_file_for_browsers_computes_the_same_at_any_height_it_takes_and_says_what_it_is(tiny, tmp_path):
    network, spec = tiny
    report = export.export_model(network, spec, tmp_path / "tiny.onnx", engine="onnxruntime-web")
    runtime = open_runtime(report.path, threads=1)
    assert runtime.spec.provenance["export"] == {"engine": "onnxruntime-web", "plain": False}
    assert runtime.size is None and runtime.spec.input.stride == 32
    batch = example_input(spec.input, (96, 160))
    for found, wanted in zip(runtime(batch), outputs_of(network, batch), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * report.largest)  # float32 in another order
    plain = export.export_model(network, spec, tmp_path / "plain.onnx", engine="onnxruntime-web", plain=True).path
    kinds = [{node.op_type for node in onnx.load(str(one)).graph.node} for one in (report.path, plain)]
    assert ["ConvTranspose" in one for one in kinds] == [False, True]


def test_a_model_of_crops_and_one_to_train_on_have_no_file_for_browsers(tiny, tmp_path):
    network, spec = tiny
    with pytest.raises(SettingError, match="cannot be trained on"):
        export.export_model(network, spec, tmp_path / "a.onnx", engine="onnxruntime-web", trainable=True)
    spec = checkpoints.default_spec("lpn_50", COCO17)
    with pytest.raises(SettingError, match="one box for each person"):
        export.export_model(checkpoints.build_network(spec), spec, tmp_path / "b.onnx", engine="onnxruntime-web")


def test_a_shipped_model_is_exported_by_its_name(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["export", "litepose_xs", "-o", str(tmp_path / "xs.onnx"), "--plain"])
    assert not end.value.code
    shipped = open_runtime(weights.path_of("litepose_xs"), threads=1)
    found = open_runtime(tmp_path / "xs.onnx", threads=1)
    batch = example_input(found.spec.input, found.size)
    for a, b in zip(found(batch), shipped(batch), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())  # float32 in another order
    with pytest.raises(SystemExit) as end:
        cli.main(["export", "litepose_xz", "-o", str(tmp_path / "a.onnx")])
    assert end.value.code == 2
    assert "Did you mean 'litepose_xs'?" in capsys.readouterr().err
