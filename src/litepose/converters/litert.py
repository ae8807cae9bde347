"""LiteRT's (TensorFlow Lite's) .tflite: the ONNX graph operation by operation, maps with their channels last.

Neither PyTorch's nor TensorFlow's converter is needed, which together weigh more than a gigabyte. A tensor of four axes
lies as (B, H, W, C) where an operation on maps made it, as in ONNX where another did; it is laid out anew where the
next operation wants that. The spec is in the file's metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose.converters.graph import Graph, Node, clip_range, fused_activations, inexpressible, read_graph
from litepose.converters.tflite import TFLiteFile
from litepose.spec import SPEC_KEY, PoseSpec

SUFFIX = ".tflite"
WEIGHTS: tuple[str, ...] = ()
PACKAGES = ("ai-edge-litert",)
ANY_GRAPH = False

CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
SAME, VALID = 0, 1
NO_ACTIVATION, RELU, RELU6 = 0, 1, 3
FUSING = ("Conv", "Add", "Mul")  # what computes an activation by the way
BINARY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV"}
UNARY = {"Relu": "RELU", "Sigmoid": "LOGISTIC", "Elu": "ELU"}


def write(model: Any, spec: PoseSpec, path: Path, *, half_weights: bool) -> None:
    """See Converter."""
    path.write_bytes(Translation(read_graph(model), half_weights).run({SPEC_KEY: spec.to_json()}))


class Translation:
    """One graph on its way into a file. Tensors of the graph are known by name, of the file by number."""

    def __init__(self, graph: Graph, half_weights: bool) -> None:
        self.graph, self.half = graph, half_weights
        self.file = TFLiteFile()
        self.maps: dict[str, int] = {}  # laid out (B, H, W, C)
        self.plain: dict[str, int] = {}  # as in ONNX
        self.fused = {
            name: node
            for name, node in fused_activations(graph, ("Relu", "Clip"), FUSING).items()
            if _activation(graph, node) is not None
        }

    def run(self, metadata: dict[str, str]) -> bytes:
        """Return the file's bytes. Raises ExportError for what it cannot express."""
        graph = self.graph
        self.maps[graph.input] = self.file.tensor(_last(graph.shapes[graph.input]), graph.input)
        done = {node.outputs[0] for node in self.fused.values()}
        for node in graph.nodes:
            if node.outputs[0] not in done:
                TRANSLATIONS.get(node.kind, _unknown)(self, node)
        outputs = [self.named_map(name) for name in graph.outputs]
        return self.file.finished([self.maps[graph.input]], outputs, metadata)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape, as in ONNX."""
        constant = self.graph.constants.get(name)
        return self.graph.shapes[name] if constant is None else constant.shape

    def map(self, name: str) -> int:
        """Return the number of a tensor of four axes, laid out (B, H, W, C)."""
        if name in self.graph.constants:
            values = self.graph.constants[name].astype(np.float32)
            four = values.reshape((1,) * (4 - values.ndim) + values.shape)
            return self.file.constant(np.ascontiguousarray(four.transpose(CHANNELS_LAST)))
        if name not in self.maps:
            self.maps[name] = self._transposed(self.plain[name], CHANNELS_LAST, _last(self.shape(name)))
        return self.maps[name]

    def as_onnx(self, name: str) -> int:
        """Return the number of a tensor of any axes, laid out as in ONNX."""
        if name in self.graph.constants:
            return self.file.constant(self.graph.constants[name].astype(np.float32))
        if name not in self.plain:
            self.plain[name] = self._transposed(self.maps[name], CHANNELS_FIRST, self.shape(name))
        return self.plain[name]

    def is_map(self, name: str) -> bool:
        """Return whether a tensor lies as (B, H, W, C)."""
        return name in self.maps

    def new_map(self, name: str) -> int:
        """Add the tensor of a node's output, laid out (B, H, W, C)."""
        self.maps[name] = self.file.tensor(_last(self.shape(name)))
        return self.maps[name]

    def new_plain(self, name: str) -> int:
        """Add the tensor of a node's output, laid out as in ONNX."""
        self.plain[name] = self.file.tensor(self.shape(name))
        return self.plain[name]

    def result(self, node: Node) -> tuple[str, int]:
        """Return the output's name of a node and of the activation that it computes by the way, and which that is."""
        activation = self.fused.get(node.outputs[0])
        if activation is None:
            return node.outputs[0], NO_ACTIVATION
        kind = _activation(self.graph, activation)
        assert kind is not None
        return activation.outputs[0], kind

    def padded(self, source: int, shape: Sequence[int], pads: Sequence[int], *, lowest: bool = False) -> int:
        """Return a (B, H, W, C) map with `pads` (top, left, bottom, right) of zeros, or of the lowest number."""
        top, left, bottom, right = pads
        sides = self.ints([[0, 0], [top, bottom], [left, right], [0, 0]])
        padded = self.file.tensor((shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3]))
        if lowest:
            value = self.file.constant(np.array([np.finfo(np.float32).min], np.float32))
            self.file.operation("PADV2", [source, sides, value], [padded])
        else:
            self.file.operation("PAD", [source, sides], [padded])
        return padded

    def weights(self, values: np.ndarray) -> int:
        """Add weights, in half precision where that is asked."""
        return self.file.constant(np.ascontiguousarray(values, np.float32), half=self.half)

    def ints(self, values: Any) -> int:
        """Add whole numbers."""
        return self.file.constant(np.array(values, np.int32))

    def named_map(self, name: str) -> int:
        """Return an output under its own name, (B, H, W, C)."""
        source = self.map(name)
        self.file._tensors[source].name = name
        return source

    def _transposed(self, source: int, order: Sequence[int], shape: Sequence[int]) -> int:
        target = self.file.tensor(shape)
        self.file.operation("TRANSPOSE", [source, self.ints(list(order))], [target])
        return target


