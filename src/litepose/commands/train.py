"""Train a network from a recipe (one of the package, or a .toml file) on annotated or synthetic pictures."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import DeviceOption, SkeletonOption

if TYPE_CHECKING:
    from rich.console import Console

    from litepose.distributed import Share
    from litepose.training.loop import TrainingResult
    from litepose.training.recipe import Recipe

LONGEST_WAIT = timedelta(minutes=30)  # of several processes for one that is silent
MAX_LISTED = 20  # unreadable pictures of a training set that are named


def run(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe of the package, or path of a .toml file.")],
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Other training data: a COCO JSON file, a packed folder, or synthetic."),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Change one number of the recipe, e.g. optim.lr=2e-3.")
    ] = None,
    skeleton: SkeletonOption = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder. Default: runs/RECIPE.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")] = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Take over the weights of this checkpoint, shipped model or .onnx exported with --trainable, where "
            "they fit.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show recipe, first samples, cost and time into the run folder, and stop."),
    ] = False,
    device: DeviceOption = "cpu",
) -> None:
    """Train a network from a recipe (one of the package, or a .toml file) on annotated or synthetic pictures.

    Under torchrun each process takes its part of every step, with --device cuda each on a GPU of its own.
    """
    import json

    from rich.console import Console

    from litepose.distributed import share_of_environment
    from litepose.training.recipe import load_recipe  # its errors need no torch

    share = share_of_environment()
    console = Console(quiet=not share.is_first)
    named = [] if skeleton is None else [f"model.skeleton={json.dumps(skeleton)}"]
    resolved = load_recipe(recipe, [*(set_ or ()), *named])
    if data:
        validated = resolved.data.validation
        resolved = resolved.with_data(data)
        if validated is not None and resolved.data.validation is None:
            console.print(f"Without validation: {validated.source} is not in {resolved.data.root}.", highlight=False)
    folder = output or Path("runs") / Path(recipe).stem
    if dry_run:
        _rehearse(resolved, folder, start_from, device, console)
        return
    result = _train(resolved, folder, resume, start_from, device, console, share)
    _report(result, folder, console)
    if result.stopped_by is not None:
        raise typer.Exit(128 + result.stopped_by)  # as shells say it: 130 after Ctrl-C, 143 after SIGTERM


def _train(
    recipe: Recipe,
    folder: Path,
    resume: bool,
    start_from: str | None,
    device: str,
    console: Console,
    share: Share,
) -> TrainingResult:
    """Train together with the other processes, if there are any."""
    from litepose.training.loop import train

    share.connect(longest_wait=LONGEST_WAIT, device=device)
    try:
        return train(recipe, folder, resume=resume, start_from=start_from, device=device, console=console, share=share)
    finally:
        share.close()


def _report(result: TrainingResult, folder: Path, console: Console) -> None:
    """Print how a training ended, what it left out and where its weights are."""
    if not result.finished:
        console.print(f"Stopped after step {result.step}; go on with: --resume -o {folder}", highlight=False)
    for source, ids in result.unreadable:
        shown = ", ".join(str(one) for one in ids[:MAX_LISTED]) + (", ..." if len(ids) > MAX_LISTED else "")
        console.print(
            f"Left out, because they could not be read: {len(ids)} of {source} (ids {shown}). "
            "`litepose data verify` says why.",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    for name, path in (("Best", result.best), ("Last", result.last)):
        if path is not None:
            console.print(f"{name} weights: {path}", highlight=False, soft_wrap=True)


def _rehearse(recipe: Recipe, folder: Path, start_from: str | None, device: str, console: Console) -> None:
    """Print the recipe and what a training by it would be."""
    from litepose.training.dry_run import describe, dry_run

    console.print(recipe.to_toml(), highlight=False, markup=False, soft_wrap=True)
    result = dry_run(recipe, folder, start_from=start_from, device=device)
    for line in (*result.notes, *describe(result)):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
