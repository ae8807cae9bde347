"""CrowdPose's keypoint AP and AR: COCO's, on areas made from boxes, and by how crowded a picture is.

Source: Jeff-sjtu/CrowdPose@86fe5e1 (crowdposetools, cocoeval.py), as LitePose and HigherHRNet report it. Two quirks of
the official numbers, which are the default: a person whose first twelve keypoints are all unlabelled does not count
(the files' num_keypoints leaves head and neck out), and easy, medium and hard are rounded to four digits. The clean
numbers, without both, stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from litepose.errors import AnnotationError
from litepose.metrics.coco import AT_50, AT_75
from litepose.metrics.matching import EVERYBODY, Found, coco_tables
from litepose.metrics.truth import Truth, truth_from_coco
from litepose.poses import Poses
from litepose.skeleton import Skeleton

PROTOCOL = "crowdpose"
EASY_BELOW, HARD_FROM = 0.2, 0.8  # of a picture's crowdIndex
LEVELS = ("easy", "medium", "hard")
ROUNDED_TO = 4  # digits, of easy, medium and hard


@dataclass(frozen=True)
class CrowdTruth:
    """The people of a CrowdPose file. levels: by picture id, "easy", "medium" or "hard"."""

    truth: Truth
    levels: Mapping[int | str, str]

    def only(self, ids: Any) -> CrowdTruth:
        """Return the truth of the named pictures."""
        return replace(self, truth=self.truth.only(ids))


@dataclass(frozen=True)
class CrowdPoseStats:
    """CrowdPose's nine numbers, in [0, 1]; -1 = no such person in the truth.

    AP, AR: mean over OKS 0.50 to 0.95; AP50, AP75: at that OKS; easy, medium, hard: AP of pictures of that crowding.
    """

    AP: float
    AP50: float
    AP75: float
    AR: float
    AR50: float
    AR75: float
    easy: float
    medium: float
    hard: float

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def level_of(crowd_index: float) -> str:
    """Return how crowded a picture is."""
    return LEVELS[(crowd_index >= EASY_BELOW) + (crowd_index >= HARD_FROM)]


def crowd_truth_from_coco(data: Mapping[str, Any], skeleton: Skeleton, *, source: str = "annotations") -> CrowdTruth:
    """Return what a parsed CrowdPose file holds, its keypoints matched to `skeleton` by name. source: for errors.

    Raises AnnotationError, also where pictures have no crowdIndex.
    """
    truth = truth_from_coco(data, skeleton, source=source, box_areas=True)
    try:
        levels = {image["id"]: level_of(float(image["crowdIndex"])) for image in data["images"]}
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{source} was to be scored as CrowdPose; a picture lacks a number crowdIndex ({error!r}). Give a "
            "CrowdPose file, or score with --protocol coco."
        ) from error
    return CrowdTruth(truth, levels)


def evaluate_crowd(crowd: CrowdTruth, found: Found, skeleton: Skeleton, *, official: bool = True) -> CrowdPoseStats:
    """Score the people found in each picture.

    found: by picture id; a picture of the truth that is missing here counts as one where nobody was found.
    official: with the quirks of the official numbers. Raises AnnotationError, and MissingPackageError without hotcoco.
    """
    truth = crowd.truth if official else _everybody_chosen(crowd.truth)
    tables = coco_tables(truth, found, skeleton.oks_sigmas, areas=EVERYBODY)
    by_level = {level: _level_AP(truth, crowd.levels, level, found, skeleton) for level in LEVELS}
    if official:
        by_level = {level: round(value, ROUNDED_TO) for level, value in by_level.items()}
    return CrowdPoseStats(
        AP=tables.AP(),
        AP50=tables.AP(threshold=AT_50),
        AP75=tables.AP(threshold=AT_75),
        AR=tables.AR(),
        AR50=tables.AR(threshold=AT_50),
        AR75=tables.AR(threshold=AT_75),
        **by_level,
    )


def _everybody_chosen(truth: Truth) -> Truth:
    return Truth(truth.skeleton, tuple(replace(picture, chosen=None) for picture in truth.pictures))


def _level_AP(
    truth: Truth, levels: Mapping[int | str, str], level: str, found: Mapping[Any, Poses], skeleton: Skeleton
) -> float:
    part = truth.only(key for key, its in levels.items() if its == level)
    if not len(part):
        return -1.0
    mine: dict[Any, Poses] = {picture.id: found[picture.id] for picture in part.pictures if picture.id in found}
    return coco_tables(part, mine, skeleton.oks_sigmas, areas=EVERYBODY).AP()
