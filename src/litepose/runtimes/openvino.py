"""OpenVINO: the fastest on x86 processors that compute in bfloat16, which halves the time of most networks.

By itself OpenVINO would take bfloat16 wherever the processor has it; here it computes in float32 unless asked.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, ModelError, SettingError, SpecError
from litepose.runtimes.base import check_input, check_outputs, checked_threads
from litepose.spec import SPEC_KEY, PoseSpec


class OpenVINORuntime:
    """An .xml file with its weights (.bin) beside it, or an .onnx file, ready to compute.

    precision: "f32", or "bf16" where the processor has it.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".xml",)
    also_opens: ClassVar[tuple[str, ...]] = (".onnx",)
    precisions: ClassVar[tuple[str, ...]] = ("f32", "bf16")
    package: ClassVar[str] = "openvino"
    requires: ClassVar[str] = "litepose[openvino]"

    def __init__(
        self, path: str | Path, *, device: str = "cpu", threads: int | None = None, precision: str = "f32"
    ) -> None:
        try:
            import openvino
        except ImportError as error:
            raise MissingPackageError(
                f"{path} was to run on OpenVINO, which is not installed. Install it: pip install '{self.requires}'"
            ) from error
        self.path, self.threads = Path(path), checked_threads(threads)
        core = openvino.Core()
        if device.upper() not in core.available_devices:
            here = ", ".join(one.lower() for one in core.available_devices)
            raise SettingError(f"OpenVINO cannot compute on the device {device!r}; possible here: {here}.")
        model = _read(core, self.path)
        self.spec = _spec_of(model, self.path)
        self._ports = _check_graph(model, self.spec, self.path)
        shape = model.input(0).partial_shape
        self._one_by_one = shape[0].is_static
        fixed = shape[2].is_static and shape[3].is_static
        self.size: tuple[int, int] | None = (shape[3].get_length(), shape[2].get_length()) if fixed else None
        self._compiled = _compiled(core, model, device.upper(), self.threads, precision, self.path)
        self._requests: deque[Any] = deque()

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime. A file exported for a batch of one computes a larger batch one by one."""
        check_input(batch, self.size, self.path)
        if self._one_by_one and len(batch) != 1:
            parts = [self._run(batch[i : i + 1]) for i in range(len(batch))]
            return tuple(np.concatenate(maps) for maps in zip(*parts, strict=True))
        return self._run(batch)

    def _run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        try:
            request = self._requests.pop()
        except IndexError:  # as many as there are threads that call at once
            request = self._compiled.create_infer_request()
        request.infer({0: np.ascontiguousarray(batch)}, share_inputs=True)
        outputs = tuple(request.get_output_tensor(port).data.copy() for port in self._ports)
        self._requests.append(request)
        check_outputs(outputs, batch, self.spec, self.path)
        return outputs


RUNTIME = OpenVINORuntime


def _read(core: Any, path: Path) -> Any:
    try:
        model = core.read_model(str(path))
    except Exception as error:  # the engine raises RuntimeError for all it cannot read
        raise ModelError(
            f"{path} is no model that OpenVINO can open: {_first_line(error)}. Export it again; the weights of an .xml "
            "file lie beside it, in the .bin file of the same name."
        ) from error
    if not model.inputs or not model.outputs:
        raise ModelError(f"{path} is no model: OpenVINO finds no inputs or no outputs in it. Export it again.")
    return model


def _spec_of(model: Any, path: Path) -> PoseSpec:
    for keys in ([SPEC_KEY], ["framework", SPEC_KEY]):  # of .xml files; of .onnx files' metadata
        if model.has_rt_info(keys):
            return PoseSpec.from_json(model.get_rt_info(keys).astype(str), source=str(path))
    raise SpecError(
        f"{path} is a model without a pose spec, so its outputs have no meaning here. Export it with: litepose export"
    )


def _check_graph(model: Any, spec: PoseSpec, path: Path) -> list[int]:
    """Return the place of each of the spec's outputs. Raises SpecError where graph and spec do not belong together."""
    names = [one.get_names() for one in model.outputs]
    places = [next((i for i, found in enumerate(names) if one.name in found), None) for one in spec.outputs]
    shapes = [one.partial_shape for one in model.inputs]
    if None in places or len(shapes) != 1 or shapes[0].rank.get_length() != 4:
        raise SpecError(
            f"{path} does not compute what its pose spec says: the spec promises one input of 4 axes and the outputs "
            f"{[one.name for one in spec.outputs]}; the graph has the inputs {[str(one) for one in shapes]} and the "
            f"outputs {[sorted(one) for one in names]}. Export the model again."
        )
    return [place for place in places if place is not None]


def _compiled(core: Any, model: Any, device: str, threads: int, precision: str, path: Path) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # or idle threads of one engine slow down what runs beside it
    }
    try:
        compiled = core.compile_model(model, device, settings if device == "CPU" else {})
    except Exception as error:
        raise ModelError(f"OpenVINO cannot compile {path}: {_first_line(error)}. Export it again.") from error
    if device == "CPU" and precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise SettingError(f"{path} was to run in bf16, which this processor does not have. Use f32.")
    return compiled


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
