"""From an evaluation to the page that says why the model fails: what is drawn there is read anew, and only that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litepose import datasets, failure_report, images
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.evaluation.data import Data
from litepose.evaluation.run import Evaluation
from litepose.files import check_writable
from litepose.metrics import pckh
from litepose.metrics.protocols import CrowdPoseProtocol, MpiiProtocol, PckProtocol
from litepose.page import check_page_packages

PAGE = "index.html"

ImageOf = Callable[[Any], np.ndarray | None]


def write_failure_report(evaluation: Evaluation, directory: str | Path, *, pictures: str | Path | None = None) -> Path:
    """Write the page and its numbers into `directory`; return the page's path.

    pictures: folder of the pictures, where only annotations were read; None = where they lie by the data set's layout.
        Without pictures the page shows none.
    Raises SettingError where there is nothing to explain, MissingPackageError.
    """
    protocol, found, truth = evaluation.protocol, evaluation.found, evaluation.truth
    if evaluation.report is None:
        raise SettingError("--report was asked for on pictures without annotations; nobody knows what failed there.")
    scores, image_of = evaluation.report.to_json(), image_reader(evaluation.data, pictures)
    if isinstance(protocol, MpiiProtocol):
        order = np.sort(np.concatenate([protocol.records[image] for image in found]))
        arranged = pckh.in_record_order(found, protocol.records, num_records=len(protocol.truth))[order]
        owner = {int(place): image for image in found for place in protocol.records[image]}
        names = [owner[place] for place in order.tolist()]
        failure_report.write_pckh_report(
            directory, scores, protocol.truth.only(order), arranged, names, image_of=image_of
        )
    elif isinstance(protocol, PckProtocol):
        assert truth is not None
        failure_report.write_pck_report(directory, scores, truth, found, truth.skeleton, image_of=image_of)
    else:
        assert truth is not None
        levels = protocol.truth.levels if isinstance(protocol, CrowdPoseProtocol) else None
        failure_report.write_coco_report(
            directory, scores, truth, found, truth.skeleton,
            image_of=image_of, levels=levels, sizes=_sizes(evaluation.data),
        )  # fmt: skip
    return Path(directory) / PAGE


def check_possible(directory: str | Path) -> None:
    """Raise SettingError or MissingPackageError where no page could be written; known before hours of prediction."""
    check_page_packages()
    if Path(directory).is_file():
        raise SettingError(f"The report goes to the folder {directory}, which is a file. Name a folder.")
    check_writable(Path(directory) / PAGE)


def image_reader(data: Data, pictures: str | Path | None = None) -> ImageOf:
    """Return picture id -> (H, W, 3) uint8 BGR, None where it cannot be read."""
    if data.dataset is not None:
        dataset, places = data.dataset, {key: index for index, key in enumerate(data.dataset.ids)}
        return lambda key: _or_none(lambda: dataset[places[key]].image)
    try:
        folder = Path(pictures) if pictures is not None else datasets.default_images(Path(data.source))
    except AnnotationError:
        return lambda key: None
    names = {key: key for key in data.ids} if data.is_mpii else _file_names(data.content)
    return lambda key: _or_none(lambda: images.read(folder / str(names[key]), upright=False))


def _or_none(read: Callable[[], np.ndarray]) -> np.ndarray | None:
    try:
        return read()
    except (PictureError, KeyError):
        return None


def _file_names(content: Any) -> dict[Any, Any]:
    return {one["id"]: one["file_name"] for one in content["images"] if "file_name" in one}


def _sizes(data: Data) -> dict[Any, tuple[int, int]] | None:
    """Return the (w, h) that an annotation file states, by picture id."""
    if not isinstance(data.content, Mapping):
        return None
    sized = [one for one in data.content["images"] if one.get("width") and one.get("height")]
    return {one["id"]: (int(one["width"]), int(one["height"])) for one in sized}
