"""COCO keypoint files: people as arrays, everything that must not be learned as one ignore mask.

Source: COCO 2017 person keypoints; which people and which pixels count follows mit-han-lab/litepose@00b702d
(lib/dataset/COCOKeypoints.py, COCODataset.py): a person counts where it is no crowd or has keypoints; crowd run lengths
and the segments of people without keypoints are ignored. Different on purpose: pictures without people stay, as
negatives; a person without keypoints and segment is ignored by its box; sizes are the picture's, not the record's.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images as pictures
from litepose.datasets.base import PeopleTable
from litepose.datasets.coco_checks import (
    box_array,
    has_keypoints,
    is_box,
    keypoint_array,
    person_categories,
    require,
    skeleton_of,
)
from litepose.datasets.masks import limb_mask, mask_from_segmentation
from litepose.errors import AnnotationError
from litepose.geometry import boxes_of_keypoints, size_of
from litepose.poses import Sample
from litepose.similarity import AREA_OF_BOX, box_areas, iou
from litepose.skeleton import Skeleton

OTHER_MIN_SCORE = 0.3  # a detector's box below this masks nothing
SAME_PERSON_IOU = 0.5  # a detector's box this close to an annotated person's is that person


@dataclass(frozen=True)
class _Picture:
    id: int | str
    file_name: str
    first: int  # of its people, in the arrays of the dataset
    last: int
    ignored: tuple[Any, ...]  # segmentations
    ignored_boxes: tuple[tuple[float, ...], ...]  # xyxy
    listed_size: tuple[int, int] | None  # (w, h)


class CocoDataset:
    """The pictures of one parsed COCO keypoint file.

    images: their folder. skeleton: the file's, where its category names no keypoints; `native`: it counts more than
    the category's names.
    other_people: JSON file {"boxes": {picture id: [[x, y, w, h, score], ...]}} of people that have no annotation; what
    lies in such a box, away from the annotated people, is ignored.
    missing_unlabelled: a keypoint that a picture's person lacks may still be seen there (Leeds Sports Pose Extended),
    so its channel is not `labelled` for the picture; for sets with one annotated person a picture.
    person_masks: give the people's masks of pictures whose people all have a segment.
    Raises AnnotationError where the file cannot be trusted; warns where single values or pictures cannot.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        name: str,
        images: str | Path,
        skeleton: Skeleton | None = None,
        native: bool = False,
        other_people: str | Path | None = None,
        missing_unlabelled: bool = False,
        person_masks: bool = False,
    ) -> None:
        self.name, self.images = name, Path(images)
        self.missing_unlabelled, self.person_masks = missing_unlabelled, person_masks
        people_only = person_categories(data, name)
        self.skeleton = skeleton if native and skeleton else skeleton_of(data, name, skeleton)
        records = require(data, "images", list, name)
        if not records:
            raise AnnotationError(f"{name}: the list of images is empty. At least one picture is needed.")
        by_picture = _group(require(data, "annotations", list, name), people_only, records, name)
        self._boxes_ignored = not native
        self._other = _other_people(other_people) if other_people is not None else {}
        self._pictures, annotations = self._arrange(self._present(records), by_picture)
        self._keypoints = keypoint_array(annotations, self.skeleton, name)
        self._boxes = box_array(annotations, self._keypoints, name)
        self._areas = np.array([_area(one, box) for one, box in zip(annotations, self._boxes, strict=True)], np.float32)
        self._crowd = np.array([bool(one.get("iscrowd", 0)) for one in annotations], dtype=bool)
        self._segments = [one.get("segmentation") for one in annotations] if person_masks else []
        self._size_said = False
        if not len(annotations):
            warnings.warn(f"{name}: no person has keypoints; all its pictures serve as negatives.", stacklevel=3)

    @property
    def ids(self) -> Sequence[int | str]:
        return [picture.id for picture in self._pictures]

    @property
    def file_names(self) -> Sequence[str]:
        """The pictures' files, as the annotation file names them."""
        return [picture.file_name for picture in self._pictures]

    @property
    def annotated(self) -> np.ndarray:
        """Which pictures show a person, crowds and people without keypoints included: (len,) bool."""
        return np.array([p.last > p.first or bool(p.ignored or p.ignored_boxes) for p in self._pictures], dtype=bool)

    def people_table(self) -> PeopleTable:
        """Return everybody in the samples, without opening a picture."""
        first = np.array([picture.first for picture in self._pictures], dtype=np.int32)
        counts = np.array([picture.last - picture.first for picture in self._pictures])
        sides = np.array([_longer_side(picture.listed_size) for picture in self._pictures], dtype=np.float32)
        sizes = np.repeat(sides, 2 * counts).reshape(-1, 2)  # CrowdPose lists some sizes as (h, w): one bound for both
        return PeopleTable(
            skeleton=self.skeleton,
            picture=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            person=np.arange(len(self._boxes), dtype=np.int32) - np.repeat(first, counts),
            keypoints=self._keypoints,
            boxes=_inside(self._boxes, self._keypoints, sizes),
            areas=self._areas,
            sizes=sizes,
            crowd=self._crowd,
        )

    def __len__(self) -> int:
        return len(self._pictures)

    def path(self, index: int) -> Path:
        """Return the picture's file."""
        return self.images / self._pictures[index].file_name

    def __getitem__(self, index: int) -> Sample:
        """Return one annotated picture. Raises PictureError where it cannot be read."""
        picture = self._pictures[index]
        image = self._image(picture.file_name)
        size = size_of(image)
        self._say_size(picture, size)
        rows = slice(picture.first, picture.last)
        keypoints = self._keypoints[rows].copy()
        boxes = _inside(self._boxes[rows], keypoints, size)
        unlabelled = self.missing_unlabelled and len(keypoints) > 0
        return Sample(
            skeleton=self.skeleton,
            image=image,
            keypoints=keypoints,
            boxes=boxes,
            areas=self._areas[rows].copy(),
            ignore=self._ignore(picture, keypoints, boxes, size),
            labelled=np.all(keypoints[..., 2] > 0, axis=0) if unlabelled else None,
            person_masks=self._masks(picture, size) if self.person_masks else None,
            id=picture.id,
        )

    def _present(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return present(records, self.images, self.name)

    def _image(self, file_name: str) -> np.ndarray:
        return pictures.read(self.images / file_name, upright=False)

    def _arrange(
        self, records: list[dict[str, Any]], by_picture: Mapping[Any, list[dict[str, Any]]]
    ) -> tuple[list[_Picture], list[dict[str, Any]]]:
        """Return the pictures, and the annotations with keypoints in their order."""
        pictures: list[_Picture] = []
        people: list[dict[str, Any]] = []
        for record in records:
            first, ignored = len(people), []
            boxes: list[tuple[float, ...]] = []
            for one in by_picture.get(record["id"], ()):
                seen = has_keypoints(one, self.name)
                if seen:
                    people.append(one)
                segment, box = one.get("segmentation"), one.get("bbox", ())
                if (one.get("iscrowd", 0) or not seen) and segment:
                    ignored.append(segment)
                elif not seen and self._boxes_ignored and is_box(box):
                    boxes.append((box[0], box[1], box[0] + box[2], box[1] + box[3]))
            boxes += self._other.get(str(record["id"]), [])
            size = (record["width"], record["height"]) if "width" in record and "height" in record else None
            pictures.append(
                _Picture(record["id"], record["file_name"], first, len(people), tuple(ignored), tuple(boxes), size)
            )
        return pictures, people

    def _ignore(
        self, picture: _Picture, keypoints: np.ndarray, boxes: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray | None:
        ignore = np.zeros((size[1], size[0]), dtype=bool)
        for segment in picture.ignored:
            ignore |= mask_from_segmentation(segment, size)
        same = iou(np.reshape(picture.ignored_boxes, (-1, 4)), boxes) > SAME_PERSON_IOU
        others = [box for box, known in zip(picture.ignored_boxes, np.any(same, axis=1), strict=True) if not known]
        if others:
            region = np.zeros_like(ignore)
            for x1, y1, x2, y2 in others:
                region[max(0, int(y1)) : max(0, int(y2) + 1), max(0, int(x1)) : max(0, int(x2) + 1)] = True
            for person in keypoints:
                region &= ~limb_mask(person[:, :2], person[:, 2] > 0, self.skeleton, size)
            ignore |= region
        return ignore if ignore.any() else None

    def _masks(self, picture: _Picture, size: tuple[int, int]) -> tuple[np.ndarray, ...] | None:
        segments = self._segments[picture.first : picture.last]
        return tuple(mask_from_segmentation(one, size) for one in segments) if all(segments) else None

    def _say_size(self, picture: _Picture, size: tuple[int, int]) -> None:
        if self._size_said or picture.listed_size in (None, size):
            return
        self._size_said = True
        warnings.warn(
            f"{self.name}: {picture.file_name} is {size[0]}x{size[1]}, listed as "
            f"{picture.listed_size[0]}x{picture.listed_size[1]}; the picture's own size is used, here and wherever "  # type: ignore[index]
            "else they differ (`litepose data verify` lists them).",
            stacklevel=3,
        )


def open_parsed(data: Mapping[str, Any], **options: Any) -> CocoDataset:
    """Return the people of a parsed file that no other format knows (so there is no `looks_like`).

    options: as in `CocoDataset`. Raises AnnotationError.
    """
    return CocoDataset(data, **options)


def _group(
    annotations: list[Any], categories: set[Any] | None, records: list[Any], name: str
) -> dict[Any, list[dict[str, Any]]]:
    """Return the people's annotations by picture id. Raises AnnotationError for repeated ids and missing fields."""
    for number, record in enumerate(records):
        for field in ("id", "file_name"):
            if not isinstance(record, dict) or not isinstance(record.get(field), (int, str)):
                raise AnnotationError(
                    f"{name}: image number {number} has no usable {field!r}. Each needs an id (a number or text) and a "
                    "file_name."
                )
    groups: dict[Any, list[dict[str, Any]]] = {record["id"]: [] for record in records}
    if len(groups) < len(records):
        raise AnnotationError(
            f"{name}: the image id {_repeated(record['id'] for record in records)!r} occurs more than once, so its "
            "people cannot be told apart. Give each picture an id of its own."
        )
    seen: list[Any] = []
    strangers = 0
    for number, one in enumerate(annotations):
        if not isinstance(one, dict) or not isinstance(one.get("image_id"), (int, str)):
            raise AnnotationError(f"{name}: annotation number {number} has no usable 'image_id'. Each needs one.")
        if categories is not None and one.get("category_id") not in categories:
            continue
        if isinstance(one.get("id"), (int, str)):
            seen.append(one["id"])
        if one["image_id"] in groups:
            groups[one["image_id"]].append(one)
        else:
            strangers += 1
    if len(set(seen)) < len(seen):
        raise AnnotationError(
            f"{name}: the annotation id {_repeated(seen)!r} occurs more than once: a person listed twice, or two files "
            "joined without new numbers. Give each annotation an id of its own."
        )
    if strangers:
        warnings.warn(f"{name}: {strangers} annotations belong to no listed picture; left out.", stacklevel=4)
    return groups


def _repeated(ids: Any) -> Any:
    seen = set()
    return next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]


def present(records: list[dict[str, Any]], folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the records whose pictures exist; warn for the rest. Raises AnnotationError where none does."""
    listings: dict[Path, set[str]] = {}

    def exists(file_name: str) -> bool:
        path = folder / file_name
        if path.parent not in listings:
            listings[path.parent] = {one.name for one in os.scandir(path.parent)} if path.parent.is_dir() else set()
        return path.name in listings[path.parent]

    present = [record for record in records if exists(str(record["file_name"]))]
    missing = [str(record["file_name"]) for record in records if not exists(str(record["file_name"]))]
    if not present:
        raise AnnotationError(
            f"{name}: none of its {len(records)} pictures lies in {folder} (the first: {missing[0]}). "
            "Name their folder: images=... (--images on the command line)."
        )
    if missing:
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        warnings.warn(
            f"{name}: {len(missing)} of {len(records)} pictures are not in {folder} ({listed}); left out.", stacklevel=4
        )
    return present


def _other_people(path: str | Path) -> dict[str, list[tuple[float, ...]]]:
    import json

    try:
        boxes = json.loads(Path(path).read_bytes())["boxes"]
        return {
            str(one): [(x, y, x + w, y + h) for x, y, w, h, score in rows if score >= OTHER_MIN_SCORE]
            for one, rows in boxes.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AnnotationError(
            f"The file of other people {path} cannot be used ({error!r}); it needs "
            '{"boxes": {picture id: [[x, y, w, h, score], ...]}}.'
        ) from error


def _area(annotation: dict[str, Any], box: np.ndarray) -> float:
    area = annotation.get("area")
    if isinstance(area, (int, float)) and np.isfinite(area) and area > 0:
        return float(area)
    return AREA_OF_BOX * float(box_areas(box))


def _longer_side(size: Any) -> float:
    """Return the longer side of a listed (w, h), inf where that is no size."""
    known = size is not None and all(isinstance(side, (int, float)) and side > 0 for side in size)
    return max(size) if known else np.inf


def _inside(boxes: np.ndarray, keypoints: np.ndarray, size: tuple[int, int] | np.ndarray) -> np.ndarray:
    """Return the boxes clipped to the picture; one that lies outside becomes the box of its keypoints.

    size: (w, h), or one for each box, (N, 2).
    """
    limit = np.concatenate([size, size], axis=-1).astype(np.float32)
    clipped = np.clip(boxes, 0, limit)
    empty = (clipped[:, 2:] - clipped[:, :2]).min(axis=1, initial=np.inf) < 1
    tight = boxes_of_keypoints(keypoints[..., :2], keypoints[..., 2] > 0)
    return np.where(empty[:, None], np.clip(tight, 0, limit), clipped).astype(np.float32)
