"""The models that ship with litepose: every .onnx file in this folder, called by its name without the suffix.

They are exported with --half-weights --trainable, so that `litepose train --from NAME` goes on from them and
`litepose convert NAME` makes checkpoints of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litepose.errors import ModelError, nearest_name
from litepose.spec import PoseSpec

FOLDER = Path(__file__).parent
DEFAULT = "litepose_xs"


@dataclass(frozen=True)
class ModelCard:
    """What a shipped model says about itself; None where its file does not state it.

    size: (w, h) of the input. params, macs: of one input of that size. metrics: as measured, e.g. {"AP": 0.4}.
    measured_on: the data of the metrics. num_bytes: of the file.
    """

    name: str
    skeleton: str
    size: tuple[int, int]
    num_bytes: int
    params: int | None
    macs: int | None
    metrics: Mapping[str, Any]
    measured_on: str | None
    licence: str | None


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
    if not names():
        raise ModelError(
            f"No model {str(name_or_path)!r}: neither shipped nor a file. No models ship with this installation; give "
            "the path of an exported file or a checkpoint, which `litepose train` and `litepose export` make."
        )
    raise ModelError(
        f"No model {str(name_or_path)!r}: neither shipped nor a file. {nearest_name(str(name_or_path), names())} "
        "Or give the path of an exported file or a checkpoint."
    )


def cards() -> list[ModelCard]:
    """Return a card for each shipped model, by name."""
    from litepose.runtimes import open_runtime

    found = [(name, path_of(name)) for name in names()]
    return [card_of(name, open_runtime(path, threads=1).spec, path.stat().st_size) for name, path in found]


def card_of(name: str, spec: PoseSpec, num_bytes: int) -> ModelCard:
    """Return what a model file's spec says, on a card."""
    facts = spec.provenance
    cost = facts.get("cost") or {}
    width, height = spec.input.size
    return ModelCard(
        name=name,
        skeleton=spec.skeleton.name,
        size=(width, height),
        num_bytes=num_bytes,
        params=cost.get("params"),
        macs=cost.get("macs"),
        metrics=facts.get("metrics") or {},
        measured_on=facts.get("measured_on"),
        licence=facts.get("licence"),
    )
