"""A dataset seen person by person, as top-down networks train: one sample for everybody who can be learned.

Source: who counts follows HRNet's COCO loader (zhang943/lpn-pytorch@f397525, lib/dataset/coco.py; mmpose 0.13 drops
empty boxes, so do we). Different on purpose: boxes and areas that an annotation file lacks are first repaired as
`CocoDataset` does, so fewer people are lost; and a box is cropped as the dataset gives it, while HRNet's loader takes
one px of its width and height, which it does not do with a detector's boxes and mmpose 0.29 does no more.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from litepose.datasets.base import TRIES, Dataset, PeopleTable, people_table
from litepose.errors import AnnotationError
from litepose.geometry import SCALE_UNIT_PX, clean_coco_boxes, xywh_to_center_scale, xywh_to_xyxy, xyxy_to_xywh
from litepose.poses import Sample


class People:
    """The people of a dataset, one a sample: the whole picture with that person alone.

    Eligible is who is no crowd, has a labelled keypoint on the dataset's skeleton, an area and a box that holds some of
    the picture. Of a dataset that cannot say who is in its pictures before it opens them (drawn people, composites),
    each picture stands for one of its people, always the same; a picture without people for one of the next picture.

    clean_boxes: as HRNet does for COCO, clipped to the picture and one px smaller (`geometry.clean_coco_boxes`); not
    for sets whose boxes are meant to leave the picture, as MPII's are. select_for: (w, h) of the input; keep only
    people whose keypoints lie well in the middle of their box (`select_centred`). seed: of the choice in pictures that
    cannot say.
    A picture that cannot be read raises PictureError: wrap this in `SkipUnreadable`. Where the dataset itself replaces
    such a picture by another, one of the people there comes.
    Warns of people left out for their box; raises AnnotationError where nobody is left.
    """

    def __init__(
        self, dataset: Dataset, *, clean_boxes: bool = False, select_for: tuple[int, int] | None = None, seed: int = 0
    ) -> None:
        self.dataset, self.skeleton, self.name = dataset, dataset.skeleton, dataset.name
        self.clean_boxes, self.select_for, self.seed = clean_boxes, select_for, seed
        self._picture_ids = np.asarray(dataset.ids)  # an array: a list would be copied into every loader process
        table = people_table(dataset)
        self.picture: np.ndarray | None = None  # (N,) int32, of each person here: the index in the dataset
        self.person: np.ndarray | None = None  # (N,) int32, and the row in its sample
        if table is not None:
            rows = np.flatnonzero(self._eligible_in(table))
            self.picture, self.person = table.picture[rows], table.person[rows]
        if not len(self):
            raise AnnotationError(
                f"{self.name}: nobody in its {len(dataset)} pictures can be cropped: a keypoint labelled on skeleton "
                f"{self.skeleton.name}, an area and a box in the picture are needed. Choose other data."
            )

    @property
    def ids(self) -> Sequence[int | str]:
        """The id of each person's picture."""
        ids = self._picture_ids if self.picture is None else self._picture_ids[self.picture]
        return list(ids.tolist())

    @property
    def unreadable(self) -> list[int | str]:
        """The ids of the pictures that the dataset could not read so far, where it counts them."""
        return list(getattr(self.dataset, "unreadable", ()))

    def __len__(self) -> int:
        return len(self.dataset) if self.picture is None else len(self.picture)

    def __getitem__(self, index: int) -> Sample:
        """Return one person. Raises PictureError, and AnnotationError where the picture does not hold its box."""
        if self.picture is None or self.person is None:
            return self._somebody(index, first=index)
        picture, person = int(self.picture[index]), int(self.person[index])
        sample = self.dataset[picture]
        if str(sample.id) != str(self._picture_ids[picture]):  # SkipUnreadable gave another picture
            return self._somebody(index, first=picture)
        return self._alone(sample, person)

    def _somebody(self, index: int, *, first: int) -> Sample:
        """Return one person of picture `first`, or of the next that shows one; which is a function of `index`."""
        rng = np.random.default_rng([self.seed, index])
        tries = min(TRIES, len(self.dataset))
        for attempt in range(tries):
            sample = self.dataset[(first + attempt) % len(self.dataset)]
            rows = np.flatnonzero(self._eligible_in(_table_of(sample), warn=False))
            if len(rows):
                return self._alone(sample, int(rng.choice(rows)))
        raise AnnotationError(
            f"{self.name}: {tries} pictures in a row, from number {first} on, show nobody who can be cropped. "
            "Choose data with more people."
        )

    def _alone(self, sample: Sample, person: int) -> Sample:
        row = slice(person, person + 1)
        boxes, kept = self._usable(sample.boxes[row], sample.areas[row], np.array([sample.size]))
        if not kept.all():
            raise AnnotationError(
                f"{self.name}: picture {sample.id} is {sample.size[0]}x{sample.size[1]}; the box "
                f"{np.round(sample.boxes[person], 1).tolist()} of its person number {person} holds nothing of it. "
                "Repair the box or leave the person out."
            )
        weights = sample.keypoint_weights
        return replace(
            sample,
            keypoints=sample.keypoints[row],
            boxes=boxes,
            areas=sample.areas[row],
            keypoint_weights=None if weights is None else weights[row],
            person_masks=None,
        )

    def _eligible_in(self, table: PeopleTable, *, warn: bool = True) -> np.ndarray:
        """Return who counts, (N,) bool."""
        labelled = np.any(table.keypoints[..., 2] > 0, axis=1) & ~table.crowd
        boxes, kept = self._usable(table.boxes, table.areas, table.sizes)
        lost = np.flatnonzero(labelled & ~kept)
        if warn and len(lost):
            picture, person = int(table.picture[lost[0]]), int(table.person[lost[0]])
            warnings.warn(
                f"{self.name}: {len(lost)} people are left out, because their boxes hold nothing of their pictures "
                f"(the first: person number {person} of picture {self._picture_ids[picture]}, box "
                f"{np.round(table.boxes[lost[0]], 1).tolist()}).",
                stacklevel=3,
            )
        eligible = np.logical_and(labelled, kept)
        if self.select_for is not None:
            center, scale = xywh_to_center_scale(xyxy_to_xywh(boxes), self.select_for)
            eligible &= select_centred(table.keypoints, center, scale)
        return eligible

    def _usable(self, boxes: np.ndarray, areas: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the boxes to crop by, (N, 4) float32 xyxy, and which of them can be used, (N,) bool."""
        if self.clean_boxes:
            cleaned, kept = clean_coco_boxes(xyxy_to_xywh(boxes), areas, sizes)
            kept &= np.all(cleaned[:, 2:] > 0, axis=1)  # mmpose 0.13; HRNet's loader keeps boxes without extent
            return xywh_to_xyxy(cleaned).astype(np.float32), kept
        kept = (areas > 0) & np.all(boxes[:, 2:] > np.maximum(boxes[:, :2], 0), axis=1)
        return boxes.astype(np.float32), kept & np.all(boxes[:, :2] < sizes, axis=1)


def select_centred(keypoints: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return whose labelled keypoints' mean lies near the middle of the box, (N,) bool.

    keypoints: (N, K, 3). center, scale: (N, 2) as of `xywh_to_center_scale`. The more keypoints are labelled, the
    nearer it must be. Source: select_data of HRNet's JointsDataset, SELECT_DATA in its configs and off in all of them.
    """
    visible = keypoints[..., 2] > 0
    count = visible.sum(axis=1)
    mean = (keypoints[..., :2] * visible[..., None]).sum(axis=1) / np.maximum(count, 1)[:, None]
    area = scale.prod(axis=1) * SCALE_UNIT_PX**2
    likeness = np.exp(-np.square(mean - center).sum(axis=1) / (2 * 0.2**2 * area))
    return np.asarray((count > 0) & (likeness > 0.2 / 16 * count + 0.45 - 0.2 / 16))


def _table_of(sample: Sample) -> PeopleTable:
    return PeopleTable(
        skeleton=sample.skeleton,
        picture=np.zeros(len(sample), np.int32),
        person=np.arange(len(sample), dtype=np.int32),
        keypoints=sample.keypoints,
        boxes=sample.boxes,
        areas=sample.areas,
        sizes=np.tile(np.array(sample.size, np.float32), (len(sample), 1)),
        crowd=np.zeros(len(sample), bool),
    )
