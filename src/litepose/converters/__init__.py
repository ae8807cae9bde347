"""How a network's ONNX graph becomes an engine's own file. One file an engine.

A converter file names the `SUFFIX` of its files, what `WEIGHTS` lies beside them (suffixes), the `PACKAGES` that pip
must install for it, whether it takes `ANY_GRAPH` (free sizes, pixels or peaks inside), and has
`write(model, spec, path, half_weights=...)`, which gets an onnx.ModelProto with outputs named as in the spec. It need
not be right in everything: what it writes is compared with the network, and kept only if it computes the same.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol

from litepose.errors import SettingError, nearest_name
from litepose.spec import PoseSpec

__all__ = ["BROWSER", "Converter", "converter_of", "engine_for", "engines"]

PHOTO = Path(__file__).parent / "photo.jpg"  # on which every file is compared with its network
# Engines whose file is the ONNX graph itself.
BROWSER = "onnxruntime-web"
ONNX_ENGINES = ("onnx", "tensorrt", BROWSER)


class Converter(Protocol):
    """What a converter file holds."""

    SUFFIX: str
    WEIGHTS: tuple[str, ...]
    PACKAGES: tuple[str, ...]
    ANY_GRAPH: bool

    def write(self, model: Any, spec: PoseSpec, path: Path, *, half_weights: bool) -> None:
        """Write the graph to `path`, and its weights beside it. Raises ExportError, MissingPackageError."""
        ...


def engines() -> list[str]:
    """Return the names of all engines that a network can be exported for."""
    return sorted([*ONNX_ENGINES, *_converter_names()])


def converter_of(engine: str) -> Converter | None:
    """Return an engine's converter; None where its file is the ONNX graph itself. Raises SettingError."""
    if engine not in engines():
        raise SettingError(f"No export for the engine {engine!r}. {nearest_name(engine, engines())}")
    return None if engine in ONNX_ENGINES else importlib.import_module(f"{__name__}.{engine}")  # type: ignore[return-value]


def suffix_of(engine: str) -> str:
    """Return how an engine's files are called. Raises SettingError."""
    converter = converter_of(engine)
    return ".onnx" if converter is None else converter.SUFFIX


def engine_for(path: Path, engine: str | None) -> str:
    """Return the engine that a file is to be for: the one asked, or the one of its suffix. Raises SettingError."""
    by_suffix = {suffix_of(name): name for name in reversed(engines())} | {".onnx": "onnx"}
    if engine is None:
        if path.suffix.lower() not in by_suffix:
            possible = ", ".join(f"{suffix} ({name})" for suffix, name in sorted(by_suffix.items()))
            raise SettingError(
                f"Cannot export to {path}: possible are {possible}. Name it {path.with_suffix('.onnx')}."
            )
        return by_suffix[path.suffix.lower()]
    if path.suffix.lower() != suffix_of(engine):
        raise SettingError(
            f"Cannot export to {path} for {engine}: its files end in {suffix_of(engine)}. "
            f"Name it {path.with_suffix(suffix_of(engine))}."
        )
    return engine


def _converter_names() -> list[str]:
    return [info.name for info in pkgutil.iter_modules(__path__) if info.name not in ("graph", "tflite")]
