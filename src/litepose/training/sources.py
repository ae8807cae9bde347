"""The recipe's data entries as sources of varied samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litepose import transforms
from litepose.datasets import Dataset, SkipUnreadable, open_dataset
from litepose.errors import AnnotationError, RecipeError, nearest_name
from litepose.poses import Sample
from litepose.skeleton import Skeleton, load_skeleton
from litepose.training.recipe import Recipe, TrainEntry, ValidationEntry

SYNTHETIC = "synthetic"


class VariedDataset:
    """A dataset whose pictures are zoomed, turned, mirrored and recoloured at each draw."""

    def __init__(self, dataset: Dataset, *, geometric: Mapping[str, Any], photometric: Mapping[str, Any]) -> None:
        self.dataset, self.name = dataset, dataset.name
        self._geometric = _settings_for(transforms.RandomWarp, geometric, "augment.geometric")
        self._recolour = None
        if photometric:
            kind = transforms.Photometric
            self._recolour = kind(**_settings_for(kind, photometric, "augment.photometric"))

    def __len__(self) -> int:
        return len(self.dataset)

    def draw(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """Return one variation of a sample in the frame of a (w, h) input."""
        sample = transforms.RandomWarp(size=size, **self._geometric)(self.dataset[index], rng)
        return sample if self._recolour is None else self._recolour(sample, rng)


def open_sources(recipe: Recipe) -> tuple[list[VariedDataset], list[float]]:
    """Open the training data; return the sources and their weights. Raises AnnotationError, RecipeError."""
    skeleton = load_skeleton(recipe.model.skeleton)
    root = Path(recipe.data.root)
    check_present(recipe)
    sources = [
        VariedDataset(
            SkipUnreadable(_open_entry(entry, root, skeleton)),
            geometric={**recipe.augment.geometric, **entry.geometric},
            photometric={**recipe.augment.photometric, **entry.photometric},
        )
        for entry in recipe.data.train
    ]
    for source in sources:
        if not len(source):
            raise AnnotationError(f"{source.name} holds no pictures. Leave it out of the recipe's data.train.")
    return sources, [entry.weight for entry in recipe.data.train]


def open_validation(recipe: Recipe) -> Dataset | None:
    """Open the validation data, if the recipe names any. Raises AnnotationError."""
    entry = recipe.data.validation
    if entry is None:
        return None
    root = Path(recipe.data.root)
    images = None if entry.images is None else root / entry.images
    return open_dataset(path_of(entry.source, root), images=images, skeleton=load_skeleton(recipe.model.skeleton))


def path_of(source: str, root: Path) -> str:
    """Return where a source lies; "synthetic..." lies nowhere."""
    return source if _is_synthetic(source) else str(root / source)


def check_present(recipe: Recipe) -> None:
    """Raise AnnotationError that lists all missing files at once, where there are some."""
    root = Path(recipe.data.root)
    entries: list[TrainEntry | ValidationEntry] = [*recipe.data.train]
    if recipe.data.validation is not None:
        entries.append(recipe.data.validation)
    missing = [entry for entry in entries if not _is_synthetic(entry.source) and not (root / entry.source).exists()]
    if not missing:
        return
    lines = "\n".join(f"  {_wanted(entry, root)}" for entry in missing)
    folder = f"there is no folder {root.absolute()}" if not root.is_dir() else "these are missing"
    raise AnnotationError(
        f"The recipe trains on files under {root.absolute()}, and {folder}. Needed:\n{lines}\n"
        "Put them there, name their folder with --set data.root=FOLDER, or try --data synthetic, which needs none."
    )


def _wanted(entry: TrainEntry | ValidationEntry, root: Path) -> str:
    pictures = root / entry.images if entry.images else (root / entry.source).parent / "images"
    return f"{root / entry.source} (annotations; their pictures in {pictures})"


def _open_entry(entry: TrainEntry, root: Path, skeleton: Skeleton) -> Dataset:
    options: dict[str, Any] = {}
    if entry.other_people is not None:
        options["other_people"] = root / entry.other_people
    if entry.missing_unlabelled:
        options["missing_unlabelled"] = True
    images = None if entry.images is None else root / entry.images
    return open_dataset(path_of(entry.source, root), images=images, skeleton=skeleton, **options)


def _settings_for(kind: Any, settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return the settings with lists as tuples, checked against the fields of a transform. Raises RecipeError."""
    known = {field.name for field in dataclasses.fields(kind)} - {"size"}
    for key in settings:
        if key not in known:
            raise RecipeError(f"The recipe's [{section}] has an unknown key {key!r}. {nearest_name(key, known)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def _is_synthetic(source: str) -> bool:
    return source == SYNTHETIC or source.startswith(SYNTHETIC + ":")
