"""Model files: the good ones compute, the bad ones are one clear error each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dot_model import K, dot_spec, with_version, write_dot_model
from litepose import runtimes
from litepose.errors import InputSizeError, MissingPackageError, ModelError, SettingError, SpecError
from litepose.runtimes import base, open_runtime
from litepose.spec import SPEC_KEY


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx")


def random_batch(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def test_outputs_come_in_spec_order_for_any_batch_and_size(model):
    runtime = open_runtime(model, threads=1)
    batch = random_batch(3, 3, 64, 96)
    outputs = runtime(batch)
    assert [output.shape for output in outputs] == [(3, 2 * K, 16, 24), (3, K, 32, 48)]
    np.testing.assert_array_equal(runtime(batch[1:2])[1][0], outputs[1][1])
    assert runtime.size is None and runtime.threads == 1


def test_a_batch_of_one_file_computes_larger_batches_one_by_one(model, tmp_path):
    fixed = open_runtime(write_dot_model(tmp_path / "one.onnx", batch=1, size=(96, 64)), threads=1)
    batch = random_batch(3, 3, 64, 96)
    for found, wanted in zip(fixed(batch), open_runtime(model, threads=1)(batch), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert fixed.size == (96, 64)
    with pytest.raises(InputSizeError, match="--dynamic"):
        fixed(random_batch(1, 3, 64, 64))


def write_text_file(path: Path) -> None:
    path.write_text("no model at all")


def write_other_graph(path: Path, inputs: list[tuple[str, list]], outputs: list[tuple[str, list]]) -> None:
    """A valid file that fits our spec's metadata but not our graphs."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [inputs[0][0]], [name]) for name, _ in outputs],
        "other",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {SPEC_KEY: dot_spec().to_json()})
    onnx.save(model, str(path))


def changed_spec(**changes) -> dict[str, str]:
    return {SPEC_KEY: json.dumps({**json.loads(dot_spec().to_json()), **changes})}


def codec_settings(**changes) -> dict[str, str]:
    return changed_spec(codec={**json.loads(dot_spec().to_json())["codec"], **changes})


