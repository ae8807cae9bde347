"""Gradual shrinking: is a network's high-resolution half needed? From HigherHRNet-W16 in steps to LitePose's shape.

    python benchmarks/shrinking.py -o runs/shrinking [--recipe litepose_xs_synthetic] [--data TRAIN.json]
        [--validation VAL.json] [--set run.epochs=5 ...] [--networks NAME ...]

Trains every network of the chain by one recipe on one data set, scores each on the recipe's validation pictures, and
draws AP over MACs as the authors count them: OUTPUT/shrinking.svg, .png and shrinking.json. Wang et al., CVPR 2022,
did so on CrowdPose (`PRINTED`) and found that the branches of high resolution can go. A chain that was stopped goes on
where it was, in the middle of a training too. Needs torch, and matplotlib for the figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from litepose import checkpoints, counting
from litepose.files import replacing, write_json
from litepose.training.loop import train
from litepose.training.recipe import Recipe, load_recipe
from litepose.training.state import has_checkpoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Network -> AP on CrowdPose and G of MACs as the authors' slides print them; None = not printed with this chain.
PRINTED: dict[str, tuple[float, float] | None] = {
    "higherhrnet_w16": (50.4, 12.50),
    "higherhrnet_w16_shrink1": (51.0, 10.12),
    "higherhrnet_w16_shrink2": (51.8, 10.02),
    "higherhrnet_w16_shrink3": (53.0, 9.15),
    "litepose_prune_l": None,
    "litepose_prune_m": None,
    "litepose_prune_s": (54.7, 4.69),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--recipe", default="litepose_xs_synthetic", help="of a bottom-up network")
    parser.add_argument("--data", action="append", help="other training data, as of `litepose train`")
    parser.add_argument("--validation", help="other pictures to be judged on")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--networks", nargs="+", default=list(PRINTED))
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args(arguments)
    rows = []
    for name in asked.networks:
        rows.append(trained(name, recipe_of(name, asked), asked.output / name, asked.device))
        write_json(asked.output / "shrinking.json", rows, indent=2)
        print(f"{name:26s} {rows[-1]['macs_reference'] / 1e9:7.2f} G   AP {rows[-1]['AP']:.3f}")
    figure = drawn(rows)
    for suffix in (".svg", ".png"):
        with replacing(asked.output / f"shrinking{suffix}") as temporary:
            figure.savefig(temporary, dpi=150)


def recipe_of(name: str, asked: argparse.Namespace) -> Recipe:
    """Return the recipe for one network of the chain."""
    changes = [f"model.name={name}", *asked.set]
    if asked.validation is not None:
        changes.append(f"data.validation.source={asked.validation}")
    recipe = load_recipe(asked.recipe, changes)
    return recipe if asked.data is None else recipe.with_data(asked.data)


def trained(name: str, recipe: Recipe, folder: Path, device: str) -> dict[str, Any]:
    """Return what a network costs and what it reached, trained here or before."""
    done = folder / "result.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    result = train(recipe, folder, resume=has_checkpoint(folder), device=device, console=Console(quiet=True))
    if not result.finished:
        raise SystemExit(f"Stopped in the training of {name}; the same command goes on.")
    network, spec = checkpoints.load_network(result.best or result.last)
    counts = counting.count(network, spec.input.size, rule=counting.rule_of(name))
    metrics = spec.provenance.get("metrics") or result.metrics
    row = {
        "network": name,
        "AP": float(metrics.get("AP", -1)),
        "loss": float(metrics.get("loss", -1)),
        "macs": counts.macs,
        "macs_reference": counts.macs_reference,
        "params": counts.params,
        "printed": PRINTED.get(name),
    }
    write_json(done, row)
    return row


def drawn(rows: Sequence[dict[str, Any]]) -> Figure:
    """Return AP over MACs, ours and, where there are some, the printed ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    panels = figure.subplots(1, 2, width_ratios=(3, 2))
    printed = [row for row in rows if row["printed"]]
    _panel(panels[0], [(row["network"], row["macs_reference"] / 1e9, row["AP"]) for row in rows], "measured here")
    _panel(
        panels[1],
        [(row["network"], row["printed"][1], row["printed"][0] / 100) for row in printed],
        "CrowdPose, printed",
    )
    return figure


def _panel(axes: Any, points: Sequence[tuple[str, float, float]], title: str) -> None:
    axes.plot([macs for _, macs, _ in points], [ap for _, _, ap in points], "o--", color="#3b6ea5", markersize=5)
    for name, macs, ap in points:
        short = name.replace("higherhrnet_w16_", "").replace("higherhrnet_", "").replace("litepose_", "")
        axes.annotate(short, (macs, ap), xytext=(3, 4), textcoords="offset points", fontsize=8)
    axes.set(xlabel="MACs as the authors count, G", ylabel="AP", title=title)
    axes.margins(0.18)
    axes.grid(alpha=0.25)


if __name__ == "__main__":
    main()
