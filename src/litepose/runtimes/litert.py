"""LiteRT (TensorFlow Lite): .tflite files on phones and boards; on the CPU by XNNPACK's kernels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, ModelError, SettingError, SpecError
from litepose.runtimes.base import check_input, check_outputs, checked_threads
from litepose.spec import SPEC_KEY, PoseSpec


class LiteRTRuntime:
    """A .tflite file with its pose spec in the metadata, ready to compute: one picture of one caller at a time."""

    suffixes: ClassVar[tuple[str, ...]] = (".tflite",)
    also_opens: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("f32",)
    package: ClassVar[str] = "ai_edge_litert"
    requires: ClassVar[str] = "litepose[litert]"

    def __init__(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> None:
        try:
            from ai_edge_litert import interpreter, schema_py_generated
        except ImportError as error:
            raise MissingPackageError(
                f"{path} is a LiteRT file, which needs ai-edge-litert. Install it: pip install '{self.requires}'"
            ) from error
        if device != "cpu":
            raise SettingError(f"LiteRT cannot compute on the device {device!r}; possible here: cpu.")
        self.path, self.threads = Path(path), checked_threads(threads)
        content = self.path.read_bytes()
        try:
            self._interpreter = interpreter.Interpreter(model_content=content, num_threads=self.threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path} is no model that LiteRT can open: {str(error).splitlines()[0]}. Export it again."
            ) from error
        self.spec = _read_spec(schema_py_generated, content, self.path)
        self._input = self._interpreter.get_input_details()[0]
        self._outputs = _output_places(self._interpreter, self.spec, self.path)
        _, height, width, _ = (int(side) for side in self._input["shape"])
        self.size: tuple[int, int] | None = (width, height)
        self._lock = threading.Lock()

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime. A larger batch is computed one by one."""
        check_input(batch, self.size, self.path)
        with self._lock:
            parts = [self._run(picture) for picture in batch]
        outputs = tuple(np.stack(maps) for maps in zip(*parts, strict=True))
        check_outputs(outputs, batch, self.spec, self.path)
        return outputs

    def _run(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the maps, (C, h, w) each, of a (3, H, W) picture; the engine's own are (H, W, C)."""
        self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(picture.transpose(1, 2, 0))[None])
        self._interpreter.invoke()
        maps = (self._interpreter.get_tensor(place)[0] for place in self._outputs)
        return tuple(np.ascontiguousarray(one.transpose(2, 0, 1)) for one in maps)


RUNTIME = LiteRTRuntime


def _read_spec(schema: Any, content: bytes, path: Path) -> PoseSpec:
    model = schema.Model.GetRootAs(content, 0)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == SPEC_KEY.encode():
            return PoseSpec.from_json(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode(), source=str(path))
    raise SpecError(
        f"{path} is a LiteRT file without a pose spec, so its outputs have no meaning here. Export it with: "
        "litepose export"
    )


def _output_places(interpreter: Any, spec: PoseSpec, path: Path) -> list[int]:
    """Return the engine's number of each of the spec's outputs. Raises SpecError where they do not belong together."""
    places = {one["name"]: one["index"] for one in interpreter.get_output_details()}
    shapes = [len(one["shape"]) for one in interpreter.get_input_details()]
    if shapes != [4] or not all(output.name in places for output in spec.outputs):
        raise SpecError(
            f"{path} does not compute what its pose spec says: the spec promises one input of 4 axes and the outputs "
            f"{[one.name for one in spec.outputs]}; the graph has inputs of {shapes} axes and the outputs "
            f"{sorted(places)}. Export the model again."
        )
    return [places[output.name] for output in spec.outputs]
