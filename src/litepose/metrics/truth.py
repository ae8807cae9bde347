"""`Truth`: the annotated people of a set of pictures, as every metric reads them.

It keeps what scoring needs and training does not: people without keypoints and crowds, near which a found person is
neither right nor wrong (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose.errors import AnnotationError
from litepose.geometry import boxes_of_keypoints, xyxy_to_xywh
from litepose.poses import Sample
from litepose.similarity import AREA_OF_BOX
from litepose.skeleton import Skeleton, canonical_name


@dataclass(frozen=True)
class PictureTruth:
    """The annotated people of one picture.

    keypoints: (N, K, 3) float64 x, y, visible (0, 1, 2 as in COCO); boxes: (N, 4) float64 x, y, width, height;
    areas: (N,) float64 px^2; crowd: (N,) bool. Ignored are crowds, people with no labelled keypoint, and who is not
    `chosen`, (N,) bool; None = everybody is.
    """

    id: int | str
    keypoints: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    chosen: np.ndarray | None = None

    @property
    def labelled(self) -> np.ndarray:
        """Which keypoints are labelled: (N, K) bool."""
        return self.keypoints[..., 2] > 0

    @property
    def scored(self) -> np.ndarray:
        """Which people count: (N,) bool."""
        return self.counted & ~self.crowd

    @property
    def counted(self) -> np.ndarray:
        """Who is chosen and has a labelled keypoint, crowds included: (N,) bool."""
        labelled = np.any(self.labelled, axis=1)
        return labelled if self.chosen is None else labelled & self.chosen


@dataclass(frozen=True)
class Truth:
    """The annotated people of many pictures, on one skeleton."""

    skeleton: Skeleton
    pictures: tuple[PictureTruth, ...]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def num_people(self) -> int:
        """How many people count."""
        return sum(int(picture.scored.sum()) for picture in self.pictures)

    def only(self, ids: Iterable[int | str]) -> Truth:
        """Return the truth of the named pictures."""
        wanted = set(ids)
        return Truth(self.skeleton, tuple(picture for picture in self.pictures if picture.id in wanted))


def read_truth(path: str | Path, skeleton: Skeleton) -> Truth:
    """Read a COCO keypoint file, see `truth_from_coco`. Raises AnnotationError."""
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise AnnotationError(f"Annotation file {path} cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise AnnotationError(f"Annotation file {path} is no JSON: {error}. Give a COCO keypoint file.") from error
    return truth_from_coco(data, skeleton, source=str(path))


def truth_from_coco(
    data: Mapping[str, Any], skeleton: Skeleton, *, source: str = "annotations", box_areas: bool = False
) -> Truth:
    """Return the truth that a COCO keypoint mapping holds, its keypoints matched to `skeleton` by name.

    Who has `num_keypoints` 0 is not chosen, as in cocoapi. source: names the mapping in errors.
    box_areas: everybody's area is 0.53 w h of the box, as CrowdPose's evaluator has it, whatever the mapping says; else
        only where it says nothing, with a warning. Raises AnnotationError.
    """
    if not isinstance(data, Mapping) or not all(isinstance(data.get(key), list) for key in ("images", "annotations")):
        raise AnnotationError(f'{source} has no lists "images" and "annotations". Give a COCO keypoint file.')
    positions = _positions(data, skeleton, source)
    people: dict[int | str, list[Mapping[str, Any]]] = {}
    try:
        for image in data["images"]:
            people[image["id"]] = []
        for record in data["annotations"]:
            if "keypoints" in record and record["image_id"] in people:
                people[record["image_id"]].append(record)
        pictures = tuple(_picture(key, records, positions, box_areas) for key, records in people.items())
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{source} cannot be scored against: {error!r}. Each image needs an id; each annotation an "
            f"image_id, and {len(_names(data) or positions)} keypoints as x, y, visible."
        ) from error
    if not box_areas:
        _warn_of_made_areas(people, source)
    return Truth(skeleton, pictures)


def truth_from_samples(samples: Iterable[Sample]) -> Truth:
    """Return the truth of samples held in memory. Raises AnnotationError where there is none."""
    pictures, skeleton = [], None
    for sample in samples:
        pictures.append(truth_of(sample))
        skeleton = sample.skeleton
    if skeleton is None:
        raise AnnotationError("There is no picture to score against: the data set is empty. Give annotated pictures.")
    return Truth(skeleton, tuple(pictures))


def truth_of(sample: Sample) -> PictureTruth:
    """Return the truth of one sample; each connected ignored region counts as one crowd."""
    regions = _region_boxes(sample.ignore)
    blank = np.zeros((len(regions), sample.skeleton.num_keypoints, 3))
    boxes = xyxy_to_xywh(np.asarray(sample.boxes, dtype=np.float64)).reshape(-1, 4)
    return PictureTruth(
        sample.id,
        np.concatenate([np.asarray(sample.keypoints, dtype=np.float64), blank]),
        np.concatenate([boxes, regions]),
        np.concatenate([np.asarray(sample.areas, dtype=np.float64), regions[:, 2:].prod(axis=1)]),
        np.arange(len(sample) + len(regions)) >= len(sample),
    )


def _warn_of_made_areas(people: Mapping[Any, list[Mapping[str, Any]]], source: str) -> None:
    lacking = [one for records in people.values() for one in records if not _has_area(one)]
    if lacking:
        total = sum(len(records) for records in people.values())
        warnings.warn(
            f"{source}: {len(lacking)} of {total} people have no area (the first is annotation "
            f"{lacking[0].get('id')}); {AREA_OF_BOX} x width x height of the box stands for it, as in CrowdPose.",
            stacklevel=4,
        )


def _has_area(record: Mapping[str, Any]) -> bool:
    area = record.get("area")
    return area is not None and bool(np.isfinite(area) and area >= 0)


def _picture(key: int | str, records: list[Mapping[str, Any]], positions: np.ndarray, box_areas: bool) -> PictureTruth:
    known = positions >= 0
    keypoints = np.zeros((len(records), len(positions), 3))
    for n, record in enumerate(records):
        triples = np.asarray(record["keypoints"], dtype=np.float64).reshape(-1, 3)
        keypoints[n, known] = triples[positions[known]]
    labelled = np.isfinite(keypoints).all(axis=-1) & (keypoints[..., 2] > 0)
    keypoints = np.where(labelled[..., None], keypoints, 0)
    tight = xyxy_to_xywh(boxes_of_keypoints(keypoints[..., :2], labelled)).astype(np.float64)
    boxes = np.array([_box(record, tight[n]) for n, record in enumerate(records)], dtype=np.float64).reshape(-1, 4)
    areas = AREA_OF_BOX * boxes[:, 2] * boxes[:, 3]
    if not box_areas:
        stated = [float(one["area"]) if _has_area(one) else np.nan for one in records]
        areas = np.where(np.isnan(stated), areas, stated)
    crowd = np.array([bool(record.get("iscrowd", 0)) for record in records], dtype=bool)
    chosen = np.array([record.get("num_keypoints") != 0 for record in records], dtype=bool)
    return PictureTruth(key, keypoints, boxes, areas, crowd, chosen)


def _box(record: Mapping[str, Any], tight: np.ndarray) -> np.ndarray:
    """Return the box of an annotation, that of its keypoints where it states none that can be."""
    if record.get("bbox") is None:
        return tight
    box = np.asarray(record["bbox"], dtype=np.float64).reshape(4)
    return box if np.isfinite(box).all() and box[2:].min() > 0 else tight


def _positions(data: Mapping[str, Any], skeleton: Skeleton, source: str) -> np.ndarray:
    """Return for each keypoint of `skeleton` its index in the file, -1 where the file has none: (K,)."""
    names = _names(data)
    if names is None:
        counts = {len(record["keypoints"]) // 3 for record in data["annotations"] if "keypoints" in record}
        if counts - {skeleton.num_keypoints}:
            raise AnnotationError(
                f"{source} was to be read as {skeleton.name} with {skeleton.num_keypoints} keypoints; its people have "
                f"{sorted(counts)} and its categories name none. Add the names, or choose the skeleton it has."
            )
        return np.arange(skeleton.num_keypoints)
    positions = np.array([names.index(name) if name in names else -1 for name in skeleton.keypoints])
    if (positions < 0).all():
        raise AnnotationError(f"{source} shares no keypoint with {skeleton.name}; it names {', '.join(names)}.")
    return positions


def _names(data: Mapping[str, Any]) -> list[str] | None:
    for category in data.get("categories") or ():
        if isinstance(category, Mapping) and category.get("keypoints"):
            return [canonical_name(str(name)) for name in category["keypoints"]]
    return None


def _region_boxes(ignore: np.ndarray | None) -> np.ndarray:
    """Return the box of each connected region of an (H, W) mask: (M, 4) float64 x, y, width, height."""
    if ignore is None or not ignore.any():
        return np.zeros((0, 4))
    _, _, stats, _ = cv2.connectedComponentsWithStats(ignore.astype(np.uint8), connectivity=8)
    return stats[1:, :4].astype(np.float64)
