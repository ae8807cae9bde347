"""COCO keypoint AP and AR, ten statistics, through faster-coco-eval.

The matching and averaging are the library's; here its input is made from `Truth` and `Poses`. Equal to pycocotools
(cocodataset/cocoapi) on the same records up to the last bit: pycocotools adds 2^-52 to the number of people found
before it divides by it, which changes a precision only where that number is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import AnnotationError, MissingPackageError
from litepose.metrics.truth import PictureTruth, Truth, read_truth, truth_from_coco
from litepose.poses import Poses
from litepose.skeleton import Skeleton

PROTOCOL = "coco-keypoints"
MAX_PEOPLE = 20  # cocoapi: only the 20 best-scored people of a picture count


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
    truth: Truth | str | Path | Mapping[str, Any],
    poses_by_image: Mapping[int, Poses] | Mapping[str, Poses],
    skeleton: Skeleton,
) -> CocoStats:
    """Score the people found in each picture.

    truth: a Truth, a COCO keypoint file, or what is in one.
    poses_by_image: by picture id; a picture of the truth that is missing here counts as one where nobody was found.
    skeleton: of the poses; its sigmas count, and keypoints that the truth lacks do not.
    Raises AnnotationError, and MissingPackageError without faster-coco-eval.
    """
    truth = as_truth(truth, skeleton)
    numbers = {picture.id: number for number, picture in _numbered(truth)}
    unknown = [key for key in poses_by_image if key not in numbers]
    if unknown:
        raise AnnotationError(
            f"People were found in {len(unknown)} pictures that the truth does not list (first id: {unknown[0]!r}). "
            "Score against the annotation file of these pictures."
        )
    records = [
        record
        for key, poses in poses_by_image.items()  # type: ignore[union-attr]
        for record in poses.to_coco(numbers[key])
    ]
    return evaluate_records(coco_json(truth), records, skeleton.oks_sigmas)


def as_truth(truth: Truth | str | Path | Mapping[str, Any], skeleton: Skeleton) -> Truth:
    """Return `truth` on `skeleton`, read from a COCO keypoint file or mapping where it is one."""
    if isinstance(truth, Mapping):
        return truth_from_coco(truth, skeleton)
    if not isinstance(truth, Truth):
        return read_truth(truth, skeleton)
    if truth.skeleton.keypoints != skeleton.keypoints:
        raise AnnotationError(f"The truth is on {truth.skeleton.name}, the people on {skeleton.name}. Map one of them.")
    return truth


def evaluate_records(dataset: Mapping[str, Any], records: list[dict[str, Any]], sigmas: tuple[float, ...]) -> CocoStats:
    """Score COCO result records against a COCO data set with integer ids and one category of id 1."""
    check_installed()
    from faster_coco_eval import COCO, COCOeval_faster

    silent = {"print_function": lambda *_: None}
    known = COCO(dict(dataset), **silent)
    found = known.loadRes([dict(record) for record in records])
    run = COCOeval_faster(known, found, iouType="keypoints", kpt_oks_sigmas=list(sigmas), **silent)
    run.params.maxDets = [MAX_PEOPLE]
    # Without people in the truth the library would look at no category and fail.
    run.params.catIds = [1]
    run.run()
    return CocoStats(*(float(value) for value in run.all_stats))


def check_installed() -> None:
    """Raise MissingPackageError where COCO AP cannot be computed; call it before hours of prediction."""
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "COCO AP needs the package faster-coco-eval, which is not installed. "
            "Install it: pip install 'litepose[eval]'."
        ) from error


def coco_json(truth: Truth) -> dict[str, Any]:
    """Return `truth` as a COCO keypoint mapping whose pictures are numbered from 1."""
    annotations: list[dict[str, Any]] = []
    for number, picture in _numbered(truth):
        for n in range(len(picture.areas)):
            annotations.append({"id": len(annotations) + 1, "image_id": number, **_annotation(picture, n)})
    names = list(truth.skeleton.keypoints)
    return {
        "info": {},
        "images": [{"id": number} for number in range(1, len(truth) + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
    }


def _numbered(truth: Truth) -> list[tuple[int, PictureTruth]]:
    """Return the pictures with numbers from 1 in the order of their ids, which decides between equal scores."""
    ordered = sorted(truth.pictures, key=lambda picture: (isinstance(picture.id, str), picture.id))
    return list(enumerate(ordered, start=1))


def _annotation(picture: PictureTruth, n: int) -> dict[str, Any]:
    return {
        "category_id": 1,
        "iscrowd": int(picture.crowd[n]),
        "keypoints": picture.keypoints[n].ravel().tolist(),
        "num_keypoints": int(np.count_nonzero(picture.labelled[n])),
        "bbox": picture.boxes_xywh[n].tolist(),
        "area": float(picture.areas[n]),
    }
