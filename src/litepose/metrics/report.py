"""Run a predictor over annotated pictures and score what it finds by the data's protocol: one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from litepose.errors import AnnotationError, PictureError
from litepose.metrics.protocols import CocoProtocol, EvaluationProtocol, Predict, Scores
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

    unreadable: (id, message) of the pictures that could not be read; they are not in the numbers.
    """

    scores: Scores
    num_pictures: int
    unreadable: tuple[tuple[int | str, str], ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the scores' plain values, the settings of the evaluation among theirs."""
        data = self.scores.to_json()
        return {
            **data,
            "settings": {
                **data["settings"],
                **self.settings,
                "pictures": self.num_pictures,
                "people": self.scores.num_people,
                "unreadable": [{"id": key, "error": message} for key, message in self.unreadable],
            },
        }


def evaluate(
    predict: Predict,
    dataset: AnnotatedPictures,
    *,
    protocol: EvaluationProtocol | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Find people in every picture of `dataset` and score them.

    predict: (H, W, 3) uint8 BGR -> Poses on the dataset's skeleton; a Predictor is one.
    protocol: None = COCO's, against the samples themselves.
    limit: look at the first pictures only.
    progress: called with (pictures done, pictures in all).
    settings: goes into the report.
    Raises AnnotationError where not a single picture can be read, MissingPackageError without hotcoco.
    """
    protocol = CocoProtocol() if protocol is None else protocol
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
            found[sample.id] = protocol.find(predict, sample)
            seen.append(truth_of(sample))
        if progress is not None:
            progress(index + 1, total)
    if not seen:
        reason = f"none of {total} could be read; the first: {unreadable[0][1]}" if unreadable else "there are none"
        raise AnnotationError(f"{dataset.name} was to be evaluated, but of its pictures {reason}.")
    scores = protocol.score(found, Truth(dataset.skeleton, tuple(seen)))
    return Report(scores, len(seen), tuple(unreadable), dict(settings or {}))
