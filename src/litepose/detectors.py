"""Where the boxes of people come from, around which a top-down model looks: any callable picture -> boxes.

Here: another pose model, a person detector in an ONNX file, the whole picture; and boxes that were written down: a
file of detections, an annotated sample. The rules for those two are HRNet's
(leoxiaobin/deep-high-resolution-net.pytorch, lib/dataset/coco.py).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from litepose.errors import AnnotationError, ModelError, SettingError
from litepose.geometry import clean_coco_boxes, size_of, xywh_to_xyxy, xyxy_to_xywh
from litepose.poses import Poses, Sample
from litepose.runtimes.base import physical_cores
from litepose.runtimes.onnx import open_session
from litepose.skeleton import MPII16

# RTMDet's (open-mmlab/mmdetection, configs/rtmdet), in grey levels and the order B, G, R.
RTMDET_MEAN = (103.53, 116.28, 123.675)
RTMDET_STD = (57.375, 57.12, 58.395)
RTMDET_SIZE = (320, 320)  # of its nano person model
PADDING = 114  # grey level, as RTMDet and YOLO letterbox
PERSON = 1  # COCO's category
RECORD = 'Each is {"image_id": number or text, "category_id", "bbox": [x, y, width, height], "score"}.'


class Detector(Protocol):
    """A callable that finds people: (H, W, 3) uint8 BGR -> (M, 5) float32 x1, y1, x2, y2, score in picture px."""

    def __call__(self, picture: np.ndarray, /) -> np.ndarray: ...


def whole_picture(picture: np.ndarray) -> np.ndarray:
    """Return one box: all of the picture. For pictures that show one person, large."""
    return np.array([[0, 0, *size_of(picture), 1]], dtype=np.float32)


class PoseDetector:
    """Boxes around the people whom a pose model finds.

    find: (H, W, 3) uint8 BGR -> Poses, such as the Predictor of a bottom-up model.
    min_score: of people; those below get no box.
    margin: what is added on each side, as a share of the box of the keypoints: heads, hands and feet end outside it.
        Annotated COCO boxes exceed that of 14 and more keypoints by 0.15 left and right, 0.11 above and 0.10 below
        (medians); with litepose_xs 0.15 gave the most boxes of an IoU of 0.75.
    """

    def __init__(self, find: Callable[[np.ndarray], Poses], *, min_score: float = 0.1, margin: float = 0.15) -> None:
        self.find, self.min_score, self.margin = find, min_score, margin

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See Detector. A box has the score of its person's best keypoint, at most 1.

        The person's own score sinks with every keypoint out of sight; by it AP of lpn_50 on litepose val-129 is .096
        instead of .103, and people cut off by the picture's border are lost.
        """
        poses = self.find(picture)
        poses = poses[poses.scores >= self.min_score]
        boxes = poses.keypoint_boxes
        extent = boxes[:, 2:] - boxes[:, :2]
        # A side is taken for at least a quarter of the other: keypoints in a row still make a box.
        reach = np.float32(self.margin) * np.maximum(extent, extent.max(axis=1, keepdims=True) / 4)
        boxes = boxes + np.concatenate([-reach, reach], axis=1)
        scores = np.minimum(poses.keypoint_scores.max(axis=1, initial=0), 1)
        return np.column_stack([boxes, scores])[extent.max(axis=1, initial=0) > 0].astype(np.float32)


