"""The labels of an annotation file as arrays, taken as they stand: nothing is mended, clipped or left out in silence.

For looking at labels; `CocoDataset` and `MpiiDataset` are for learning from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from litepose.datasets import format_of, mpii, parsed
from litepose.datasets.coco_checks import person_categories, require, skeleton_of
from litepose.datasets.verify import mpii_keypoints
from litepose.errors import AnnotationError
from litepose.skeleton import MPII16, Skeleton


@dataclass(frozen=True)
class Labels:
    """P pictures and N people of a file, in its order.

    picture_ids, file_names: of the pictures. sizes: (P, 2) float64 w, h as listed, NaN where they are not.
    ids: of the people, None where they have none. pictures: (N,) int64, place of each one's picture, -1 = not listed.
    keypoints: (N, K, 3) float64 x, y px and visible; all 0 where not labelled, or where `broken` says so.
    boxes: (N, 4) float64 xyxy and areas: (N,) float64 px^2, as listed; NaN where there is none.
    counts: (N,) int64, the listed number of keypoints, -1 where there is none.
    broken: (N,) bool, people whose keypoints are not the numbers they should be.
    """

    skeleton: Skeleton
    picture_ids: tuple[Any, ...]
    file_names: tuple[str, ...]
    sizes: np.ndarray
    ids: tuple[Any, ...]
    pictures: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    counts: np.ndarray
    broken: np.ndarray

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which keypoints are labelled: (N, K) bool."""
        return self.keypoints[..., 2] > 0


def read_labels(path: str | Path, *, skeleton: Skeleton | None = None) -> Labels:
    """Read a COCO or CrowdPose keypoint file or an MPII list; skeleton: where a COCO file names no keypoints.

    Crowd regions without keypoints are no people. Raises AnnotationError where the file as a whole is unusable.
    """
    content = parsed(Path(path))
    if mpii.looks_like(content):
        return _from_mpii(content)
    format_of(content, Path(path))  # refuses what is no annotation file
    return _from_coco(content, str(path), skeleton)


def _from_coco(data: Mapping[str, Any], name: str, given: Skeleton | None) -> Labels:
    records, people = require(data, "images", list, name), require(data, "annotations", list, name)
    categories, skeleton = person_categories(data, name), skeleton_of(data, name, given)
    if not records:
        raise AnnotationError(f"{name}: the list of images is empty. At least one picture is needed.")
    for number, record in enumerate(records):
        if not isinstance(record, dict) or not isinstance(record.get("id"), (int, str)):
            raise AnnotationError(
                f"{name}: image number {number} has no usable id. `litepose data verify` lists all that is broken."
            )
    people = [one for one in people if isinstance(one, dict) and _is_person(one, categories)]
    place = {record["id"]: n for n, record in reversed(list(enumerate(records)))}
    keypoints, broken = _keypoint_rows([one.get("keypoints") for one in people], skeleton.num_keypoints)
    boxes = _rows([one.get("bbox") for one in people], 4)
    boxes[:, 2:] += boxes[:, :2]
    return Labels(
        skeleton=skeleton,
        picture_ids=tuple(record["id"] for record in records),
        file_names=tuple(str(record.get("file_name", "")) for record in records),
        sizes=_rows([[record.get("width"), record.get("height")] for record in records], 2),
        ids=tuple(one.get("id") for one in people),
        pictures=np.array([_place(one, place) for one in people], dtype=np.int64),
        keypoints=keypoints,
        boxes=boxes,
        areas=_rows([[one.get("area")] for one in people], 1)[:, 0],
        counts=np.array([_count(one.get("num_keypoints")) for one in people], dtype=np.int64),
        broken=broken,
    )


def _is_person(annotation: dict[str, Any], categories: set[Any] | None) -> bool:
    crowd = bool(annotation.get("iscrowd")) and not any((annotation.get("keypoints") or ())[2::3])
    return not crowd and (categories is None or annotation.get("category_id") in categories)


def _place(annotation: dict[str, Any], place: dict[Any, int]) -> int:
    image = annotation.get("image_id")
    return place.get(image, -1) if isinstance(image, (int, str)) else -1


def _count(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _from_mpii(records: Sequence[Any]) -> Labels:
    """The list has no areas, counts, ids and sizes; a person's number in it is the id."""
    people = [(n, one) for n, one in enumerate(records) if isinstance(one, dict) and isinstance(one.get("image"), str)]
    files = list(dict.fromkeys(one["image"] for _, one in people))
    place = {file: n for n, file in enumerate(files)}
    rows = [mpii_keypoints(one) for _, one in people]
    keypoints = np.array([np.zeros((16, 3)) if row is None else row for row in rows]).reshape(-1, 16, 3)
    broken = np.array([row is None and "joints" in one for row, (_, one) in zip(rows, people, strict=True)], dtype=bool)
    broken |= ~np.isfinite(keypoints).all(axis=(1, 2))
    keypoints[broken | ~np.isfinite(keypoints).all(axis=(1, 2))] = 0
    keypoints[~(keypoints[..., 2] > 0)] = 0
    keypoints[..., 2] *= mpii.SEEN
    circles = _rows([[*_pair(one.get("center")), one.get("scale")] for _, one in people], 3)
    circles[~(circles[:, 2] > 0) | (circles[:, 0] == -1)] = np.nan
    with np.errstate(invalid="ignore"):
        boxes = mpii.boxes_of(circles[:, :2], circles[:, 2]).astype(np.float64)
    return Labels(
        skeleton=MPII16,
        picture_ids=tuple(files),
        file_names=tuple(files),
        sizes=np.full((len(files), 2), np.nan),
        ids=tuple(n for n, _ in people),
        pictures=np.array([place[one["image"]] for _, one in people], dtype=np.int64),
        keypoints=keypoints,
        boxes=boxes,
        areas=np.full(len(people), np.nan),
        counts=np.full(len(people), -1),
        broken=broken,
    )


def _pair(value: Any) -> list[Any]:
    return value if isinstance(value, list) and len(value) == 2 else [None, None]


def _keypoint_rows(lists: list[Any], num_keypoints: int) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (N, K, 3), zero where not labelled, and which people's are broken; none at all are not."""
    nothing = [0.0] * (3 * num_keypoints)
    table = _rows([one if one else nothing for one in lists], 3 * num_keypoints).reshape(-1, num_keypoints, 3)
    broken = ~np.isfinite(table).all(axis=(1, 2))
    table[broken] = 0
    table[~(table[..., 2] > 0)] = 0
    return table, broken


def _rows(lists: list[Any], length: int) -> np.ndarray:
    """Return lists of `length` numbers as (N, length) float64; NaN in place of a list that is something else."""
    try:
        table = np.array(lists, dtype=np.float64)  # the fast way, for sound files
        if table.shape == (len(lists), length):
            return table
    except (TypeError, ValueError):
        pass
    table = np.full((len(lists), length), np.nan)
    for n, one in enumerate(lists):
        if isinstance(one, list) and len(one) == length and all(isinstance(v, (int, float)) for v in one):
            table[n] = one
    return table
