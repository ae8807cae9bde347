"""Annotated pictures: file formats in, `Sample` out.

A format of annotation files is one file here: `looks_like(data)` knows parsed JSON of that format, an object or a list,
and `open_parsed` opens it with the arguments that COCO's takes (see `coco.open_parsed`).
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

    source: a COCO, CrowdPose or MPII JSON file, a folder of packed shards, a tar file in webdataset's layout or a
        folder of some (see `tars.py`), or "synthetic[:people=0-12,seed=3,poses=FILE]".
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
    options = {"other_people": other_people, "missing_unlabelled": missing_unlabelled, "person_masks": person_masks}
    if path.suffix == ".tar" or path.is_dir():
        from litepose.datasets.packed import INDEX, PackedDataset
        from litepose.datasets.tars import TarDataset, holds_tars

        if (path / INDEX).exists() or not holds_tars(path):
            return _on(PackedDataset(path, skeleton=wanted, person_masks=person_masks), wanted)
        return _on(TarDataset(path, skeleton=wanted, **options), wanted)
    return open_content(parsed(path), path, images=images, skeleton=wanted, **options)


def open_content(
    data: Any, path: Path, *, images: str | Path | None = None, skeleton: Skeleton | None = None, **options: Any
) -> Dataset:
    """Open the annotated pictures of a parsed annotation file; arguments and errors as in `open_dataset`."""
    folder = images if images is not None else default_images(path)
    known = format_of(data, path)
    return _on(known.open_parsed(data, name=short_name(path), images=folder, skeleton=skeleton, **options), skeleton)


def is_synthetic(source: str | Path) -> bool:
    """Return whether a source is drawn by litepose instead of lying on disk."""
    return str(source).partition(":")[0] == SYNTHETIC


def default_images(path: Path) -> Path:
    """Return where the pictures of an annotation file lie. Raises AnnotationError where no such folder exists.

    `images/` beside it; else COCO's, CrowdPose's and MPII's layouts (annotations/person_keypoints_val2017.json with
    images/val2017 or val2017 one level up; json/crowdpose_val.json, annot/valid.json or annotations/mpii_val.json with
    images/ one level up).
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
        if candidate.is_dir() and candidate.absolute() != folder.absolute():  # people/people.json has people/images
            return candidate
    raise AnnotationError(
        f"The pictures of {path} were not found; looked in {', '.join(map(str, candidates))}. "
        "Name their folder: images=... (--images on the command line)."
    )


def read_annotations(path: Path) -> dict[str, Any]:
    """Return a parsed COCO-like annotation file. Raises AnnotationError where it is missing or no JSON object."""
    return as_object(parsed(path), path)


def as_object(data: Any, path: Path) -> dict[str, Any]:
    """Return what a COCO-like file holds as it is. Raises AnnotationError where it is something else."""
    if not isinstance(data, dict):
        what = "an MPII list" if _known(data) else "no object"
        raise AnnotationError(
            f"Annotation file {path} holds {what}; a COCO keypoint file is needed here: an object with images, "
            "annotations and categories."
        )
    return data


def parsed(path: Path) -> Any:
    """Return what a JSON file holds. Raises AnnotationError where it is missing or no JSON."""
    if path.is_dir():
        raise AnnotationError(f"{path} is a folder; a COCO or CrowdPose JSON file is needed here. Name one in it.")
    if not path.is_file():
        raise AnnotationError(
            f"No annotations {path}: neither a file nor a folder. Give a COCO, CrowdPose or MPII JSON file, a folder "
            "that `litepose data pack` wrote, or synthetic."
        )
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"Annotation file {path} is no (complete) JSON: {error}.") from error


def format_of(data: Any, path: Path) -> ModuleType:
    """Return the file of this package that opens the parsed annotations: COCO's for an object none other knows."""
    known = _known(data)
    if known is not None:
        return known
    if isinstance(data, dict):
        return importlib.import_module(f"{__name__}.coco")
    first = data[0] if isinstance(data, list) and data else None
    if isinstance(first, dict) and "image_id" in first:
        raise AnnotationError(
            f"Annotation file {path} holds a list of {len(data)} COCO results: people that a model found, not "
            "annotations. Give the annotation file of these pictures: an object with images, annotations, categories."
        )
    what = "an empty list" if data == [] else "a list of something else" if isinstance(data, list) else "one value"
    raise AnnotationError(
        f"Annotation file {path} holds {what}. Possible are a COCO or CrowdPose keypoint file, an object with images, "
        "annotations and categories, and MPII's list of records with image, center, scale, joints and joints_vis."
    )


def _known(data: Any) -> ModuleType | None:
    """Return the file of this package whose `looks_like` knows the parsed annotations."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    files = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return next((file for file in files if hasattr(file, "looks_like") and file.looks_like(data)), None)


def _on(dataset: Dataset, skeleton: Skeleton | None) -> Dataset:
    return dataset if skeleton is None or skeleton == dataset.skeleton else Remapped(dataset, skeleton)
