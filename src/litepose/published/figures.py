"""Two figures of the sources, drawn anew from published accuracy and from what is counted and measured here.

LitePose's: AP over MACs on CrowdPose. LPN's: AP over frames a second of the networks that look at crops. Each family
has its own marker and line, so that they are told apart in grey; text stays text, so that the files are small.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litepose.errors import MissingPackageError
from litepose.files import replacing
from litepose.published.measure import Latencies
from litepose.published.rows import Row

CROWDPOSE, COCO = "CrowdPose test", "COCO val2017"
CROP_SIZE = (192, 256)
# Colours that stay apart for the colour-blind and in grey (Okabe and Ito 2008), with a marker each.
STYLES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#000000", "^", "-."), ("#CC79A7", "D", ":"),
          ("#009E73", "v", "-"), ("#E69F00", "P", "--"))  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """What a figure shows, in words. name: of its file."""

    name: str
    title: str
    caption: str


AP_OVER_MACS = Figure(
    "ap-over-macs.svg",
    "Published AP on CrowdPose over multiply-accumulates counted here",
    "AP as the authors of the networks, or of LitePose for them, printed it; MACs as counted here, of one square "
    "picture at the network's own size. Lines join the networks of a family; a star leads to the notes.",
)
AP_OVER_SPEED = Figure(
    "ap-over-speed.svg",
    "Published AP on COCO val2017 over people a second measured here",
    "Crops of 192x256, one thread of one processor. Full markers: with flip test, two passes for each person, with "
    "which the AP was published. Hollow markers: the same networks in one pass; their AP, which nobody published, is a "
    "little lower than where they stand. A star leads to the notes.",
)


def draw_figures(rows: Sequence[Row], latencies: Latencies, folder: Path) -> dict[Path, Figure]:
    """Write the figures as SVG into a folder; return the files. The one of speed needs measurements.

    Raises MissingPackageError.
    """
    written = {_save(_ap_over_macs(rows), folder / AP_OVER_MACS.name): AP_OVER_MACS}
    if any(latencies.frame_rate(row.key, flip=True) for row in _crops(rows)):
        written[_save(_ap_over_speed(rows, latencies), folder / AP_OVER_SPEED.name)] = AP_OVER_SPEED
    return written


def _ap_over_macs(rows: Sequence[Row]) -> Any:
    figure, axes = _axes("G multiply-accumulates, as executed", "AP on CrowdPose test, %, as published")
    wanted = [row for row in rows if row.data == CROWDPOSE and "AP" in row.stats]
    for style, (family, own) in zip(itertools.cycle(STYLES), _families(wanted), strict=False):
        points = [(row.macs / 1e9, 100 * row.stats["AP"], _label(row)) for row in own]
        _line(axes, points, family, style)
    axes.set_xlim(left=0)
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    return figure


def _ap_over_speed(rows: Sequence[Row], latencies: Latencies) -> Any:
    figure, axes = _axes("people a second, one thread (logarithmic)", "AP on COCO val2017, %, as published")
    axes.set_xscale("log")
    for style, (family, own) in zip(itertools.cycle(STYLES), _families(_crops(rows)), strict=False):
        points = []
        for row in own:
            with_flip, plain = (latencies.frame_rate(row.key, flip=flip) for flip in (True, False))
            if with_flip is None or plain is None:
                continue
            height = 100 * row.stats["AP"]
            points.append((with_flip, height, _label(row)))
            axes.plot((with_flip, plain), (height, height), color="#999999", linewidth=0.6, zorder=1)
            axes.plot(plain, height, color=style[0], marker=style[1], markersize=6, markerfacecolor="white")
        _line(axes, points, family, style)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    return figure


def _crops(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.top_down and row.size == CROP_SIZE and row.data.startswith(COCO)]


def _families(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for family in sorted({row.family for row in rows}):
        yield family, sorted((row for row in rows if row.family == family), key=lambda row: row.macs)


def _label(row: Row) -> str:
    """Return what tells a network from others of its family, starred where the tables have a note on it."""
    return row.model.removeprefix(f"{row.family}_") + ("*" if row.note else "")


def _axes(across: str, up: str) -> tuple[Any, Any]:
    """Return a figure and its axes. Raises MissingPackageError."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise MissingPackageError("Figures need matplotlib. Install it: pip install 'litepose[eval]'") from error
    figure = Canvas(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _line(axes: Any, points: Sequence[tuple[float, float, str]], family: str, style: tuple[str, str, str]) -> None:
    """Draw a family's points, x, y and name."""
    if not points:
        return
    colour, marker, line = style
    x, y, names = zip(*points, strict=True)
    axes.plot(x, y, color=colour, marker=marker, linestyle=line, linewidth=1.2, markersize=6, label=family)
    for place, name in zip(zip(x, y, strict=True), names, strict=True):
        axes.annotate(name, place, xytext=(5, -11), textcoords="offset points", fontsize=8, color="#333333")


def _save(figure: Any, path: Path) -> Path:
    """Write the figure as the same bytes each time."""
    import matplotlib

    settings: Any = {"svg.hashsalt": path.name, "svg.fonttype": "none", "font.family": "sans-serif"}
    with replacing(path) as temporary, matplotlib.rc_context(settings):
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    return path
