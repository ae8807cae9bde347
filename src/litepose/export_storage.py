"""How exported files store weights: in half precision, equal rows once; and what a file's stored tensors stand for.

Between a stored tensor and the layer that reads it lie nodes that engines compute once, when they open the file: a cast
back to float32 and, where a rewrite filled weights up with zeros or with rows that let a map pass, a gather that lays
out the rows. So a file computes what it would with plain weights, as fast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from litepose.errors import ExportError

SMALLEST_HALF = 64  # initialisers with fewer values stay float32: biases and constants, nothing to gain
GATHER_BYTES = 200  # what a gather's node costs beside its index
STORAGE = ("Cast", "Gather", "Identity")  # the nodes between a stored tensor and its layer


def shrink_weights(model: Any) -> None:
    """Store the weights of an onnx.ModelProto as half precision, equal rows once, in place. Raises ExportError."""
    from onnx import TensorProto, helper, numpy_helper

    graph, storage = model.graph, []
    weights = [one for one in graph.initializer if one.data_type == TensorProto.FLOAT]
    for weight in weights:
        name, values = weight.name, numpy_helper.to_array(weight)
        if values.size < SMALLEST_HALF:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise ExportError(
                f"Weight {name} reaches {np.abs(values).max():.3g}; half precision ends at 65504. "
                "Export without half weights."
            )
        rows, indices = _distinct(values.astype(np.float16))
        weight.CopyFrom(numpy_helper.from_array(rows, f"{name}_half"))
        last = weight.name
        for axis, index in reversed(indices):
            laid_out = f"{name}_axis{axis}"
            graph.initializer.append(numpy_helper.from_array(index, f"{laid_out}_index"))
            storage.append(helper.make_node("Gather", [last, f"{laid_out}_index"], [laid_out], axis=axis))
            last = laid_out
        storage.append(helper.make_node("Cast", [last], [name], to=TensorProto.FLOAT))
    for node in graph.node:
        node.name = ""  # says what the names of its outputs say
    for node in reversed(storage):
        graph.node.insert(0, node)


def stored_tensors(model: Any) -> dict[str, np.ndarray]:
    """Return what an onnx.ModelProto stores, by name, with what the nodes between it and its layers make of it."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    opsets = {"": model.opset_import[0].version}
    known = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in STORAGE and all(name in known for name in node.input):
            values: Any = ReferenceEvaluator(node, opsets=opsets).run(None, {name: known[name] for name in node.input})
            known[node.output[0]] = values[0]
    return known


def _distinct(values: np.ndarray) -> tuple[np.ndarray, list[tuple[int, np.ndarray]]]:
    """Return values without repeated rows of its first two axes, where that saves bytes, and [(axis, index)].

    Gathering the indices, the last first, gives the values back.
    """
    indices: list[tuple[int, np.ndarray]] = []
    for axis in range(min(values.ndim, 2)):
        rows, index = np.unique(values, axis=axis, return_inverse=True)
        index = index.reshape(-1).astype(np.int32)
        if values.nbytes - rows.nbytes > index.nbytes + GATHER_BYTES:
            values, indices = rows, [*indices, (axis, index)]
    return values, indices
