"""The people in one picture: `Poses` as they were found, `Sample` as they were annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, SkeletonError
from litepose.geometry import Warp, boxes_of_keypoints, size_of, xyxy_to_xywh
from litepose.skeleton import Skeleton


@dataclass(frozen=True)
class Poses:
    """The people found in one picture.

    keypoints: (N, K, 2) float32, x then y, picture pixels.
    keypoint_scores: (N, K) float32, the codec's own scale; 0 = not found (mask by score, never by position).
    scores: (N,) float32, of the person, the codec's own scale.
    boxes: (N, 4) float32 x1, y1, x2, y2, or None.
    track_ids: (N,) int64, or None.
    """

    number: ClassVar[type[np.floating[Any]]] = np.float32

    skeleton: Skeleton
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    track_ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, num_keypoints = len(self.scores), self.skeleton.num_keypoints
        shapes = {"keypoints": (count, num_keypoints, 2), "keypoint_scores": (count, num_keypoints),
                  "scores": (count,), "boxes": (count, 4), "track_ids": (count,)}  # fmt: skip
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            array = np.asarray(value, dtype=np.int64 if name == "track_ids" else self.number)
            if array.shape != shape:
                raise SkeletonError(
                    f"Poses of {self.skeleton.name} with {count} people need {name} of shape {shape}; "
                    f"found {array.shape}."
                )
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: Any) -> Poses:
        """Return the chosen people; `which` is an index, a slice, a list of indices or a (N,) bool mask."""
        rows = np.atleast_1d(np.arange(len(self))[which])
        return type(self)(
            self.skeleton, self.keypoints[rows], self.keypoint_scores[rows], self.scores[rows],
            None if self.boxes is None else self.boxes[rows],
            None if self.track_ids is None else self.track_ids[rows],
        )  # fmt: skip

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """Return nobody."""
        k = skeleton.num_keypoints
        return cls(skeleton, np.zeros((0, k, 2)), np.zeros((0, k)), np.zeros(0), np.zeros((0, 4)))

    @property
    def found(self) -> np.ndarray:
        """Which keypoints were found: (N, K) bool."""
        return self.keypoint_scores > 0

    @property
    def keypoint_boxes(self) -> np.ndarray:
        """Tight boxes around the found keypoints: (N, 4) float32 x1, y1, x2, y2."""
        return boxes_of_keypoints(self.keypoints, self.found)

    def warped(self, warp: Warp) -> Poses:
        """Return the same people in the frame that `warp` maps to (boxes become boxes around the warped corners)."""
        boxes = None if self.boxes is None else warp_boxes(self.boxes, warp)
        return replace(self, keypoints=warp.points(self.keypoints), boxes=boxes)

    def sorted(self) -> Poses:
        """Return the same people, best score first, ties in their old order."""
        if (self.scores[1:] <= self.scores[:-1]).all():
            return self
        return self[np.argsort(-self.scores, kind="stable")]

    def mapped_to(self, skeleton: Skeleton) -> Poses:
        """Return the same people on another skeleton, keypoints matched by name; the rest counts as not found."""
        source = skeleton.positions_in(self.skeleton)
        known = source >= 0
        keypoints = np.where(known[None, :, None], self.keypoints[:, source], 0)
        scores = np.where(known[None], self.keypoint_scores[:, source], 0)
        return type(self)(skeleton, keypoints, scores, self.scores, self.boxes, self.track_ids)

    def to_coco(self, image_id: int | str, *, category_id: int = 1, digits: int | None = 3) -> list[dict[str, Any]]:
        """Return COCO result records: keypoints x, y, score; bbox around the found ones; raw person score.

        digits: places and heats are rounded to so many after the point; None = they are as they are.
        """
        triples = np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1).astype(np.float64)
        boxes = xyxy_to_xywh(self.keypoint_boxes).astype(np.float64)
        if digits is not None:
            triples, boxes = triples.round(digits), boxes.round(digits)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": triples[n].ravel().tolist(),
                "bbox": boxes[n].tolist(),
                "score": float(self.scores[n]),
            }
            for n in range(len(self))
        ]

    def to_supervision(self) -> Any:
        """Return the people as supervision's KeyPoints; there (0, 0) is a keypoint that was not found.

        Track ids are `data["tracker_id"]`. Raises MissingPackageError.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingPackageError(
                "to_supervision needs the package supervision, which is not installed. Install it: "
                "pip install supervision."
            ) from error
        data = {} if self.track_ids is None else {"tracker_id": self.track_ids}
        places = np.where(self.found[..., None], self.keypoints, 0).astype(np.float32)
        scores = self.keypoint_scores.astype(np.float32)  # third of all versions, under different names
        return supervision.KeyPoints(places, np.zeros(len(self), dtype=int), scores, data=data)

    def to_dataframe(self) -> Any:
        """Return a pandas DataFrame with a row for each keypoint found.

        Columns: person (row, best first), track_id (empty = none), person_score, keypoint, x, y, score; picture pixels.
        Raises MissingPackageError.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError(
                "to_dataframe needs the package pandas, which is not installed. Install it: pip install pandas."
            ) from error
        person, keypoint = np.nonzero(self.found)
        ids = np.full(len(self), -1) if self.track_ids is None else self.track_ids
        track_ids = pandas.array(ids[person], dtype="Int64")
        track_ids[ids[person] < 0] = pandas.NA
        return pandas.DataFrame({
            "person": person,
            "track_id": track_ids,
            "person_score": self.scores[person],
            "keypoint": np.array(self.skeleton.keypoints, dtype=object)[keypoint],
            "x": self.keypoints[person, keypoint, 0],
            "y": self.keypoints[person, keypoint, 1],
            "score": self.keypoint_scores[person, keypoint],
        })  # fmt: skip

    @classmethod
    def from_coco(cls, records: Sequence[dict[str, Any]], skeleton: Skeleton) -> Poses:
        """Build the people of one picture from its COCO result records."""
        if not records:
            return cls.empty(skeleton)
        triples = np.array([record["keypoints"] for record in records], dtype=np.float32)
        triples = triples.reshape(len(records), -1, 3)
        scores = np.array([record.get("score", 1.0) for record in records])
        found = boxes_of_keypoints(triples[..., :2], triples[..., 2] > 0)
        return cls(skeleton, triples[..., :2], triples[..., 2], scores, found)


def concatenate(poses: Sequence[Poses]) -> Poses:
    """Join the people of several results on one skeleton; boxes and ids stay only where all have them."""
    assert poses, "concatenate needs at least one Poses: an empty list has no skeleton"
    skeleton = poses[0].skeleton
    if any(one.skeleton != skeleton for one in poses):
        raise SkeletonError(
            f"Cannot join people on the skeletons {sorted({one.skeleton.name for one in poses})}. "
            "Map them to one skeleton first: poses.mapped_to(skeleton)."
        )
    if len(poses) == 1:
        return poses[0]
    joined: dict[str, Any] = {}
    for name in ("keypoints", "keypoint_scores", "scores", "boxes", "track_ids"):
        values = [getattr(one, name) for one in poses]
        joined[name] = None if any(value is None for value in values) else np.concatenate(values)
    widest = max((type(one) for one in poses), key=lambda kind: np.dtype(kind.number).itemsize)
    return widest(skeleton, **joined)


@dataclass(frozen=True)
class Sample:
    """One annotated picture.

    image: (H, W, 3) uint8 BGR.
    keypoints: (N, K, 3) float32 x, y in picture px and visible (0 not labelled, 1 hidden, 2 seen), as in COCO.
    boxes: (N, 4) float32 x1, y1, x2, y2.
    areas: (N,) float32 px^2, of the person's mask where there is one.
    ignore: (H, W) bool, True where nothing may be learned (crowds, people without keypoints), or None for nowhere.
    labelled: (K,) bool, False where this picture's annotation does not know the keypoint at all: its whole channel
        carries no weight. None = all are known.
    keypoint_weights: (N, K) float32, 0 = the place is known but must not be learned from (a pasted-over wrist): codecs
        leave a hole in that keypoint's mask. None = 1 everywhere.
    person_masks: one (H, W) bool for each person, or None: for cutting people out.
    id: of the picture, as the annotation file has it.
    """

    skeleton: Skeleton
    image: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignore: np.ndarray | None = None
    labelled: np.ndarray | None = None
    keypoint_weights: np.ndarray | None = None
    person_masks: tuple[np.ndarray, ...] | None = None
    id: int | str = 0

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def size(self) -> tuple[int, int]:
        """(w, h) of the picture."""
        return size_of(self.image)

    @property
    def visible(self) -> np.ndarray:
        """Which keypoints are labelled, hidden ones included: (N, K) bool."""
        return self.keypoints[..., 2] > 0


def warp_boxes(boxes_xyxy: np.ndarray, warp: Warp) -> np.ndarray:
    """Return the upright boxes around the warped corners of (N, 4) boxes."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float32)
    corners = warp.points(boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]])  # (N, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=-1)
