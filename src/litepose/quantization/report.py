"""What a quantization came to: the two files side by side, and whether the new one is worth having."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLOWER = 1.02  # ratio of times; medians taking turns differ by less between a file and itself
LARGEST_LOSS = 0.01  # of AP, PCK or PCKh: one point
LEAST_LIKENESS = 0.9  # mean OKS with the people of the float model, where nothing is annotated
MEASURES = ("AP", "PCK", "Mean")  # what decides: the first that a protocol has


@dataclass(frozen=True)
class Timing:
    """CPU time of one input through the network in ms, medians of rounds that took turns; ratio: of the pairs."""

    float_ms: float
    int8_ms: float
    ratio: float
    threads: int
    machine: str


@dataclass(frozen=True)
class QuantizationReport:
    """path: where the file lies, or would.

    target: the kind of machine that it is for; here: the kind that it was timed on.
    layers, num_layers: that compute with integers, and all that could. costly: of those that stay float for their cost,
        the error that each would bring. errors: of each output's parts, rms of the change / standard deviation;
        errors_of_all: with all layers but the last.
    measures: AP, PCK... as (float, int8); {} where nothing is annotated. likeness: mean OKS of the float model's people
        with the int8 model's; None where the float model found nobody. people: found by (float, int8).
    num_bytes: of the (float, int8) file. calibration: data, pictures (with people, of those
        looked_at), inputs, method.
    """

    path: Path
    model: str
    target: str
    here: str
    layers: tuple[str, ...]
    num_layers: int
    costly: Mapping[str, float]
    errors: Mapping[str, float]
    errors_of_all: Mapping[str, float]
    timing: Timing
    measures: Mapping[str, tuple[float, float]]
    likeness: float | None
    people: tuple[int, int]
    test: str
    num_pictures: int
    num_bytes: tuple[int, int]
    calibration: Mapping[str, Any]
    kept: bool = False

    @property
    def faults(self) -> tuple[str, ...]:
        """Why the float model is the better one; () where it is not. Speed counts where the target is this machine."""
        faults = []
        if not self.layers:
            faults.append("no layer could become integers without changing the outputs too much")
        if self.target == self.here and self.timing.ratio > SLOWER:
            faults.append(f"it is slower here: {self.timing.ratio:.2f} times the float model's time")
        if (fault := self.accuracy_fault) is not None:
            faults.append(fault)
        return tuple(faults)

    @property
    def accuracy_fault(self) -> str | None:
        """What the int8 file does worse; None where it loses little."""
        name = next((one for one in MEASURES if one in self.measures), None)
        if name is not None:
            before, after = self.measures[name]
            if before - after > LARGEST_LOSS:
                return f"it loses {100 * (before - after):.1f} points of {name} ({before:.3f} to {after:.3f})"
        elif self.likeness is not None and self.likeness < LEAST_LIKENESS:
            return f"its people are not those of the float model: their mean OKS is {self.likeness:.2f}"
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        timing = self.timing
        return {
            "model": self.model,
            "file": self.path.name,
            "kept": self.kept,
            "faults": list(self.faults),
            "target": self.target,
            "calibration": dict(self.calibration),
            "layers": {"int8": len(self.layers), "possible": self.num_layers, "costly": dict(self.costly)},
            "errors": {part: {"error": self.errors[part], "of_all": self.errors_of_all[part]} for part in self.errors},
            "latency": {
                "machine": timing.machine,
                "threads": timing.threads,
                "float_ms": timing.float_ms,
                "int8_ms": timing.int8_ms,
                "ratio": timing.ratio,
            },
            "test": {"data": self.test, "pictures": self.num_pictures},
            "measures": {name: {"float": one, "int8": other} for name, (one, other) in self.measures.items()},
            "people": {"float": self.people[0], "int8": self.people[1], "likeness": self.likeness},
            "bytes": {"float": self.num_bytes[0], "int8": self.num_bytes[1]},
        }
