"""The charts of the failure pages: matplotlib figures as SVG, wide enough to be read on a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from litepose.metrics.curves import OKS_BINS, RECALLS, Curves
from litepose.metrics.given_back import Losses
from litepose.page import BARS, LINES, svg

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 5.2, 3.4  # inches: 500 px
LETTERS = 11  # points; a phone shows them at two thirds
# Right first, then ever worse; neighbours differ in lightness.
STACK = (BARS[0], BARS[2], BARS[4], BARS[3], BARS[1], {"color": "#FFFFFF", "edgecolor": "#000000", "hatch": ""})


def given_back_chart(losses: Losses) -> Markup:
    """Draw what each cause costs, the dearest on top."""
    names = sorted(losses.causes, key=lambda name: losses.causes[name].AP)
    figure, axes = _figure(height=0.5 * len(names) + 1.1)
    for offset, measure, style in ((0.2, "AP", BARS[0]), (-0.2, "AP50", BARS[1])):
        values = [getattr(losses.causes[name], measure) for name in names]
        bars = axes.barh(np.arange(len(names)) + offset, values, height=0.38, label=measure, **style)
        axes.bar_label(bars, fmt="%.3f", padding=3, fontsize=LETTERS - 2)
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.14)
    axes.set_xlabel("given back where this alone is corrected")
    axes.legend(loc="lower right", frameon=False)
    return svg(figure, label="AP and AP50 that each cause of errors costs; the numbers stand in the table below")


def stacked_chart(counts: Mapping[str, Sequence[int]], kinds: Sequence[str], *, label: str) -> Markup:
    """Draw for each row of counts, by name, the share of each kind, the first row on top."""
    names = list(counts)[::-1]
    table = np.array([counts[name] for name in names], dtype=np.float64)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure(height=0.32 * len(names) + 1.5)
    left = np.zeros(len(names))
    for kind, column, style in zip(kinds, shares.T, STACK, strict=False):
        axes.barh(names, column, left=left, height=0.78, label=kind, linewidth=0.5, **style)
        left += column
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of labelled keypoints")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return svg(figure, label=label)


def precision_chart(curves: Curves) -> Markup:
    """Draw precision over recall."""
    figure, axes = _figure()
    for name, values, style in (
        ("OKS 0.50", curves.precision_at_50, LINES[0]),
        ("OKS 0.75", curves.precision_at_75, LINES[1]),
        ("mean of 0.50 to 0.95", curves.precision_mean, LINES[2]),
    ):
        if values:
            axes.plot(RECALLS, values, label=name, **{**style, "marker": ""})
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    if curves.precision_mean:
        axes.legend(frameon=False)
    return svg(figure, label="Precision over recall at OKS 0.50, at 0.75 and in the mean")


def oks_chart(curves: Curves) -> Markup:
    """Draw how many true people have which best OKS."""
    figure, axes = _figure()
    edges = np.linspace(0, 1, OKS_BINS + 1)
    axes.bar(edges[:-1], curves.best_oks, width=1 / OKS_BINS, align="edge", **BARS[0])
    for threshold in (0.5, 0.75):
        axes.axvline(threshold, color="#000000", linestyle="--", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_xlabel("best OKS of anybody found")
    axes.set_ylabel("true people")
    return svg(figure, label="Histogram of the best OKS that anybody found has with each true person")


def score_chart(curves: Curves) -> Markup:
    """Draw the share of right people over their score."""
    figure, axes = _figure()
    middles = [(one.low + one.high) / 2 for one in curves.scores]
    axes.plot(middles, [one.precision for one in curves.scores], label="share right at OKS 0.5", **LINES[0])
    if curves.threshold is not None:
        best = curves.threshold.score
        axes.axvline(best, color="#000000", linestyle="--", linewidth=1, label=f"best threshold: {best:.2f}")
    axes.set_ylim(0, 1)
    axes.set_xlabel("score of a person found (tenths of all)")
    axes.set_ylabel("precision")
    axes.legend(frameon=False)
    return svg(figure, label="Share of right people among those found with about one score")


def surplus_chart(curves: Curves) -> Markup:
    """Draw in how many pictures how many people too many or too few were found."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure()
    axes.bar(list(curves.surplus), list(curves.surplus.values()), width=0.9, **BARS[0])
    axes.axvline(0, color="#000000", linestyle="--", linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("people found minus people there")
    axes.set_ylabel("pictures")
    return svg(figure, label="Histogram of people found minus people there")


def distance_chart(curve: Sequence[tuple[float, float]], *, measure: str, threshold: float, length: str) -> Markup:
    """Draw PCK over its threshold."""
    figure, axes = _figure()
    distances, shares = zip(*curve, strict=True)
    axes.plot(distances, shares, markevery=10, markersize=5, **LINES[0])
    axes.axvline(threshold, color="#000000", linestyle="--", linewidth=1)
    axes.set_xlim(0, max(distances))
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"threshold, as a share of the {length}")
    axes.set_ylabel(measure)
    return svg(figure, label=f"{measure} over its threshold")


def _figure(*, height: float = HEIGHT) -> tuple[Figure, Axes]:
    """Return an empty chart in this page's letters."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": LETTERS, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
    axes.grid(axis="both", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes
