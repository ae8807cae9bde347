"""What twice the data or twice the samples would give, from trainings on parts of the data.

    python benchmarks/learning_curve.py RESULTS.jsonl [--measures AP mean_oks pck loss] [--over people samples]
        [--plot curve.svg] [--json curve.json]

RESULTS: a line for each training, such as {"share": 0.125, "people": 760, "samples": 25600, "AP": 0.05, "AP50": 0.2,
"mean_oks": 0.3, "pck": 0.5, "loss": 0.04}; several of one share (other seeds) are welcome. Over people, only the
trainings with the most common number of samples count, and the other way round; samples count once they differ.

Two curves are fitted to the error (1 - measure; a loss as it is), because few points cannot tell which is right:

    log-linear   error = a - b log2(n)             each doubling gives the same; optimistic in the long run
    power law    error = a + b n^-c, a, b >= 0     after Hestness et al. 2017; its floor a is what no data takes away

c is the best of C; of equally good ones the smallest floor. Each is fitted again without each single training (leave
one out) and to residuals drawn anew (bootstrap); printed is the widest interval of both. Four trainings on one
validation set of 129 pictures say little: an interval is about the fit, not about other pictures or other networks.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import MissingPackageError, SettingError
from litepose.files import replacing, write_report

LOSSES = ("loss",)  # smaller is better, and no share
C = np.linspace(0.02, 2.0, 100)
FACTORS = (2, 4, 8)  # how much more
RESAMPLES = 500
MIDDLE = (2.5, 97.5)  # percent
LEAST = 3  # different numbers of people or samples

Curve = Callable[[np.ndarray], np.ndarray]  # n -> error


@dataclass(frozen=True)
class Guess:
    """What a curve says of `factor` times as much: the measure, and the interval of the fit."""

    factor: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Fitted:
    """One curve over one axis. terms: a, b (and c). residual: root of the mean square. floor: 1 - a, or None."""

    measure: str
    axis: str
    shape: str
    terms: tuple[float, ...]
    residual: float
    most: float
    guesses: tuple[Guess, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--measures", nargs="+", default=["AP", "AP50", "mean_oks", "pck", "loss"])
    parser.add_argument("--over", nargs="+", choices=["people", "samples"], default=["people", "samples"])
    parser.add_argument("--plot", type=Path, help="write the curves as a picture (.svg, .png)")
    parser.add_argument("--json", type=Path, help="write the fits")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    trainings = read_results(asked.results)
    fits = []
    for axis in asked.over:
        chosen = comparable(trainings, axis)
        if len({one[axis] for one in chosen}) < LEAST:
            print(f"over {axis}: {len(chosen)} comparable trainings, fewer than {LEAST} different; nothing is fitted\n")
            continue
        fits += _show(chosen, axis, asked.measures, np.random.default_rng(asked.seed))
    if asked.json is not None:
        write_report(asked.json, [asdict(one) for one in fits])
    if asked.plot is not None and fits:
        plot(trainings, fits, asked.plot)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Return the trainings. Raises SettingError for a line that is none."""
    trainings = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            trainings.append({**one, "people": float(one["people"]), "samples": float(one["samples"])})
        except (ValueError, KeyError, TypeError) as error:
            raise SettingError(
                f"Line {number} of {path} is no training ({error!r}): an object with people, samples and measures is "
                "needed, as the docstring shows."
            ) from error
    return trainings


def comparable(trainings: Sequence[Mapping[str, Any]], axis: str) -> list[Mapping[str, Any]]:
    """Return the trainings that differ along one axis alone: those of the other number's most common value."""
    other = "samples" if axis == "people" else "people"
    counts = Counter(one[other] for one in trainings)
    if not counts:
        return []
    held = max(counts, key=lambda value: (counts[value], value))
    return sorted((one for one in trainings if one[other] == held), key=lambda one: one[axis])


def fit(n: np.ndarray, errors: np.ndarray, shape: str) -> tuple[float, ...]:
    """Return (a, b) of "log-linear", (a, b, c) of "power law". n, errors: (N,), n > 0."""
    if shape == "log-linear":
        slope, level = np.polyfit(np.log2(n), errors, 1)
        return float(level), float(-slope)
    scale = n.max()  # so that b is of the size of the errors
    falling = (n / scale) ** -C[:, None]  # (C, N), each c at once
    centred = falling - falling.mean(axis=1, keepdims=True)
    b = centred @ (errors - errors.mean()) / (centred**2).sum(axis=1)
    a = errors.mean() - b * falling.mean(axis=1)
    b = np.where(a < 0, falling @ errors / (falling**2).sum(axis=1), b)
    a = np.where(a < 0, 0.0, np.where(b < 0, errors.mean(), a))
    b = np.maximum(b, 0.0)
    squares = ((a[:, None] + b[:, None] * falling - errors) ** 2).sum(axis=1)
    best = np.flatnonzero(squares <= squares.min() * (1 + 1e-9) + 1e-15)
    k = best[a[best].argmin()]
    return float(a[k]), float(b[k] * scale ** C[k]), float(C[k])


