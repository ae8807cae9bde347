"""ncnn's .param and .bin: the ONNX graph layer by layer, the spec in a sidecar.

pnnx 20261020, ncnn's own converter, weighs 85 MB; its LPN-50 is off by 0.9 of the largest output (the attention), and
of OpenPose it makes no file with an input. What ncnn's layers and their numbered parameters are: ncnn's
docs/developer-guide/operators.md. There is no axis of the batch, a tensor is read by one layer alone (else a Split
copies it), and weights follow each other in the .bin.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose.converters.graph import Graph, Node, clip_range, fused_activations, inexpressible, read_graph
from litepose.sidecars import write_sidecar
from litepose.spec import PoseSpec

SUFFIX = ".param"
WEIGHTS = (".bin",)
PACKAGES = ("ncnn",)
ANY_GRAPH = False

MAGIC = 7767517
FLOAT, HALF = struct.pack("<I", 0), struct.pack("<I", 0x01306B47)  # what stands in front of weights
RELU, CLIP = 1, 3  # activations that a convolution computes by the way
BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3}
UNARY = {"Sigmoid": "Sigmoid", "Elu": "ELU", "Relu": "ReLU"}

Parameters = Mapping[int, int | float | Sequence[float]]


def write(model: Any, spec: PoseSpec, path: Path, *, half_weights: bool) -> None:
    """See Converter."""
    translation = Translation(read_graph(model), half_weights)
    for node in translation.graph.nodes:
        if node.outputs[0] not in translation.done:
            TRANSLATIONS.get(node.kind, _unknown)(translation, node)
    path.write_text(translation.text(), encoding="ascii")
    weights = path.with_suffix(".bin")
    weights.write_bytes(b"".join(translation.weights))
    write_sidecar(path, spec, [path, weights])


class Translation:
    """One graph on its way into layers: (kind, inputs, outputs, parameters); tensors keep their names until `text`."""

    def __init__(self, graph: Graph, half_weights: bool) -> None:
        self.graph, self.half = graph, half_weights
        self.layers: list[tuple[str, list[str], list[str], Parameters]] = [("Input", [], [graph.input], {})]
        self.weights: list[bytes] = []
        self.fused = fused_activations(graph, ("Relu", "Clip"), ("Conv", "ConvTranspose"))
        self.done = {node.outputs[0] for node in self.fused.values()}

    def layer(self, kind: str, inputs: Sequence[str], output: str, parameters: Parameters | None = None) -> None:
        """Add a layer of one output."""
        self.layers.append((kind, list(inputs), [output], parameters or {}))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without the batch."""
        return tuple(self.graph.shapes[name][1:])

    def source(self, name: str) -> str:
        """Return a tensor's name; a constant becomes a layer of its own."""
        if name not in self.graph.constants:
            return name
        values = self.graph.constants[name]
        shape = values.shape[1:] if values.ndim == 4 else values.shape
        if values.size == 1 or len(shape) > 3:
            raise inexpressible("ncnn", f"a constant of shape {values.shape}")
        sides = dict(zip((0, 1, 2), reversed(shape), strict=False))
        output = f"constant_{len(self.layers)}"
        self.layer("MemoryData", [], output, sides)
        self.weights.append(values.astype("<f4").tobytes())
        return output

    def store(self, values: np.ndarray, *, flagged: bool = True) -> None:
        """Add weights; flagged: with what says in which numbers, as the first of a layer have it."""
        if not flagged:
            self.weights.append(values.astype("<f4").tobytes())
        elif self.half:
            data = values.astype("<f2").tobytes()
            self.weights.append(HALF + data + bytes(-len(data) % 4))
        else:
            self.weights.append(FLOAT + values.astype("<f4").tobytes())

    def text(self) -> str:
        """Return the .param file's content."""
        layers = _split_shared(self.layers, self.graph.outputs)
        names: dict[str, str] = {self.graph.input: self.graph.input} | {name: name for name in self.graph.outputs}
        for _, _, outputs, _ in layers:
            for one in outputs:
                names.setdefault(one, f"b{len(names)}")
        lines = []
        for i, (kind, inputs, outputs, parameters) in enumerate(layers):
            blobs = " ".join(names[one] for one in (*inputs, *outputs))
            rest = " ".join(_parameter(key, value) for key, value in parameters.items())
            lines.append(f"{kind:24} l{i} {len(inputs)} {len(outputs)} {blobs} {rest}".rstrip())
        return "\n".join([str(MAGIC), f"{len(layers)} {len(names)}", *lines]) + "\n"


