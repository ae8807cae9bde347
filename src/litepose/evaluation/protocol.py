"""Which protocol belongs to which data, and where the boxes of a top-down model come from in an evaluation."""

from __future__ import annotations

from typing import ClassVar, NoReturn

import numpy as np

from litepose.detectors import checked_boxes, read_box_file, truth_boxes
from litepose.errors import SettingError, nearest_name
from litepose.evaluation.data import Data
from litepose.metrics.crowdpose import crowd_truth_from_coco
from litepose.metrics.pckh import read_truth_mat, truth_beside
from litepose.metrics.protocols import (
    Boxes,
    CocoProtocol,
    CrowdPoseProtocol,
    EvaluationProtocol,
    MpiiProtocol,
    PckProtocol,
    Predict,
    found_by,
)
from litepose.metrics.truth import Truth, truth_from_coco
from litepose.poses import Poses, Sample
from litepose.predictor import Predictor, open_detector

GT = "gt"
PROTOCOLS = ("coco", "crowdpose", "mpii", "pck")


class Unscored:
    """People are found, and nothing is measured: of pictures without annotations."""

    name: ClassVar[str] = "none"
    needs_samples = False

    def __init__(self, boxes: Boxes | None) -> None:
        self.boxes = boxes

    def find(self, predict: Predict, sample: Sample) -> Poses:
        """See EvaluationProtocol."""
        return found_by(predict, sample, self.boxes)

    def truth_of(self, found: object, seen: Truth) -> None:
        """Return nothing: there is no truth."""

    def score(self, found: object, seen: Truth) -> NoReturn:
        """Nobody asks for it."""
        raise AssertionError("pictures without annotations have no score")


def choose_protocol(
    data: Data, name: str | None, *, finder: Predictor | None = None, boxes: Boxes | None = None
) -> EvaluationProtocol:
    """Return the protocol called `name`, or what belongs to the data.

    finder: what is to find the people; None for results files. boxes: where it gets its own from, see `open_boxes`.
    Raises SettingError for a name that does not fit the data or the model, AnnotationError, SkeletonError,
    MissingPackageError.
    """
    if name is not None and name not in PROTOCOLS:
        raise SettingError(f"No protocol {name!r}. {nearest_name(name, PROTOCOLS)}")
    if not data.is_annotated:
        if name is not None:
            raise SettingError(
                f"--protocol {name} was asked for on {data.source}, which has no annotations to score against. Leave "
                "it out and write the people with --save-results, or give the annotation file."
            )
        return Unscored(boxes)
    if data.is_mpii or name == "mpii":
        return _mpii(data, name, finder)
    if data.is_crowdpose and name is None:
        name = "crowdpose"
    if name == "crowdpose":
        if data.content is None:
            raise SettingError(f"--protocol crowdpose needs a CrowdPose file; {data.source} is none. Take coco or pck.")
        return CrowdPoseProtocol(crowd_truth_from_coco(data.content, data.skeleton, source=data.source), boxes=boxes)
    truth = None if data.content is None else _coco_truth(data)
    if name == "pck":
        return PckProtocol(data.skeleton, truth=truth, boxes=boxes)
    return CocoProtocol(truth=truth, boxes=boxes)


def _coco_truth(data: Data) -> Truth:
    return truth_from_coco(data.content, data.skeleton, source=data.source, box_areas=data.is_crowdpose)


def _mpii(data: Data, name: str | None, finder: Predictor | None) -> MpiiProtocol:
    """Return MPII's way of scoring; there is no other for its list, so nobody takes one number for another."""
    if not data.is_mpii or name not in (None, "mpii"):
        raise SettingError(
            f"--protocol {name} was asked for on {data.source}, which is "
            f"{'an MPII list; PCKh is its only measure' if data.is_mpii else 'no MPII list'}. Leave --protocol out."
        )
    if finder is not None and not finder.takes_boxes:
        raise SettingError(
            f"{finder.spec.model} was to be scored on {data.source}, an MPII list; PCKh looks for each person in its "
            "annotated box, and this model finds everybody in the whole picture. Take a top-down model, or score "
            "this one on COCO-like annotations."
        )
    truth = read_truth_mat(truth_beside(data.source))
    skeleton = data.skeleton if finder is None else finder.skeleton
    return MpiiProtocol(truth, data.mpii_records, skeleton=skeleton, boxes=truth_boxes)


def open_boxes(
    boxes: str | None, finder: Predictor, data: Data, *, device: str = "cpu", threads: int | None = None
) -> Boxes | None:
    """Return where each sample's boxes come from; None where the predictor itself finds people.

    boxes: "gt", a FILE.json of detections or what `predictor.open_detector` takes, which becomes the predictor's own;
        None = "gt" of annotated pictures, else the predictor's own.
    Raises SettingError for a model that takes no boxes, AnnotationError and ModelError for files.
    """
    if boxes is not None:
        finder.check_takes_boxes()
    if not finder.takes_boxes:
        return None
    if data.is_mpii and boxes not in (None, GT):
        raise SettingError(
            f"--boxes {boxes} was asked for on {data.source}, an MPII list; PCKh scores each annotated person in its "
            "own box. Leave --boxes out."
        )
    if boxes == GT and not data.is_annotated:
        raise SettingError(f"--boxes gt was asked for on {data.source}, which has no annotated boxes. Leave it out.")
    if boxes == GT or (boxes is None and data.is_annotated):
        return lambda sample: truth_boxes(sample)[0]
    if boxes is None:
        return None
    if not boxes.lower().endswith(".json"):
        finder.detector = open_detector(boxes, device=device, threads=threads)
        return None
    by_id, nobody = read_box_file(boxes, known=data.ids), np.zeros((0, 5))

    def listed(sample: Sample) -> np.ndarray:
        return checked_boxes(by_id.get(sample.id, nobody), sample.size, of=f"picture {sample.id} in {boxes}")

    return listed
