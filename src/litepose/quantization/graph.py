"""A float model file prepared for quantization, the ranges of its tensors, and files with integer layers made of it.

The work is ONNX Runtime's own (onnxruntime.quantization), in the format QDQ: pairs of QuantizeLinear and
DequantizeLinear around layers, which every engine that takes quantized ONNX files reads. What is chosen here:

- Convolutions and matrix products become integers, with the activation that follows each; what lies between stays
  float. Softmax and normalisations as integers cost LPN-50 four times the error and gain no time (docs/int8.md).
- Each output channel of a layer has its own scale: with one for all, LitePose-XS loses ten times as much.
- Activations are unsigned on x86, whose integer instruction wants that (signed ones run slower than float), and signed
  on ARM.
"""

from __future__ import annotations

import contextlib
import io
import logging
import platform
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import MissingPackageError, ModelError

METHODS = ("percentile", "minmax")  # how ranges come from values: all but the outermost 0.01 %, or all
TARGETS = ("x86", "arm")
PERCENTILE = 99.99
LAYERS = ("Conv", "MatMul", "Gemm")  # ConvTranspose has no integer kernel in ONNX Runtime
ACTIVATIONS = ("Relu", "Clip")
SMALLEST_HALF = 64  # values; below, a cast costs more bytes than it saves
INTEGER_NODES = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear")


def this_target() -> str:
    """Return the target that this machine is."""
    return "arm" if platform.machine().lower() in ("aarch64", "arm64", "armv7l") else "x86"


class FloatGraph:
    """A float model file, prepared in `folder`.

    layers: the names of the nodes that can become integers, in the order in which they compute.
    Raises ModelError for a file that is quantized already or has no such layer, MissingPackageError.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        import_quantization()
        import onnx

        if any(node.op_type in INTEGER_NODES for node in onnx.load(str(path)).graph.node):
            raise ModelError(
                f"{path} was to be quantized; its layers compute with integers already. Quantize the float model that "
                "it was made of."
            )
        self.folder = folder
        self.model = _prepared(path, folder)
        self._nodes = {node.name: node for node in self.model.graph.node}
        self._makers = {output: node for node in self.model.graph.node for output in node.output}
        self._readers: dict[str, list[Any]] = {}
        for node in self.model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self.layers = tuple(node.name for node in self.model.graph.node if node.op_type in LAYERS)
        if not self.layers:
            raise ModelError(
                f"{path} was to be quantized; it has no convolution and no matrix product ({', '.join(LAYERS)}), the "
                "layers that can compute with integers. Leave it as it is."
            )

    def last_layers(self, outputs: Collection[str]) -> set[str]:
        """Return the layers behind which no other lies on the way to these outputs."""
        found, waiting, seen = set(), list(outputs), set()
        while waiting:
            node = self._makers.get(waiting.pop())
            if node is None or node.name in seen:
                continue
            seen.add(node.name)
            if node.op_type in LAYERS or node.op_type == "ConvTranspose":
                found.add(node.name)
            else:
                waiting += node.input
        return found & set(self.layers)

    def ranges(self, inputs: Sequence[np.ndarray], method: str) -> Any:
        """Return the library's own record of which values each tensor takes, for `quantized`."""
        from onnxruntime.quantization import CalibrationMethod, create_calibrator

        percentile = method == "percentile"
        options = {"symmetric": False, **({"percentile": PERCENTILE} if percentile else {})}
        with _quiet():
            calibrator = create_calibrator(
                self.folder / "float.onnx",
                [*LAYERS, *ACTIVATIONS],
                augmented_model_path=str(self.folder / "watched.onnx"),
                calibrate_method=CalibrationMethod.Percentile if percentile else CalibrationMethod.MinMax,
                extra_options=options,
            )
            for one in inputs:  # together they would lie in memory with every tensor of theirs
                calibrator.collect_data(_reader(one))
            return calibrator.compute_data()

    def quantized(self, layers: Collection[str], ranges: Any, *, target: str) -> Any:
        """Return an onnx.ModelProto in which these layers compute with integers. ranges: see there."""
        import onnx
        from onnxruntime.quantization import QDQQuantizer, QuantType

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        with _quiet():
            quantizer = QDQQuantizer(
                model,
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QInt8 if target == "arm" else QuantType.QUInt8,
                tensors_range=ranges,
                nodes_to_quantize=[*layers, *self._activations_of(layers)],
                nodes_to_exclude=[],
                op_types_to_quantize=[*LAYERS, *ACTIVATIONS],
                extra_options={},
            )
            quantizer.quantize_model()
        _store_halves(quantizer.model.model)
        return quantizer.model.model

    def _activations_of(self, layers: Collection[str]) -> list[str]:
        """Return the activations behind layers: an integer layer's own ends its range, a float one's has none."""
        readers = [node for name in layers for out in self._nodes[name].output for node in self._readers.get(out, [])]
        return [node.name for node in readers if node.op_type in ACTIVATIONS]


def import_quantization() -> None:
    """Raise MissingPackageError where what quantizes is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"Quantization needs the packages onnx and onnxruntime ({error.name or error} is missing). Install them: "
            "pip install 'litepose[int8]'"
        ) from error


def _prepared(path: Path, folder: Path) -> Any:
    """Return the model as `folder`/float.onnx: weights laid out, shapes inferred, every node with a name of its own."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    prepared = folder / "float.onnx"
    with _quiet():
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    for number, node in enumerate(model.graph.node):
        node.name = node.output[0] or f"node_{number}"
    onnx.save(model, str(prepared))
    return model


def _store_halves(model: Any) -> None:
    """Store weights that stay float in half precision where they have such values, as --half-weights exports do."""
    from onnx import TensorProto, helper, numpy_helper

    read = {node.input[1] for node in model.graph.node if node.op_type in (*LAYERS, "ConvTranspose")}
    for weight in model.graph.initializer:
        if weight.name not in read or weight.data_type != TensorProto.FLOAT:
            continue
        name, values = weight.name, numpy_helper.to_array(weight)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if values.size >= SMALLEST_HALF and np.array_equal(halves.astype(np.float32), values):
            weight.CopyFrom(numpy_helper.from_array(halves, f"{name}_half"))
            model.graph.node.insert(0, helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))


def _reader(batch: np.ndarray) -> Any:
    """Return the library's reader of one input."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        waiting: list[dict[str, np.ndarray]] = [{"image": batch}]  # noqa: RUF012 - the class is made for one input

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self.waiting.pop() if self.waiting else None

    return Reader()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from printing and from advising to do what was done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
