"""How long each part of a network takes on one machine, with one engine: a table that adds up to whole networks.

A part timed alone, over and over, has its weights and maps in the processor's nearest cache; within a network it has
not. So a whole network takes `scale` times the sum of its parts plus `part_ms` for each of them, both fitted on whole
networks that were measured too; others, kept apart, say how good that is.
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
    """One whole network: how many parts it has, their sum and what it takes, ms. key: of its arch."""

    key: str
    num_parts: int
    sum_ms: float
    measured_ms: float


@dataclass(frozen=True)
class LatencyTable:
    """Times of parts by their keys, ms.

    machine: processor, runtime, threads, versions: what the times hold for. fitted, checked: whole networks from which
    scale and part_ms come, and others that were not looked at for it.
    """

    machine: Mapping[str, Any]
    parts: Mapping[str, float]
    scale: float = 1.0
    part_ms: float = 0.0
    fitted: tuple[Checked, ...] = ()
    checked: tuple[Checked, ...] = ()

    def predict(self, keys: Iterable[str]) -> float:
        """Return the time of a network of these parts, ms. Raises SettingError for a part that is not in the table."""
        keys = list(keys)
        return self.scale * self.sum_of(keys) + self.part_ms * len(keys)

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
        """Return the table with scale and part_ms that suit its `fitted` networks best, in relative error."""
        if len(self.fitted) < 2:
            return self
        rows = np.array([[one.sum_ms, one.num_parts] for one in self.fitted])
        measured = np.array([one.measured_ms for one in self.fitted])
        (scale, part_ms), *_ = np.linalg.lstsq(rows / measured[:, None], np.ones(len(measured)), rcond=None)
        return dataclasses.replace(self, scale=float(scale), part_ms=float(part_ms))

    def errors(self) -> np.ndarray:
        """Return (predicted - measured) / measured of each checked network."""
        return np.array([self._predicted(one) / one.measured_ms - 1 for one in self.checked])

    def correlation(self) -> float:
        """Return Pearson's correlation of predicted and measured times of the checked networks."""
        if len(self.checked) < 2:
            return float("nan")
        predicted = [self._predicted(one) for one in self.checked]
        return float(np.corrcoef(predicted, [one.measured_ms for one in self.checked])[0, 1])

    def _predicted(self, one: Checked) -> float:
        return self.scale * one.sum_ms + self.part_ms * one.num_parts

    def summary(self) -> str:
        """Return in a line what was measured and how well it predicts whole networks."""
        told = "{} parts by {runtime} with {threads} threads on {processor}".format(len(self.parts), **self.machine)
        if not self.checked:
            return told
        errors = np.abs(self.errors())
        return (
            f"{told}. A network takes {self.scale:.3f} times the sum of its parts, plus {1000 * self.part_ms:.1f} us "
            f"for each. On {len(errors)} others: mean error {100 * errors.mean():.1f} %, 90 of 100 within "
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
