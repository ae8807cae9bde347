"""Stored small, laid out in full: half precision, equal rows once, the same tensors when a file is opened."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from litepose.export_storage import shrink_weights, stored_tensors
from litepose.runtimes.onnx import open_session


def model_of(**tensors: np.ndarray) -> onnx.ModelProto:
    """Return a graph that gives back its weights, as sums with an input of a single 0."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["zero", name], [f"{name}_out"], name=f"add {name}") for name in tensors],
        "weights",
        [helper.make_tensor_value_info("zero", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, one.shape) for name, one in tensors.items()],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def spread(rows: int, columns: int, kernel: int = 1) -> np.ndarray:
    """Return weights of which every second row and two of three columns are 0."""
    values = np.random.default_rng(0).normal(size=(rows, columns, kernel, kernel)).astype(np.float16)
    values[1::2] = 0
    values[:, 1::3] = 0
    values[:, 2::3] = 0
    return values


def sizes(model: onnx.ModelProto) -> dict[str, int]:
    return {one.name: int(np.prod(one.dims)) for one in model.graph.initializer}


@pytest.mark.parametrize("values", [spread(64, 96), spread(60, 60, 3), np.eye(12).repeat(40, axis=0)])
def test_weights_are_laid_out_as_they_were(values, tmp_path):
    model = model_of(weight=values)
    shrink_weights(model)
    onnx.checker.check_model(model, full_check=True)
    assert sizes(model)["weight_half"] < values.size / 2
    np.testing.assert_array_equal(stored_tensors(model)["weight"], values)
    onnx.save(model, str(tmp_path / "weights.onnx"))
    session = open_session(tmp_path / "weights.onnx", "cpu", 1)
    np.testing.assert_array_equal(session.run(None, {"zero": np.zeros(1, np.float32)})[0], values)


def test_equal_rows_and_columns_are_stored_once():
    model = model_of(weight=spread(64, 96))
    shrink_weights(model)
    assert sizes(model) == {"weight_half": 33 * 33, "weight_axis0_index": 64, "weight_axis1_index": 96}


def test_weights_without_equal_rows_and_small_ones_stay_whole():
    rng = np.random.default_rng(1)
    model = model_of(weight=rng.normal(size=(64, 96)), bias=np.zeros(63), few=np.zeros((12, 8)))
    shrink_weights(model)
    assert sizes(model) == {"weight_half": 64 * 96, "bias": 63, "few_half": 12 * 8}
    assert [node.op_type for node in model.graph.node] == ["Cast", "Cast", "Add", "Add", "Add"]
    assert not any(node.name for node in model.graph.node)
