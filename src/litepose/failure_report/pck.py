"""The page for PCK and for MPII's PCKh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from litepose.failure_report import charts, pictures, words
from litepose.failure_report.frame import NUMBERS, PAGE, ImageOf, Shown, head
from litepose.files import write_report
from litepose.geometry import boxes_of_keypoints
from litepose.metrics.matching import Found
from litepose.metrics.pck_diagnosis import (
    FAR,
    INVERSION,
    KINDS,
    MeasuredPeople,
    PckDiagnosis,
    diagnose_pck,
    kinds_of,
    measured_pck,
    measured_pckh,
)
from litepose.metrics.pckh import PckhTruth
from litepose.metrics.truth import Truth
from litepose.page import check_page_packages, write_page
from litepose.poses import Poses
from litepose.skeleton import Skeleton


def write_pck_report(
    directory: str | Path,
    scores: Mapping[str, Any],
    truth: Truth,
    found: Found,
    skeleton: Skeleton,
    *,
    image_of: ImageOf,
    threshold: float = 0.2,
) -> PckDiagnosis:
    """Write why PCK is what it is; arguments as in `write_coco_report`. Raises SettingError, MissingPackageError."""
    people = measured_pck(truth, found, skeleton, threshold=threshold)
    return _write(directory, scores, people, image_of)


def write_pckh_report(
    directory: str | Path,
    scores: Mapping[str, Any],
    truth: PckhTruth,
    predictions: np.ndarray,
    pictures_of: Sequence[int | str],
    *,
    image_of: ImageOf,
) -> PckDiagnosis:
    """Write why PCKh is what it is. Raises SettingError, MissingPackageError.

    truth, predictions: as in `pckh.evaluate_pckh`. pictures_of: the id of each person's picture, in the same order.
    """
    return _write(directory, scores, measured_pckh(truth, predictions, pictures_of), image_of)


def _write(directory: str | Path, scores: Mapping[str, Any], people: MeasuredPeople, image_of: ImageOf) -> PckDiagnosis:
    check_page_packages()
    diagnosis = diagnose_pck(people)
    write_report(Path(directory) / NUMBERS, diagnosis.to_json())
    write_page(
        Path(directory) / PAGE,
        "failure_pck.html",
        **head(scores, words.pck_summary(diagnosis)),
        diagnosis=diagnosis,
        charts=_charts(diagnosis, people),
        kinds=KINDS,
        shown=_shown(diagnosis, people, image_of),
    )
    return diagnosis


def _charts(diagnosis: PckDiagnosis, people: MeasuredPeople) -> dict[str, Any]:
    fields = [kind.replace(" ", "_") for kind in KINDS]
    counts = {words.plain(one.name): [getattr(one, field) for field in fields] for one in diagnosis.keypoints}
    label = "Share of each kind of error for each keypoint; the numbers stand in the table below"
    distance = charts.distance_chart(
        diagnosis.curve, measure=people.measure, threshold=people.threshold, length=people.length
    )
    return {"keypoints": charts.stacked_chart(counts, KINDS, label=label), "distance": distance}


def _shown(diagnosis: PckDiagnosis, people: MeasuredPeople, image_of: ImageOf) -> list[Shown]:
    kinds, shown = kinds_of(people), []
    for one in diagnosis.worst:
        image = image_of(one.id)
        if image is not None:
            pair = _drawn(people, kinds[one.number], one.number, image)
            title = f"{one.num_right / one.num_labelled:.0%} right"
            shown.append(Shown(one.id, title, words.worst_person_text(one), pair))
    return shown


def _drawn(people: MeasuredPeople, kinds: np.ndarray, number: int, image: np.ndarray) -> pictures.Pair:
    """Draw one person, (K,) kinds of errors."""
    labelled, keypoints = people.labelled[number], people.keypoints[number]
    predicted = people.predictions[number]
    is_found = ~np.isnan(predicted).any(axis=1)
    truth = Poses(people.skeleton, np.nan_to_num(keypoints)[None], labelled[None], np.ones(1))
    found = Poses(people.skeleton, np.nan_to_num(predicted)[None], is_found[None], np.ones(1))
    nothing = np.zeros((0, 2))
    region = [boxes_of_keypoints(keypoints[None], labelled[None])]
    if is_found.any():
        region.append(boxes_of_keypoints(found.keypoints, is_found[None]))
    return pictures.draw_pair(
        image,
        pictures.Marks(truth, np.zeros((0, 4)), nothing, nothing, nothing),
        pictures.Marks(found, np.zeros((0, 4)), predicted[kinds == INVERSION], nothing, predicted[kinds == FAR]),
        np.concatenate(region),
    )
