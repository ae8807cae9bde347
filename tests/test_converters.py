"""Files for engines: every operation as the network computes it, real pictures, refusals, and what lies beside them."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from contracts.test_families import SMALL, with_statistics
from litepose import checkpoints, converters, export
from litepose.converters import engine_for, suffix_of
from litepose.errors import ExportError, MissingPackageError, ModelError, SettingError, SpecError
from litepose.export import export_model
from litepose.models.layers import fuse_batchnorm
from litepose.predictor import load
from litepose.runtimes import open_runtime
from litepose.sidecars import sidecar_of
from litepose.skeleton import CROWDPOSE14
from tiny_model import tiny_network

PACKAGES = {"openvino": "openvino", "ncnn": "ncnn", "litert": "ai_edge_litert"}
QUICK = ("lpn_50",)  # whose attention others' converters get wrong
FLOAT = 2e-5  # of the largest output: float32 through some hundred layers whose weights are random


@pytest.fixture(params=sorted(PACKAGES))
def engine(request):
    """The name of each engine that has a converter; skipped where it is not installed."""
    if importlib.util.find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"the engine {request.param} is not installed")
    return request.param


def path_for(engine: str, folder: Path, stem: str = "tiny") -> Path:
    return folder / f"{stem}{suffix_of(engine)}"


@pytest.mark.parametrize("name", [one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in SMALL])
def test_every_family_computes_the_same_in_every_engine(engine, name, tmp_path):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    spec = checkpoints.default_spec(name, CROWDPOSE14)
    network = with_statistics(checkpoints.build_network(spec)).eval()
    report = export_model(network, spec, path_for(engine, tmp_path), size=(64, 96))
    assert 0 < report.max_error <= FLOAT * report.largest
    runtime = open_runtime(report.path, threads=1)
    assert runtime.size == (64, 96) and runtime.spec.model == name and runtime.spec.outputs == spec.outputs


class Odd(nn.Module):
    """What no family has today, but a converter claims to know: odd kernels, odd clips, splits, plain numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 16, (3, 5), stride=2, padding=(1, 2), groups=2)
        self.up = nn.ConvTranspose2d(16, 12, 3, stride=2, padding=1, output_padding=1)
        self.down = nn.Conv2d(6, 6, 5, stride=2, padding=2, groups=6, bias=False)
        self.more = nn.Conv2d(6, 12, 3, padding=2, dilation=2, groups=6)
        self.last = nn.Conv2d(12, channels, 1)
        self.row = nn.Parameter(torch.linspace(-1, 1, 12).reshape(12, 1, 1))

    def forward(self, images):
        x = torch.clamp(self.second(F.silu(self.first(images))), -0.5, 2.0)
        first, second = self.up(x).split(6, dim=1)
        both = torch.cat([F.max_pool2d(first, 3, 2, 1), self.down(F.elu(second))], dim=1)
        both = F.interpolate(F.avg_pool2d(both, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
        weight = F.adaptive_avg_pool2d(both, 1).sigmoid()
        both = F.relu(both * 0.5 + self.more(both[:, 2:8]) - weight * self.row)
        return (self.last(F.pad(both, (1, 0, 2, 0))[:, :, 2:, 1:] + weight / 3),)


def test_operations_that_no_family_has_today_compute_the_same(engine, tmp_path):
    torch.manual_seed(0)
    spec = checkpoints.default_spec("simplebaseline_mobilenetv2", CROWDPOSE14)
    report = export_model(Odd(14).eval(), spec, path_for(engine, tmp_path), size=(64, 96))
    assert 0 < report.max_error <= FLOAT * report.largest


def test_weights_in_half_precision_halve_the_files(engine, tmp_path):
    network, spec = tiny_network(skeleton=CROWDPOSE14)
    whole = export_model(network, spec, path_for(engine, tmp_path, "whole"))
    half = export_model(network, spec, path_for(engine, tmp_path, "half"), half_weights=True)
    assert whole.max_error < half.max_error <= half.allowed == pytest.approx(export.HALF_TOLERANCE * half.largest)
    params = sum(one.numel() for one in network.parameters())
    sizes = [sum(one.stat().st_size for one in tmp_path.glob(f"{stem}.[bt]*")) for stem in ("whole", "half")]
    assert sizes[0] - sizes[1] > params  # of the two bytes a weight that could go


def test_a_wrong_file_is_reported_and_not_kept(engine, tmp_path, monkeypatch):
    network, spec = tiny_network()
    other = fuse_batchnorm(tiny_network(seed=5)[0])
    monkeypatch.setattr(export, "optimised_for_export", lambda *_: other)  # a converter gone wrong
    seen = []
    with pytest.raises(ExportError, match="another engine"):
        export_model(network, spec, path_for(engine, tmp_path), on_checked=seen.append)
    assert len(seen) == 1 and not seen[0].passed
    assert list(tmp_path.iterdir()) == []


def test_it_is_compared_on_a_photo_and_on_the_pictures_given(engine, tmp_path, monkeypatch):
    compared = []
    compare = export.compare
    monkeypatch.setattr(export, "compare", lambda *given: compared.append(given[2]) or compare(*given))
    export_model(*tiny_network(), path_for(engine, tmp_path), pictures=[converters.PHOTO, converters.PHOTO])
    (inputs,) = compared
    assert [one.shape for one in inputs] == [(1, 3, 64, 64)] * 4
    np.testing.assert_array_equal(inputs[1], inputs[2])  # the photo is always among them
    assert np.abs(inputs[0] - inputs[1]).mean() > 0.1


def test_an_exported_file_predicts_what_its_checkpoint_predicts(engine, tmp_path):
    network, spec = tiny_network()
    with torch.no_grad():  # raise the heat above the threshold, so that random maps show "people"
        for head in network.heads:
            head.refined.pointwise.weight[:17] *= 20
    checkpoint = checkpoints.save(tmp_path / "tiny.safetensors", network.state_dict(), spec)
    exported = export_model(network, spec, path_for(engine, tmp_path)).path
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    by_file, by_torch = (load(path, threads=1, size=(64, 64))(picture) for path in (exported, checkpoint))
    assert len(by_torch) > 0
    np.testing.assert_allclose(by_file.keypoints, by_torch.keypoints, atol=1e-3)
    np.testing.assert_allclose(by_file.scores, by_torch.scores, rtol=1e-4)  # float32 in another order


def test_what_fits_only_onnx_files_is_refused(engine, tmp_path):
    with pytest.raises(SettingError, match=r"Only \.onnx files"):
        export_model(*tiny_network(), path_for(engine, tmp_path), trainable=True)
    converter = converters.converter_of(engine)
    if converter is not None and not converter.ANY_GRAPH:
        with pytest.raises(SettingError, match="for one input size"):
            export_model(*tiny_network(), path_for(engine, tmp_path), dynamic=True)
    assert list(tmp_path.iterdir()) == []


def test_an_export_without_its_package_says_what_to_install(engine, tmp_path, monkeypatch):
    for name in [one for one in sys.modules if one.split(".")[0] == PACKAGES[engine]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, PACKAGES[engine], None)
    with pytest.raises(MissingPackageError, match=rf"pip install 'litepose\[{engine}\]'"):
        export_model(*tiny_network(), path_for(engine, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["ncnn", "litert"])
def test_an_operation_that_a_converter_lacks_is_named(engine, tmp_path):
    pytest.importorskip(PACKAGES[engine])
    network, spec = tiny_network()
    network.stem.append(nn.Hardsigmoid())
    with pytest.raises(ExportError, match="cannot express the operation HardSigmoid"):
        export_model(network, spec, path_for(engine, tmp_path))


@pytest.mark.parametrize(
    ("name", "engine", "found"),
    [("a.onnx", None, "onnx"), ("a.XML", None, "openvino"), ("a.param", None, "ncnn"), ("a.tflite", None, "litert"),
     ("a.onnx", "tensorrt", "tensorrt"), ("a.onnx", "onnx", "onnx")],
)  # fmt: skip
def test_the_suffix_names_the_engine_unless_it_is_asked(name, engine, found):
    assert engine_for(Path(name), engine) == found


@pytest.mark.parametrize(
    ("name", "engine", "word"),
    [("a.pt", None, r"\.onnx \(onnx\), \.param \(ncnn\)"), ("a.onnx", "openvino", r"Name it a\.xml"),
     ("a.onnx", "opnvino", "Did you mean 'openvino'"), ("a", None, r"a\.onnx")],
)  # fmt: skip
def test_a_file_for_no_engine_is_one_error(name, engine, word):
    with pytest.raises(SettingError, match=word):
        engine_for(Path(name), engine)


def test_a_file_for_tensorrt_is_the_plain_network(tmp_path):
    import onnx

    report = export_model(*tiny_network(), tmp_path / "tiny.onnx", engine="tensorrt")
    kinds = {node.op_type for node in onnx.load(str(report.path)).graph.node}
    assert "ConvTranspose" in kinds and "DepthToSpace" not in kinds


class TestNcnnFiles:
    @pytest.fixture
    def path(self, tmp_path):
        pytest.importorskip("ncnn")
        return export_model(*tiny_network(), tmp_path / "tiny.param").path

    def test_three_files_lie_together(self, path):
        assert sorted(one.name for one in path.parent.iterdir()) == ["tiny.bin", "tiny.param", "tiny.param.json"]

    def test_without_its_sidecar_it_has_no_meaning(self, path):
        sidecar_of(path).unlink()
        with pytest.raises(SpecError, match=r"without its pose spec, tiny\.param\.json"):
            open_runtime(path)

    @pytest.mark.parametrize("content", ["{", "[]", '{"sha256": {}}', '{"sha256": 3, "litepose": {}}'])
    def test_a_broken_sidecar_is_one_error(self, path, content):
        sidecar_of(path).write_text(content)
        with pytest.raises(SpecError, match="no pose spec of a model file"):
            open_runtime(path)

    @pytest.mark.parametrize("suffix", [".bin", ".param"])
    def test_files_of_another_model_are_noticed(self, path, suffix):
        """ncnn itself would compute nonsense, or end the process."""
        other = path.with_suffix(suffix)
        other.write_bytes(other.read_bytes() + b" ")
        with pytest.raises(SpecError, match=rf"of another tiny\{suffix}"):
            open_runtime(path)

    def test_weights_that_are_gone_are_noticed(self, path):
        path.with_suffix(".bin").unlink()
        with pytest.raises(SpecError, match="absent"):
            open_runtime(path)

    def test_opening_it_leaves_the_environment_as_it_was(self, path, monkeypatch):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        open_runtime(path, threads=2)
        assert "OMP_WAIT_POLICY" not in os.environ

    def test_half_precision_stays_near(self, path):
        batch = export.example_input(tiny_network()[1].input, (64, 64))
        exact, half = (open_runtime(path, threads=1, runtime=name)(batch) for name in ("ncnn", "ncnn:f16"))
        difference = max(float(np.abs(a - b).max()) for a, b in zip(exact, half, strict=True))
        assert difference <= 1e-2 * max(float(np.abs(one).max()) for one in exact)

    def test_a_spec_of_other_outputs_is_refused(self, path):
        content = json.loads(sidecar_of(path).read_text())
        for i, output in enumerate(content["litepose"]["outputs"]):
            output["name"] = f"other{i}"
        sidecar_of(path).write_text(json.dumps(content))
        with pytest.raises(SpecError, match="other0"):
            open_runtime(path)


class TestOpenVINOFiles:
    @pytest.fixture(autouse=True)
    def needs_openvino(self):
        pytest.importorskip("openvino")

    def test_weights_of_two_engines_do_not_overwrite_each_other(self, tmp_path):
        export_model(*tiny_network(), tmp_path / "tiny.xml")
        before = (tmp_path / "tiny.bin").read_bytes()
        with pytest.raises(SettingError, match=r"belongs to tiny\.xml.*for instance tiny_ncnn\.param"):
            export_model(*tiny_network(), tmp_path / "tiny.param")
        assert (tmp_path / "tiny.bin").read_bytes() == before
        export_model(*tiny_network(), tmp_path / "tiny.xml")  # itself it may replace

    def test_without_its_weights_it_is_no_model(self, tmp_path):
        path = export_model(*tiny_network(), tmp_path / "tiny.xml").path
        path.with_suffix(".bin").unlink()
        with pytest.raises(ModelError, match=r"\.bin"):
            open_runtime(path)

    def test_onnx_files_run_on_it_when_it_is_asked_by_name(self, tmp_path):
        path = export_model(*tiny_network(), tmp_path / "tiny.onnx", dynamic=True).path
        batch = np.random.default_rng(0).normal(size=(2, 3, 64, 96)).astype(np.float32)
        runtime = open_runtime(path, threads=1, runtime="openvino")
        assert type(runtime).__name__ == "OpenVINORuntime" and runtime.size is None
        for found, wanted in zip(runtime(batch), open_runtime(path, threads=1)(batch), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())  # float32 in another order

    def test_bfloat16_is_near_and_never_taken_unasked(self, tmp_path):
        import openvino

        path = export_model(*tiny_network(), tmp_path / "tiny.xml").path
        batch = export.example_input(tiny_network()[1].input, (64, 64))
        wanted = open_runtime(path, threads=1)(batch)[0]
        if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            with pytest.raises(SettingError, match="does not have"):
                open_runtime(path, runtime="openvino:bf16")
            return
        found = open_runtime(path, threads=1, runtime="openvino:bf16")(batch)[0]
        share = float(np.abs(found - wanted).max() / np.abs(wanted).max())
        assert 1e-5 < share < 5e-2  # bfloat16 has 8 bits
