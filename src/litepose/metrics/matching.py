"""Who of the people found is whom of the truth: COCO's matching and its precision-recall tables, through hotcoco.

Source of the rules: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py; the computation is hotcoco's, whose tables
are those of pycocotools to the last bit. Here its input is made from `Truth` and `Poses`, and its output read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.errors import AnnotationError, MissingPackageError
from litepose.geometry import boxes_of_keypoints, xyxy_to_xywh
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())  # of the OKS, as pycocotools makes them
MAX_PEOPLE = 20  # cocoapi: only the 20 best-scored people of a picture count
EVERYBODY = {"all": (0.0, 1e10)}
# px^2 of a person's area. "all" comes first: `CocoTables.AP()` is of the first.
COCO_AREAS = {**EVERYBODY, "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

Found = Mapping[int, Poses] | Mapping[str, Poses]


@dataclass(frozen=True)
class CocoTables:
    """COCO's tables: T OKS thresholds, R = 101 steps of recall, A ranges of the area; -1 = no such person in the truth.

    precision: (T, R, A) float64. recall: (T, A) float64. areas: names of the ranges.
    """

    precision: np.ndarray
    recall: np.ndarray
    areas: tuple[str, ...]

    def AP(self, area: str = "all", *, threshold: int | None = None) -> float:
        """Return the mean precision of one range, at all thresholds or at the one of this number."""
        return _mean_of_known(self.precision[:, :, self.areas.index(area)], threshold)

    def AR(self, area: str = "all", *, threshold: int | None = None) -> float:
        """Return the mean greatest recall."""
        return _mean_of_known(self.recall[:, self.areas.index(area)], threshold)


@dataclass(frozen=True)
class Matches:
    """What COCO's matching says of everybody found: D people in P pictures at T OKS thresholds; areas play no part.

    ids: of the pictures, in order. num_truth: (P,) int64, the people of the truth who count.
    picture: (D,) int64, each one's place in ids. person: (D,) int64, its row in that picture's Poses.
    scores: (D,) float64. truth: (D, T) int64, the row of the matched person in the picture's truth, -1 = nobody.
    ignored: (D, T) bool, neither right nor wrong.
    Of each picture the best `MAX_PEOPLE` only, best first.
    """

    ids: tuple[int | str, ...]
    num_truth: np.ndarray
    picture: np.ndarray
    person: np.ndarray
    scores: np.ndarray
    truth: np.ndarray
    ignored: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Who is somebody of the truth that counts: (D, T) bool."""
        return (self.truth >= 0) & ~self.ignored


def coco_tables(
    truth: Truth, found: Found, sigmas: Sequence[float], *, areas: Mapping[str, tuple[float, float]] = COCO_AREAS
) -> CocoTables:
    """Return COCO's tables of the people found; a picture of the truth that is missing there shows nobody.

    Raises AnnotationError for people in pictures that the truth does not list, or whose numbers are none, and
    MissingPackageError without hotcoco.
    """
    run = _evaluated(truth, found, sigmas, areas)
    run.accumulate()
    tables = run.eval
    precision, recall = np.asarray(tables["precision"]), np.asarray(tables["recall"])
    return CocoTables(precision[:, :, 0, :, 0], recall[:, 0, :, 0], tuple(areas))


def match(truth: Truth, found: Found, sigmas: Sequence[float]) -> Matches:
    """Return who is whom; arguments and errors as in `coco_tables`."""
    pictures = in_order(truth)
    entries = _evaluated(truth, found, sigmas, EVERYBODY).eval_imgs
    person_of, truth_of = _rows(found), _rows_of_truth(pictures)
    columns: dict[str, list[Any]] = {"picture": [], "person": [], "scores": [], "truth": [], "ignored": []}
    for entry in entries:
        if entry is None or not entry["dtIds"]:
            continue
        people = len(entry["dtIds"])
        columns["picture"].append(np.full(people, entry["image_id"] - 1))
        columns["person"].append(person_of[np.array(entry["dtIds"]) - 1])
        columns["scores"].append(np.array(entry["dtScores"], dtype=np.float64))
        matched = np.array(entry["dtMatches"], dtype=np.int64).reshape(-1, people).T  # (T, D) -> (D, T) ids
        columns["truth"].append(np.where(matched > 0, truth_of[matched - 1], -1))
        columns["ignored"].append(np.array(entry["dtIgnore"], dtype=bool).reshape(-1, people).T)
    return Matches(
        ids=tuple(picture.id for picture in pictures),
        num_truth=np.array([int(picture.scored.sum()) for picture in pictures], dtype=np.int64),
        picture=_joined(columns["picture"], (0,), np.int64),
        person=_joined(columns["person"], (0,), np.int64),
        scores=_joined(columns["scores"], (0,), np.float64),
        truth=_joined(columns["truth"], (0, len(THRESHOLDS)), np.int64),
        ignored=_joined(columns["ignored"], (0, len(THRESHOLDS)), bool),
    )


def check_installed() -> None:
    """Raise MissingPackageError where COCO AP cannot be computed; call it before hours of prediction."""
    try:
        import hotcoco  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "COCO AP needs the package hotcoco, which is not installed. Install it: pip install 'litepose[eval]'."
        ) from error