def _conv(self: Translation, node: Node) -> None:
    weight = self.graph.constants[node.inputs[1]]
    groups, channels = node.attributes.get("group", 1), self.shape(node.inputs[0])[0]
    _weighted(self, node, "Convolution", weight, groups, len(weight), channels, {})


def _deconv(self: Translation, node: Node) -> None:
    weight = self.graph.constants[node.inputs[1]]  # (I, O / groups, h, w)
    groups, (inside, outside) = node.attributes.get("group", 1), weight.shape[:2]
    more = node.ints("output_padding", [0, 0])
    by_group = weight.reshape(groups, inside // groups, outside, *weight.shape[2:]).swapaxes(1, 2)
    _weighted(self, node, "Deconvolution", by_group, groups, outside * groups, inside, {18: more[1], 19: more[0]})


def _weighted(
    self: Translation, node: Node, kind: str, weight: np.ndarray, groups: int, out: int, inside: int, more: Parameters
) -> None:
    """Add a layer with a kernel. weight: in ncnn's order. out, inside: channels."""
    height, width = weight.shape[-2:]
    strides, dilations = node.ints("strides", [1, 1]), node.ints("dilations", [1, 1])
    top, left, bottom, right = node.ints("pads", [0, 0, 0, 0])
    bias = self.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else None
    activation = self.fused.get(node.outputs[0])
    parameters: dict[int, Any] = {
        0: out, 1: width, 11: height, 2: dilations[1], 12: dilations[0], 3: strides[1], 13: strides[0],
        4: left, 15: right, 14: top, 16: bottom, 5: int(bias is not None), 6: weight.size, **more,
    }  # fmt: skip
    if groups > 1:
        parameters[7] = groups
    if activation is not None:
        low, high = clip_range(self.graph, activation)
        parameters |= {9: RELU} if (low, high) == (0, np.inf) else {9: CLIP, 10: (low, high)}
    self.store(weight)
    if bias is not None:
        self.store(bias, flagged=False)
    output = node.outputs[0] if activation is None else activation.outputs[0]
    self.layer(f"{kind}DepthWise" if groups > 1 else kind, [node.inputs[0]], output, parameters)


def _binary(self: Translation, node: Node) -> None:
    inputs = []
    for name in node.inputs:
        constant = self.graph.constants.get(name)
        if constant is not None and constant.size == 1:
            parameters = {0: BINARY[node.kind], 1: 1, 2: float(constant.reshape(()))}
            self.layer("BinaryOp", [node.inputs[0]], node.outputs[0], parameters)
            return
        inputs.append(self.source(name))
    self.layer("BinaryOp", inputs, node.outputs[0], {0: BINARY[node.kind]})


def _unary(self: Translation, node: Node) -> None:
    parameters = {0: node.attributes.get("alpha", 1.0)} if node.kind == "Elu" else {}
    self.layer(UNARY[node.kind], node.inputs[:1], node.outputs[0], parameters)


def _clip(self: Translation, node: Node) -> None:
    low, high = clip_range(self.graph, node)
    self.layer("Clip", node.inputs[:1], node.outputs[0], {0: low, 1: high})


def _concat(self: Translation, node: Node) -> None:
    inputs = [self.source(name) for name in node.inputs]
    self.layer("Concat", inputs, node.outputs[0], {0: node.attributes["axis"] - 1})


def _split(self: Translation, node: Node) -> None:
    axis = node.attributes["axis"]
    sizes = [self.graph.shapes[name][axis] for name in node.outputs]
    self.layers.append(("Slice", [node.inputs[0]], list(node.outputs), {-23300: sizes, 1: axis - 1}))


def _slice(self: Translation, node: Node) -> None:
    starts, _, axes, *steps = (self.graph.constants[name].tolist() for name in node.inputs[1:])
    if steps and set(steps[0]) != {1}:
        raise inexpressible("ncnn", f"a slice with steps {steps[0]}")
    shape = self.graph.shapes[node.inputs[0]]
    begins = [start % shape[axis] for start, axis in zip(starts, axes, strict=True)]
    stops = [begin + self.graph.shapes[node.outputs[0]][axis] for begin, axis in zip(begins, axes, strict=True)]
    parameters = {-23309: begins, -23310: stops, -23311: [axis - 1 for axis in axes]}
    self.layer("Crop", node.inputs[:1], node.outputs[0], parameters)


def _resize(self: Translation, node: Node) -> None:
    mode, place = node.attributes["mode"], node.attributes.get("coordinate_transformation_mode", "half_pixel")
    _, height, width = self.shape(node.outputs[0])
    sides = {3: height, 4: width}
    if mode == "linear" and place in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        parameters = {0: 2, **sides, 6: int(place == "align_corners")}
    elif mode == "nearest" and place == "asymmetric" and node.attributes.get("nearest_mode") == "floor":
        parameters = {0: 1, **sides}
    else:
        raise inexpressible("ncnn", f"a resize of mode {mode} and {place}")
    self.layer("Interp", node.inputs[:1], node.outputs[0], parameters)


def _pool(self: Translation, node: Node) -> None:
    (height, width), strides = node.ints("kernel_shape", []), node.ints("strides", [1, 1])
    top, left, bottom, right = node.ints("pads", [0, 0, 0, 0])
    parameters = {
        0: int(node.kind == "AveragePool"), 1: width, 11: height, 2: strides[1], 12: strides[0],
        3: left, 14: right, 13: top, 15: bottom, 5: 1, 6: node.attributes.get("count_include_pad", 0),
    }  # fmt: skip
    self.layer("Pooling", node.inputs[:1], node.outputs[0], parameters)


def _global_mean(self: Translation, node: Node) -> None:
    """Add the mean, and axes again: ncnn's is one row of channels."""
    between = f"{node.outputs[0]}_row"
    self.layer("Pooling", node.inputs[:1], between, {0: 1, 4: 1})
    self.layer("Reshape", [between], node.outputs[0], {0: 1, 1: 1, 2: -1})


def _reshape(self: Translation, node: Node) -> None:
    shape = self.shape(node.outputs[0])
    if len(shape) > 4 or self.graph.shapes[node.outputs[0]][0] != 1:
        raise inexpressible("ncnn", f"a reshape to {shape}")
    keys = (0, 1, 11, 2) if len(shape) == 4 else (0, 1, 2)
    self.layer("Reshape", node.inputs[:1], node.outputs[0], dict(zip(keys, reversed(shape), strict=False)))


def _transpose(self: Translation, node: Node) -> None:
    order = {(0, 2, 1): 1}.get(tuple(node.attributes["perm"]))  # of two axes beside the batch
    if order is None:
        raise inexpressible("ncnn", f"a permutation of axes by {node.attributes['perm']}")
    self.layer("Permute", node.inputs[:1], node.outputs[0], {0: order})


def _softmax(self: Translation, node: Node) -> None:
    rank = len(self.graph.shapes[node.inputs[0]])
    self.layer("Softmax", node.inputs[:1], node.outputs[0], {0: node.attributes.get("axis", -1) % rank - 1, 1: 1})


def _matmul(self: Translation, node: Node) -> None:
    self.layer("MatMul", [self.source(name) for name in node.inputs], node.outputs[0])


def _layer_norm(self: Translation, node: Node) -> None:
    """Add a normalisation over all axes but the batch, which ncnn does over one row."""
    shape = self.shape(node.inputs[0])
    if node.attributes.get("axis", -1) % (len(shape) + 1) != 1:
        raise inexpressible("ncnn", f"a layer normalisation of {shape} over axis {node.attributes.get('axis')}")
    row, normalised = f"{node.outputs[0]}_row", f"{node.outputs[0]}_normalised"
    self.layer("Reshape", node.inputs[:1], row, {0: -1})
    size = int(np.prod(shape))
    self.layer("LayerNorm", [row], normalised, {0: size, 1: node.attributes.get("epsilon", 1e-5), 2: 1})
    for name in node.inputs[1:3]:
        self.store(self.graph.constants[name], flagged=False)
    self.layer("Reshape", [normalised], node.outputs[0], dict(zip((0, 1, 2), reversed(shape), strict=False)))


def _depth_to_space(self: Translation, node: Node) -> None:
    mode = {"CRD": 0, "DCR": 1}[node.attributes.get("mode", "DCR")]
    self.layer("PixelShuffle", node.inputs[:1], node.outputs[0], {0: node.attributes["blocksize"], 1: mode})


def _pad(self: Translation, node: Node) -> None:
    pads = self.graph.constants[node.inputs[1]].tolist()
    value = float(self.graph.constants[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else 0.0
    if len(pads) != 8 or any((*pads[:2], *pads[4:6])) or node.attributes.get("mode", "constant") != "constant":
        raise inexpressible("ncnn", f"padding by {pads}")
    parameters = {0: pads[2], 1: pads[6], 2: pads[3], 3: pads[7], 4: 0, 5: value}
    self.layer("Padding", node.inputs[:1], node.outputs[0], parameters)


def _unknown(self: Translation, node: Node) -> None:
    raise inexpressible("ncnn", f"the operation {node.kind}")


TRANSLATIONS: dict[str, Callable[[Translation, Node], None]] = {
    "Conv": _conv,
    "ConvTranspose": _deconv,
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(UNARY, _unary),
    "Clip": _clip,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Resize": _resize,
    "Pad": _pad,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global_mean,
    "Reshape": _reshape,
    "Unsqueeze": _reshape,
    "Squeeze": _reshape,
    "Flatten": _reshape,
    "Transpose": _transpose,
    "Softmax": _softmax,
    "MatMul": _matmul,
    "LayerNormalization": _layer_norm,
    "DepthToSpace": _depth_to_space,
}


def _split_shared(
    layers: Sequence[tuple[str, list[str], list[str], Parameters]], kept: Sequence[str]
) -> list[tuple[str, list[str], list[str], Parameters]]:
    """Return the layers with a Split behind every tensor that several read, or one that is an output and read on."""
    readers = Counter(name for _, inputs, _, _ in layers for name in inputs)
    readers.update({name: 1 for name in kept if readers[name]})
    copies: dict[str, list[str]] = {}
    result = []
    for kind, inputs, outputs, parameters in layers:
        reads = [copies[name].pop() if name in copies else name for name in inputs]
        shared = [name for name in outputs if readers[name] > 1]
        whole = {name: f"{name}_whole" if name in kept else name for name in shared}
        result.append((kind, reads, [whole.get(name, name) for name in outputs], parameters))
        for name in shared:
            parts = [f"{name}_copy{i}" for i in range(readers[name])]
            if name in kept:
                parts[0] = name  # the last to be taken: no layer reads it
            copies[name] = list(parts)
            result.append(("Split", [whole[name]], parts, {}))
    return result


def _parameter(key: int, value: Any) -> str:
    """Return "KEY=VALUE" as ncnn reads it; arrays have their length in front and a key of their own kind."""
    if isinstance(value, list | tuple):
        number = key if key < 0 else -23300 - key
        return f"{number}={len(value)},{','.join(_number(one) for one in value)}"
    return f"{key}={_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, int | np.integer) else f"{float(value):.9e}"
