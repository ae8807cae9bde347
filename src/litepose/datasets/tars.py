"""Tar files in the layout of webdataset: pictures with COCO annotations, read at random without unpacking.

Source: the conventions of the webdataset package: files of one sample lie in the tar with the same key, which is the
path up to the first dot of the file's name; what follows is the kind. Here a sample is KEY.jpg (.jpeg, .png, .webp,
.bmp) and KEY.json: an object with "annotations", a list as in a COCO keypoint file, or that list alone. Beside it the
object may have "id" (of the picture), "width", "height", and "categories", whose keypoints name the skeleton. Files of
other kinds are passed over. Folders that `litepose data pack` wrote have the same layout, and an index besides
(packed.py).
"""

from __future__ import annotations

import json
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images as pictures
from litepose.datasets.coco import CocoDataset
from litepose.datasets.shards import Shards
from litepose.errors import AnnotationError, PictureError
from litepose.files import short_name

PICTURE_KINDS = ("jpg", "jpeg", "png", "webp", "bmp")
PER_PICTURE = ("id", "width", "height")


@dataclass(frozen=True)
class _Part:
    """One file in a tar: its place."""

    shard: int
    offset: int
    size: int


class TarDataset(CocoDataset):
    """The pictures of one tar file, or of all in a folder, in the order of the names and inside them.

    A picture's id is its json's, else its key. options: as in `CocoDataset`, without data, name and images.
    Raises AnnotationError where a tar is damaged, or holds nothing that fits.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        path = Path(path)
        paths = sorted(path.glob("*.tar")) if path.is_dir() else [path]
        self._shards = Shards(paths)
        records, annotations, categories = self._parsed()
        if not records:
            raise AnnotationError(
                f"Tar {path}: none of its files make a sample. Each picture needs a KEY.jpg and, with the same key, a "
                'KEY.json with its COCO annotations: {"annotations": [...]}.'
            )
        data = {"images": records, "annotations": annotations, "categories": categories}
        super().__init__(data, name=short_name(path), images=path if path.is_dir() else path.parent, **options)

    def _present(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return records

    def _image(self, file_name: str) -> np.ndarray:
        part = self._parts[file_name]
        try:
            return pictures.read(self._shards.read(part.shard, part.offset, part.size), upright=False)
        except PictureError as error:
            raise PictureError(f"{file_name} in {self._shards.paths[part.shard]}: {error}") from error

    def _parsed(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Any]]:
        """Return images, annotations and categories as of one COCO file; remember where the pictures lie."""
        self._parts: dict[str, _Part] = {}
        records, annotations, alone = [], [], []
        categories: list[Any] = []
        for key, kinds in self._samples():
            picture = next((kind for kind in PICTURE_KINDS if kind in kinds), None)
            if picture is None or "json" not in kinds:
                if picture is not None or "json" in kinds:
                    alone.append(key)
                continue
            part = kinds["json"]
            facts, people = self._described(self._shards.read(part.shard, part.offset, part.size), key)
            name = f"{key}.{picture}" if len(self._shards.paths) == 1 else f"{part.shard:06d}/{key}.{picture}"
            self._parts[name] = kinds[picture]
            number = facts.get("id", key)
            records.append({**{k: facts[k] for k in PER_PICTURE if k in facts}, "id": number, "file_name": name})
            # Numbers of annotations, often counted anew for each picture, mean nothing here.
            annotations += [{**one, "image_id": number, "id": None} for one in people]
            categories = categories or facts.get("categories") or []
        if alone:
            warnings.warn(
                f"{len(alone)} keys have a picture without a json, or a json without a picture (the first: "
                f"{alone[0]}); left out.",
                stacklevel=4,
            )
        return records, annotations, categories

    def _samples(self) -> Iterator[tuple[str, dict[str, _Part]]]:
        """Yield each key with its files by kind. Raises AnnotationError."""
        for shard, path in enumerate(self._shards.paths):
            found: dict[str, dict[str, _Part]] = {}
            for name, part in _files_of(path, shard):
                folder, _, file = name.rpartition("/")
                stem, _, kind = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if found.setdefault(key, {}).setdefault(kind.lower(), part) is not part:
                    raise AnnotationError(f"Tar {path}: {name} is there twice. Each key may come once in a tar.")
            yield from found.items()

    def _described(self, text: bytes, key: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what a json says about its picture, and the people. Raises AnnotationError."""
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(
                f"{key}.json in a tar is no (complete) JSON: {error}. Write the tar again."
            ) from error
        facts = {"annotations": content} if isinstance(content, list) else content
        people = facts.get("annotations") if isinstance(facts, dict) else None
        if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
            found = sorted(content) if isinstance(content, dict) else type(content).__name__
            ours = isinstance(content, dict) and {"boxes", "areas", "skeleton"} <= set(content)
            raise AnnotationError(
                f'{key}.json in a tar holds {found}; a list of COCO annotations is needed, or {{"annotations": [...]}}.'
                + (" `litepose data pack` wrote this one: copy its index.json beside the tars." if ours else "")
            )
        return facts, people


def holds_tars(path: Path) -> bool:
    """Return whether a path is a tar file, or a folder of some."""
    return path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar")))


def _files_of(path: Path, shard: int) -> Sequence[tuple[str, _Part]]:
    """Return the regular files of a tar by name. Raises AnnotationError."""
    try:
        with tarfile.open(path, mode="r:") as tar:
            members = [one for one in tar if one.isreg()]
    except (tarfile.TarError, OSError) as error:
        raise AnnotationError(
            f"Tar {path} cannot be read ({error}). A plain tar is needed: unpack a compressed one, or copy it again."
        ) from error
    whole = path.stat().st_size
    if any(one.offset_data + one.size > whole for one in members):
        raise AnnotationError(f"Tar {path} is cut off after {whole} bytes. Copy it again.")
    return [(one.name.removeprefix("./"), _Part(shard, one.offset_data, one.size)) for one in members]
