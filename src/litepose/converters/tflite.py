"""The file format of TensorFlow Lite, as far as networks of convolutions need it: tensors, constants, operations.

A flatbuffer by the schema that comes with ai-edge-litert (TensorFlow's lite/schema/schema.fbs, version 3). Python's
flatbuffers align vectors by their items; the schema wants buffers at multiples of 16 bytes, because engines read
weights where they lie, so `_aligned_buffer` places them itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from litepose.errors import MissingPackageError

VERSION, IDENTIFIER, ALIGNMENT = 3, b"TFL3", 16
# Operations whose first version lacks what is used here -> the version that has it.
OP_VERSIONS = {"DEPTHWISE_CONV_2D": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "TRANSPOSE_CONV": 3}


class TFLiteFile:
    """A file as it grows: tensors are told by numbers, operations are in the order in which they compute."""

    def __init__(self) -> None:
        self.schema = schema()
        self._builder = _module("flatbuffers").Builder(1 << 20)
        self._buffers: list[Any] = [self.schema.BufferT()]  # the first is empty: of all tensors that are computed
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: list[Any] = []
        self._places: dict[str, int] = {}

    def tensor(self, shape: Sequence[int], name: str = "") -> int:
        """Add a float32 tensor that is computed; return its number."""
        return self._add_tensor(shape, name, self.schema.TensorType.FLOAT32, 0)

    def constant(self, values: np.ndarray, *, half: bool = False) -> int:
        """Add a tensor of float32 or int32 values; return its number. half: stored in half precision."""
        kinds = self.schema.TensorType
        if half:
            stored = self._add_tensor(values.shape, "", kinds.FLOAT16, self._buffer(values.astype(np.float16)))
            whole = self.tensor(values.shape)
            self.operation("DEQUANTIZE", [stored], [whole])
            return whole
        kind = kinds.INT32 if values.dtype == np.int32 else kinds.FLOAT32
        return self._add_tensor(values.shape, "", kind, self._buffer(values))

    def operation(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Add an operation. kind: the schema's name of it. options: of its options table, which they choose."""
        one = self.schema.OperatorT()
        one.opcodeIndex = self._code(kind)
        one.inputs, one.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        table = OPTIONS.get(kind)
        if table is not None:
            one.builtinOptionsType = getattr(self.schema.BuiltinOptions, table)
            one.builtinOptions = getattr(self.schema, f"{table}T")()
            for name, value in options.items():
                assert hasattr(one.builtinOptions, name), (kind, name)
                setattr(one.builtinOptions, name, value)
        self._operators.append(one)

    def finished(self, inputs: Sequence[int], outputs: Sequence[int], metadata: dict[str, str]) -> bytes:
        """Return the file's bytes."""
        schema = self.schema
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors, graph.operators = self._tensors, self._operators
        graph.inputs, graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        model = schema.ModelT()
        model.version, model.description = VERSION, "litepose"
        model.metadata = []
        for name, text in metadata.items():
            entry = schema.MetadataT()
            entry.name, entry.buffer = name, self._buffer(np.frombuffer(text.encode(), np.uint8))
            model.metadata.append(entry)
        model.operatorCodes, model.subgraphs, model.buffers = self._codes, [graph], self._buffers
        self._builder.Finish(model.Pack(self._builder), IDENTIFIER)
        return bytes(self._builder.Output())

    def _add_tensor(self, shape: Sequence[int], name: str, kind: int, buffer: int) -> int:
        one = self.schema.TensorT()
        one.shape, one.type, one.buffer = np.array(shape, np.int32), kind, buffer
        one.name = name or f"t{len(self._tensors)}"
        self._tensors.append(one)
        return len(self._tensors) - 1

    def _buffer(self, values: np.ndarray) -> int:
        self._buffers.append(_aligned_buffer(self.schema, values))
        return len(self._buffers) - 1

    def _code(self, kind: str) -> int:
        if kind not in self._places:
            code = self.schema.OperatorCodeT()
            code.builtinCode = getattr(self.schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = OP_VERSIONS.get(kind, 1)
            self._places[kind] = len(self._codes)
            self._codes.append(code)
        return self._places[kind]


# Operation -> the schema's table of its options; the rest has none.
OPTIONS = {
    "ADD": "AddOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "DIV": "DivOptions",
    "MAXIMUM": "MaximumMinimumOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "PAD": "PadOptions",
    "PADV2": "PadV2Options",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "SLICE": "SliceOptions",
    "SOFTMAX": "SoftmaxOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
    "SUB": "SubOptions",
    "TRANSPOSE": "TransposeOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
}


def schema() -> Any:
    """Return the module of the schema's classes. Raises MissingPackageError."""
    return _module("ai_edge_litert.schema_py_generated")


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            "Export for LiteRT needs the package ai-edge-litert. Install it: pip install 'litepose[litert]'"
        ) from error


def _aligned_buffer(schema: Any, values: np.ndarray) -> Any:
    """Return a buffer of the schema that writes `values` at a multiple of ALIGNMENT bytes."""
    data = np.ascontiguousarray(values).tobytes()

    class Aligned(schema.BufferT):  # type: ignore[name-defined, misc]
        def Pack(self, builder: Any) -> Any:
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head = builder.head - len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            builder.vectorNumElems = len(data)
            vector = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, vector)
            return schema.BufferEnd(builder)

    return Aligned()
