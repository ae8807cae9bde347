"""Pictures without annotations: COCO's image lists (image_info_test-dev2017.json), or a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images as pictures
from litepose.datasets.coco import present
from litepose.errors import AnnotationError
from litepose.files import picture_ids, short_name, write_json
from litepose.poses import Sample
from litepose.skeleton import Skeleton


def is_unannotated(data: Any) -> bool:
    """Return whether parsed JSON lists pictures as COCO does, and no annotations at all."""
    return isinstance(data, Mapping) and isinstance(data.get("images"), list) and "annotations" not in data


class Pictures:
    """Samples that show nobody annotated. files: (id, path) of each picture."""

    def __init__(self, files: Sequence[tuple[int | str, Path]], *, skeleton: Skeleton, name: str) -> None:
        if not files:
            raise AnnotationError(f"{name} holds no picture in which people could be found. Check the path.")
        self.files, self.skeleton, self.name = tuple(files), skeleton, name

    @property
    def ids(self) -> Sequence[int | str]:
        return [key for key, _ in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        """Return the picture's file."""
        return self.files[index][1]

    def __getitem__(self, index: int) -> Sample:
        """Return one picture. Raises PictureError where it cannot be read."""
        key, path = self.files[index]
        nobody = np.zeros((0, self.skeleton.num_keypoints, 3), np.float32)
        image = pictures.read(path, upright=False)
        return Sample(self.skeleton, image, nobody, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), id=key)


def open_list(data: Any, *, skeleton: Skeleton, images: Path, name: str) -> Pictures:
    """Open the pictures that a COCO image list names (see `is_unannotated`); missing ones are left out, with a warning.

    Raises AnnotationError where a record has no id or file name, or no picture is there.
    """
    for number, record in enumerate(data["images"]):
        usable = isinstance(record, Mapping) and isinstance(record.get("id"), int | str)
        if not usable or not isinstance(record.get("file_name"), str):
            raise AnnotationError(f"{name}: image number {number} needs an id (a number or text) and a file_name.")
    records = present(data["images"], images, name)
    return Pictures([(one["id"], images / one["file_name"]) for one in records], skeleton=skeleton, name=name)


def open_folder(folder: Path, *, skeleton: Skeleton) -> Pictures:
    """Open the pictures of a folder; ids are the numbers at the end of their names, as in COCO, else 1, 2...

    Raises PictureError where there are none.
    """
    files = pictures.find([folder])
    ids = picture_ids([file.name for file in files])
    return Pictures(list(zip(ids, files, strict=True)), skeleton=skeleton, name=short_name(folder))


def write_picture_list(path: Path, dataset: Pictures) -> None:
    """Write which picture has which id, as COCO's image lists do."""
    images = [{"id": key, "file_name": file.name} for key, file in dataset.files]
    write_json(path, {"images": images, "categories": []})
