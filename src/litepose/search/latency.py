"""How long each part of a network takes on one machine, with one engine: a table that adds up to whole networks.

A part alone costs more than within a network, where the engine keeps its own order of channels between layers, and a
network costs something before its first layer. So a whole network takes `scale` times the sum of its parts plus
`offset_ms`, both fitted on whole networks that were measured too; others, kept apart, say how good that is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import SettingError
from litepose.files import write_report

VERSION = 1


@dataclass(frozen=True)
class Checked:
    """One whole network: the sum of its parts and what it takes, ms. key: of its arch."""

    key: str
    sum_ms: float
    measured_ms: float


@dataclass(frozen=True)
class LatencyTable:
    """Times of parts by their keys, ms.

    machine: processor, runtime, threads, versions: what the times hold for. fitted, checked: whole networks from which
    scale and offset come, and others that were not looked at for it.
    """

    machine: Mapping[str, Any]
    parts: Mapping[str, float]
    scale: float = 1.0
    offset_ms: float = 0.0
    fitted: tuple[Checked, ...] = ()
    checked: tuple[Checked, ...] = ()

    def predict(self, keys: Iterable[str]) -> float:
        """Return the time of a network of these parts, ms. Raises SettingError for a part that is not in the table."""
        return self.scale * self.sum_of(keys) + self.offset_ms

    def sum_of(self, keys: Iterable[str]) -> float:
        """Return the plain sum of the parts' times, ms. Raises SettingError."""
        total = 0.0
        for key in keys:
            if key not in self.parts:
                raise SettingError(
                    f"The latency table has no part {key!r}; it holds {len(self.parts)} parts, of another search space "
                    "or of another head. Measure one for this supernet: litepose search SUPERNET --profile FILE."
                )
            total += self.parts[key]
        return total

    def refitted(self) -> LatencyTable:
        """Return the table with scale and offset that suit its `fitted` networks best, in relative error."""
        if len(self.fitted) < 2:
            return self
        sums = np.array([one.sum_ms for one in self.fitted])
        measured = np.array([one.measured_ms for one in self.fitted])
        rows = np.stack([sums, np.ones_like(sums)], axis=1) / measured[:, None]
        (scale, offset), *_ = np.linalg.lstsq(rows, np.ones_like(sums), rcond=None)
        return dataclasses.replace(self, scale=float(scale), offset_ms=float(offset))

    def errors(self) -> np.ndarray:
        """Return (predicted - measured) / measured of each checked network."""
        return np.array([(self.scale * c.sum_ms + self.offset_ms) / c.measured_ms - 1 for c in self.checked])

    def correlation(self) -> float:
        """Return Pearson's correlation of predicted and measured times of the checked networks."""
        if len(self.checked) < 2:
            return float("nan")
        return float(np.corrcoef([c.sum_ms for c in self.checked], [c.measured_ms for c in self.checked])[0, 1])

    def summary(self) -> str:
        """Return in a line what was measured and how well it predicts whole networks."""
        told = "{} parts by {runtime} with {threads} threads on {processor}".format(len(self.parts), **self.machine)
        if not self.checked:
            return told
        errors = np.abs(self.errors())
        return (
            f"{told}. A network takes {self.scale:.3f} times the sum of its parts, plus {self.offset_ms:.2f} ms. On "
            f"{len(errors)} others: mean error {100 * errors.mean():.1f} %, 90 of 100 within "
            f"{100 * np.percentile(errors, 90):.1f} %, largest {100 * errors.max():.1f} %, correlation "
            f"{self.correlation():.4f}"
        )

    def save(self, path: str | Path) -> None:
        """Write the table as JSON."""
        write_report(path, {"version": VERSION, **dataclasses.asdict(self)})


def load_table(path: str | Path) -> LatencyTable:
    """Read a table. Raises SettingError."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data.pop("version")
        if version == VERSION:
            fitted, checked = (tuple(Checked(**one) for one in data.pop(key)) for key in ("fitted", "checked"))
            return LatencyTable(**data, fitted=fitted, checked=checked)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingError(
            f"{path} cannot be read as a latency table ({error}). Measure one: litepose search SUPERNET --profile FILE."
        ) from error
    raise SettingError(f"{path} is a latency table of version {version}; this litepose reads {VERSION}. Measure anew.")
