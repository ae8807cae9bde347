"""COCO keypoint AP and AR, ten statistics: equal to pycocotools (cocodataset/cocoapi) on the same people to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from litepose.errors import AnnotationError
from litepose.metrics.matching import Found, coco_tables
from litepose.metrics.truth import Truth, read_truth, truth_from_coco
from litepose.skeleton import Skeleton

PROTOCOL = "coco-keypoints"
AT_50, AT_75 = 0, 5  # the thresholds' numbers


@dataclass(frozen=True)
class CocoStats:
    """COCO's ten keypoint numbers, in [0, 1]; -1 = no such person in the truth.

    AP, AR: mean over OKS 0.50 to 0.95; AP50, AP75: at that OKS; M: areas of 32^2 to 96^2 px, L: above.
    """

    AP: float
    AP50: float
    AP75: float
    APM: float
    APL: float
    AR: float
    AR50: float
    AR75: float
    ARM: float
    ARL: float

    def to_json(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def evaluate_poses(
    truth: Truth | str | Path | Mapping[str, Any], poses_by_image: Found, skeleton: Skeleton
) -> CocoStats:
    """Score the people found in each picture.

    truth: a Truth, a COCO keypoint file, or what is in one.
    poses_by_image: by picture id; a picture of the truth that is missing here counts as one where nobody was found.
    skeleton: of the poses; its sigmas count, and keypoints that the truth lacks do not.
    Raises AnnotationError, and MissingPackageError without hotcoco.
    """
    tables = coco_tables(as_truth(truth, skeleton), poses_by_image, skeleton.oks_sigmas)
    return CocoStats(
        AP=tables.AP(),
        AP50=tables.AP(threshold=AT_50),
        AP75=tables.AP(threshold=AT_75),
        APM=tables.AP("medium"),
        APL=tables.AP("large"),
        AR=tables.AR(),
        AR50=tables.AR(threshold=AT_50),
        AR75=tables.AR(threshold=AT_75),
        ARM=tables.AR("medium"),
        ARL=tables.AR("large"),
    )


def as_truth(truth: Truth | str | Path | Mapping[str, Any], skeleton: Skeleton) -> Truth:
    """Return `truth` on `skeleton`, read from a COCO keypoint file or mapping where it is one."""
    if isinstance(truth, Mapping):
        return truth_from_coco(truth, skeleton)
    if not isinstance(truth, Truth):
        return read_truth(truth, skeleton)
    if truth.skeleton.keypoints != skeleton.keypoints:
        raise AnnotationError(f"The truth is on {truth.skeleton.name}, the people on {skeleton.name}. Map one of them.")
    return truth
