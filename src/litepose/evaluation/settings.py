"""What the numbers of an evaluation depend on, stored beside them: model, data, thresholds, boxes, versions."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

import cv2

from litepose.evaluation.data import Data
from litepose.evaluation.protocol import GT
from litepose.files import short_name
from litepose.predictor import Predictor
from litepose.runtimes import Runtime

PACKAGES = ("litepose", "numpy", "onnxruntime", "torch", "hotcoco")  # OpenCV's has many names


def settings_of(finder: Predictor, data: Data, *, model: str, boxes: str | None, protocol: str) -> dict[str, Any]:
    """Return the settings of a model's evaluation as plain values. model: as the user named it."""
    settings: dict[str, Any] = {
        "model": model or finder.spec.model,
        "model_sha256": sha256_of(finder.runtime),
        "data": data.name,
        "protocol": protocol,
        "skeleton": finder.skeleton.name,
        "size": "x".join(map(str, finder.size)) if finder.size is not None else "model's rule",
        "flip": finder.flip,
        "scales": list(finder.scales),
        "decode": getattr(finder.codec, "mode", "exact"),
        "codec": {"name": finder.codec.name, **_plain(dataclasses.asdict(finder.codec))},  # type: ignore[call-overload]
    }
    if finder.takes_boxes:
        given = GT if data.is_annotated else "the model's own"
        settings["boxes"] = Path(boxes).name if boxes is not None else given
    return {
        **settings,
        "runtime": type(finder.runtime).__name__,
        "threads": finder.runtime.threads,
        "versions": versions(),
    }


def settings_of_results(results: str | Path, data: Data, *, protocol: str) -> dict[str, Any]:
    """Return the settings under which a results file was scored."""
    return {
        "model": short_name(results),
        "results_sha256": hashlib.sha256(Path(results).read_bytes()).hexdigest(),
        "data": data.name,
        "protocol": protocol,
        "skeleton": data.skeleton.name,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers depend on, of those installed."""
    found = {"opencv": cv2.__version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(found.items()))


def sha256_of(runtime: Runtime) -> str | None:
    """Return the hash of a runtime's model file, None for a network in memory."""
    path = getattr(runtime, "path", None)
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Return settings as JSON has them."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
