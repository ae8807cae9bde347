"""What a model is evaluated on: annotated pictures of any format, image lists and folders without annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose import datasets
from litepose.datasets import Dataset, Remapped, crowdpose, mpii
from litepose.datasets.coco_checks import person_categories, skeleton_of
from litepose.datasets.packed import INDEX
from litepose.datasets.pictures import Pictures, is_unannotated, open_folder, open_list
from litepose.errors import AnnotationError
from litepose.files import short_name
from litepose.metrics.results import PERSON
from litepose.skeleton import COCO17, CROWDPOSE14, MPII16, Skeleton


@dataclass(frozen=True)
class Data:
    """The pictures of an evaluation.

    source: as the user named it. content: what its JSON file holds, None where there is no file. ids: of the pictures.
    dataset: None where only the annotations were read, for which no picture need be at hand (`read_data`).
    """

    source: str
    skeleton: Skeleton
    ids: Sequence[int | str]
    content: Any = None
    dataset: Dataset | None = None

    @property
    def name(self) -> str:
        """How messages and reports call it."""
        return short_name(self.source) if self.dataset is None else self.dataset.name

    @property
    def is_annotated(self) -> bool:
        """Whether there is a truth to score against."""
        return not isinstance(self.dataset, Pictures)

    @property
    def is_crowdpose(self) -> bool:
        """Whether it is a CrowdPose file."""
        return crowdpose.looks_like(self.content)

    @property
    def is_mpii(self) -> bool:
        """Whether it is an MPII list."""
        return mpii.looks_like(self.content)

    @property
    def mpii_records(self) -> dict[str, np.ndarray]:
        """By picture of an MPII list, the places in the list of its people."""
        own = self.dataset.dataset if isinstance(self.dataset, Remapped) else self.dataset
        if isinstance(own, mpii.MpiiDataset):
            return {image: own.records(index) for index, image in enumerate(own.ids)}
        return {image: np.array(places) for image, places in mpii.by_picture(self.content, self.name).items()}

    @property
    def categories(self) -> set[Any]:
        """COCO's numbers for a person in this file."""
        known = person_categories(self.content, self.name) if isinstance(self.content, Mapping) else None
        return known or {PERSON}


def open_data(source: str | Path, *, images: str | Path | None = None, skeleton: Skeleton | None = None) -> Data:
    """Open pictures: all that `datasets.open_dataset` takes, COCO image lists without annotations, and folders.

    skeleton: to see the people on; None = the data's own, or COCO's. Raises AnnotationError, PictureError.
    """
    path, content = Path(source), None
    if path.is_file() and not datasets.is_synthetic(source):
        content = datasets.parsed(path)
    dataset: Dataset
    if is_unannotated(content):
        folder = Path(images) if images is not None else datasets.default_images(path)
        dataset = open_list(content, skeleton=skeleton or COCO17, images=folder, name=short_name(path))
    elif content is not None:
        dataset = datasets.open_content(content, path, images=images, skeleton=skeleton)
    elif path.is_dir() and not (path / INDEX).is_file():
        dataset = open_folder(path, skeleton=skeleton or COCO17)
    else:
        dataset = datasets.open_dataset(source, images=images, skeleton=skeleton)
    return Data(str(source), dataset.skeleton, dataset.ids, content, dataset)


def read_data(source: str | Path) -> Data:
    """Read an annotation file on its own skeleton without looking for its pictures. Raises AnnotationError."""
    path = Path(source)
    if datasets.is_synthetic(source) or path.is_dir():
        raise AnnotationError(
            f"A results file was to be scored on {source}; it needs the annotation file of the same pictures: a COCO, "
            "CrowdPose or MPII JSON file."
        )
    content = datasets.parsed(path)
    if mpii.looks_like(content):
        return Data(str(source), MPII16, list(mpii.by_picture(content, short_name(path))), content)
    if is_unannotated(content):
        raise AnnotationError(f"{source} lists pictures without annotations; results cannot be scored against it.")
    datasets.format_of(content, path)
    is_crowdpose = crowdpose.looks_like(content)
    skeleton = CROWDPOSE14 if is_crowdpose else skeleton_of(content, short_name(path), COCO17)
    try:
        ids = [image["id"] for image in content["images"]]
    except (KeyError, TypeError) as error:
        raise AnnotationError(f"{source}: each of its images needs an id ({error!r}). Give a COCO file.") from error
    return Data(str(source), skeleton, ids, content)
