"""The rows as a Markdown page: one table for each data set, a block in it for each family."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from litepose.counting import RULES
from litepose.published.figures import Figure
from litepose.published.frame_rates import MACHINE
from litepose.published.measure import REFERENCE_WORDS, Latencies
from litepose.published.rows import Row

NOTHING = "-"
# Shown first and in this order; what else was printed follows.
STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL",
         "Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "PCKh", "PCKh@0.11")  # fmt: skip


def page(rows: Sequence[Row], latencies: Latencies, figures: Mapping[Path, Figure], *, folder: Path) -> str:
    """Return the page. figures: file -> what it shows. folder: where the page will lie, for the links to them."""
    parts = [_introduction(rows, latencies)]
    for data, group in itertools.groupby(sorted(rows, key=lambda row: row.data), key=lambda row: row.data):
        parts.append(f"## {data}\n\n{table(list(group), latencies)}")
    for path, figure in figures.items():
        link = Path(os.path.relpath(path, folder)).as_posix()
        parts.append(f"## {figure.title}\n\n![{figure.title}]({link})\n\n{figure.caption}")
    parts.append(_notes(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Sequence[Row], latencies: Latencies) -> str:
    """Return the rows of one data set as a table: a column for each number that any of them has."""
    stats = [name for name in STATS if any(name in row.stats for row in rows)]
    stats += [name for name in dict.fromkeys(name for row in rows for name in row.stats) if name not in stats]
    devices = list(dict.fromkeys(device for row in rows for device in row.latency_ms))
    drawn = any(row.frame_rate for row in rows)
    heads = ["network", "input", "parameters", "MACs", "MACs, authors' rule", "MACs, published", *stats]
    heads += [*(f"{device}, ms" for device in devices), *([f"frames/s, {MACHINE}"] if drawn else []), "here"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for family, group in itertools.groupby(rows, key=lambda row: row.family):
        lines.append([f"**{family}**", *[""] * (len(heads) - 1)])
        for row in group:
            cells = [row.model + ("*" if row.note else ""), f"{row.size[0]}x{row.size[1]}", f"{row.params / 1e6:.2f} M",
                     _giga(row.macs), _printed(row.macs_reference, row), _printed(row.macs_published, row),
                     *(_percent(row.stats.get(name)) for name in stats),
                     *(_number(row.latency_ms.get(device)) for device in devices),
                     *([_number(row.frame_rate)] if drawn else []), _relative(row, latencies)]  # fmt: skip
            lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _introduction(rows: Sequence[Row], latencies: Latencies) -> str:
    """Say what the columns mean, and where the last one was measured."""
    measured = "It was not measured; `--measure FILE.json` does."
    if latencies.by_key:
        load = "" if latencies.load is None else f" with a load of up to {latencies.load:.1f}"
        measured = f"Measured on {latencies.machine}{load}; the reference took {latencies.reference_ms:.1f} ms."
    binary = ", ".join(sorted({row.family for row in rows if RULES[row.rule].binary}))
    items = [
        "**MACs**: multiply-accumulates of convolutions and linear layers as they are executed, of one input.",
        "**MACs, authors' rule**: as the authors count, in their unit; `litepose info NETWORK` says the rule. "
        f"**MACs, published**: what they printed. Of {binary} M is 2^20 and G 2^30.",
        "Latencies in ms are the authors'; what they include is not said. Frames/s are read from their figure.",
        f"**here**: CPU time of ONNX Runtime with one thread for one input, as a multiple of that of {REFERENCE_WORDS} "
        f"taking turns with it; medians. How far its own row is from 1.00 says how exact that is. {measured}",
        "A star leads to the notes below.",
    ]
    says = (
        "What the authors of the networks printed, beside what is counted and measured here. `litepose info --all "
        "--markdown` writes this page; edit nothing in it. All accuracies are the authors', in per cent: none was "
        "measured here."
    )
    return "\n\n".join(["# Published results", says, "\n".join(f"- {item}" for item in items)])


def _notes(rows: Sequence[Row]) -> str:
    notes = dict.fromkeys((row.model, row.num_keypoints, row.note) for row in rows if row.note)
    if not notes:
        return ""
    lines = [f"- {model}, {num_keypoints} keypoints: {note}." for model, num_keypoints, note in notes]
    return "## Notes\n\n" + "\n".join(lines)


def _giga(macs: int) -> str:
    return f"{macs / 1e9:#.3g}".rstrip(".") + " G"


def _printed(macs: int | None, row: Row) -> str:
    """Return a count in the authors' unit, without the unit's definition."""
    return NOTHING if macs is None else RULES[row.rule].printed(macs).partition(" (")[0]


def _percent(share: float | None) -> str:
    """Return 0.648 as "64.8" and 0.8864 as "88.64"."""
    if share is None:
        return NOTHING
    text = f"{100 * share:.2f}"
    return text.removesuffix("0")


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:g}"


def _relative(row: Row, latencies: Latencies) -> str:
    latency = latencies.by_key.get(row.key)
    return NOTHING if latency is None else f"{latency.ratio:.2f}" if latency.ratio < 10 else f"{latency.ratio:.1f}"
