"""MPII Human Pose in HRNet's JSON layout: a list with one record for each person, which mmpose keeps under other names.

Source: Andriluka et al. 2014; leoxiaobin/deep-high-resolution-net.pytorch@00d7bf7 (lib/dataset/mpii.py). A record is
{"image": file, "center": [x, y], "scale": height / 200 px, "joints": 16 x [x, y], "joints_vis": 16 x 0 or 1}.

Traps, and what is done: places are 1-based (made 0-based); a keypoint without annotation stands at -1, -1 (not
labelled); nothing tells hidden from seen (all count as seen); the centre is moved down and the box padded by HRNet's
rule (`boxes_of`); a picture's records need not follow each other (one sample a picture, in file order); there are no
areas (0.53 of the box, as elsewhere); the test split has no keypoints (its people come with none labelled).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images as pictures
from litepose.datasets.base import PeopleTable
from litepose.datasets.coco import present
from litepose.errors import AnnotationError
from litepose.geometry import BOX_PADDING, SCALE_UNIT_PX, boxes_of_keypoints, mpii_center_scale
from litepose.poses import Sample
from litepose.similarity import AREA_OF_BOX, box_areas
from litepose.skeleton import MPII16, Skeleton

RECORD = '{"image", "center": [x, y], "scale", "joints": 16 x [x, y], "joints_vis": 16 x 0 or 1}'
SEEN = 2  # COCO's mark; the layout does not say what is hidden


class MpiiDataset:
    """The pictures of one parsed MPII list; `records` leads from a picture's people back to the list.

    images: their folder. missing_unlabelled: as in `CocoDataset`.
    Raises AnnotationError where the list cannot be trusted; warns where single values or pictures cannot.
    """

    skeleton = MPII16

    def __init__(self, data: Sequence[Any], *, name: str, images: str | Path, missing_unlabelled: bool = False) -> None:
        self.name, self.images, self.missing_unlabelled = name, Path(images), missing_unlabelled
        people_of = by_picture(data, name)
        self._keypoints = _keypoints(data, name)
        self._boxes = _boxes(data, self._keypoints, name)
        self._areas = (AREA_OF_BOX * box_areas(self._boxes)).astype(np.float32)
        there = present([{"file_name": one} for one in people_of], self.images, name)
        self._pictures = [(one["file_name"], np.array(people_of[one["file_name"]])) for one in there]

    @property
    def ids(self) -> Sequence[str]:
        """The pictures' file names."""
        return [file_name for file_name, _ in self._pictures]

    @property
    def num_records(self) -> int:
        """How many people the list holds, those of missing pictures included."""
        return len(self._keypoints)

    def people_table(self) -> PeopleTable:
        """Return everybody in the samples, without opening a picture; the layout lists no sizes."""
        counts = [len(rows) for _, rows in self._pictures]
        rows = np.concatenate([rows for _, rows in self._pictures])
        return PeopleTable(
            skeleton=self.skeleton,
            picture=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
            person=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
            keypoints=self._keypoints[rows],
            boxes=self._boxes[rows],
            areas=self._areas[rows],
            sizes=np.full((len(rows), 2), np.inf, dtype=np.float32),
            crowd=np.zeros(len(rows), dtype=bool),
        )

    def __len__(self) -> int:
        return len(self._pictures)

    def path(self, index: int) -> Path:
        """Return the picture's file."""
        return self.images / self._pictures[index][0]

    def records(self, index: int) -> np.ndarray:
        """Return the place in the list, from 0, of each person of a picture's sample: (N,) int64."""
        return self._pictures[index][1].copy()

    def __getitem__(self, index: int) -> Sample:
        """Return one annotated picture. Raises PictureError where it cannot be read."""
        file_name, rows = self._pictures[index]
        keypoints = self._keypoints[rows]
        return Sample(
            skeleton=self.skeleton,
            image=pictures.read(self.images / file_name, upright=False),
            keypoints=keypoints,
            boxes=self._boxes[rows],
            areas=self._areas[rows],
            labelled=np.all(keypoints[..., 2] > 0, axis=0) if self.missing_unlabelled else None,
            id=file_name,
        )


def looks_like(data: Any) -> bool:
    """Return whether parsed JSON is a list of MPII records."""
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and "image" in first and bool({"center", "scale", "joints"} & set(first))


def open_parsed(
    data: Sequence[Any],
    *,
    name: str,
    images: str | Path,
    skeleton: Skeleton | None = None,
    other_people: str | Path | None = None,
    missing_unlabelled: bool = False,
    person_masks: bool = False,
) -> MpiiDataset:
    """Return MPII's people, on their own skeleton and without masks, as the layout has none.

    The arguments: as in `CocoDataset`; `other_people` is refused. Raises AnnotationError.
    """
    if other_people is not None:
        raise AnnotationError(
            f"{name} was to be read with boxes of other people ({other_people}); it is an MPII list, and only "
            "COCO-like files take them. Leave them out: an MPII person is learned from in a crop of its own."
        )
    return MpiiDataset(data, name=name, images=images, missing_unlabelled=missing_unlabelled)


