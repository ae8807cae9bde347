"""The page for AP: COCO's and CrowdPose's protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.failure_report import charts, pictures, words
from litepose.failure_report.frame import NUMBERS, PAGE, ImageOf, Shown, head
from litepose.files import write_report
from litepose.metrics.diagnosis import Diagnosis, KeypointDiagnosis, diagnose
from litepose.metrics.keypoint_errors import KINDS, PictureErrors, find_errors
from litepose.metrics.matching import Found
from litepose.metrics.truth import Truth
from litepose.page import check_page_packages, write_page
from litepose.skeleton import Skeleton

STACKED = (*KINDS, "person missed")
MEANINGS = {
    "jitter": "keypoints a little off: similarity 0.5 to 0.85",
    "inversion": "keypoints on the mirrored one of the same person: left and right confused",
    "swap": "keypoints on the same or the mirrored one of somebody else",
    "miss": "keypoints near none of these places: similarity below 0.5",
    "false people": "people found on nobody, or on somebody already found; left out",
    "missed people": "true people whom nobody was found on; left out of the truth",
    "score order": "every score replaced by the OKS: what a perfect ranking would give",
}


def write_coco_report(
    directory: str | Path,
    scores: Mapping[str, Any],
    truth: Truth,
    found: Found,
    skeleton: Skeleton,
    *,
    image_of: ImageOf,
    levels: Mapping[int | str, str] | None = None,
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
) -> Diagnosis:
    """Write why AP is what it is: the page, and beside it the numbers.

    scores: the report that `litepose eval --json` writes. truth, found: as in `matching.coco_tables`, on `skeleton`.
    image_of: picture id -> (H, W, 3) uint8 BGR, or None where it cannot be read; asked of the pictures shown only.
    levels: by picture id, CrowdPose's. sizes: by picture id, (w, h) px, for people cut off by the border.
    Raises SettingError where nothing can be written, AnnotationError as `coco_tables` does, MissingPackageError.
    """
    check_page_packages()
    errors = find_errors(truth, found)
    diagnosis = diagnose(truth, found, skeleton, levels=levels, sizes=sizes, errors=errors)
    parts = _parts(diagnosis.keypoints)
    write_report(Path(directory) / NUMBERS, diagnosis.to_json())
    write_page(
        Path(directory) / PAGE,
        "failure_ap.html",
        **head(scores, words.summary(diagnosis)),
        diagnosis=diagnosis,
        charts=_charts(diagnosis, parts),
        kinds=STACKED,
        meanings=MEANINGS,
        parts=parts,
        has_pck=diagnosis.keypoints[0].pck is not None,
        shown=_shown(diagnosis, errors, image_of),
    )
    return diagnosis


@dataclass(frozen=True)
class _Part:
    """A keypoint of both sides: counts and shares in the order of STACKED; pck of its sides."""

    name: str
    counts: tuple[int, ...]
    AP: float
    pck: tuple[float | None, ...]

    @property
    def labelled(self) -> int:
        return sum(self.counts)

    @property
    def shares(self) -> tuple[float, ...]:
        return tuple(count / max(self.labelled, 1) for count in self.counts)


def _parts(keypoints: tuple[KeypointDiagnosis, ...]) -> tuple[_Part, ...]:
    parts = []
    for name in dict.fromkeys(one.part for one in keypoints):
        mine = [one for one in keypoints if one.part == name]
        fields = [field.replace(" ", "_") for field in STACKED]
        counts = tuple(sum(getattr(one.counts, field) for one in mine) for field in fields)
        parts.append(_Part(words.plain(name), counts, mine[0].part_AP, tuple(one.pck for one in mine)))
    return tuple(parts)


def _charts(diagnosis: Diagnosis, parts: tuple[_Part, ...]) -> dict[str, Any]:
    curves = diagnosis.curves
    return {
        "given_back": charts.given_back_chart(diagnosis.losses),
        "keypoints": charts.stacked_chart(
            {part.name: part.counts for part in parts},
            STACKED,
            label="Share of each kind of error for each keypoint; the numbers stand in the table below",
        ),
        "curves": {
            "Precision over recall; the area below is AP.": charts.precision_chart(curves),
            "How well each true person was found at best; dashed: OKS 0.5 and 0.75.": charts.oks_chart(curves),
            "What scores are worth: a rising line ranks people well.": charts.score_chart(curves),
            "People found from the best threshold on, minus people there.": charts.surplus_chart(curves),
        },
    }


def _shown(diagnosis: Diagnosis, errors: tuple[PictureErrors, ...], image_of: ImageOf) -> list[Shown]:
    by_id = {one.id: one for one in errors}
    threshold = -np.inf if diagnosis.curves.threshold is None else diagnosis.curves.threshold.score
    shown = []
    for one in diagnosis.worst:
        image = image_of(one.id)
        if image is not None:
            pair = pictures.draw_errors(by_id[one.id].above(threshold), image)
            shown.append(Shown(one.id, words.worst_title(one), words.worst_text(one), pair))
    return shown
