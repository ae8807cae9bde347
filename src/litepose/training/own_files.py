"""One's own annotation file made ready for a training: its category, its pictures, those held out for validation.

A training's data are files, so what is held out lies in the run folder as a file too, and `litepose eval` reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.datasets import Dataset, default_images, is_synthetic, mpii, open_content, parsed
from litepose.datasets.coco import CocoDataset
from litepose.datasets.coco_checks import is_box, require
from litepose.datasets.split import part_of
from litepose.errors import AnnotationError, SettingError, nearest_name
from litepose.files import short_name, write_json
from litepose.similarity import AREA_OF_BOX
from litepose.skeleton import Skeleton
from litepose.training.state import check_is_new

TRAIN, VALIDATION = "train.json", "validation.json"
HELD_OUT_SHARE = 0.1  # of the pictures
FEWEST_HELD_OUT, MOST_HELD_OUT = 5, 500  # pictures with people
FEWEST_PICTURES = 20  # with people, of which some can be held out
SEED = 1


@dataclass(frozen=True)
class OwnFiles:
    """skeleton: the file's. section: the recipe's [data]. notes: for the user."""

    skeleton: Skeleton
    section: dict[str, Any]
    notes: tuple[str, ...]


def prepare(
    data: str | Path,
    folder: Path,
    *,
    images: str | Path | None = None,
    validation: str | None = None,
    category: str | None = None,
    skeleton: Skeleton | None = None,
) -> OwnFiles:
    """Write the pictures to train on into the run folder and, where no other set is named, those held out.

    data: a COCO or CrowdPose keypoint file. images: the folder of its pictures. validation: anything that
    `open_dataset` takes; the pictures of a JSON file may lie in `images` too. category: by name, where several have
    keypoints. skeleton: of a file whose categories name none. Raises AnnotationError, SettingError.
    """
    check_is_new(folder)
    path = Path(data)
    content = _of_category(_read(data), category, short_name(path))
    people = _people(content, short_name(path))
    place = _folder_of(path, images)
    unnamed = not any(one.get("keypoints") for one in content.get("categories") or ())
    dataset = open_content(content, path, images=place, skeleton=skeleton if unnamed else None)
    assert isinstance(dataset, CocoDataset), type(dataset)
    if validation is None:
        held_out = _held_out(dataset)
        write_json(folder / VALIDATION, part_of(content, held_out))
        judged = {"source": str((folder / VALIDATION).absolute()), "images": str(place)}
    else:
        held_out = set()
        judged = _named_validation(validation, path, place, dataset, folder, category)
    train = part_of(content, set(dataset.file_names) - held_out)
    write_json(folder / TRAIN, train)
    section = {
        "root": ".",
        "train": [{"source": str((folder / TRAIN).absolute()), "images": str(place), "weight": 1.0}],
        "validation": judged,
    }
    notes = [_note_of_sets(train, held_out, judged, folder), *_notes_of(people)]
    return OwnFiles(dataset.skeleton, section, tuple(notes))


def _read(data: str | Path) -> dict[str, Any]:
    """Return the parsed annotation file. Raises AnnotationError, SettingError where it is something else."""
    path = Path(data)
    packed = is_synthetic(data) or path.is_dir() or path.suffix == ".tar"
    content = None if packed else parsed(path)
    if packed or mpii.looks_like(content):
        raise SettingError(
            f"--data {data} without a recipe: a COCO keypoint file is needed, a JSON object with images, annotations "
            "and categories. Name a recipe for packed folders, tar files, MPII lists and synthetic people: "
            f"litepose train RECIPE --data {data} --from MODEL."
        )
    if not isinstance(content, dict):
        raise AnnotationError(
            f"Annotation file {path} holds a {type(content).__name__}; an object with images, annotations and "
            "categories is needed, as COCO keypoint files are."
        )
    return content


def _of_category(content: dict[str, Any], category: str | None, name: str) -> dict[str, Any]:
    """Return the content with one category that has keypoints. Raises AnnotationError, SettingError."""
    listed = content.get("categories") or []
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise AnnotationError(f"{name}: 'categories' must be a list of objects with id, name and keypoints.")
    able = {str(one.get("name")): one for one in listed if one.get("keypoints")}
    told = "; ".join(f"{key} ({len(one['keypoints'])} keypoints)" for key, one in able.items()) or "none"
    if category is None:
        if len({str(one["keypoints"]) for one in able.values()}) > 1:
            raise AnnotationError(
                f"{name}: {len(able)} categories name different keypoints: {told}. A network learns one skeleton: say "
                "which with --category NAME."
            )
        return content
    if category not in able:
        raise SettingError(
            f"--category {category}: {name} has no such category with keypoints. {nearest_name(category, able)}"
        )
    chosen = able[category]
    annotations = require(content, "annotations", list, name)
    own = [one for one in annotations if isinstance(one, dict) and one.get("category_id") == chosen.get("id")]
    return {**content, "categories": [chosen], "annotations": own}


def _people(content: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the annotations with a labelled keypoint. Raises AnnotationError where there are none."""
    require(content, "images", list, name)
    annotations = require(content, "annotations", list, name)
    people = [one for one in annotations if isinstance(one, dict) and _is_labelled(one.get("keypoints"))]
    if not people:
        raise AnnotationError(
            f"{name}: nobody in its {len(content['images'])} pictures has a labelled keypoint (found "
            f"{len(annotations)} annotations), so there is nothing to learn. Annotate people: keypoints as x, y, "
            "visible, where visible is 1 or 2."
        )
    return people


