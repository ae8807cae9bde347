"""Run a predictor over annotated pictures and score what it finds by the data's protocol: one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from litepose.errors import AnnotationError, PictureError
from litepose.metrics.found_file import FoundFile, Looked, closing
from litepose.metrics.protocols import CocoProtocol, EvaluationProtocol, Predict, Scores
from litepose.metrics.truth import Truth, truth_of
from litepose.poses import Sample
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
        """Return the scores' plain values, the settings of the evaluation among theirs, and what pictures gave."""
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
            "per_picture": self.scores.per_picture.to_json(),
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
    looked = find_people(predict, dataset, protocol=protocol, which=range(limited(dataset, limit)), progress=progress)
    return scored(looked, dataset.skeleton, protocol=protocol, name=dataset.name, settings=settings)


def limited(dataset: AnnotatedPictures, limit: int | None) -> int:
    """Return how many pictures are looked at."""
    return len(dataset) if limit is None else min(limit, len(dataset))


def find_people(
    predict: Predict,
    dataset: AnnotatedPictures,
    *,
    protocol: EvaluationProtocol,
    which: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
    file: FoundFile | None = None,
) -> dict[int, Looked]:
    """Return what became of the pictures of the indices `which`, by index.

    progress: called with (pictures done, pictures in all). file: what it knows is not looked at again, and what is
    found goes there at once.
    """
    known = {} if file is None else file.read()
    looked = {index: known[index] for index in which if index in known}
    with closing(file):
        for index in which:
            if index not in looked:
                looked[index] = _look(predict, dataset, index, protocol)
                if file is not None:
                    file.add(index, looked[index])
            if progress is not None:
                progress(len(looked), len(which))
    return looked


def _look(predict: Predict, dataset: AnnotatedPictures, index: int, protocol: EvaluationProtocol) -> Looked:
    try:
        sample = dataset[index]
    except PictureError as error:
        return Looked(dataset.ids[index], error=str(error))
    return Looked(sample.id, protocol.find(predict, sample), truth_of(sample) if protocol.needs_samples else None)


def scored(
    looked: Mapping[int, Looked],
    skeleton: Skeleton,
    *,
    protocol: EvaluationProtocol,
    name: str,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Score what was found in the pictures that were looked at, by index.

    skeleton: of the truth. name: of the data, for errors. Raises AnnotationError where no picture could be read.
    """
    ordered = [looked[index] for index in sorted(looked)]
    found = {one.id: one.poses for one in ordered if one.poses is not None}
    unreadable = tuple((one.id, one.error) for one in ordered if one.poses is None)
    if not found:
        reason = f"none of {len(ordered)} could be read; the first: {unreadable[0][1]}" if ordered else "there are none"
        raise AnnotationError(f"{name} was to be evaluated, but of its pictures {reason}.")
    seen = tuple(one.truth for one in ordered if one.truth is not None)
    scores = protocol.score(found, Truth(skeleton, seen))
    return Report(scores, len(found), unreadable, dict(settings or {}))
