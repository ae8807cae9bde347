"""The page that belongs to an evaluation's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import PictureError
from litepose.failure_report.ap import write_coco_report
from litepose.failure_report.frame import ImageOf
from litepose.failure_report.pck import write_pck_report, write_pckh_report
from litepose.metrics import pckh
from litepose.metrics.protocols import CrowdPoseProtocol, EvaluationProtocol, MpiiProtocol, PckProtocol
from litepose.metrics.report import AnnotatedPictures, Report
from litepose.metrics.truth import Truth
from litepose.page import check_page_packages
from litepose.poses import Poses


def write_failure_report(
    directory: str | Path,
    report: Report,
    protocol: EvaluationProtocol,
    found: Mapping[Any, Poses],
    *,
    image_of: ImageOf,
    seen: Truth,
    sizes: Mapping[int | str, tuple[int, int]] | None = None,
) -> None:
    """Write why the evaluation gave what it gave: index.html, and diagnosis.json beside it.

    found, seen: as `protocol.score` took them. image_of, sizes: as in `write_coco_report`; `reader_of` and `sizes_in`
    make them. Raises SettingError where nothing can be written, MissingPackageError.
    """
    check_page_packages()
    scores = {name: value for name, value in report.to_json().items() if name != "per_picture"}
    if isinstance(protocol, MpiiProtocol):
        _write_mpii(directory, scores, protocol, found, image_of)
        return
    truth = protocol.truth_of(found, seen)
    assert truth is not None, protocol
    levels = protocol.truth.levels if isinstance(protocol, CrowdPoseProtocol) else None
    if isinstance(protocol, PckProtocol):
        write_pck_report(directory, scores, truth, found, truth.skeleton, image_of=image_of)
    else:
        write_coco_report(
            directory, scores, truth, found, truth.skeleton, image_of=image_of, levels=levels, sizes=sizes
        )


def reader_of(dataset: AnnotatedPictures) -> ImageOf:
    """Return picture id -> the picture, None where it cannot be read."""
    places = {key: index for index, key in enumerate(dataset.ids)}

    def image_of(key: Any) -> np.ndarray | None:
        try:
            return dataset[places[key]].image
        except (KeyError, PictureError):
            return None

    return image_of


def sizes_in(content: Any) -> dict[int | str, tuple[int, int]]:
    """Return the (w, h) px by picture id that a parsed COCO file states; nothing of other content."""
    images = content.get("images") if isinstance(content, Mapping) else None
    sizes = {}
    for image in images if isinstance(images, list) else ():
        width, height = image.get("width"), image.get("height")
        if isinstance(width, int | float) and isinstance(height, int | float) and min(width, height) > 0:
            sizes[image["id"]] = (int(width), int(height))
    return sizes


def _write_mpii(
    directory: str | Path,
    scores: Mapping[str, Any],
    protocol: MpiiProtocol,
    found: Mapping[Any, Poses],
    image_of: ImageOf,
) -> None:
    arranged = pckh.in_record_order(found, protocol.records, num_records=len(protocol.truth))
    picture_of = {int(row): image for image in found for row in protocol.records[image]}
    looked_at = np.array(sorted(picture_of), dtype=np.int64)
    pictures = [picture_of[row] for row in looked_at.tolist()]
    write_pckh_report(
        directory, scores, protocol.truth.only(looked_at), arranged[looked_at], pictures, image_of=image_of
    )
