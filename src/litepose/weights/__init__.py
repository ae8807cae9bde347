"""The models that ship with litepose: every .onnx file in this folder, called by its name without the suffix."""

from __future__ import annotations

from pathlib import Path

from litepose.errors import ModelError, nearest_name

FOLDER = Path(__file__).parent
DEFAULT = "litepose_xs"


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx"))


def path_of(name_or_path: str | Path) -> Path:
    """Return the file of a shipped model, or the path itself where it is one. Raises ModelError."""
    path = Path(name_or_path)
    if str(name_or_path) in names():
        return FOLDER / f"{name_or_path}.onnx"
    if path.suffix or path.exists() or len(path.parts) > 1:
        return path
    raise ModelError(
        f"No model {str(name_or_path)!r}: neither shipped nor a file. {nearest_name(str(name_or_path), names())} "
        "Or give the path of an exported file or a checkpoint."
    )
