"""What a search leaves behind: pareto.json, a plot of it, and an arch file for each network of the front."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litepose.errors import MissingPackageError
from litepose.files import replacing, write_json, write_report
from litepose.search.evolution import Evaluated, SearchResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Kind of cost -> name on the axis, divisor of what is drawn.
UNITS = {
    "macs": ("multiply-accumulates, millions", 1e6),
    "macs_reference": ("multiply-accumulates as the LitePose authors count, millions", 1e6),
    "params": ("parameters, millions", 1e6),
    "latency": ("predicted latency, ms", 1.0),
}
NUM_LABELLED = 6  # points of the front with their input size beside them


def write_outcome(
    result: SearchResult,
    folder: str | Path,
    *,
    kind: str,
    budget: float,
    measure: str = "AP",
    costs: Mapping[str, Callable[[Mapping[str, Any]], float]] | None = None,
) -> list[Path]:
    """Write pareto.json, archs/NN.json from cheap to costly, archs/best.json, and pareto.svg and .png.

    costs: other costs of each network for the JSON, by name. Without matplotlib there is no plot, and a warning.
    Returns the paths.
    """
    folder = Path(folder)
    for old in (folder / "archs").glob("*.json"):
        old.unlink()  # of an earlier, shorter search in this folder
    written, rows = [], []
    for i, one in enumerate(result.front, start=1):
        path = folder / "archs" / f"{i:02d}.json"
        write_json(path, one.arch, indent=2)
        written.append(path)
        rows.append(_row(one, path, costs or {}))
    write_json(folder / "archs" / "best.json", result.best.arch, indent=2)
    report = {"cost": kind, "budget": budget, "measure": measure, "evaluated": len(result.evaluated), "front": rows}
    write_report(folder / "pareto.json", {**report, "generations": list(result.generations)})
    written += [folder / "archs" / "best.json", folder / "pareto.json"]
    try:
        figure = plot(result, kind=kind, budget=budget, measure=measure)
    except MissingPackageError as error:
        warnings.warn(str(error), stacklevel=2)
        return written
    for suffix in (".svg", ".png"):
        with replacing(folder / f"pareto{suffix}") as temporary:
            figure.savefig(temporary, dpi=150)
        written.append(folder / f"pareto{suffix}")
    return written


def plot(result: SearchResult, *, kind: str, budget: float, measure: str = "AP") -> Figure:
    """Return the accuracy of everything evaluated over its cost, later generations darker, with the front as a line.

    Raises MissingPackageError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise MissingPackageError(
            "The plot of a search needs the package matplotlib. Install it: pip install 'litepose[eval]'"
        ) from error
    label, divisor = UNITS[kind]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    shown = axes.scatter(
        [one.cost / divisor for one in result.evaluated],
        [one.accuracy for one in result.evaluated],
        c=[one.generation for one in result.evaluated],
        cmap="Greys", vmin=-max(len(result.generations), 1), s=14, label="evaluated",
    )  # fmt: skip
    front = [(one.cost / divisor, one.accuracy) for one in result.front]
    axes.plot(*zip(*front, strict=True), "o-", color="#c8372d", markersize=5, linewidth=1.5, label="Pareto front")
    for i in _spread(len(front), NUM_LABELLED):
        axes.annotate(
            f"{result.front[i].arch['img_size']} px", front[i], xytext=(-4, 6), textcoords="offset points",
            fontsize=8, ha="right",
        )  # fmt: skip
    axes.axvline(budget / divisor, color="#3b6ea5", linestyle="--", linewidth=1, label="budget")
    axes.set(xlabel=label, ylabel=f"{measure} in the supernet")
    axes.margins(x=0.12, y=0.1)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", frameon=False)
    if len(result.generations) > 1:
        bar = figure.colorbar(shown, ax=axes, label="generation", ticks=MaxNLocator(integer=True))
        bar.ax.set_ylim(0, len(result.generations) - 1)
    return figure


def _row(one: Evaluated, path: Path, costs: Mapping[str, Callable[[Mapping[str, Any]], float]]) -> dict[str, Any]:
    return {
        "file": f"archs/{path.name}",
        "accuracy": one.accuracy,
        "cost": one.cost,
        **{name: cost(one.arch) for name, cost in costs.items()},
        **one.more,
        "generation": one.generation,
        "arch": one.arch,
    }


def _spread(count: int, most: int) -> list[int]:
    """Return up to `most` of the numbers below `count`, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})
