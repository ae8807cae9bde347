"""The browser form of a model computes what the model computes, in other layers."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from litepose.errors import SpecError
from litepose.export_browser import BAND_STRIDE, browser_form, write_browser_model
from litepose.runtimes.onnx import OnnxRuntime, open_session
from litepose.weights import path_of


def one_convolution(stride, kernel, *, step=1, activation="Clip", bias=True, half=False, pointwise=True):
    """Return a model whose map of `stride` goes through a depthwise convolution, an activation and a 1x1 one."""
    rng = np.random.default_rng(stride + kernel)
    channels, first = 6, rng.normal(size=(6, 3, stride, stride)) / stride
    weights = {
        "first": first, "wide": rng.normal(size=(channels, 1, kernel, kernel)), "bias": rng.normal(size=channels),
        "last": rng.normal(size=(2, channels, 1, 1)), "low": np.array(0.0), "high": np.array(6.0),
    }  # fmt: skip
    kept = np.float16 if half else np.float32
    initializers = [
        numpy_helper.from_array(value.astype(np.float32 if name in ("low", "high") else kept), f"{name}_kept")
        for name, value in weights.items()
    ]
    nodes = [helper.make_node("Cast", [f"{name}_kept"], [name], to=TensorProto.FLOAT) for name in weights]
    wide = ["small", "wide", "bias"][: 2 + bias]
    limits = ["low", "high"] if activation == "Clip" else []
    nodes += [
        helper.make_node("Conv", ["image", "first"], ["small"], kernel_shape=[stride] * 2, strides=[stride] * 2),
        helper.make_node("Conv", wide, ["maps"], kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, group=channels,
                         strides=[step] * 2),
        helper.make_node(activation, ["maps", *limits], ["active"]),
        helper.make_node("Conv", ["active", "last"], ["out"], kernel_shape=[1, 1]) if pointwise
        else helper.make_node("Abs", ["active"], ["out"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)], initializers,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outputs(model, image, folder):
    path = folder / f"{id(model)}.onnx"
    onnx.save(model, path)
    return open_session(path, "cpu", 1).run(None, {"image": image})


@pytest.mark.parametrize("stride", [4, 8, 16, 32])
@pytest.mark.parametrize("settings", [
    {}, {"activation": "Relu"}, {"bias": False}, {"half": True}, {"pointwise": False}, {"kernel": 5},
    {"step": 2},
])  # fmt: skip
def test_a_wide_depthwise_convolution_gives_the_same_in_its_browser_form(stride, settings, tmp_path):
    settings = {"kernel": 7, **settings}
    plain, rewritten = one_convolution(stride, **settings), one_convolution(stride, **settings)
    browser_form(rewritten)
    kinds, finest = Counter(node.op_type for node in rewritten.graph.node), stride * settings.get("step", 1)
    form = "rows" if finest < BAND_STRIDE else "band" if "step" not in settings else "as it was"
    assert ("Gather" in kinds, "Transpose" in kinds) == (form == "band", form == "rows")
    for width, height in ((96, 64), (64, 128)):
        image = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
        (expected,), (found,) = outputs(plain, image, tmp_path), outputs(rewritten, image, tmp_path)
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())  # float32, another order


def test_kernels_for_which_the_engine_is_quick_stay_as_they_are():
    model = one_convolution(8, 3)
    before = [node.op_type for node in model.graph.node]
    browser_form(model)
    assert [node.op_type for node in model.graph.node] == before


def test_the_browser_form_of_a_shipped_model_says_and_computes_the_same(tmp_path):
    source, target = path_of("litepose_xs"), tmp_path / "browser.onnx"
    assert write_browser_model(source, target) < 1e-5
    plain, rewritten = OnnxRuntime(source, threads=1), OnnxRuntime(target, threads=1)
    assert rewritten.spec.to_json() == plain.spec.to_json()
    assert target.stat().st_size < 1.1 * source.stat().st_size
    kinds = Counter(node.op_type for node in onnx.load(target).graph.node)
    assert kinds["ConvTranspose"] == 0 and kinds["DepthToSpace"] == 3
    image = np.random.default_rng(1).normal(size=(1, 3, 160, 208)).astype(np.float32)
    for expected, found in zip(plain(image), rewritten(image), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())  # float32, another order


def test_a_model_of_a_fixed_size_has_no_browser_form(tmp_path):
    with pytest.raises(SpecError, match=r"free input size; this one's is \['batch', 3, \d+, \d+\]"):
        write_browser_model(path_of("lpn_50"), tmp_path / "browser.onnx")
    assert not list(tmp_path.iterdir())
