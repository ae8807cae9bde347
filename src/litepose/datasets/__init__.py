"""Annotated pictures: file formats in, `Sample` out.

A format of annotation files is one file here: `looks_like(data)` knows a parsed JSON object of that format, and
`open_parsed` opens it with the arguments that COCO's takes (see `coco.open_parsed`).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from litepose.datasets.base import Dataset, Remapped, SkipUnreadable, remap
from litepose.errors import AnnotationError
from litepose.files import short_name
from litepose.skeleton import Skeleton, load_skeleton

__all__ = ["Dataset", "Remapped", "SkipUnreadable", "is_synthetic", "open_dataset", "read_annotations", "remap"]

SYNTHETIC = "synthetic"


def open_dataset(
    source: str | Path,
    *,
    images: str | Path | None = None,
    skeleton: Skeleton | str | None = None,
    other_people: str | Path | None = None,
    missing_unlabelled: bool = False,
    person_masks: bool = False,
) -> Dataset:
    """Open annotated pictures.

    source: a COCO or CrowdPose JSON file, a folder of packed shards, or "synthetic[:people=0-12,seed=3,poses=FILE]".
    images: folder of a JSON file's pictures; default `images/` beside it or the published layouts of the data set.
    skeleton: to see the people on; default the file's own.
    other_people, missing_unlabelled: see `CocoDataset`; only for JSON files.
    person_masks: give the people's masks.
    Raises AnnotationError.
    """
    wanted = load_skeleton(skeleton) if isinstance(skeleton, str) else skeleton
    if is_synthetic(source):
        from litepose.datasets.synthetic import from_options

        return from_options(str(source)[len(SYNTHETIC) + 1 :], wanted)
    path = Path(source)
    if path.is_dir():
        from litepose.datasets.packed import PackedDataset

        return _on(PackedDataset(path, skeleton=wanted, person_masks=person_masks), wanted)
    data = read_annotations(path)
    dataset = _format_of(data).open_parsed(
        data,
        name=short_name(path),
        images=images if images is not None else default_images(path),
        skeleton=wanted,
        other_people=other_people,
        missing_unlabelled=missing_unlabelled,
        person_masks=person_masks,
    )
    return _on(dataset, wanted)


def is_synthetic(source: str | Path) -> bool:
    """Return whether a source is drawn by litepose instead of lying on disk."""
    return str(source).partition(":")[0] == SYNTHETIC


def default_images(path: Path) -> Path:
    """Return where the pictures of an annotation file lie. Raises AnnotationError where no such folder exists.

    `images/` beside it; else COCO's and CrowdPose's layouts (annotations/person_keypoints_val2017.json with
    images/val2017 or val2017 one level up; json/crowdpose_val.json with images/ one level up).
    """
    folder, split = path.parent, path.stem.rsplit("_", 1)[-1]
    candidates = [
        folder.parent / "images" / split,
        folder.parent / split,
        folder / "images",
        folder / split,
        folder.parent / "images",
    ]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise AnnotationError(
        f"The pictures of {path} were not found; looked in {', '.join(map(str, candidates))}. "
        "Name their folder: images=... (--images on the command line)."
    )


def _format_of(data: dict[str, Any]) -> ModuleType:
    """Return the file of this package whose `looks_like` knows the parsed annotations; COCO's where none does."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    files = [importlib.import_module(f"{__name__}.{name}") for name in names]
    known = (file for file in files if hasattr(file, "looks_like") and file.looks_like(data))
    return next(known, importlib.import_module(f"{__name__}.coco"))


def _on(dataset: Dataset, skeleton: Skeleton | None) -> Dataset:
    return dataset if skeleton is None or skeleton == dataset.skeleton else Remapped(dataset, skeleton)


def read_annotations(path: Path) -> dict[str, Any]:
    """Return a parsed annotation file. Raises AnnotationError where it is missing or no JSON object."""
    if path.is_dir():
        raise AnnotationError(f"{path} is a folder; a COCO or CrowdPose JSON file is needed here. Name one in it.")
    if not path.is_file():
        raise AnnotationError(
            f"No annotations {path}: neither a file nor a folder. Give a COCO or CrowdPose JSON file, a folder that "
            "`litepose data pack` wrote, or synthetic."
        )
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"Annotation file {path} is no (complete) JSON: {error}.") from error
    if not isinstance(data, dict):
        raise AnnotationError(
            f"Annotation file {path} holds a {type(data).__name__}; a COCO keypoint file is an object with images, "
            "annotations and categories."
        )
    return data
