"""Run a predictor over annotated pictures and score what it finds: one report with AP, AR and PCK."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from litepose.errors import AnnotationError, PictureError
from litepose.metrics import coco, pck
from litepose.metrics.truth import PictureTruth, Truth, truth_of
from litepose.poses import Poses, Sample
from litepose.skeleton import Skeleton


class AnnotatedPictures(Protocol):
    """The part of a dataset that is needed here."""

    skeleton: Skeleton
    name: str

    @property
    def ids(self) -> Sequence[int | str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class Report:
    """What `evaluate` measured.

    pck: None where the skeleton has no torso diagonal.
    unreadable: (id, message) of the pictures that could not be read; they are not in the numbers.
    """

    coco: coco.CocoStats
    pck: pck.PckStats | None
    num_pictures: int
    num_people: int
    unreadable: tuple[tuple[int | str, str], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": AP to ARL and PCK, "pck": its parts, "settings"} as plain values."""
        stats = dict(self.coco.to_json())
        if self.pck is not None:
            stats["PCK"] = self.pck.mean
        return {
            "protocol": coco.PROTOCOL,
            "stats": stats,
            "pck": None if self.pck is None else self.pck.to_json(),
            "settings": {
                **self.settings,
                "pictures": self.num_pictures,
                "people": self.num_people,
                "unreadable": [{"id": key, "error": message} for key, message in self.unreadable],
            },
        }


def evaluate(
    predict: Callable[..., Poses],
    dataset: AnnotatedPictures,
    *,
    boxes: Callable[[Sample], np.ndarray] | None = None,
    truth: Truth | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Find people in every picture of `dataset` and score them.

    predict: (H, W, 3) uint8 BGR -> Poses on the dataset's skeleton; a Predictor is one.
    boxes: what `predict` gets beside the picture, of a top-down model the people's boxes; None = nothing.
    truth: of the annotation file, with its crowds and people without keypoints one by one; None = the samples' own,
        where ignored regions stand for them.
    limit: look at the first pictures only.
    progress: called with (pictures done, pictures in all).
    settings: goes into the report.
    Raises AnnotationError where not a single picture can be read, MissingPackageError without faster-coco-eval.
    """
    coco.check_installed()
    total = len(dataset) if limit is None else min(limit, len(dataset))
    found: dict[Any, Poses] = {}
    seen: list[PictureTruth] = []
    unreadable: list[tuple[int | str, str]] = []
    for index in range(total):
        try:
            sample = dataset[index]
        except PictureError as error:
            unreadable.append((dataset.ids[index], str(error)))
        else:
            found[sample.id] = predict(sample.image) if boxes is None else predict(sample.image, boxes(sample))
            seen.append(truth_of(sample))
        if progress is not None:
            progress(index + 1, total)
    if not seen:
        reason = f"none of {total} could be read; the first: {unreadable[0][1]}" if unreadable else "there are none"
        raise AnnotationError(f"{dataset.name} was to be evaluated, but of its pictures {reason}.")
    truth = truth.only(found) if truth is not None else Truth(dataset.skeleton, tuple(seen))
    return _score(truth, found, dataset.skeleton, unreadable, dict(settings or {}))


def _score(
    truth: Truth,
    found: Mapping[Any, Poses],
    skeleton: Skeleton,
    unreadable: Sequence[tuple[int | str, str]],
    settings: dict[str, Any],
) -> Report:
    has_diagonal = all(keypoint in skeleton.keypoints for keypoint in pck.DIAGONAL)
    return Report(
        coco.evaluate_poses(truth, found, skeleton),
        pck.evaluate_pck(truth, found, skeleton) if has_diagonal else None,
        num_pictures=len(truth),
        num_people=sum(int(picture.scored.sum()) for picture in truth.pictures),
        unreadable=tuple(unreadable),
        settings=settings,
    )
