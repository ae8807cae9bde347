"""How a kind of data is scored: COCO's AP, CrowdPose's AP, PCK of the people of whole pictures, PCKh for MPII's list.

A protocol says how people are found in a sample and what is measured on them; `report.evaluate` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from litepose.errors import AnnotationError, SkeletonError
from litepose.metrics import coco, crowdpose, matching, pck, pckh
from litepose.metrics.per_picture import Outcomes, PerPicture, Sums, oks_sums
from litepose.metrics.truth import Truth
from litepose.poses import Poses, Sample
from litepose.skeleton import MPII16, Skeleton

Predict = Callable[..., Poses]  # (H, W, 3) uint8 BGR, then boxes if there are some -> Poses; a Predictor is one
Boxes = Callable[[Sample], np.ndarray]


class Scores(Protocol):
    """What was measured. num_people: who count. per_picture: what two evaluations are compared by."""

    @property
    def num_people(self) -> int: ...

    @property
    def per_picture(self) -> PerPicture: ...

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": {name: share, -1 = nothing to measure}, "settings", ...} as plain values."""
        ...


class EvaluationProtocol(Protocol):
    """One way to score, made for one evaluation. What it needs but lacks, it says when it is made.

    name: as --protocol calls it. needs_samples: whether `score` takes its truth from the samples.
    """

    name: ClassVar[str]
    needs_samples: bool

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """Return the people of a sample as `score` takes them."""
        ...

    def truth_of(self, found: Mapping[Any, Poses], seen: Truth) -> Truth | None:
        """Return what the people found are scored against; None where that is no `Truth`. Arguments as of `score`."""
        ...

    def score(self, found: Mapping[Any, Poses], seen: Truth) -> Scores:
        """Return the scores. found: by picture id. seen: the samples' own truth, of the same pictures, if needed."""
        ...


@dataclass(frozen=True)
class CocoScores:
    """AP and AR, and PCK where the skeleton has a torso diagonal, else None.

    num_capped: pictures with more than 20 people found, of whom the best 20 count.
    """

    coco: coco.CocoStats
    pck: pck.PckStats | None
    num_people: int
    per_picture: PerPicture
    num_capped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": AP to ARL and PCK, "OKS": the mean, "pck": its parts or None, "settings"}."""
        return {
            "protocol": coco.PROTOCOL,
            "stats": {**self.coco.to_json(), **({} if self.pck is None else {"PCK": self.pck.mean})},
            "OKS": self.per_picture.mean("OKS"),
            "pck": None if self.pck is None else self.pck.to_json(),
            "settings": _cap(self.num_capped),
        }


@dataclass(frozen=True)
class CrowdPoseScores:
    """CrowdPose's numbers as official, and clean: see `metrics.crowdpose`. num_capped: as in `CocoScores`."""

    official: crowdpose.CrowdPoseStats
    clean: crowdpose.CrowdPoseStats
    num_people: int
    per_picture: PerPicture
    num_capped: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": official numbers, "clean": without quirks, "OKS": the mean, "settings"}."""
        return {
            "protocol": crowdpose.PROTOCOL,
            "stats": self.official.to_json(),
            "clean": self.clean.to_json(),
            "OKS": self.per_picture.mean("OKS"),
            "settings": _cap(self.num_capped),
        }


@dataclass(frozen=True)
class PckScores:
    """PCK alone, of sets that show one person large."""

    pck: pck.PckStats
    per_picture: PerPicture

    @property
    def num_people(self) -> int:
        return self.pck.num_people

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": {"PCK": ..., keypoint: ...}, "settings"}."""
        return {"protocol": pck.PROTOCOL, **self.pck.to_json()}


@dataclass(frozen=True)
class MpiiScores:
    """PCKh of the people of MPII's list."""

    pckh: pckh.PckhStats
    per_picture: PerPicture

    @property
    def num_people(self) -> int:
        return self.pckh.num_people

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats", "per_keypoint", "settings"}."""
        return self.pckh.to_json()


def _cap(num_capped: int) -> dict[str, Any]:
    return {"max_people": matching.MAX_PEOPLE, "pictures_with_more": num_capped}


