"""ONNX Runtime, the default engine: smallest install, within some 12 % of the fastest CPU engine on light networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, ModelError, SettingError, SpecError
from litepose.runtimes.base import check_input, check_outputs, checked_threads
from litepose.spec import SPEC_KEY, PoseSpec

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """An .onnx file with its pose spec in the metadata, ready to compute."""

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    also_opens: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("f32",)
    package: ClassVar[str] = "onnxruntime"
    requires: ClassVar[str] = "onnxruntime"

    def __init__(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> None:
        self.path = Path(path)
        self.threads = checked_threads(threads)
        self._session = open_session(self.path, device, self.threads)
        self.spec = _read_spec(self._session, self.path)
        self._names = _check_graph(self._session, self.spec, self.path)
        self._batch_size, _, height, width = self._session.get_inputs()[0].shape  # numbers, or names of free axes
        fixed = isinstance(height, int) and isinstance(width, int)
        self.size: tuple[int, int] | None = (width, height) if fixed else None

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime. A file exported for a batch of one computes a larger batch one by one."""
        check_input(batch, self.size, self.path)
        if isinstance(self._batch_size, int) and len(batch) != 1:
            parts = [self._run(batch[i : i + 1]) for i in range(len(batch))]
            return tuple(np.concatenate(maps) for maps in zip(*parts, strict=True))
        return self._run(batch)

    def _run(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = tuple(self._session.run(self._names, {"image": np.ascontiguousarray(batch)}))
        check_outputs(outputs, batch, self.spec, self.path)
        return outputs


RUNTIME = OnnxRuntime


def open_session(path: Path, device: str, threads: int) -> Any:
    """Return the engine's session of an ONNX file of any kind.

    Raises ModelError, SettingError for the device, MissingPackageError.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(f"{path} needs ONNX Runtime. Install it: pip install onnxruntime") from error
    kind, _, number = device.partition(":")
    provider = PROVIDERS.get(kind)
    if provider is None or provider not in onnxruntime.get_available_providers():
        here = [name for name, one in PROVIDERS.items() if one in onnxruntime.get_available_providers()]
        raise SettingError(
            f"ONNX Runtime cannot compute on the device {device!r}; possible here: {', '.join(here)}. "
            "For cuda: pip install onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal only; errors come as exceptions
    # Idle engine threads would otherwise spin on while the decoder computes.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    chosen = {"device_id": number} if number else {}
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[(provider, chosen)])
    except Exception as error:  # the engine has a dozen exception classes, all directly below Exception
        raise ModelError(
            f"{path} is no model that ONNX Runtime {onnxruntime.__version__} can open: {error}. "
            "Export or download it again."
        ) from error


def has_spec(path: Path) -> bool:
    """Return whether an ONNX file carries a pose spec, as every pose model does. Raises as `open_session`."""
    return SPEC_KEY in open_session(path, "cpu", 1).get_modelmeta().custom_metadata_map


def _read_spec(session: Any, path: Path) -> PoseSpec:
    metadata = session.get_modelmeta().custom_metadata_map
    if SPEC_KEY not in metadata:
        raise SpecError(
            f"{path} is an ONNX file without a pose spec (no {SPEC_KEY!r} among its metadata: "
            f"{sorted(metadata) or 'none'}), so its outputs have no meaning here. Export it with: litepose export"
        )
    return PoseSpec.from_json(metadata[SPEC_KEY], source=str(path))


def _check_graph(session: Any, spec: PoseSpec, path: Path) -> list[str]:
    """Return the output names in spec order. Raises SpecError where graph and spec do not belong together."""
    inputs = [(one.name, len(one.shape)) for one in session.get_inputs()]
    batch_size = session.get_inputs()[0].shape[:1] if inputs else []
    if inputs != [("image", 4)] or (isinstance(batch_size[0], int) and batch_size[0] != 1):
        raise SpecError(
            f"{path} must have one input named 'image' of 4 axes, the first of them free or 1; found {inputs} with a "
            f"first axis of {batch_size}. Export it with: litepose export"
        )
    channels = {one.name: one.shape[1] if len(one.shape) == 4 else None for one in session.get_outputs()}
    for output in spec.outputs:
        found = channels.get(output.name)
        if output.name not in channels or (isinstance(found, int) and found != output.channels):
            raise SpecError(
                f"{path} does not compute what its pose spec says: the spec promises {output.name!r} with "
                f"{output.channels} channels, the graph has {channels}. Export the model again."
            )
    return [output.name for output in spec.outputs]
