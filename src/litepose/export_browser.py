"""ONNX files in the form that a browser's engine runs fastest: the same function, other layers.

onnxruntime-web computes a depthwise convolution channel by channel: it copies the surroundings of every cell into a
column (49 numbers for 7x7) and multiplies a single row of weights with them. A product of matrices, which it does well,
comes of it where several cells are computed at once:

- on the coarsest maps all rows of a channel: they are channels of a convolution along the row, whose weights are the
  kernel's columns in a band. Columns hold 7 numbers for each cell, products grow by the map's height / 7.
- on finer maps ROWS rows below each other: a kernel taller by ROWS - 1, with that stride, and ROWS outputs. 17.5
  numbers for each cell, products grow by 10 / 7. A transposition puts the rows into place, after the 1x1 convolution
  that follows, which does not mind the order of cells and leaves a sixth of the channels.

A deconvolution that doubles a map is four convolutions, as in `export_rewrites`, and a sum of two is one of both
inputs. The new weights are made of the old ones by nodes of the graph, which the engine computes once where it is told
the input's size (freeDimensionOverrides): the file stays as small as it was and takes any size whose height is a
multiple of `MULTIPLE`. benchmarks/browser.py measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import ExportError, MissingPackageError, SpecError

MULTIPLE = 32  # of an input's height: a map of stride 8 has a multiple of ROWS rows
ROWS = 4
ROW_STRIDES = (4, 8)  # of the maps that are computed by ROWS
BAND_STRIDE = 16  # and from which on by whole columns
MIN_KERNEL = 5  # the engine has a kernel of its own for 3x3
PROBE = (256, 192)  # (w, h) at which strides are found and the result is checked
TOLERANCE = 1e-4  # of the largest output: float32, sums in another order


def write_browser_model(source: str | Path, target: str | Path) -> float:
    """Write an ONNX file of any input size in its browser form; return its largest error, relative to its outputs.

    Raises MissingPackageError, SpecError, ExportError where the two files compute different things.
    """
    onnx = _onnx()
    from litepose.files import replacing

    model = onnx.load(str(source))
    browser_form(model)
    with replacing(target) as temporary:
        onnx.save(model, str(temporary))
        error = _error(Path(source), temporary)
        if not error <= TOLERANCE:
            raise ExportError(
                f"The browser form of {source} differs from it by {error:.2g} of its largest output; up to "
                f"{TOLERANCE:g} is rounding. Serve the file as it is, and report this."
            )
    return error


def browser_form(model: Any) -> None:
    """Rewrite an onnx.ModelProto of free height and width in place. Raises SpecError where they are fixed."""
    sides = model.graph.input[0].type.tensor_type.shape.dim
    if len(sides) != 4 or sides[2].dim_value or sides[3].dim_value:
        raise SpecError(
            "A browser form is made of a bottom-up model of free input size; this one's is "
            f"{[one.dim_value or one.dim_param for one in sides]}. Export it with --dynamic."
        )
    strides = _strides(model)
    rewriting = _Rewriting(model)
    for node in list(model.graph.node):
        shape = rewriting.shapes.get(_second(node))
        found = _facts(node)
        if _doubles(node, found, shape):
            rewriting.phases(node)
        elif shape is not None and _is_wide(node, found, shape):
            stride, step = strides[node.output[0]], found.get("strides", [1])[0]
            if stride >= BAND_STRIDE and step == 1:
                rewriting.band(node, shape)
            elif stride in ROW_STRIDES:
                rewriting.rows(node, shape, step)
            else:
                rewriting.keep(node)
        else:
            rewriting.keep(node)
    rewriting.finish()


class _Rewriting:
    """The nodes of a graph while they are replaced. shapes: of its weights."""

    def __init__(self, model: Any) -> None:
        self.graph = model.graph
        self.shapes = _weight_shapes(model)
        self.nodes: list[Any] = []
        self.done: set[str] = set()  # outputs of nodes that were computed together with an earlier one
        self.constants: dict[tuple, str] = {}

    def keep(self, node: Any) -> None:
        if node.output[0] not in self.done:
            self.nodes.append(node)

    def follower(self, output: str) -> Any:
        """Return the only node that reads a value, or None."""
        readers = [node for node in self.graph.node if output in node.input]
        is_result = any(output == one.name for one in self.graph.output)
        return readers[0] if len(readers) == 1 and not is_result else None

    def activated(self, conv: Any, maps: str) -> tuple[str, str]:
        """Apply the activation behind a convolution to its `maps`, where the engine makes one step of both.

        Returns the maps and the name that they have in the graph.
        """
        node = self.follower(conv.output[0])
        if node is None or node.op_type not in ("Clip", "Relu"):
            return maps, conv.output[0]
        self.done.add(node.output[0])
        # A Clip's limits may be constants that come later in the file than the convolution.
        limits = {one.output[0]: one for one in self.graph.node if one.op_type == "Constant"}
        for name in node.input[1:]:
            if name in limits and name not in self.done:
                self.nodes.append(limits[name])
                self.done.add(name)
        return self.add(node.op_type, [maps, *node.input[1:]], f"{maps}_active"), node.output[0]

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def numbers(self, *values: int) -> str:
        """Return the name of a vector of whole numbers."""
        from onnx import numpy_helper

        if values not in self.constants:
            name = f"browser_numbers_{len(self.constants)}"
            self.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
            self.constants[values] = name
        return self.constants[values]

    def band(self, conv: Any, shape: Sequence[int]) -> None:
        """Compute all rows of a channel at once: they are channels of a convolution along the row."""
        channels, _, kernel, width = shape
        name, middle = conv.output[0], kernel // 2
        sizes = self.add("Shape", [conv.input[0]], f"{name}_sizes")
        height = self.add("Gather", [sizes, self.number(2)], f"{name}_height")
        # Which kernel row leads from input row q to output row o: q - o + middle; rows of zeros lie around the kernel.
        rows = self.add("Range", [self.number(0), height, self.number(1)], f"{name}_range")
        across = self.add("Unsqueeze", [rows, self.numbers(0)], f"{name}_across")
        down = self.add("Unsqueeze", [rows, self.numbers(1)], f"{name}_down")
        apart = self.add("Sub", [across, down], f"{name}_apart")
        places = self.add("Add", [apart, self.number(middle + 1)], f"{name}_places")
        clipped = self.add("Clip", [places, self.number(0), self.number(kernel + 1)], f"{name}_clipped")
        padded = self.add("Pad", [conv.input[1], self.numbers(0, 0, 1, 0, 0, 0, 1, 0)], f"{name}_padded")
        taps = self.add("Gather", [padded, clipped], f"{name}_taps", axis=2)  # (C, 1, H, H, width)
        weight = self.add("Reshape", [taps, self._joined(name, "weight", height, width)], f"{name}_band")
        maps = self.add("Reshape", [conv.input[0], self.numbers(0, 1, -1, 0)], f"{name}_in")
        inputs = [self.add("Squeeze", [maps, self.numbers(1)], f"{name}_lines"), weight]  # (B, C * H, W)
        if len(conv.input) > 2:
            inputs.append(self.repeated(conv.input[2], channels, self.listed(height, name), name))
        pads = [width // 2, width // 2]
        lines = self.add("Conv", inputs, f"{name}_conv", kernel_shape=[width], pads=pads, group=channels)
        active, target = self.activated(conv, lines)
        wide = self.add("Unsqueeze", [active, self.numbers(1)], f"{name}_wide")
        self.add("Reshape", [wide, self.numbers(0, channels, -1, 0)], target)

    def rows(self, conv: Any, shape: Sequence[int], step: int) -> None:
        """Compute ROWS rows at once, of a kernel that is as much taller, then put them below each other.

        step: the convolution's stride.
        """
        channels, _, kernel, width = shape
        name, more = conv.output[0], step * (ROWS - 1)
        tall = kernel + more
        lowered = [
            self.add("Pad", [conv.input[1], self.numbers(0, 0, i, 0, 0, 0, more - i, 0)], f"{name}_lowered_{i}")
            for i in range(0, more + 1, step)
        ]
        together = self.add("Concat", lowered, f"{name}_together", axis=1)
        weight = self.add("Reshape", [together, self.numbers(channels * ROWS, 1, tall, width)], f"{name}_tall")
        inputs = [conv.input[0], weight]
        if len(conv.input) > 2:
            inputs.append(self.repeated(conv.input[2], channels, self.numbers(ROWS), name))
        maps = self.add(
            "Conv", inputs, f"{name}_conv", kernel_shape=[tall, width], strides=[ROWS * step, step], group=channels,
            pads=[kernel // 2, width // 2, kernel // 2, width // 2],
        )  # fmt: skip
        maps, target = self.activated(conv, maps)
        following = self.follower(target)
        if following is not None and self.is_pointwise(following):
            self.done.add(following.output[0])
            channels = self.shapes[following.input[1]][0]
            # The ROWS outputs of a channel lie behind each other: the same as its rows in another order.
            any_order = self.add("Reshape", [maps, self.numbers(0, shape[0], -1, 0)], f"{name}_any_order")
            maps = self.add("Conv", [any_order, *following.input[1:]], f"{name}_pointwise", kernel_shape=[1, 1])
            target = following.output[0]
        self.in_order(maps, channels, target)

    def in_order(self, maps: str, channels: int, target: str) -> None:
        """Put the rows of maps, of which each ROWS-th comes first, into their order."""
        sizes = self.add("Shape", [maps], f"{target}_sizes")
        columns = self.add("Slice", [sizes, self.numbers(3), self.numbers(4)], f"{target}_columns")
        apart = self.add("Concat", [self.numbers(0, channels, ROWS, -1), columns], f"{target}_apart", axis=0)
        split = self.add("Reshape", [maps, apart], f"{target}_split")  # (B, C, ROWS, h, W)
        turned = self.add("Transpose", [split], f"{target}_turned", perm=[0, 1, 3, 2, 4])
        back = self.add("Concat", [self.numbers(0, channels, -1), columns], f"{target}_back", axis=0)
        self.add("Reshape", [turned, back], target)

    def is_pointwise(self, node: Any) -> bool:
        """Return whether a node is a convolution of 1x1 that looks at all channels."""
        found = _facts(node)
        plain = found.get("group", 1) == 1 and set(found.get("strides", [1])) == {1}
        return node.op_type == "Conv" and plain and self.shapes.get(node.input[1], [])[2:] == [1, 1]

    def repeated(self, bias: str, channels: int, times: str, name: str) -> str:
        """Return a bias of which every number stands so many times."""
        column = self.add("Reshape", [bias, self.numbers(channels, 1)], f"{name}_column")
        sizes = self.add("Concat", [self.numbers(channels), times], f"{name}_each_sizes", axis=0)
        each = self.add("Expand", [column, sizes], f"{name}_each")
        return self.add("Reshape", [each, self.numbers(-1)], f"{name}_bias")

    def listed(self, number: str, name: str) -> str:
        """Return a number as a vector of one."""
        return self.add("Unsqueeze", [number, self.numbers(0)], f"{name}_listed")

    def phases(self, deconv: Any) -> None:
        """Replace a doubling deconvolution by a convolution for each place of an output cell in its square of four."""
        parts, name = self.summed(deconv)
        if deconv != parts[-1]:
            return  # its partner, which comes later, does both
        self.done.add(name)
        x, weight = deconv.input[0], deconv.input[1]
        if len(parts) > 1:
            x = self.add("Concat", [one.input[0] for one in parts], f"{name}_inputs", axis=1)
            weight = self.add("Concat", [one.input[1] for one in parts], f"{name}_weights", axis=0)
        biases = [one.input[2] for one in parts if len(one.input) > 2]
        bias = [self.add("Add", biases, f"{name}_biases")] if len(biases) > 1 else biases
        swapped = self.add("Transpose", [weight], f"{name}_swapped", perm=[1, 0, 2, 3])
        maps = [self.phase(name, x, swapped, bias, row, column) for row in (0, 1) for column in (0, 1)]
        self.add("DepthToSpace", [self.add("Concat", maps, f"{name}_phases", axis=1)], name, blocksize=2, mode="DCR")

    def phase(self, name: str, x: str, weight: str, bias: Sequence[str], row: int, column: int) -> str:
        """Compute one place of the four: taps 3 - row - 2q of q in (0, 1), and likewise across."""
        end = f"{name}_{row}{column}"
        first, limit, step = self.numbers(3 - row, 3 - column), self.numbers(-9, -9), self.numbers(-2, -2)
        taken = self.add("Slice", [weight, first, limit, self.numbers(2, 3), step], f"{end}_weight")
        pads = [1 - row, 1 - column, row, column]
        return self.add("Conv", [x, taken, *bias], f"{end}_conv", kernel_shape=[2, 2], pads=pads)

    def summed(self, deconv: Any) -> tuple[list[Any], str]:
        """Return a deconvolution, or the two of which only the sum is used, in the file's order; and the result."""
        total = self.follower(deconv.output[0])
        if total is None or total.op_type != "Add":
            return [deconv], deconv.output[0]
        pair = [node for node in self.graph.node if node.output[0] in total.input]
        alike = all(_doubles(one, _facts(one), self.shapes.get(_second(one))) for one in pair)
        if len(pair) < 2 or not alike or any(self.follower(one.output[0]) != total for one in pair):
            return [deconv], deconv.output[0]
        return pair, total.output[0]

    def number(self, value: int) -> str:
        """Return the name of a whole number without axes."""
        from onnx import numpy_helper

        key = ("scalar", value)
        if key not in self.constants:
            self.constants[key] = f"browser_number_{len(self.constants)}"
            self.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=np.int64), self.constants[key]))
        return self.constants[key]

    def finish(self) -> None:
        """Put the new nodes into the graph; what was known of values in between no longer holds."""
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.value_info[:]

    def _joined(self, name: str, what: str, height: str, width: int) -> str:
        """Return the sizes (C * H, H, width) of a band's weights."""
        one = self.add("Unsqueeze", [height, self.numbers(0)], f"{name}_{what}_height")
        return self.add("Concat", [self.numbers(-1), one, self.numbers(width)], f"{name}_{what}_sizes", axis=0)