class OnnxDetector:
    """Boxes of the people whom a detector in an ONNX file finds, RTMDet's or any other with non-maximum suppression.

    The file: one input (batch, 3, height, width) float32; outputs either (..., N, 5) of x1, y1, x2, y2, score, or
    (..., N, 4) and scores (..., N), in px of the input; whole numbers (..., N) are labels. The batch axis of outputs
    may be missing.

    size: (w, h) of the input where the file leaves it free. mean, std: in grey levels. colour: "BGR" or "RGB", also
    the order of mean and std. min_score: of boxes. label: which means a person, where the file has labels.
    Raises ModelError for a file that is no such detector, SettingError, MissingPackageError.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size: tuple[int, int] = RTMDET_SIZE,
        mean: Sequence[float] = RTMDET_MEAN,
        std: Sequence[float] = RTMDET_STD,
        colour: str = "BGR",
        min_score: float = 0.3,
        label: int = 0,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if colour not in ("BGR", "RGB"):
            raise SettingError(f"A detector was to be fed with the colour order {colour!r}. Possible: BGR, RGB.")
        self.path, self.colour, self.min_score, self.label = Path(path), colour, min_score, label
        self.mean, self.std = np.array(mean, dtype=np.float32), np.array(std, dtype=np.float32)
        if not self.path.is_file():
            raise ModelError(f"There is no detector file {path}. Check the path.")
        self._session = open_session(self.path, device, threads or physical_cores())
        self.size = self._input_size(size)
        self(np.zeros((*self.size[::-1], 3), dtype=np.uint8))  # a file that is no detector shows it here

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """See Detector. The picture is shrunk or enlarged into the input's upper left corner."""
        width, height = size_of(picture)
        zoom = min(self.size[0] / width, self.size[1] / height)
        fitted = max(1, round(width * zoom)), max(1, round(height * zoom))
        canvas = np.full((self.size[1], self.size[0], 3), PADDING, dtype=np.uint8)
        canvas[: fitted[1], : fitted[0]] = cv2.resize(picture, fitted, interpolation=cv2.INTER_LINEAR)
        pixels = canvas if self.colour == "BGR" else canvas[..., ::-1]
        tensor = ((pixels - self.mean) / self.std).transpose(2, 0, 1)[None]
        outputs = self._run(np.ascontiguousarray(tensor, dtype=np.float32))
        found = _boxes_of(outputs, self.label)
        if found is None:
            raise ModelError(self._refusal({name: one.shape for name, one in outputs.items()}))
        back = np.array([width / fitted[0], height / fitted[1]] * 2 + [1])
        return (found * back)[found[:, 4] >= self.min_score].astype(np.float32)

    def _run(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
        names = [one.name for one in self._session.get_outputs()]
        try:
            arrays = self._session.run(None, {self._session.get_inputs()[0].name: tensor})
        except Exception as error:  # the engine has a dozen exception classes, all directly below Exception
            raise ModelError(
                f"The detector {self.path} cannot compute a picture of {self.size[0]}x{self.size[1]}: {error}. "
                "It may want another input size: OnnxDetector(path, size=(w, h))."
            ) from error
        return dict(zip(names, arrays, strict=True))

    def _input_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (w, h) that the file fixes, or else `size`."""
        inputs = {one.name: one.shape for one in self._session.get_inputs()}
        shape: list[Any] = next(iter(inputs.values()), [])
        if len(inputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise ModelError(self._refusal(inputs))
        fixed = isinstance(shape[2], int) and isinstance(shape[3], int)
        return (shape[3], shape[2]) if fixed else (int(size[0]), int(size[1]))

    def _refusal(self, found: Mapping[str, Any]) -> str:
        arrays = ", ".join(f"{name} {tuple(shape)}" for name, shape in found.items())
        return (
            f"{self.path} was to detect people; it has {arrays or 'no inputs'}. A detector takes one picture "
            "(batch, 3, height, width) and gives boxes with scores (..., N, 5), or boxes (..., N, 4) and scores (..., "
            "N). Export it with its non-maximum suppression, or wrap it in a function picture -> boxes."
        )


def _boxes_of(outputs: Mapping[str, np.ndarray], label: int) -> np.ndarray | None:
    """Return a detector's boxes with scores, (N, 5) in input px, told by shape alone; None where there are none."""
    tables = [one for one in outputs.values() if one.ndim > 1 and one.shape[-1] in (4, 5) and one.dtype.kind == "f"]
    # With a batch axis scores are a table too, of one row: so the array of most axes has the boxes.
    table = max(tables, key=np.ndim, default=None)
    if table is None or table.ndim > 3 or (table.ndim == 3 and len(table) != 1):
        return None
    boxes = table.reshape(-1, table.shape[-1])
    columns = [one.reshape(-1) for one in outputs.values() if one is not table and one.size == len(boxes)]
    scores = next((one for one in columns if one.dtype.kind == "f"), None)
    labels = next((one for one in columns if one.dtype.kind in "iu"), None)
    if boxes.shape[1] == 4:
        if scores is None:
            return None
        boxes = np.column_stack([boxes, scores])
    return boxes if labels is None else boxes[labels == label]


def read_box_file(
    path: str | Path, *, min_score: float = 0.0, known: Collection[int | str] | None = None
) -> dict[int | str, np.ndarray]:
    """Return the boxes of a COCO detection file by picture id: (M, 5) float32 xyxy and score, in file order.

    The file is a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}; other categories than 1
    are passed over and boxes are not cleaned, as in HRNet. min_score: boxes below are left out.
    known: ids of the pictures at hand; warns of boxes for others. Raises AnnotationError, also where all are others.
    """
    rows: dict[int | str, list[list[float]]] = {}
    empty = 0
    for number, record in enumerate(_detections(path)):
        try:
            image_id, category = record["image_id"], record["category_id"]
            x, y, width, height = (float(value) for value in record["bbox"])
            score = float(record["score"])
        except (KeyError, TypeError, ValueError) as error:
            raise AnnotationError(f"{path}: detection number {number} cannot be used ({error!r}). {RECORD}") from error
        box = [x, y, x + width, y + height, score]
        if not np.isfinite(box).all() or not isinstance(image_id, int | str):
            raise AnnotationError(f"{path}: detection number {number} has values that are none: {record}. {RECORD}")
        if category == PERSON and score >= min_score:
            empty += min(width, height) <= 0
            rows.setdefault(image_id, []).extend([box] if min(width, height) > 0 else [])
    if empty:
        warnings.warn(f"{path}: {empty} boxes have no width or no height; left out.", stacklevel=2)
    if known is not None:
        _check_known(rows, known, path)
    return {image_id: np.array(boxes, dtype=np.float32).reshape(-1, 5) for image_id, boxes in rows.items()}


def _detections(path: str | Path) -> list[Any]:
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise AnnotationError(f"Detection file {path} cannot be read: {error.strerror}. Check the path.") from error
    except ValueError as error:
        raise AnnotationError(f"Detection file {path} is no JSON: {error}. Give a COCO detection file.") from error
    if not isinstance(data, list):
        raise AnnotationError(
            f"Detection file {path} holds a JSON {type(data).__name__}; a COCO detection file is a list. {RECORD} The "
            "boxes of an annotation file are called gt."
        )
    return data


def _check_known(rows: Mapping[int | str, Any], known: Collection[int | str], path: str | Path) -> None:
    """Say which ids belong to no picture. Raises AnnotationError where none does."""
    at_hand = set(known)
    strangers = [one for one in rows if one not in at_hand]
    if not strangers:
        return
    some = ", ".join(repr(one) for one in strangers[:3]) + (", ..." if len(strangers) > 3 else "")
    if len(strangers) == len(rows):
        example = next((repr(one) for one in known), "none")
        raise AnnotationError(
            f"{path} has boxes for {len(rows)} pictures ({some}), of which none is among the {len(at_hand)} at hand "
            f"(such as {example}). Give the detections of these pictures; ids must be of one kind too (1 is not '1')."
        )
    warnings.warn(
        f"{path}: {len(strangers)} of the {len(rows)} pictures it has boxes for are not at hand ({some}); left out.",
        stacklevel=3,
    )


def truth_boxes(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotated people's boxes as HRNet's loader takes them, (M, 5) float32, and who they are, (M,) int64.

    A person counts where a keypoint is labelled, and the area and the cleaned box are not empty; the score is 1.
    MPII's boxes stand for its centres and scales, and are not cleaned.
    """
    boxes, kept = np.asarray(sample.boxes, dtype=np.float64).reshape(-1, 4), sample.visible.any(axis=1)
    if sample.skeleton != MPII16:
        cleaned, usable = clean_coco_boxes(xyxy_to_xywh(boxes), sample.areas, sample.size)
        boxes, kept = xywh_to_xyxy(cleaned), kept & usable & (cleaned[:, 2:] > 0).all(axis=1)  # as mmpose; HRNet: >= 0
    people = np.flatnonzero(kept & _usable(boxes, sample.size))
    return np.column_stack([boxes[people], np.ones(len(people))]).astype(np.float32), people


def checked_boxes(boxes: np.ndarray, picture_size: tuple[int, int], *, of: str = "this picture") -> np.ndarray:
    """Return boxes that somebody gave for a (w, h) picture as (M, 5) float32, scores 1 where there are none.

    of: what the boxes are of, for the error. Raises SettingError where an array or a box in it cannot be meant.
    """
    array = np.asarray(boxes)
    if array.size == 0:
        return np.zeros((0, 5), dtype=np.float32)
    if array.ndim != 2 or array.shape[1] not in (4, 5) or array.dtype.kind not in "iuf":
        raise SettingError(
            f"The boxes of {of} must be an (M, 4) array of x1, y1, x2, y2 in picture px, or (M, 5) with a score; found "
            f"{array.dtype} of {array.shape}. One box is an array of one row."
        )
    array = array.astype(np.float32)
    wrong = ~_usable(array, picture_size)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise SettingError(
            f"{int(wrong.sum())} of {len(array)} boxes of {of}, {picture_size[0]}x{picture_size[1]}, cannot be looked "
            f"at; the first is row {row}: {', '.join(f'{value:g}' for value in array[row])}. A box is x1, y1, x2, y2 "
            "(corners, not width and height) with x1 < x2 and y1 < y2, and some of it lies in the picture."
        )
    return _with_scores(array)


def usable_boxes(boxes: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Return those of a detector's boxes for a (w, h) picture that can be looked at: (M, 5) float32.

    Raises SettingError where it gave no boxes at all but something else.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size and (array.ndim != 2 or array.shape[1] not in (4, 5)):
        raise SettingError(
            f"A detector must give (M, 4) boxes x1, y1, x2, y2 or (M, 5) with scores; found an array of {array.shape}."
        )
    array = array.reshape(-1, array.shape[-1] if array.size else 5)
    return _with_scores(array[_usable(array, picture_size)])


def _usable(boxes: np.ndarray, picture_size: tuple[int, int]) -> np.ndarray:
    """Return which boxes are finite, not empty, and lie at least partly in the picture: (M,) bool."""
    x1, y1, x2, y2 = boxes[:, :4].T
    with np.errstate(invalid="ignore"):
        placed = (x2 > x1) & (y2 > y1) & (x2 > 0) & (y2 > 0) & (x1 < picture_size[0]) & (y1 < picture_size[1])
    return np.isfinite(boxes).all(axis=1) & placed


def _with_scores(boxes: np.ndarray) -> np.ndarray:
    return boxes if boxes.shape[1] == 5 else np.column_stack([boxes, np.ones(len(boxes), dtype=np.float32)])