def boxes_of(center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the square boxes (..., 4) float32 xyxy whose crops, for a square input, are those of HRNet's loader.

    center: (..., 2) and scale: (...) as annotated, 1-based. So `geometry.xywh_to_center_scale` of a box gives what
    `geometry.mpii_center_scale` gives, for a missing centre (-1) too.
    """
    middle, scales = mpii_center_scale(center, scale)
    half = 0.5 * SCALE_UNIT_PX * scales / BOX_PADDING
    return np.concatenate([middle - half, middle + half], axis=-1).astype(np.float32)


def by_picture(data: Sequence[Any], name: str) -> dict[str, list[int]]:
    """Return the numbers of the records of each picture, both in file order."""
    groups: dict[str, list[int]] = {}
    for number, record in enumerate(data):
        if not isinstance(record, dict) or not isinstance(record.get("image"), str) or not record["image"]:
            raise AnnotationError(f"{name}: record number {number} names no image. A record is {RECORD}.")
        groups.setdefault(record["image"], []).append(number)
    return groups


def _keypoints(data: Sequence[Any], name: str) -> np.ndarray:
    """Return (R, 16, 3) float32 x, y (0-based px), visible; zeros where a keypoint is not labelled."""
    table = np.zeros((len(data), MPII16.num_keypoints, 3))
    without = [number for number, record in enumerate(data) if "joints" not in record]
    if len(without) == len(data):
        warnings.warn(
            f"{name}: no record has keypoints (MPII's test split has none); its people can be found, but nothing can "
            "be learned or scored.",
            stacklevel=4,
        )
        return table.astype(np.float32)
    if without:
        raise AnnotationError(
            f"{name}: {len(without)} of {len(data)} records have no 'joints' (the first: {_where(data, without[0])}). "
            f"A record is {RECORD}; leave those out."
        )
    for number in range(len(data)):
        table[number, :, :2] = _numbers(data, number, "joints", (MPII16.num_keypoints, 2), name) - 1  # 1-based
        table[number, :, 2] = SEEN * (_numbers(data, number, "joints_vis", (MPII16.num_keypoints,), name) > 0)
    broken = np.logical_not(np.isfinite(table).all(axis=-1))
    if broken.any():
        first = int(np.flatnonzero(broken.any(axis=1))[0])
        warnings.warn(
            f"{name}: {int(broken.sum())} keypoints are NaN or infinite (the first in {_where(data, first)}); they "
            "count as not labelled.",
            stacklevel=4,
        )
    table[broken | ~(table[..., 2] > 0)] = 0
    return table.astype(np.float32)


def _boxes(data: Sequence[Any], keypoints: np.ndarray, name: str) -> np.ndarray:
    """Return (R, 4) float32 xyxy; where centre or scale is no number, the box of the keypoints."""
    centers = np.array([_numbers(data, number, "center", (2,), name) for number in range(len(data))])
    scales = np.array([_numbers(data, number, "scale", (), name) for number in range(len(data))])
    labelled = keypoints[..., 2] > 0
    good = np.isfinite(centers).all(axis=1) & np.isfinite(scales) & (scales > 0)
    lost = np.flatnonzero(~good & ~labelled.any(axis=1))
    if len(lost):
        raise AnnotationError(
            f"{name}: {len(lost)} records have neither a usable centre and scale nor keypoints (the first: "
            f"{_where(data, lost[0])}). Nobody can say where these people are; leave them out."
        )
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        warnings.warn(
            f"{name}: {int((~good).sum())} records have a centre or scale that is no number or not positive (the "
            f"first: {_where(data, first)}); the boxes of their keypoints are used.",
            stacklevel=4,
        )
    nowhere = good & (centers[:, 0] == -1)
    if nowhere.any():
        warnings.warn(
            f"{name}: {int(nowhere.sum())} records have no centre (-1; the first: "
            f"{_where(data, int(np.flatnonzero(nowhere)[0]))}); as in the reference, their boxes lie at the corner.",
            stacklevel=4,
        )
    tight = boxes_of_keypoints(keypoints[..., :2], labelled)
    tight[:, 2:] = np.maximum(tight[:, 2:], tight[:, :2] + 1)  # a single keypoint still has an area
    return np.where(good[:, None], boxes_of(centers, np.where(good, scales, 1)), tight).astype(np.float32)


def _numbers(data: Sequence[Any], number: int, field: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return a record's field as (*shape) float64, which may hold NaN. Raises AnnotationError."""
    try:
        values = np.asarray(data[number][field], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        values = None
    if values is None or values.shape != shape:
        found = str(data[number].get(field, "nothing"))
        raise AnnotationError(
            f"{name}: {_where(data, number)} has {field!r} {found[:60]}{'...' if len(found) > 60 else ''}; needed: "
            f"{' x '.join(map(str, shape)) or 'a'} number{'s' if shape else ''}. A record is {RECORD}."
        )
    return values


def _where(data: Sequence[Any], number: int) -> str:
    return f"record number {number} of {data[number]['image']}"
