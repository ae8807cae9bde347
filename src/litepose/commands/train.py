"""Train a network from a recipe (one of the package, or a .toml file), or go on with a model on one's own pictures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import DeviceOption, SkeletonOption
from litepose.errors import SettingError

if TYPE_CHECKING:
    from rich.console import Console

    from litepose.distributed import Share
    from litepose.training.loop import TrainingResult
    from litepose.training.recipe import Recipe

RecipeArgument = Annotated[
    str | None,
    typer.Argument(help="Name of a recipe of the package, or path of a .toml file. Not needed with --data and --from."),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Training data: a COCO JSON file; with a recipe also a packed folder, or synthetic."),
]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Folder of the pictures of --data.")]
ValidationOption = Annotated[
    str | None,
    typer.Option("--validation", help="Data to judge the weights on. Default: the recipe's; without one, a tenth."),
]
CategoryOption = Annotated[
    str | None, typer.Option("--category", help="Without a recipe: whose keypoints, where a file has several kinds.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change one number of the recipe, e.g. optim.lr=2e-3.")
]
FolderOption = Annotated[
    Path | None, typer.Option("-o", "--output", help="Run folder. Default: runs/RECIPE, or runs/DATA_MODEL.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the run folder's checkpoint.")]
FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Take over the weights of this checkpoint, shipped model or .onnx exported with --trainable, where they "
        "fit; keypoints are matched by name.",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Show recipe, first samples, cost and time into the run folder, and stop."),
]
LONGEST_WAIT = timedelta(minutes=30)  # of several processes for one that is silent
MAX_LISTED = 20  # unreadable pictures of a training set that are named


def run(
    recipe: RecipeArgument = None,
    data: DataOption = None,
    images: ImagesOption = None,
    validation: ValidationOption = None,
    category: CategoryOption = None,
    set_: SetOption = None,
    skeleton: SkeletonOption = None,
    output: FolderOption = None,
    resume: ResumeOption = False,
    start_from: FromOption = None,
    dry_run: DryRunOption = False,
    device: DeviceOption = "cpu",
) -> None:
    """Train a network from a recipe (one of the package, or a .toml file), or go on with a model on one's own pictures.

    Own pictures need no recipe: litepose train --data FILE.json --images FOLDER --from MODEL. Keypoints are those of
    the file. Under torchrun each process takes its part of every step, with --device cuda each on a GPU of its own.
    """
    from rich.console import Console

    from litepose.distributed import share_of_environment

    share = share_of_environment()
    console = Console(quiet=not share.is_first)
    asked = _Asked(recipe, data or [], images, validation, category, set_ or [], skeleton, output, start_from)
    folder, resolved, notes = asked.begun() if resume and recipe is None else asked.resolved()
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if dry_run:
        _rehearse(resolved, folder, start_from, device, console)
        return
    result = _train(resolved, folder, resume, start_from, device, console, share)
    _report(result, folder, console)
    if result.stopped_by is not None:
        raise typer.Exit(128 + result.stopped_by)  # as shells say it: 130 after Ctrl-C, 143 after SIGTERM


@dataclass(frozen=True)
class _Asked:
    """What the options say of recipe and data; each method returns (run folder, recipe, notes for the user)."""

    recipe: str | None
    data: list[str]
    images: Path | None
    validation: str | None
    category: str | None
    changes: list[str]
    skeleton: str | None
    output: Path | None
    start_from: str | None

    def resolved(self) -> tuple[Path, Recipe, tuple[str, ...]]:
        """Of a training that begins."""
        if self.recipe is not None:
            return self._by_recipe(self.recipe)
        if not self.data or self.start_from is None:
            raise self._nothing_to_train()
        if len(self.data) > 1:
            raise SettingError(
                f"Without a recipe --data is one file; found {len(self.data)}: {', '.join(self.data)}. Join them, or "
                "name a recipe."
            )
        from litepose.training.own_data import default_folder, own_recipe

        folder = self.output or default_folder(self.data[0], self.start_from)
        own = own_recipe(
            self.data[0], folder, model=self.start_from, images=self.images, validation=self.validation,
            category=self.category, skeleton=self.skeleton, changes=self.changes,
        )  # fmt: skip
        return folder, own.recipe, own.notes

    def begun(self) -> tuple[Path, Recipe, tuple[str, ...]]:
        """Of a training that goes on; the recipe lies in its folder."""
        from litepose.training.own_data import default_folder
        from litepose.training.recipe import load_recipe

        folder = self.output
        if folder is None and self.data and self.start_from is not None:
            folder = default_folder(self.data[0], self.start_from)
        if folder is None:
            raise SettingError("--resume without a recipe goes on with the training of a folder: name it with -o RUN.")
        written = folder / "recipe.toml"
        if not written.exists():
            raise SettingError(
                f"--resume: {folder} holds no recipe.toml, so no training was begun there. Start without --resume, or "
                "name the folder of the run with -o."
            )
        return folder, load_recipe(str(written), self.changes), ()

    def _by_recipe(self, name: str) -> tuple[Path, Recipe, tuple[str, ...]]:
        import json

        from litepose.training.recipe import load_recipe  # its errors need no torch

        if self.category is not None:
            raise SettingError(f"--category {self.category} is for own data without a recipe; found recipe {name}.")
        if self.images is not None and not self.data:
            raise SettingError(f"--images {self.images} is the folder of --data FILE.json, which is missing.")
        named = [] if self.skeleton is None else [f"model.skeleton={json.dumps(self.skeleton)}"]
        recipe = load_recipe(name, [*self.changes, *named])
        before = recipe.data.validation
        if self.data:
            recipe = recipe.with_data(self.data, images=self.images)
        if self.validation is not None:
            recipe = recipe.with_validation(self.validation)
        lost = before is not None and recipe.data.validation is None
        notes = (f"Without validation: {before.source} is not in {recipe.data.root}.",) if lost and before else ()
        return self.output or Path("runs") / Path(name).stem, recipe, notes

    def _nothing_to_train(self) -> SettingError:
        from litepose import weights

        given = [f"--data {one}" for one in self.data]
        given += [] if self.start_from is None else [f"--from {self.start_from}"]
        return SettingError(
            f"litepose train needs to know what to train; found {' '.join(given) or 'no recipe, no --data, no --from'}."
            " There are three ways:\n"
            "  litepose train RECIPE\n"
            "      a recipe of the package (litepose_xs_synthetic needs no files) or a .toml file\n"
            "  litepose train --data FILE.json --images FOLDER --from MODEL\n"
            f"      your own pictures; MODEL is {', '.join(weights.names())} or a file\n"
            "  litepose train --resume -o RUN\n"
            "      go on with a training that was stopped"
        )


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
