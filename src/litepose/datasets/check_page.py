"""A page of what `check` suspects: the people cut out and drawn as labelled, the worst of each kind first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose import drawing, page
from litepose import images as pictures
from litepose.datasets import default_images
from litepose.datasets.check import KINDS, CheckReport, KindSummary, Suspicion
from litepose.datasets.labels import Labels
from litepose.errors import AnnotationError, PictureError
from litepose.files import short_name
from litepose.geometry import Warp
from litepose.poses import Poses

MOST = 24  # shown of each kind
CROP_PX = 360  # longer side
MARGIN = 0.12  # around a person, as a share of the longer side
SMALLEST_CROP_PX = 24.0
BLANK = 200  # grey, where there is no picture
MARK_COLOUR = (60, 60, 255)  # BGR, between dark rims


@dataclass(frozen=True)
class Card:
    """One suspicion as the page shows it. picture: a "data:" address, or None where there is nothing to draw."""

    suspicion: Suspicion
    file_name: str
    picture: str | None


def write_check_page(
    report: CheckReport,
    path: str | Path,
    *,
    images: str | Path | None = None,
    most: int = MOST,
    on_card: Callable[[], None] = lambda: None,
) -> None:
    """Write the page. most: suspicions shown of a kind; on_card: called after each.

    images: folder of the pictures; default as `check`'s. People are drawn on grey where a picture is missing.
    Raises MissingPackageError and SettingError.
    """
    page.check_page_packages(charts=False)
    folder = Path(images) if images is not None else _default_folder(Path(report.annotations))
    place = {picture: n for n, picture in reversed(list(enumerate(report.labels.picture_ids)))}
    rows: dict[Any, int] = {one: n for n, one in reversed(list(enumerate(report.labels.ids)))}
    sections = []
    for kind in report.kinds:
        cards = []
        for one in shown(report, kind, most):
            name = report.labels.file_names[place[one.picture]] if one.picture in place else ""
            people = [rows[number] for number in (one.annotation, *one.others) if number in rows]
            cards.append(Card(one, name, _picture(report.labels, people, one, folder and folder / name)))
            on_card()
        sections.append((kind, KINDS[kind.kind], cards))
    name = short_name(report.annotations)
    page.write_page(path, "check.html", name=name, report=report, sections=sections)


def shown(report: CheckReport, kind: KindSummary, most: int = MOST) -> list[Suspicion]:
    """Return the suspicions of a kind that the page shows."""
    return [one for one in report.suspicions if one.kind == kind.kind][:most]


def _default_folder(annotations: Path) -> Path | None:
    try:
        return default_images(annotations)
    except AnnotationError:
        return None


def _picture(labels: Labels, people: list[int], one: Suspicion, path: Path | None) -> str | None:
    """Return the crop around `people` (rows of the labels), drawn on the picture, on grey where it cannot be read."""
    frame = _frame(labels, people)
    if frame is None:
        return None
    try:
        image = pictures.read(path, upright=False) if path is not None and path.is_file() else None
    except PictureError:
        image = None
    crop = np.full((frame.size[1], frame.size[0], 3), BLANK, np.uint8) if image is None else frame.image(image)
    for row in people:
        crop = _drawn(crop, labels, row, frame)
    if people:
        _mark(crop, labels, people[0], one.keypoints, frame)
    return page.picture_uri(crop, longest_px=CROP_PX)


def _frame(labels: Labels, people: list[int]) -> Warp | None:
    """Return the warp into a crop that holds boxes and keypoints of the people, None where they have neither."""
    corners = [labels.boxes[people].reshape(-1, 2)]
    corners += [labels.keypoints[row, labels.labelled[row], :2] for row in people]
    points = np.concatenate(corners)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max((high - low).max(), SMALLEST_CROP_PX)
    low, high = low - margin, high + margin
    zoom = CROP_PX / (high - low).max()
    size = (max(1, round(float((high - low)[0] * zoom))), max(1, round(float((high - low)[1] * zoom))))
    return Warp(np.array([[zoom, 0, -zoom * low[0]], [0, zoom, -zoom * low[1]]]), size)


def _drawn(crop: np.ndarray, labels: Labels, row: int, frame: Warp) -> np.ndarray:
    """Draw one person and the listed box; hidden keypoints are fainter."""
    box = labels.boxes[row]
    if np.isfinite(box).all():
        left, top, right, bottom = np.clip(frame.points(box.reshape(2, 2)).ravel(), -1e4, 1e4).round().astype(int)
        for colour, width in ((drawing.RIM_COLOUR, 3), (drawing.COLOURS["centre"], 1)):
            cv2.rectangle(crop, (int(left), int(top)), (int(right), int(bottom)), colour, width)
    labelled = labels.labelled[[row]]
    scores = np.where(labelled, np.where(labels.keypoints[[row], :, 2] == 1, drawing.MIN_SCORE, 1.0), 0)
    places = frame.points(labels.keypoints[[row], :, :2])
    return drawing.draw(crop, Poses(labels.skeleton, places, scores, np.ones(1)))


def _mark(crop: np.ndarray, labels: Labels, row: int, keypoints: tuple[str, ...], frame: Warp) -> None:
    """Put a ring around each keypoint and, where they are few, its name beside it, in place."""
    indices = [labels.skeleton.index(name) for name in keypoints]
    places = frame.points(labels.keypoints[row, indices, :2]) if indices else np.zeros((0, 2))
    for name, (x, y) in zip(keypoints, places, strict=True):
        if not (np.isfinite([x, y]).all() and max(abs(x), abs(y)) < 1e4):
            continue
        centre = (round(float(x)), round(float(y)))
        for colour, width in ((drawing.RIM_COLOUR, 4), (MARK_COLOUR, 2)):
            cv2.circle(crop, centre, 9, colour, width, cv2.LINE_AA)
        if len(keypoints) <= 4:
            _label(crop, name.replace("_", " "), centre, leftwards=x < places[:, 0].mean())


def _label(crop: np.ndarray, text: str, centre: tuple[int, int], *, leftwards: bool) -> None:
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
    wanted = centre[0] - 12 - width if leftwards else centre[0] + 12
    left = int(np.clip(wanted, 2, max(0, crop.shape[1] - width - 2)))
    bottom = int(np.clip(centre[1] + 4, height + 2, crop.shape[0] - 3))
    for colour, thickness in ((drawing.RIM_COLOUR, 3), ((255, 255, 255), 1)):
        cv2.putText(crop, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)