def curve_of(shape: str, terms: Sequence[float]) -> Curve:
    """Return the curve of fitted terms."""
    if shape == "log-linear":
        return lambda n: terms[0] - terms[1] * np.log2(n)
    return lambda n: terms[0] + terms[1] * n ** -terms[2]


def extrapolate(
    n: np.ndarray, values: np.ndarray, *, measure: str, axis: str, shape: str, rng: np.random.Generator
) -> Fitted:
    """Fit one curve and say what more would give. values: (N,), the measure of each training."""
    is_loss = measure in LOSSES
    errors = values if is_loss else 1 - values
    terms = fit(n, errors, shape)
    curve = curve_of(shape, terms)
    residuals = errors - curve(n)
    free = max(1, len(n) - len(terms))
    wider = np.sqrt(len(n) / free)  # residuals of a fit are smaller than the noise
    ahead = n.max() * np.array(FACTORS, dtype=float)
    refits = [fit(np.delete(n, k), np.delete(errors, k), shape) for k in range(len(n)) if _enough(np.delete(n, k))]
    left_out = [curve_of(shape, one)(ahead) for one in refits]
    drawn = [
        curve_of(shape, fit(n, curve(n) + wider * rng.choice(residuals, len(n)), shape))(ahead)
        for _ in range(RESAMPLES)
    ]
    sides = [np.percentile(drawn, MIDDLE, axis=0)]
    if left_out:
        sides.append(np.array([np.min(left_out, axis=0), np.max(left_out, axis=0)]))
    low, high = np.min(sides, axis=0)[0], np.max(sides, axis=0)[1]
    middle = curve(ahead)
    if not is_loss:
        middle, low, high = 1 - middle, 1 - high, 1 - low
    guesses = tuple(
        Guess(*map(float, one)) for one in zip(FACTORS, middle, np.minimum(low, middle), np.maximum(high, middle),
                                               strict=True)
    )  # fmt: skip
    return Fitted(measure, axis, shape, terms, float(np.sqrt((residuals**2).mean())), float(n.max()), guesses)


def _enough(n: np.ndarray) -> bool:
    return len(np.unique(n)) >= 2


def _show(
    trainings: Sequence[Mapping[str, Any]], axis: str, measures: Sequence[str], rng: np.random.Generator
) -> list[Fitted]:
    n = np.array([one[axis] for one in trainings])
    other = "samples" if axis == "people" else "people"
    print(f"over {axis}: {len(trainings)} trainings, {n.min():g} to {n.max():g}, {other} {trainings[0][other]:g}")
    fits = []
    for measure in measures:
        if not all(measure in one for one in trainings):
            print(f"  {measure}: not measured of all")
            continue
        values = np.array([float(one[measure]) for one in trainings])
        print(f"  {measure}: " + ", ".join(f"{value:.4f} at {at:g}" for at, value in zip(n, values, strict=True)))
        for shape in ("log-linear", "power law"):
            fitted = extrapolate(n, values, measure=measure, axis=axis, shape=shape, rng=rng)
            fits.append(fitted)
            said = "; ".join(
                f"x{one.factor:g} {one.value:.3f} ({one.low:.3f} .. {one.high:.3f})" for one in fitted.guesses
            )
            terms = ", ".join(f"{name} {value:.4g}" for name, value in zip("abc", fitted.terms, strict=False))
            print(f"    {shape:10}  {said}   [{terms}; residual {fitted.residual:.4f}]")
    print()
    return fits


def plot(trainings: Sequence[Mapping[str, Any]], fits: Sequence[Fitted], path: Path) -> None:
    """Write a picture: a panel for each axis and measure. Raises MissingPackageError."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError("A plot needs matplotlib. Run: pip install 'litepose[eval]'") from error
    panels = list(dict.fromkeys((one.axis, one.measure) for one in fits))
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    for number, (axis, measure) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, number)
        chosen = comparable(trainings, axis)
        n = np.array([one[axis] for one in chosen])
        axes.plot(n, [one[measure] for one in chosen], "ko", label="measured")
        ahead = np.geomspace(n.min(), n.max() * FACTORS[-1], 60)
        for fitted, colour in zip(
            [one for one in fits if (one.axis, one.measure) == (axis, measure)], ("#0072B2", "#D55E00"), strict=True
        ):
            errors = curve_of(fitted.shape, fitted.terms)(ahead)
            axes.plot(ahead, errors if measure in LOSSES else 1 - errors, color=colour, label=fitted.shape)
            for one in fitted.guesses:
                axes.plot([fitted.most * one.factor] * 2, [one.low, one.high], color=colour, alpha=0.5)
        axes.set(xscale="log", xlabel=axis, ylabel=measure)
        axes.legend(fontsize=7)
    with replacing(path) as unfinished:
        figure.savefig(unfinished, format=path.suffix.lstrip(".") or "svg")


if __name__ == "__main__":
    main()
