"""List the models that ship: size, cost, measured accuracy, licence."""

from __future__ import annotations

from litepose.commands.options import JsonOption


def run(json: JsonOption = None) -> None:
    import dataclasses

    from rich.console import Console
    from rich.table import Table

    from litepose.files import write_report
    from litepose.weights import cards

    shipped = cards()
    if json is not None:
        write_report(json, [dataclasses.asdict(card) for card in shipped])
    if not shipped:
        print("No models ship with this installation. Train one (litepose train) and export it (litepose export).")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("model", "keypoints", "input", "params", "MACs", "file", "AP", "licence"):
        table.add_column(heading)
    for card in shipped:
        ap = card.metrics.get("AP")
        table.add_row(
            card.name, card.skeleton, f"{card.size[0]}x{card.size[1]}", _number(card.params, 1e6, "M"),
            _number(card.macs, 1e9, "G"), _number(card.num_bytes, 1e6, "MB"),
            "not stated" if ap is None else f"{ap:.3f} on {card.measured_on or 'its own validation pictures'}",
            card.licence or "not stated",
        )  # fmt: skip
    Console().print(table)


def _number(value: float | None, unit: float, name: str) -> str:
    return "not stated" if value is None else f"{value / unit:.2f} {name}"