def _conv(self: Translation, node: Node) -> None:
    weight = self.graph.constants[node.inputs[1]]
    groups, channels = node.attributes.get("group", 1), self.shape(node.inputs[0])[1]
    strides, dilations = node.ints("strides", [1, 1]), node.ints("dilations", [1, 1])
    name, activation = self.result(node)
    source, padding = _padded_for(self, node, weight.shape[2:], strides, dilations)
    bias = self.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(len(weight), np.float32)
    kind = "DEPTHWISE_CONV_2D" if groups == channels and groups > 1 else "CONV_2D"
    if kind == "CONV_2D":
        laid_out, options = weight.transpose(0, 2, 3, 1), {}  # (O, I, h, w) -> (O, h, w, I)
    else:
        laid_out = weight.transpose(1, 2, 3, 0)  # (O, 1, h, w) -> (1, h, w, O)
        options = {"depthMultiplier": len(weight) // channels}
    inputs = [source, self.weights(laid_out), self.file.constant(bias.astype(np.float32))]
    self.file.operation(
        kind, inputs, [self.new_map(name)], padding=padding, strideH=strides[0], strideW=strides[1],
        dilationHFactor=dilations[0], dilationWFactor=dilations[1], fusedActivationFunction=activation, **options,
    )  # fmt: skip


def _padded_for(
    self: Translation, node: Node, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, int]:
    """Return a node's input, zeros added where TensorFlow's own padding would be another, and which padding to ask."""
    source, shape = self.map(node.inputs[0]), _last(self.shape(node.inputs[0]))
    pads = node.ints("pads", [0, 0, 0, 0])
    own: list[int] = []
    for side, length, stride, dilation in zip(shape[1:3], kernel, strides, dilations, strict=True):
        total = max((-(-side // stride) - 1) * stride + (length - 1) * dilation + 1 - side, 0)
        own.append(total)
    same = [own[0] // 2, own[1] // 2, own[0] - own[0] // 2, own[1] - own[1] // 2]
    if pads == same:
        return source, SAME
    return (source if not any(pads) else self.padded(source, shape, pads)), VALID


def _deconv(self: Translation, node: Node) -> None:
    weight = self.graph.constants[node.inputs[1]]  # (I, O, h, w)
    kernel, strides = weight.shape[2:], node.ints("strides", [1, 1])
    pads, more = node.ints("pads", [0, 0, 0, 0]), node.ints("output_padding", [0, 0])
    if node.attributes.get("group", 1) != 1 or strides != [2, 2]:
        raise inexpressible("LiteRT", f"a deconvolution in groups or with strides {strides}")
    if kernel == (3, 3) and pads == [1, 1, 1, 1] and more == [1, 1]:
        weight, more = np.pad(weight, ((0, 0), (0, 0), (0, 1), (0, 1))), [0, 0]  # the same of 4x4
        kernel = (4, 4)
    if (kernel, pads, more) not in (((4, 4), [1, 1, 1, 1], [0, 0]), ((2, 2), [0, 0, 0, 0], [0, 0])):
        raise inexpressible("LiteRT", f"a deconvolution of {kernel} with padding {pads} and output padding {more}")
    name = node.outputs[0]
    bias = self.graph.constants[node.inputs[2]] if len(node.inputs) > 2 else np.zeros(weight.shape[1], np.float32)
    inputs = [
        self.ints(_last(self.shape(name))),
        self.weights(weight.transpose(1, 2, 3, 0)),
        self.map(node.inputs[0]),
        self.file.constant(bias.astype(np.float32)),
    ]
    self.file.operation("TRANSPOSE_CONV", inputs, [self.new_map(name)], padding=SAME, strideH=2, strideW=2)


def _binary(self: Translation, node: Node) -> None:
    name, activation = self.result(node)
    options = {"fusedActivationFunction": activation} if activation else {}
    if len(self.shape(node.outputs[0])) == 4:
        inputs, output = [self.map(one) for one in node.inputs], self.new_map(name)
    else:
        inputs, output = [self.as_onnx(one) for one in node.inputs], self.new_plain(name)
    self.file.operation(BINARY[node.kind], inputs, [output], **options)


def _unary(self: Translation, node: Node) -> None:
    _elementwise(self, node, lambda source, target: self.file.operation(UNARY[node.kind], [source], [target]))


def _clip(self: Translation, node: Node) -> None:
    low, high = clip_range(self.graph, node)
    if (low, high) == (0, 6):
        _elementwise(self, node, lambda source, target: self.file.operation("RELU6", [source], [target]))
        return

    def clip(source: int, target: int) -> None:
        lowest, highest = (self.file.constant(np.array(bound, np.float32)) for bound in (low, high))
        between = self.file.tensor(self.file._tensors[target].shape)
        self.file.operation("MAXIMUM", [source, lowest], [between])
        self.file.operation("MINIMUM", [between, highest], [target])

    _elementwise(self, node, clip)


def _elementwise(self: Translation, node: Node, add: Callable[[int, int], None]) -> None:
    """Add an operation that takes each number by itself, in the layout in which its input lies."""
    if self.is_map(node.inputs[0]):
        add(self.map(node.inputs[0]), self.new_map(node.outputs[0]))
    else:
        add(self.as_onnx(node.inputs[0]), self.new_plain(node.outputs[0]))


def _concat(self: Translation, node: Node) -> None:
    axis, rank = node.attributes["axis"], len(self.shape(node.outputs[0]))
    if rank == 4:
        inputs, output = [self.map(one) for one in node.inputs], self.new_map(node.outputs[0])
        axis = CHANNELS_LAST.index(axis % 4)
    else:
        inputs, output = [self.as_onnx(one) for one in node.inputs], self.new_plain(node.outputs[0])
    self.file.operation("CONCATENATION", inputs, [output], axis=axis)


def _split(self: Translation, node: Node) -> None:
    axis, start = node.attributes["axis"], 0
    for output in node.outputs:
        length = self.shape(output)[axis]
        _cut(self, node.inputs[0], output, {axis: (start, 1)})
        start += length


def _slice(self: Translation, node: Node) -> None:
    starts, _, *rest = (self.graph.constants[name].tolist() for name in node.inputs[1:])
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    shape = self.shape(node.inputs[0])
    begins = {axis: (start % shape[axis], step) for axis, start, step in zip(axes, starts, steps, strict=True)}
    _cut(self, node.inputs[0], node.outputs[0], begins)


def _cut(self: Translation, source: str, output: str, begins: dict[int, tuple[int, int]]) -> None:
    """Add a part of a tensor: axis -> (start, step); its size is the output's."""
    shape = self.shape(output)
    begin = [begins.get(axis, (0, 1))[0] for axis in range(len(shape))]
    step = [begins.get(axis, (0, 1))[1] for axis in range(len(shape))]
    end = [b + (side - 1) * s + 1 for b, side, s in zip(begin, shape, step, strict=True)]
    if len(shape) == 4:
        begin, step, end = ([values[axis] for axis in CHANNELS_LAST] for values in (begin, step, end))
        given, target = self.map(source), self.new_map(output)
    else:
        given, target = self.as_onnx(source), self.new_plain(output)
    if set(step) == {1}:
        sizes = [e - b for b, e in zip(begin, end, strict=True)]
        self.file.operation("SLICE", [given, self.ints(begin), self.ints(sizes)], [target])
    else:
        self.file.operation("STRIDED_SLICE", [given, self.ints(begin), self.ints(end), self.ints(step)], [target])


def _resize(self: Translation, node: Node) -> None:
    mode, place = node.attributes["mode"], node.attributes.get("coordinate_transformation_mode", "half_pixel")
    inputs = [self.map(node.inputs[0]), self.ints(_last(self.shape(node.outputs[0]))[1:3])]
    if mode == "linear" and place in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        corners = place == "align_corners"
        self.file.operation(
            "RESIZE_BILINEAR", inputs, [self.new_map(node.outputs[0])],
            alignCorners=corners, halfPixelCenters=not corners,
        )  # fmt: skip
    elif mode == "nearest" and place == "asymmetric" and node.attributes.get("nearest_mode") == "floor":
        self.file.operation("RESIZE_NEAREST_NEIGHBOR", inputs, [self.new_map(node.outputs[0])])
    else:
        raise inexpressible("LiteRT", f"a resize of mode {mode} and {place}")


def _pool(self: Translation, node: Node) -> None:
    kernel, strides = node.ints("kernel_shape", []), node.ints("strides", [1, 1])
    source, padding = self.map(node.inputs[0]), VALID
    pads = node.ints("pads", [0, 0, 0, 0])
    if any(pads):
        if node.kind == "AveragePool":
            raise inexpressible("LiteRT", "a padded mean over windows")
        made_by = {one.outputs[0]: one.kind for one in self.graph.nodes}
        lowest = made_by.get(node.inputs[0]) != "Relu"  # after a ReLU no number is below the padding's 0
        source = self.padded(source, _last(self.shape(node.inputs[0])), pads, lowest=lowest)
    self.file.operation(
        "MAX_POOL_2D" if node.kind == "MaxPool" else "AVERAGE_POOL_2D", [source], [self.new_map(node.outputs[0])],
        padding=padding, strideH=strides[0], strideW=strides[1], filterHeight=kernel[0], filterWidth=kernel[1],
    )  # fmt: skip


def _pad(self: Translation, node: Node) -> None:
    """Add zeros around a map; inputs: data, pads (B, C, H, W before, then after), value."""
    pads = self.graph.constants[node.inputs[1]].tolist()
    value = float(self.graph.constants[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else 0.0
    if len(pads) != 8 or any((*pads[:2], *pads[4:6])) or value or node.attributes.get("mode", "constant") != "constant":
        raise inexpressible("LiteRT", f"padding by {pads} with {value}")
    shape = _last(self.shape(node.inputs[0]))
    self.maps[node.outputs[0]] = self.padded(self.map(node.inputs[0]), shape, [pads[i] for i in (2, 3, 6, 7)])


def _global_mean(self: Translation, node: Node) -> None:
    inputs = [self.map(node.inputs[0]), self.ints([1, 2])]
    self.file.operation("MEAN", inputs, [self.new_map(node.outputs[0])], keepDims=True)


def _reshape(self: Translation, node: Node) -> None:
    shape = self.shape(node.outputs[0])
    inputs = [self.as_onnx(node.inputs[0]), self.ints(shape)]
    self.file.operation("RESHAPE", inputs, [self.new_plain(node.outputs[0])], newShape=np.array(shape, np.int32))


def _transpose(self: Translation, node: Node) -> None:
    inputs = [self.as_onnx(node.inputs[0]), self.ints(node.attributes["perm"])]
    self.file.operation("TRANSPOSE", inputs, [self.new_plain(node.outputs[0])])


def _softmax(self: Translation, node: Node) -> None:
    axis, rank = node.attributes.get("axis", -1), len(self.shape(node.inputs[0]))
    if axis % rank != rank - 1:
        raise inexpressible("LiteRT", f"a softmax over axis {axis} of {rank}")
    self.file.operation("SOFTMAX", [self.as_onnx(node.inputs[0])], [self.new_plain(node.outputs[0])], beta=1.0)


def _matmul(self: Translation, node: Node) -> None:
    inputs = [self.as_onnx(name) for name in node.inputs]
    self.file.operation("BATCH_MATMUL", inputs, [self.new_plain(node.outputs[0])])


def _layer_norm(self: Translation, node: Node) -> None:
    """Add mean, variance and scale one by one, over all axes but the batch."""
    shape = self.shape(node.inputs[0])
    if node.attributes.get("axis", -1) % len(shape) != 1 or len(shape) != 4:
        raise inexpressible("LiteRT", f"a layer normalisation of {shape} over axis {node.attributes.get('axis')}")
    file, source = self.file, self.map(node.inputs[0])
    axes, one, whole = self.ints([1, 2, 3]), (shape[0], 1, 1, 1), _last(shape)

    def added(kind: str, inputs: list[int], to: Sequence[int], **options: Any) -> int:
        target = file.tensor(to)
        file.operation(kind, inputs, [target], **options)
        return target

    mean = added("MEAN", [source, axes], one, keepDims=True)
    squares = added("SQUARED_DIFFERENCE", [source, mean], whole)
    variance = added("MEAN", [squares, axes], one, keepDims=True)
    epsilon = file.constant(np.full(one, node.attributes.get("epsilon", 1e-5), np.float32))
    scale = added("RSQRT", [added("ADD", [variance, epsilon], one)], one)
    scaled = added("MUL", [added("SUB", [source, mean], whole), scale], whole)
    weighted = added("MUL", [scaled, self.map(node.inputs[1])], whole)
    file.operation("ADD", [weighted, self.map(node.inputs[2])], [self.new_map(node.outputs[0])])


def _depth_to_space(self: Translation, node: Node) -> None:
    if node.attributes.get("mode", "DCR") != "DCR":
        raise inexpressible("LiteRT", f"depth to space of mode {node.attributes['mode']}")
    block = node.attributes["blocksize"]
    self.file.operation("DEPTH_TO_SPACE", [self.map(node.inputs[0])], [self.new_map(node.outputs[0])], blockSize=block)


def _unknown(self: Translation, node: Node) -> None:
    raise inexpressible("LiteRT", f"the operation {node.kind}")


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


def _activation(graph: Graph, node: Node) -> int | None:
    """Return the number of an activation that TensorFlow Lite computes by the way; None where it has none such."""
    return {(0.0, float("inf")): RELU, (0.0, 6.0): RELU6}.get(clip_range(graph, node))


def _last(shape: Sequence[int]) -> tuple[int, ...]:
    """Return (B, C, H, W) as (B, H, W, C)."""
    return tuple(shape[axis] for axis in CHANNELS_LAST)
