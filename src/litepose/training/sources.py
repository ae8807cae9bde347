"""The recipe's data entries as sources of varied samples."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose import transforms
from litepose.crops import RandomCrop
from litepose.datasets import Dataset, Remapped, SkipUnreadable, is_synthetic, open_dataset
from litepose.datasets.base import PeopleTable, people_table
from litepose.datasets.coco import CocoDataset
from litepose.datasets.composite import Composites
from litepose.datasets.layouts import pictures_of
from litepose.datasets.people import People
from litepose.errors import AnnotationError, RecipeError, SettingError, nearest_name
from litepose.poses import Sample
from litepose.skeleton import Skeleton
from litepose.spec import BOX_RULES, InputSpec
from litepose.training.recipe import COMPOSITES, Recipe, SetEntry, TrainEntry

GIVEN = {"size", "udp", "people", "canvases", "skeleton"}  # arguments that the recipe says elsewhere


class VariedDataset:
    """A dataset whose pictures are zoomed, turned, mirrored and recoloured at each draw.

    rule: how the network looks at pictures: one crop for each person, or the whole of them.
    Raises RecipeError where a setting is unknown or impossible, or a mirror would mix up left and right.
    """

    def __init__(
        self, dataset: Dataset, *, geometric: Mapping[str, Any], photometric: Mapping[str, Any], rule: InputSpec
    ) -> None:
        self.dataset, self.name = dataset, dataset.name
        crops = rule.resize in BOX_RULES
        self._kind: Any = RandomCrop if crops else transforms.RandomWarp
        self._geometric = _settings_for(self._kind, geometric, "augment.geometric")
        if crops:
            self._geometric["udp"] = rule.resize == "box_udp"
        _check_geometric(self._kind, self._geometric, dataset.skeleton)
        self._varied: dict[tuple[int, int], Any] = {}  # by size
        self._recolour = None
        if photometric:
            kind = transforms.Photometric
            self._recolour = kind(**_settings_for(kind, photometric, "augment.photometric"))

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def unreadable(self) -> list[int | str]:
        """The ids of the pictures that could not be read so far."""
        return list(getattr(self.dataset, "unreadable", ()))

    def draw(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> Sample:
        """Return one variation of a sample in the frame of a (w, h) input."""
        if size not in self._varied:
            self._varied[size] = self._kind(size=size, **self._geometric)
        sample = self._varied[size](self.dataset[index], rng)
        return sample if self._recolour is None else self._recolour(sample, rng)


class Subset:
    """Some of a dataset's samples. indices: (n,) int, which ones."""

    def __init__(self, dataset: Dataset, indices: np.ndarray) -> None:
        self.dataset, self.skeleton, self.name = dataset, dataset.skeleton, dataset.name
        self.indices = indices

    @property
    def ids(self) -> Sequence[int | str]:
        ids = self.dataset.ids
        return [ids[i] for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[int(self.indices[index])]

    def people_table(self) -> PeopleTable | None:
        table = people_table(self.dataset)
        return None if table is None else table.of_pictures(self.indices)


def open_sources(recipe: Recipe, rule: InputSpec) -> tuple[list[VariedDataset], list[float]]:
    """Open the training data; return the sources and their weights. Raises AnnotationError, RecipeError.

    rule: of the network's input; where it looks at crops, a sample is one person.
    """
    check_present(recipe)
    skeleton = recipe.model.open_skeleton()
    sources = [
        VariedDataset(
            _open_entry(entry, recipe, skeleton, crops=rule.resize in BOX_RULES),
            geometric={**recipe.augment.geometric, **entry.geometric},
            photometric={**recipe.augment.photometric, **entry.photometric},
            rule=rule,
        )
        for entry in recipe.data.train
    ]
    for source in sources:
        if not len(source):
            what = "people to crop" if rule.resize in BOX_RULES else "pictures"
            raise AnnotationError(f"{source.name} holds no {what}. Leave it out of the recipe's data.train.")
    return sources, [entry.weight for entry in recipe.data.train]


def open_validation(recipe: Recipe) -> Dataset | None:
    """Open the validation data, if the recipe names any. Raises AnnotationError."""
    entry = recipe.data.validation
    return None if entry is None else _open_set(entry, recipe, recipe.model.open_skeleton())


def side_to_pack(recipe: Recipe, rule: InputSpec) -> int:
    """Return the short side, px, at which packed pictures keep all that a training of this recipe sees of them.

    From there on not even its nearest draws enlarge a picture. rule: of the network's input.
    Raises RecipeError where draws go by the people, who may be small in any picture.
    """
    sizes = [recipe.model.size, *(entry.size for entry in recipe.run.size_schedule)]
    geometric = [{**recipe.augment.geometric, **entry.geometric} for entry in recipe.data.train]
    sides: list[int | None] = [None]
    if rule.resize not in BOX_RULES:
        kind = transforms.RandomWarp
        settings = [_settings_for(kind, one, "augment.geometric") for one in geometric]
        sides = [kind(size=size, **one).side_needed() for size in sizes for one in settings]
    needed = [side for side in sides if side is not None]
    if len(needed) < len(sides):
        raise RecipeError(
            "No short side keeps all that this recipe sees: it cuts people out, who may be small in any picture. "
            "Choose a side by how large your people are, and give it: --short-side."
        )
    return max(needed)


def check_present(recipe: Recipe) -> None:
    """Raise AnnotationError that lists all missing files at once, where there are some."""
    root = Path(recipe.data.root)
    sets = [one for entry in recipe.data.train for one in entry.sets]
    if recipe.data.validation is not None:
        sets.append(recipe.data.validation)
    missing = {_wanted(one, root) for one in sets if not is_synthetic(one.source) and not (root / one.source).exists()}
    if not missing:
        return
    if not any(_below_root(one) for one in sets if not (root / one.source).exists()):
        raise AnnotationError(
            "The training data are missing. There is no:\n  "
            + "\n  ".join(sorted(missing))
            + "\nCheck the paths, or try "
            "--data synthetic, which needs no files."
        )
    where = "some of them are missing" if root.is_dir() else "there is no such folder"
    raise AnnotationError(
        f"The recipe trains on files under {root.absolute()}, and {where}. Put there:\n  "
        + "\n  ".join(sorted(missing))
        + "\nor name their folder with --set data.root=FOLDER, or try --data synthetic, which needs none."
    )


def _below_root(entry: SetEntry) -> bool:
    return not is_synthetic(entry.source) and not Path(entry.source).is_absolute()


def _wanted(entry: SetEntry, root: Path) -> str:
    known = entry.images or pictures_of(entry.source)
    pictures = root / known if known else (root / entry.source).parent / "images"
    return f"{root / entry.source} (annotations) and its pictures, {pictures}{os.sep}"


def _open_entry(entry: TrainEntry, recipe: Recipe, skeleton: Skeleton, *, crops: bool) -> Dataset:
    pictures = _open_pictures(entry, recipe, skeleton)
    return People(pictures) if crops else pictures


def _open_pictures(entry: TrainEntry, recipe: Recipe, skeleton: Skeleton) -> Dataset:
    if entry.source != COMPOSITES:
        return SkipUnreadable(_open_set(entry, recipe, skeleton))
    settings = _settings_for(Composites, entry.composites, "data.train.composites")
    if settings.get("poses"):
        settings["poses"] = str(Path(recipe.data.root) / settings["poses"])
    people = [_open_set(one, recipe, None, person_masks=True) for one in entry.people]
    canvases = [_open_set(one, recipe, skeleton) for one in entry.canvases]
    return Composites(people, canvases, skeleton=skeleton, **settings)


def _open_set(entry: SetEntry, recipe: Recipe, skeleton: Skeleton | None, *, person_masks: bool = False) -> Dataset:
    root = Path(recipe.data.root)
    if is_synthetic(entry.source):
        return open_dataset(entry.source, skeleton=skeleton)
    dataset = open_dataset(
        root / entry.source,
        images=None if entry.images is None else root / entry.images,
        skeleton=skeleton,
        other_people=None if entry.other_people is None else root / entry.other_people,
        missing_unlabelled=entry.missing_unlabelled,
        person_masks=person_masks,
    )
    return _annotated(dataset) if entry.annotated_only else dataset


def _annotated(dataset: Dataset) -> Dataset:
    inner = dataset.dataset if isinstance(dataset, Remapped) else dataset
    if not isinstance(inner, CocoDataset):
        raise RecipeError(f"annotated_only is for JSON files; {dataset.name} is none. Leave it out.")
    return Subset(dataset, np.flatnonzero(inner.annotated))


def _settings_for(kind: Any, settings: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Return the settings with lists as tuples, checked against the arguments of a class. Raises RecipeError."""
    known = set(inspect.signature(kind).parameters) - GIVEN
    for key in settings:
        if key not in known:
            raise RecipeError(f"The recipe's [{section}] has an unknown key {key!r}. {nearest_name(key, known)}")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def _check_geometric(kind: Any, settings: Mapping[str, Any], skeleton: Skeleton) -> None:
    """Raise RecipeError, before the first draw, where no sample on this skeleton could be varied so."""
    try:
        varied = kind(size=(1, 1), **settings)
        if varied.mirror:
            transforms.check_mirror(skeleton)
    except SettingError as error:
        raise RecipeError(f"The recipe's [augment.geometric]: {error}") from error
    except (TypeError, ValueError) as error:
        shown = ", ".join(f"{key} = {value!r}" for key, value in settings.items())
        raise RecipeError(
            f"The recipe's [augment.geometric] has a value of the wrong kind among {shown} ({error}). Numbers, and "
            "lists of two numbers for ranges, are needed."
        ) from error