def _second(node: Any) -> str:
    """Return the name of a node's weight."""
    return node.input[1] if len(node.input) > 1 else ""


def _facts(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def _doubles(node: Any, found: dict[str, Any], shape: Sequence[int] | None) -> bool:
    """Return whether a node is a deconvolution of 4x4 that doubles a map."""
    plain = found.get("group", 1) == 1 and not any(found.get("output_padding", ()))
    sides = [found.get(name) for name in ("kernel_shape", "strides", "pads")]
    return node.op_type == "ConvTranspose" and shape is not None and plain and sides == [[4, 4], [2, 2], [1, 1, 1, 1]]


def _is_wide(node: Any, found: dict[str, Any], shape: Sequence[int]) -> bool:
    """Return whether a node is a depthwise convolution of an odd kernel of MIN_KERNEL or more, padded by half of it."""
    if node.op_type != "Conv" or len(shape) != 4:
        return False
    height, width = shape[2:]
    return (
        found.get("group", 1) == shape[0] > 1
        and shape[1] == 1
        and min(height, width) >= MIN_KERNEL
        and height % 2 == width % 2 == 1
        and tuple(found.get("strides", [1, 1])) in ((1, 1), (2, 2))
        and set(found.get("dilations", [1])) == {1}
        and list(found.get("pads", [])) == [height // 2, width // 2] * 2
    )


def _strides(model: Any) -> dict[str, int]:
    """Return input px per cell of each 4-axis value."""
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for side, length in zip(probe.graph.input[0].type.tensor_type.shape.dim, (1, 3, *PROBE[::-1]), strict=True):
        side.dim_value = length
    inferred = onnx.shape_inference.infer_shapes(probe).graph
    sizes = {
        value.name: [one.dim_value for one in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    return {name: PROBE[1] // size[2] for name, size in sizes.items() if len(size) == 4 and size[2]}


def _weight_shapes(model: Any) -> dict[str, list[int]]:
    """Return the shapes of weights, also of those that are stored in half precision and cast."""
    shapes = {one.name: list(one.dims) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _error(source: Path, target: Path) -> float:
    """Return how far two files' outputs are apart at PROBE, relative to the largest."""
    from litepose.runtimes.onnx import open_session

    image = np.random.default_rng(0).normal(size=(1, 3, *PROBE[::-1])).astype(np.float32)
    first, second = (open_session(path, "cpu", 1).run(None, {"image": image}) for path in (source, target))
    pairs = list(zip(first, second, strict=True))
    return float(max(np.abs(a - b).max() for a, b in pairs) / max(np.abs(a).max() for a, _ in pairs))


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError(
            "Rewriting a model for browsers needs the package onnx, which is not installed. Install it: "
            "pip install 'litepose[web]'."
        ) from error
    return onnx
