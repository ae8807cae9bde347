"""From an evaluation to the page that says why the model fails: what is drawn there is read anew, and only that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litepose import datasets, failure_report, images
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.evaluation.data import Data
from litepose.evaluation.run import Evaluation
from litepose.failure_report.frame import PAGE, ImageOf
from litepose.files import check_writable
from litepose.page import check_page_packages


def write_failure_report(evaluation: Evaluation, directory: str | Path, *, pictures: str | Path | None = None) -> Path:
    """Write the page and its numbers into `directory`; return the page's path.

    pictures: folder of the pictures, where only annotations were read; None = where they lie by the data set's layout.
        Without pictures the page shows none.
    Raises SettingError where there is nothing to explain, MissingPackageError.
    """
    if evaluation.report is None:
        raise SettingError("A page was asked for on pictures without annotations; nobody knows what failed there.")
    failure_report.write_failure_report(
        directory, evaluation.report, evaluation.protocol, evaluation.found, seen=evaluation.seen,
        image_of=image_reader(evaluation.data, pictures), sizes=failure_report.sizes_in(evaluation.data.content),
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
        return failure_report.reader_of(data.dataset)
    try:
        folder = Path(pictures) if pictures is not None else datasets.default_images(Path(data.source))
    except AnnotationError:
        return lambda key: None
    names = {key: key for key in data.ids} if data.is_mpii else _file_names(data.content)

    def image_of(key: Any) -> np.ndarray | None:
        try:
            return images.read(folder / str(names[key]), upright=False)
        except (KeyError, PictureError):
            return None

    return image_of


def _file_names(content: Any) -> dict[Any, Any]:
    return {one["id"]: one["file_name"] for one in content["images"] if "file_name" in one}