def _is_labelled(keypoints: Any) -> bool:
    return isinstance(keypoints, list) and any(
        isinstance(value, int | float) and value > 0 for value in keypoints[2::3]
    )


def _folder_of(path: Path, images: str | Path | None) -> Path:
    """Return where the pictures of a file lie, absolute. Raises AnnotationError, SettingError."""
    if images is None:
        return default_images(path).absolute()
    if not Path(images).is_dir():
        raise SettingError(
            f"--images {images}: there is no such folder. Name the one that holds the pictures of {path}."
        )
    return Path(images).absolute()


def _held_out(dataset: CocoDataset) -> set[str]:
    """Choose the picture files on which the weights are judged, the same ones each time. Raises AnnotationError."""
    table, names = dataset.people_table(), dataset.file_names
    with_people = sorted({names[i] for i in table.picture[~table.crowd]})
    if len(with_people) < FEWEST_PICTURES:
        raise AnnotationError(
            f"{dataset.name}: {len(with_people)} of its pictures show annotated people; at least {FEWEST_PICTURES} are "
            "needed where some are to be held out for validation. Annotate more, or name other pictures with "
            "--validation FILE.json."
        )
    share = round(HELD_OUT_SHARE * len(with_people))
    count = min(max(share, FEWEST_HELD_OUT), MOST_HELD_OUT)
    empty = sorted(set(names) - set(with_people))
    rng = np.random.default_rng(SEED)
    chosen = [with_people[i] for i in rng.permutation(len(with_people))[:count]]
    chosen += [empty[i] for i in rng.permutation(len(empty))[: round(count / len(with_people) * len(empty))]]
    return set(chosen)


def _named_validation(
    validation: str, data: Path, place: Path, dataset: CocoDataset, folder: Path, category: str | None
) -> dict[str, Any]:
    """Return the recipe's entry for a validation set of the user's. Raises SettingError where it shares pictures."""
    if is_synthetic(validation) or not validation.lower().endswith(".json"):
        return {"source": validation if is_synthetic(validation) else str(Path(validation).absolute())}
    path = Path(validation)
    content, source = parsed(path), path.absolute()
    if category is not None and isinstance(content, dict):
        content, source = _of_category(content, category, short_name(path)), (folder / VALIDATION).absolute()
    images = _folder_of_validation(content, path, place)
    judged = open_content(content, path, images=images)
    shared = sorted(_paths(judged) & _paths(dataset))
    if shared:
        raise SettingError(
            f"--validation {validation} shares {len(shared)} pictures with --data {data} (the first: {shared[0]}), on "
            "which weights would be judged that have learned them. Name other pictures, or leave --validation out: "
            "some are then held out."
        )
    if category is not None:
        write_json(source, content)
    return {"source": str(source), "images": str(images)}


def _folder_of_validation(content: Any, path: Path, place: Path) -> Path:
    """Return the folder of the training pictures where it holds those of the validation file too, else its own."""
    records = content.get("images") if isinstance(content, dict) else None
    first = records[0] if isinstance(records, list) and records else None
    if isinstance(first, dict) and (place / str(first.get("file_name"))).is_file():
        return place
    return default_images(path).absolute()


def _paths(dataset: Dataset) -> set[Path]:
    """Return the picture files of a dataset that has some."""
    inner = getattr(dataset, "dataset", dataset)
    return {inner.path(i).resolve() for i in range(len(inner))} if hasattr(inner, "path") else set()


def _note_of_sets(train: Mapping[str, Any], held_out: set[str], judged: Mapping[str, Any], folder: Path) -> str:
    people = sum(_is_labelled(one.get("keypoints")) for one in train["annotations"])
    trained = f"{len(train['images'])} pictures with {people} people to learn from ({folder / TRAIN})"
    if not held_out:
        return f"{trained}; validation: {judged['source']}."
    return f"{trained}; {len(held_out)} others, drawn with seed {SEED}, are for validation ({folder / VALIDATION})."


def _notes_of(people: list[dict[str, Any]]) -> list[str]:
    """Return what of the people is computed because the file lacks it."""
    notes = []
    boxless = sum(not is_box(one.get("bbox")) for one in people)
    if boxless:
        notes.append(f"{boxless} of {len(people)} people have no box: that of their keypoints is taken.")
    flat = sum(not isinstance(one.get("area"), int | float) for one in people)
    if flat:
        notes.append(f"{flat} of {len(people)} people have no area: {AREA_OF_BOX} of their box's is taken.")
    return notes
