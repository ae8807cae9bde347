"""What a network costs, added up over its parts: multiply-accumulates, parameters, or time by a table of this machine.

Counts are those of `litepose.counting`, each distinct part once: a whole network takes some 0.1 ms instead of 0.1 s, so
a search can draw and reject by the thousand.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from litepose.counting import Counts, count_module
from litepose.search.latency import LatencyTable
from litepose.search.parts import Part, head_of, parts_of


class CountedCost:
    """MACs or parameters of an arch. settings: the other keyword arguments of `LitePose`.

    kind: "macs" (as executed), "macs_reference" (as the LitePose authors count) or "params".
    """

    def __init__(self, kind: str, settings: Mapping[str, Any]) -> None:
        self.kind, self.head = kind, head_of(settings)

    def __call__(self, arch: Mapping[str, Any]) -> float:
        """Return the count of one picture of the arch's size."""
        counts = (_counts(part) for part in parts_of(arch, self.head))
        return float(sum(getattr(count, self.kind) for count in counts))

    def about(self) -> str:
        """Return in a word what a search's results depend on."""
        return self.kind

    def text(self, value: float) -> str:
        """Return a count with its unit."""
        unit = " parameters" if self.kind == "params" else " MACs"
        return (f"{value / 1e9:.4g} G" if value >= 1e9 else f"{value / 1e6:.4g} M") + unit


class LatencyCost:
    """Predicted milliseconds of an arch. Raises SettingError where the table lacks one of its parts."""

    kind = "latency"

    def __init__(self, table: LatencyTable, settings: Mapping[str, Any]) -> None:
        self.table, self.head = table, head_of(settings)

    def __call__(self, arch: Mapping[str, Any]) -> float:
        """Return the time of one picture of the arch's size, ms."""
        return self.table.predict(part.key for part in parts_of(arch, self.head))

    def about(self) -> str:
        """Return in a word what a search's results depend on: the table too."""
        content = json.dumps(dataclasses.asdict(self.table), sort_keys=True)
        return f"latency by table {hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def text(self, value: float) -> str:
        """Return a time with its unit."""
        return f"{value:.4g} ms"


@cache
def _counts(part: Part) -> Counts:
    with torch.device("meta"):
        module = part.build()
    return count_module(module, part.input_shape)