# name -> (file name, how to write it, error class, a word of the message)
BAD_FILES = {
    "text": ("text.onnx", write_text_file, ModelError, "no model that ONNX Runtime"),
    "empty": ("empty.onnx", lambda path: path.write_bytes(b""), ModelError, "no model that ONNX Runtime"),
    "cut off": (
        "cut.onnx",
        lambda path: path.write_bytes(write_dot_model(path).read_bytes()[:2000]),
        ModelError,
        "no model that ONNX Runtime",
    ),
    "missing": ("absent.onnx", lambda path: None, ModelError, "no model file"),
    "folder": ("folder.onnx", lambda path: path.mkdir(), ModelError, "it is a folder"),
    "other suffix": ("weights.pth", write_text_file, ModelError, r"'\.pth'. Possible: \.onnx"),
    "no suffix": ("weights", write_text_file, ModelError, "missing"),
    "no spec": ("plain.onnx", lambda path: write_dot_model(path, metadata={}), SpecError, "without a pose spec"),
    "foreign metadata": (
        "foreign.onnx",
        lambda path: write_dot_model(path, metadata={"names": "{0: 'person'}"}),
        SpecError,
        r"\['names'\]",
    ),
    "spec is no JSON": (
        "nojson.onnx",
        lambda path: write_dot_model(path, metadata={SPEC_KEY: "{"}),
        SpecError,
        "cannot be read",
    ),
    "newer spec": (
        "newer.onnx",
        lambda path: write_dot_model(path, metadata={SPEC_KEY: with_version(dot_spec(), 99)}),
        SpecError,
        "version 99",
    ),
    "unknown codec": (
        "codec.onnx",
        lambda path: write_dot_model(path, metadata=changed_spec(codec={"name": "quantum"})),
        SpecError,
        "quantum",
    ),
    "unknown codec setting": (
        "setting.onnx",
        lambda path: write_dot_model(path, metadata=codec_settings(magic=3)),
        SpecError,
        "magic",
    ),
    "spec without outputs": (
        "outputs.onnx",
        lambda path: write_dot_model(path, metadata=changed_spec(outputs=[])),
        SpecError,
        "outputs with",
    ),
    "maps of fewer channels": (
        "channels.onnx",
        lambda path: write_dot_model(path, channels=K - 1),
        SpecError,
        "does not compute what its pose spec says",
    ),
    "other input name": (
        "input.onnx",
        lambda path: write_dot_model(path, input_name="picture"),
        SpecError,
        "one input named 'image'",
    ),
    "a fixed batch of four": (
        "four.onnx",
        lambda path: write_dot_model(path, batch=4),
        SpecError,
        "free or 1",
    ),
    "two inputs": (
        "two.onnx",
        lambda path: write_other_graph(path, [("image", [1, 3, 64, 64]), ("mask", [1])], [("maps0", [1, 3, 64, 64])]),
        SpecError,
        "one input",
    ),
    "other output names": (
        "names.onnx",
        lambda path: write_other_graph(path, [("image", [1, 3, 64, 64])], [("logits", [1, 3, 64, 64])]),
        SpecError,
        "maps0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_model_file_is_one_error_that_names_it(name, tmp_path):
    file, write, error, word = BAD_FILES[name]
    write(tmp_path / file)
    with pytest.raises(error, match=word) as caught:
        open_runtime(tmp_path / file, threads=1)
    assert file in str(caught.value)


def test_maps_of_another_stride_than_the_spec_says_are_refused_when_they_come(tmp_path):
    spec = dot_spec(output_strides=(8, 4))
    runtime = open_runtime(write_dot_model(tmp_path / "stride.onnx", spec=spec), threads=1)
    with pytest.raises(SpecError, match="the network gave"):
        runtime(random_batch(1, 3, 64, 64))


@pytest.mark.parametrize(("file", "module"), [("dots.onnx", "onnxruntime"), ("dots.safetensors", "torch")])
def test_an_engine_that_is_not_installed_is_named_with_its_cure(file, module, tmp_path, monkeypatch):
    write_dot_model(tmp_path / file)
    for name in [one for one in sys.modules if one.split(".")[0] == module or one == "litepose.checkpoints"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match="pip install"):
        open_runtime(tmp_path / file, threads=1)


def test_an_unknown_runtime_is_met_with_those_installed_and_how_the_others_come(model, monkeypatch):
    monkeypatch.setattr(runtimes, "is_installed", lambda name: name in ("onnx", "torch"))
    with pytest.raises(SettingError, match=r"Installed: onnx, torch\. Not installed: .*Did you mean 'onnx'") as caught:
        open_runtime(model, runtime="onxx")
    assert "openvino (pip install 'litepose[openvino]')" in str(caught.value)


def test_an_unknown_precision_is_met_with_the_known_ones(model):
    with pytest.raises(SettingError, match=r"onnx does not compute in 'bf16'. Possible: f32"):
        open_runtime(model, runtime="onnx:bf16")
    assert open_runtime(model, runtime="onnx:f32").size is None


def test_threads_default_to_the_physical_cores_that_may_be_used(model, monkeypatch):
    assert open_runtime(model).threads == base.physical_cores() >= 1
    monkeypatch.setattr(base.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(base, "_quota_cores", lambda: 64)
    monkeypatch.setattr(base, "_siblings", lambda cpu: f"{cpu % 2},{cpu % 2 + 2}")  # 0 and 2 share a core
    assert base.physical_cores() == 2
    monkeypatch.setattr(base, "_quota_cores", lambda: 1)
    assert base.physical_cores() == 1


def test_each_suffix_belongs_to_one_runtime():
    suffixes = [suffix for one in runtimes.runtime_classes().values() for suffix in one.suffixes]
    assert len(suffixes) == len(set(suffixes)) and all(suffix.startswith(".") for suffix in suffixes)
