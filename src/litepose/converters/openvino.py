"""OpenVINO's .xml and .bin: its own reader of ONNX, the spec among the model's runtime information."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litepose.errors import MissingPackageError
from litepose.spec import SPEC_KEY, PoseSpec

SUFFIX = ".xml"
WEIGHTS = (".bin",)
PACKAGES = ("openvino",)
ANY_GRAPH = True


def write(model: Any, spec: PoseSpec, path: Path, *, half_weights: bool) -> None:
    """See Converter."""
    try:
        import openvino
    except ImportError as error:
        raise MissingPackageError(
            "Export for OpenVINO needs the package openvino. Install it: pip install 'litepose[openvino]'"
        ) from error
    with_onnx = path.with_suffix(".onnx")
    with_onnx.write_bytes(model.SerializeToString())
    converted = openvino.Core().read_model(str(with_onnx))
    with_onnx.unlink()
    converted.set_rt_info(spec.to_json(), [SPEC_KEY])
    openvino.save_model(converted, str(path), compress_to_fp16=half_weights)
