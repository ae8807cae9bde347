"""An ONNX graph of a fixed size as converters read it: nodes in order, constants as arrays, every shape known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.errors import ExportError
from litepose.export_graph import inferred_shapes


@dataclass(frozen=True)
class Node:
    """One operation. kind: ONNX's name of it. attributes: text as str."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def ints(self, name: str, default: list[int]) -> list[int]:
        """Return a list attribute."""
        return list(self.attributes.get(name, default))


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they compute; names stand for tensors.

    constants: name -> array. shapes: of all other tensors. input, outputs: names.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    shapes: Mapping[str, tuple[int, ...]]
    input: str
    outputs: tuple[str, ...]

    def consumers(self, name: str) -> list[Node]:
        """Return the nodes that read a tensor."""
        return [node for node in self.nodes if name in node.inputs]


def read_graph(model: Any) -> Graph:
    """Return the graph of an onnx.ModelProto with fixed shapes, without Identity, a batch of one."""
    from onnx import helper, numpy_helper

    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    shapes = {
        name: tuple(1 if side is None else side for side in sides) for name, sides in inferred_shapes(model).items()
    }
    same: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        inputs = tuple(same.get(name, name) for name in node.input)
        if node.op_type == "Identity":
            same[node.output[0]] = inputs[0]
            continue
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        nodes.append(Node(node.op_type, inputs, tuple(node.output), plain))
    outputs = tuple(same.get(one.name, one.name) for one in model.graph.output)
    return Graph(tuple(nodes), constants, shapes, model.graph.input[0].name, outputs)


def inexpressible(engine: str, what: str) -> ExportError:
    """Return the error of a network that an engine's files cannot hold."""
    return ExportError(
        f"{engine} cannot express {what}, which this network needs. Export for another engine; .onnx takes all."
    )


def fused_activations(graph: Graph, kinds: tuple[str, ...], after: tuple[str, ...]) -> dict[str, Node]:
    """Return, by the name of the tensor in front, the activations that the operation before them can do itself.

    kinds: of activations. after: of the operations that can.
    """
    made_by = {node.outputs[0]: node for node in graph.nodes}
    fused = {}
    for node in graph.nodes:
        source = node.inputs[0]
        if (
            node.kind in kinds
            and source in made_by
            and made_by[source].kind in after
            and len(graph.consumers(source)) == 1
            and source not in graph.outputs
        ):
            fused[source] = node
    return fused


def clip_range(graph: Graph, node: Node) -> tuple[float, float]:
    """Return the bounds of a Clip or Relu."""
    if node.kind == "Relu":
        return 0.0, float("inf")
    low, high = (
        float(graph.constants[name]) if name else default
        for name, default in zip((*node.inputs[1:], "", "")[:2], (-np.inf, np.inf), strict=True)
    )
    return low, high