def in_order(truth: Truth) -> tuple[PictureTruth, ...]:
    """Return the pictures in the order of their ids, which decides between equal scores."""
    return tuple(sorted(truth.pictures, key=lambda picture: (isinstance(picture.id, str), picture.id)))


def coco_json(truth: Truth) -> dict[str, Any]:
    """Return `truth` as a COCO keypoint mapping whose pictures are numbered from 1, `in_order`."""
    pictures = in_order(truth)
    annotations: list[dict[str, Any]] = []
    for number, picture in enumerate(pictures, start=1):
        # COCO leaves people without keypoints aside by this count, and reads the keypoints themselves for the OKS.
        counts = np.where(picture.counted, picture.labelled.sum(axis=1), 0).tolist()
        for n, count in enumerate(counts):
            one = {
                "id": len(annotations) + 1,
                "image_id": number,
                "category_id": 1,
                "iscrowd": int(picture.crowd[n]),
                "keypoints": picture.keypoints[n].ravel().tolist(),
                "num_keypoints": count,
                "bbox": picture.boxes_xywh[n].tolist(),
                "area": float(picture.areas[n]),
            }
            annotations.append(one)
    names = list(truth.skeleton.keypoints)
    return {
        "info": {},
        "images": [{"id": number} for number in range(1, len(pictures) + 1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names, "skeleton": []}],
    }


def result_records(truth: Truth, found: Found) -> list[dict[str, Any]]:
    """Return the people found as COCO result records, pictures numbered as in `coco_json`; their order is `found`'s.

    Keypoints and boxes are float64 arrays, which hotcoco takes for lists. Raises AnnotationError for people in
    pictures that the truth does not list, or whose numbers are none.
    """
    numbers = {picture.id: number for number, picture in enumerate(in_order(truth), start=1)}
    unknown = [key for key in found if key not in numbers]
    if unknown:
        raise AnnotationError(
            f"People were found in {len(unknown)} pictures that the truth does not list (first id: {unknown[0]!r}). "
            "Score against the annotation file of these pictures."
        )
    if not found:
        return []
    # All pictures at once: many times faster than one by one.
    keypoints, keypoint_scores, scores = (
        np.concatenate([getattr(poses, name) for poses in found.values()])
        for name in ("keypoints", "keypoint_scores", "scores")
    )
    picture = np.repeat(np.arange(len(found)), [len(poses) for poses in found.values()])
    triples = np.concatenate([keypoints, keypoint_scores[..., None]], axis=-1)
    finite = np.isfinite(triples).all(axis=(1, 2)) & np.isfinite(scores)
    if not finite.all():
        raise AnnotationError(
            f"In picture {list(found)[picture[~finite][0]]!r} people were found with scores or places that are no "
            "numbers (NaN or infinite); they cannot be ranked. Repair the model or the results file that they come "
            "from."
        )
    columns = (
        np.array([numbers[key] for key in found])[picture].tolist(),  # type: ignore[index]
        # Rows of arrays: of millions of Python numbers the making and the garbage collection would take the most time.
        triples.reshape(len(scores), 3 * truth.skeleton.num_keypoints).astype(np.float64),
        xyxy_to_xywh(boxes_of_keypoints(keypoints, keypoint_scores > 0)).astype(np.float64),
        scores.tolist(),
    )
    return [
        {"image_id": number, "category_id": 1, "keypoints": keypoints, "bbox": box, "score": score}
        for number, keypoints, box, score in zip(*columns, strict=True)
    ]


def num_capped(found: Found) -> int:
    """Return in how many pictures more people were found than COCO counts."""
    return sum(len(poses) > MAX_PEOPLE for poses in found.values())


def _evaluated(truth: Truth, found: Found, sigmas: Sequence[float], areas: Mapping[str, tuple[float, float]]) -> Any:
    """Return hotcoco's evaluator after the matching."""
    check_installed()
    from hotcoco import COCO, COCOeval

    known = COCO(coco_json(truth))
    run = COCOeval(known, known.load_res(result_records(truth, found)), "keypoints")
    run.params.img_ids = list(range(1, len(truth) + 1))
    run.params.cat_ids = [1]  # without people in the truth the library would look at no category
    run.params.kpt_oks_sigmas = [float(sigma) for sigma in sigmas]
    run.params.max_dets = [MAX_PEOPLE]
    run.params.area_rng = [list(limits) for limits in areas.values()]
    run.params.area_rng_lbl = list(areas)
    run.evaluate()
    return run


def _rows(found: Found) -> np.ndarray:
    """Return for each record of `result_records` the person's row in its picture: (D,) int64."""
    return _joined([np.arange(len(poses)) for poses in found.values()], (0,), np.int64)


def _rows_of_truth(pictures: Sequence[PictureTruth]) -> np.ndarray:
    """Return for each annotation of `coco_json` the person's row in its picture: (N,) int64; one more at the end."""
    return _joined([np.arange(len(picture.areas)) for picture in pictures] + [np.array([-1])], (0,), np.int64)


def _joined(parts: list[Any], empty: tuple[int, ...], dtype: Any) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(empty, dtype=dtype)


def _mean_of_known(table: np.ndarray, threshold: int | None) -> float:
    """Return the mean of what is not -1, as pycocotools' summary does; -1 where nothing is known."""
    known = table if threshold is None else table[threshold]
    known = known[known > -1]
    return float(np.mean(known)) if known.size else -1.0