class CocoProtocol:
    """Everybody in a picture against everybody annotated.

    truth: of the annotation file, with its crowds and people without keypoints one by one; None = the samples' own,
        where ignored regions stand for them.
    boxes: what the predictor gets beside the picture, of a top-down model the people's boxes; None = nothing.
    Raises MissingPackageError without hotcoco.
    """

    name: ClassVar[str] = "coco"

    def __init__(self, *, truth: Truth | None = None, boxes: Boxes | None = None) -> None:
        matching.check_installed()
        self.truth, self.boxes = truth, boxes
        self.needs_samples = truth is None

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """See EvaluationProtocol."""
        return found_by(predict, sample, self.boxes)

    def truth_of(self, found: Mapping[Any, Poses], seen: Truth) -> Truth:
        """See EvaluationProtocol."""
        return seen if self.truth is None else self.truth.only(found)

    def score(self, found: Mapping[Any, Poses], seen: Truth) -> CocoScores:
        """See EvaluationProtocol."""
        truth, skeleton = self.truth_of(found, seen), seen.skeleton
        shares = pck.evaluate_pck(truth, found, skeleton) if pck.has_diagonal(skeleton) else None
        return CocoScores(
            coco.evaluate_poses(truth, found, skeleton),
            shares,
            num_people=truth.num_people,
            per_picture=_per_picture(truth, found, skeleton, shares),
            num_capped=matching.num_capped(found),
        )


class CrowdPoseProtocol:
    """Everybody in a picture against everybody annotated, on areas made from boxes and by level of crowding.

    truth: of the annotation file. boxes: as in `CocoProtocol`. Raises MissingPackageError without hotcoco.
    """

    name: ClassVar[str] = "crowdpose"
    needs_samples = False

    def __init__(self, truth: crowdpose.CrowdTruth, *, boxes: Boxes | None = None) -> None:
        matching.check_installed()
        self.truth, self.boxes = truth, boxes

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """See EvaluationProtocol."""
        return found_by(predict, sample, self.boxes)

    def truth_of(self, found: Mapping[Any, Poses], seen: Truth) -> Truth:
        """See EvaluationProtocol."""
        return self.truth.only(found).truth

    def score(self, found: Mapping[Any, Poses], seen: Truth) -> CrowdPoseScores:
        """See EvaluationProtocol."""
        truth, skeleton = self.truth.only(found), seen.skeleton
        return CrowdPoseScores(
            crowdpose.evaluate_crowd(truth, found, skeleton),
            crowdpose.evaluate_crowd(truth, found, skeleton, official=False),
            num_people=truth.truth.num_people,
            per_picture=_per_picture(truth.truth, found, skeleton, None),
            num_capped=matching.num_capped(found),
        )


class PckProtocol:
    """PCK of everybody annotated, by the found person that is most like each; arguments as in `CocoProtocol`.

    skeleton: of the predictor. Raises SkeletonError where it has no torso diagonal.
    """

    name: ClassVar[str] = "pck"

    def __init__(self, skeleton: Skeleton, *, truth: Truth | None = None, boxes: Boxes | None = None) -> None:
        pck.check_diagonal(skeleton)
        self.truth, self.boxes = truth, boxes
        self.needs_samples = truth is None

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """See EvaluationProtocol."""
        return found_by(predict, sample, self.boxes)

    def truth_of(self, found: Mapping[Any, Poses], seen: Truth) -> Truth:
        """See EvaluationProtocol."""
        return seen if self.truth is None else self.truth.only(found)

    def score(self, found: Mapping[Any, Poses], seen: Truth) -> PckScores:
        """See EvaluationProtocol."""
        truth = self.truth_of(found, seen)
        shares = pck.evaluate_pck(truth, found, seen.skeleton)
        sums = {"PCK": shares.per_picture, "OKS": oks_sums(truth, found, seen.skeleton)}
        ids = tuple(picture.id for picture in matching.in_order(truth))
        return PckScores(shares, PerPicture(ids, sums=sums))


