"""Graphs of a fixed input size, made plain: sizes as numbers, the batch as the only free axis."""

from __future__ import annotations

from typing import Any

import numpy as np

BATCH = "batch"


def freeze_shapes(model: Any) -> None:
    """Compute what follows from the shapes of an onnx.ModelProto's fixed inputs, in place.

    The tracing exporter leaves chains of Shape, Slice, Gather and Concat in front of each Reshape.
    """
    from onnx import TensorProto, numpy_helper
    from onnx.reference import ReferenceEvaluator

    graph, opsets = model.graph, {"": model.opset_import[0].version}
    shapes = {name: _sides(value) for name, value in _inferred(model).items()}
    weights = {one.name for one in graph.initializer}
    known = {one.name: numpy_helper.to_array(one) for one in graph.initializer if one.data_type == TensorProto.INT64}
    left = []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if node.op_type == "Shape" and None not in shapes.get(inputs[0], [None]):
            known[node.output[0]] = np.array(shapes[inputs[0]], dtype=np.int64)
        elif node.op_type == "Constant" or (inputs and all(name in known for name in inputs)):
            values: Any = ReferenceEvaluator(node, opsets=opsets).run(None, {name: known[name] for name in inputs})
            known.update(zip(node.output, values, strict=True))
        else:
            left.append(node)
    needed = {name for node in left for name in node.input}
    for name in sorted((needed & set(known)) - weights):
        graph.initializer.append(numpy_helper.from_array(np.asarray(known[name]), name))
    del graph.node[:]
    graph.node.extend(left)


def free_batch(model: Any) -> None:
    """Let a frozen onnx.ModelProto of a batch of one take any batch, in place."""
    from onnx import numpy_helper

    graph = model.graph
    inferred = _inferred(model)
    initializers = {one.name: one for one in graph.initializer}
    outputs = {one.name for one in graph.output}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in initializers:
            shape = initializers[node.input[1]]
            sides = numpy_helper.to_array(shape).copy()
            if sides[0] == 1:
                sides[0] = 0  # as in the input
                shape.CopyFrom(numpy_helper.from_array(sides, shape.name))
        elif node.op_type == "Resize" and node.output[0] not in outputs:
            # ONNX Runtime does not see that a Resize keeps the batch, and without that lays maps out anew around every
            # sum and product: Lite-HRNet-18 takes 1.35 times as long.
            graph.value_info.append(inferred[node.output[0]])
            graph.value_info[-1].type.tensor_type.shape.dim[0].dim_param = BATCH
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def inferred_shapes(model: Any) -> dict[str, list[int | None]]:
    """Return the shape of every tensor of an onnx.ModelProto that is not stored in it; None = a free side."""
    return {name: _sides(value) for name, value in _inferred(model).items()}


def _inferred(model: Any) -> dict[str, Any]:
    """Return name -> onnx.ValueInfoProto of all tensors between the nodes, inputs and outputs."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    return {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}


def _sides(value: Any) -> list[int | None]:
    return [one.dim_value if one.HasField("dim_value") else None for one in value.type.tensor_type.shape.dim]
