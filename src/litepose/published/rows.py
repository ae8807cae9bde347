"""Every network and input for which its authors printed figures, with what it costs as it is counted here.

The figures are the families' own (`PUBLISHED`); a new family is in the tables as soon as its file is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from litepose import counting, models
from litepose.published.frame_rates import FRAME_RATES
from litepose.spec import BOX_RULES

NO_STATS = {"macs", "data", "latency_ms", "note", "sizes", "size"}


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    size: (w, h) of the input. data: what the accuracy was measured on. stats: name -> share. latency_ms: device -> ms.
    macs: as executed; macs_reference: by the authors' rule; macs_published: as they printed it, a plain count.
    frame_rate: frames a second that authors drew (`frame_rates`).
    """

    family: str
    model: str
    num_keypoints: int
    size: tuple[int, int]
    top_down: bool
    data: str
    note: str
    params: int
    macs: int
    macs_reference: int
    rule: str
    macs_published: int | None
    stats: Mapping[str, float]
    latency_ms: Mapping[str, float]
    frame_rate: float | None

    @property
    def key(self) -> str:
        """The name under which a measurement is kept: the same for data sets with as many keypoints."""
        return f"{self.model} {self.size[0]}x{self.size[1]} {self.num_keypoints}"

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {**vars(self), "size": list(self.size), "stats": dict(self.stats), "latency_ms": dict(self.latency_ms)}


def gather(progress: Callable[[str], None] | None = None) -> tuple[Row, ...]:
    """Return all rows, by family and then by data set and cost. progress: is told each network's name."""
    families = {module.__name__.rpartition(".")[2]: module for module in map(models.family_of, models.names())}
    rows = [_row(name, *entry, progress) for name, module in families.items() for entry in entries(module)]
    return tuple(sorted(rows, key=lambda row: (row.family, row.data, row.macs, row.model)))


def entries(family: ModuleType) -> Iterator[tuple[str, int, tuple[int, int], dict[str, Any]]]:
    """Yield what a family's authors printed: variant, number of keypoints, input (w, h), figures."""
    for model, by_keypoints in getattr(family, "PUBLISHED", {}).items():
        for num_keypoints, figures in by_keypoints.items():
            common = {key: value for key, value in figures.items() if key != "sizes"}
            sizes = figures.get("sizes") or {family.DEFAULT.sizes[model]: {}}
            for size, of_size in sizes.items():
                yield model, num_keypoints, size, {**common, **of_size}


def _row(
    family: str,
    model: str,
    num_keypoints: int,
    size: tuple[int, int],
    figures: Mapping[str, Any],
    progress: Callable[[str], None] | None,
) -> Row:
    if progress is not None:
        progress(model)
    default, rule = models.family_of(model).DEFAULT, counting.rule_of(model)
    with torch.device("meta"):
        network = models.build(model, num_keypoints=num_keypoints)
    counts = counting.count(network, size, rule=rule)
    data, _, source = str(figures["data"]).partition(" (")
    notes = [source.rstrip(")"), getattr(default, "notes", {}).get(model, ""), figures.get("note", "")]
    return Row(
        family=family,
        model=model,
        num_keypoints=num_keypoints,
        size=size,
        top_down=default.resize in BOX_RULES,
        data=data,
        note=". ".join(note.rstrip(".") for note in notes if note),
        params=counts.params,
        macs=counts.macs,
        macs_reference=counts.macs_reference,
        rule=rule,
        macs_published=figures.get("macs"),
        stats={key: value for key, value in figures.items() if key not in NO_STATS},
        latency_ms=figures.get("latency_ms", {}),
        frame_rate=FRAME_RATES.get((model, size)) if num_keypoints == 17 else None,
    )