def _per_picture(
    truth: Truth, found: Mapping[Any, Poses], skeleton: Skeleton, shares: pck.PckStats | None
) -> PerPicture:
    """Return the pictures' part in AP, mean OKS and PCK."""
    matches = matching.match(truth, found, skeleton.oks_sigmas)
    sums = {"OKS": oks_sums(truth, found, skeleton)}
    if shares is not None:
        sums["PCK"] = shares.per_picture
    return PerPicture(matches.ids, Outcomes.from_matches(matches), sums)


def found_by(predict: Predict, sample: Sample, boxes: Boxes | None) -> Poses:
    """Return the people whom a predictor finds in a sample, in the boxes given for it if there are some."""
    return predict(sample.image) if boxes is None else predict(sample.image, boxes(sample))


class MpiiProtocol:
    """One prediction for each record of MPII's list, in the record's own box; the dataset is MPII's, on its skeleton.

    Each box is a call of its own, so nobody is taken for somebody else's double and left out. A record in whose box
    nobody is found, or whose box holds nothing of the picture, has missed all its keypoints.

    truth: of the whole list. records: by picture id, the place in the list of each of the sample's people
        (`MpiiDataset.records`). skeleton: of the predictor. boxes: sample -> (M, 5) xyxy and score, and the (M,) rows
        of the people they belong to, such as `detectors.truth_boxes`.
    Raises AnnotationError where the truth is another list's, SkeletonError where the skeleton lacks one of the 16.
    """

    name: ClassVar[str] = "mpii"
    needs_samples = False

    def __init__(
        self,
        truth: pckh.PckhTruth,
        records: Mapping[Any, np.ndarray],
        *,
        skeleton: Skeleton,
        boxes: Callable[[Sample], tuple[np.ndarray, np.ndarray]],
    ) -> None:
        lacking = [name for name in MPII16.keypoints if name not in skeleton.keypoints]
        if lacking:
            raise SkeletonError(
                f"PCKh was asked for of a model on {skeleton.name}; it lacks {', '.join(lacking)} of MPII's 16 "
                "keypoints. Take a model on mpii16."
            )
        last = max((int(places.max()) for places in records.values() if len(places)), default=-1)
        if last >= len(truth):
            raise AnnotationError(
                f"PCKh was asked for of {last + 1} records or more; the truth has {len(truth)} people. gt_valid.mat "
                "(mpii_gt_val.mat) belongs to valid.json (mpii_val.json)."
            )
        self.truth, self.records, self.boxes = truth, records, boxes

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """Return one person for each of the sample's, in order; of score 0 throughout where nobody was found."""
        count, num_keypoints = len(sample), MPII16.num_keypoints
        keypoints, keypoint_scores = np.zeros((count, num_keypoints, 2)), np.zeros((count, num_keypoints))
        scores = np.zeros(count)
        boxes, rows = self.boxes(sample)
        for box, row in zip(boxes, rows, strict=True):
            best = predict(sample.image, box[None])[:1].mapped_to(MPII16)
            if len(best):
                keypoints[row], keypoint_scores[row] = best.keypoints[0], best.keypoint_scores[0]
                scores[row] = best.scores[0]
        return Poses(MPII16, keypoints, keypoint_scores, scores)

    def truth_of(self, found: Mapping[Any, Poses], seen: Truth) -> None:
        """Return nothing: MPII's truth has head sizes, and stands in `truth`."""

    def score(self, found: Mapping[Any, Poses], seen: Truth) -> MpiiScores:
        """Return PCKh of the records of the pictures that were looked at; `seen` has no head sizes and is not used."""
        arranged = pckh.in_record_order(found, self.records, num_records=len(self.truth))
        looked_at = np.sort(np.concatenate([self.records[image] for image in found]))
        stats = pckh.evaluate_pckh(self.truth.only(looked_at), arranged[looked_at])
        ids = tuple(sorted(found))
        rows = [np.searchsorted(looked_at, self.records[image]) for image in ids]
        sums = (np.array([column[row].sum() for row in rows]) for column in (stats.per_person.sum, stats.per_person.of))
        return MpiiScores(stats, PerPicture(ids, sums={"PCKh": Sums(*sums)}))
