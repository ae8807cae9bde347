"""What all failure pages say alike: model, data, the protocol's numbers, settings, pictures with a caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.failure_report.pictures import Pair

PAGE, NUMBERS = "index.html", "diagnosis.json"
UNNAMED = "the model"

ImageOf = Callable[[Any], np.ndarray | None]  # picture id -> (H, W, 3) uint8 BGR, None where it cannot be read


@dataclass(frozen=True)
class Shown:
    """A pair of pictures and what is said below it."""

    id: int | str
    title: str
    text: str
    pair: Pair


def head(scores: Mapping[str, Any], summary: Sequence[str]) -> dict[str, Any]:
    """Return what `failure.html` needs. scores: a report of `litepose eval`: {"protocol", "stats", "settings"}."""
    settings = dict(scores.get("settings", {}))
    facts = [f"{settings[name]} {name}" for name in ("people", "pictures") if name in settings]
    if settings.get("boxes") is not None:
        facts.append(f"boxes: {settings['boxes']}")
    return {
        "model": settings.get("model", UNNAMED),
        "data": settings.get("data", "its data"),
        "protocol": scores.get("protocol", ""),
        "facts": facts,
        "stats": {name.replace("_", " "): value for name, value in scores.get("stats", {}).items()},
        "summary": summary,
        "settings": {name: _plain(value) for name, value in settings.items()},
    }


def _plain(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
