"""Results files: the people found in many pictures, as COCO's and MPII's evaluations take them.

COCO's and CrowdPose's is a JSON list of {"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}. MPII's
is what HRNet's tools write, a .mat file whose `preds` are (N, 16, 2) places counted from 1, in the order of the list.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from litepose.errors import AnnotationError
from litepose.files import replacing, write_json
from litepose.metrics import pckh
from litepose.poses import Poses
from litepose.skeleton import MPII16, Skeleton

RECORD = (
    'A COCO results file is a list of {"image_id", "category_id", "keypoints": [x, y, score, ...], "score"}, as '
    "`litepose eval --save-results` and `litepose predict --format coco` write it."
)
PERSON = 1  # COCO's category


class ResultPoses(Poses):
    """People as a results file has them, in float64: rounding would make equal scores of unequal ones."""

    number: ClassVar[type[np.floating[Any]]] = np.float64


def read_results(
    path: str | Path, skeleton: Skeleton, *, ids: Collection[int | str], categories: Collection[int] = (PERSON,)
) -> dict[Any, Poses]:
    """Read a COCO results file: the people of each picture it names, in file order.

    skeleton: whose keypoints the records list. ids: of the pictures that may occur. categories: that mean a person.
    Raises AnnotationError for unknown pictures and categories, other counts of keypoints, numbers that are none.
    """
    records = _records(path)
    _check_ids(records, ids, path)
    _check_categories(records, categories, path)
    triples, scores = _values(records, skeleton, path)
    rows: dict[Any, list[int]] = {}
    for row, record in enumerate(records):
        rows.setdefault(record["image_id"], []).append(row)
    return {key: ResultPoses(skeleton, triples[of, :, :2], triples[of, :, 2], scores[of]) for key, of in rows.items()}


def write_results(path: str | Path, found: Mapping[Any, Poses], *, category: int = PERSON) -> None:
    """Write the people found as a COCO results file, by picture id, in the order of the mapping.

    Nothing is rounded, so that the file scores as the people themselves do.
    """
    people = (poses.to_coco(key, category_id=category, digits=None) for key, poses in found.items())
    write_json(path, [record for records in people for record in records])


def read_mpii_results(path: str | Path, records: Mapping[Any, np.ndarray]) -> dict[Any, Poses]:
    """Read MPII results from a .mat file. records: by picture id, the places in the list of its annotated people.

    Raises AnnotationError where the file does not hold one person for each record, MissingPackageError without scipy.
    """
    content = pckh.load_mat(path)
    total = sum(len(places) for places in records.values())
    found = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
    preds = np.asarray(content.get("preds", np.zeros(0)))
    if preds.ndim != 3 or preds.shape[:2] != (total, MPII16.num_keypoints) or preds.shape[2] < 2:
        raise AnnotationError(
            f"{path} was to hold preds of shape ({total}, {MPII16.num_keypoints}, 2), one person for each record of "
            f"the list; found {found}{f' of shape {preds.shape}' if 'preds' in content else ''}. Give the file that "
            "HRNet's tools or `litepose eval --save-results FILE.mat` wrote for this list."
        )
    places, known = preds[..., :2].astype(np.float64) - 1, np.isfinite(preds[..., :2]).all(axis=-1)
    places = np.where(known[..., None], places, 0)
    return {
        key: ResultPoses(MPII16, places[of], known[of].astype(float), np.ones(len(of))) for key, of in records.items()
    }


def write_mpii_results(path: str | Path, found: Mapping[Any, Poses], records: Mapping[Any, np.ndarray]) -> None:
    """Write MPII results as a .mat file; NaN where nothing was found. Raises MissingPackageError without scipy."""
    pckh.check_installed()
    from scipy.io import savemat

    total = sum(len(places) for places in records.values())
    arranged = pckh.in_record_order(found, records, num_records=total)
    with replacing(path) as temporary:
        savemat(temporary, {"preds": arranged + 1})


def _records(path: str | Path) -> list[dict[str, Any]]:
    try:
        data = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise AnnotationError(f"Results file {path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"Results file {path} is no (complete) JSON: {error}. {RECORD}") from error
    if not isinstance(data, list):
        raise AnnotationError(f"Results file {path} holds a JSON {type(data).__name__}, not a list. {RECORD}")
    fields = ("image_id", "category_id", "keypoints", "score")
    for number, record in enumerate(data):
        lacking = [name for name in fields if not isinstance(record, dict) or name not in record]
        if lacking:
            raise AnnotationError(f"{path}: record number {number} lacks {', '.join(lacking)}. {RECORD}")
    return data


def _check_ids(records: Sequence[Mapping[str, Any]], ids: Collection[int | str], path: str | Path) -> None:
    known = set(ids)
    strangers = list(dict.fromkeys(str(one["image_id"]) for one in records if not _in(one["image_id"], known)))
    if strangers:
        example = next((repr(one) for one in ids), "none")
        raise AnnotationError(
            f"{path} has people in {len(strangers)} pictures that the annotations do not list "
            f"({', '.join(strangers[:3])}{', ...' if len(strangers) > 3 else ''}); there are {len(known)}, such as "
            f"{example}. Give the annotation file that the results belong to, and ids of its kind (1 is not '1')."
        )


def _in(key: Any, known: set[int | str]) -> bool:
    return isinstance(key, int | str) and key in known


def _check_categories(records: Sequence[Mapping[str, Any]], categories: Collection[int], path: str | Path) -> None:
    others = list(dict.fromkeys(str(one["category_id"]) for one in records if one["category_id"] not in categories))
    if others:
        raise AnnotationError(
            f"{path} has records of category {', '.join(others[:5])}; people are category "
            f"{', '.join(map(str, sorted(categories)))} in these annotations. Leave the others out, or renumber them."
        )


def _values(
    records: Sequence[Mapping[str, Any]], skeleton: Skeleton, path: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints (N, K, 3) and scores (N,) of the records. Raises AnnotationError."""
    wanted = 3 * skeleton.num_keypoints
    for number, record in enumerate(records):
        found = record["keypoints"]
        if not isinstance(found, list) or len(found) != wanted:
            count = f"{len(found) / 3:g} keypoints" if isinstance(found, list) else f"keypoints {found!r}"
            raise AnnotationError(
                f"{path}: record number {number} has {count} (x, y, score each); {skeleton.name} of the annotations "
                f"has {skeleton.num_keypoints}. Score these results on annotations with the same keypoints."
            )
    try:
        triples = np.array([record["keypoints"] for record in records], dtype=np.float64)
        scores = np.array([record["score"] for record in records], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"{path} has keypoints or scores that are no numbers: {error}. {RECORD}") from error
    triples = triples.reshape(-1, skeleton.num_keypoints, 3)
    broken = ~(np.isfinite(scores) & np.isfinite(triples).all(axis=(1, 2)))
    if broken.any():
        raise AnnotationError(
            f"{path}: {int(broken.sum())} of {len(records)} records have NaN or infinity among their numbers (the "
            f"first is number {int(np.flatnonzero(broken)[0])}); they cannot be ranked. Leave them out or repair them."
        )
    return triples, scores
