"""ultralytics' outputs: label files (txt) and its lists of results (JSON), one line a picture.

Source: ultralytics, engine/results.py, save_txt and summary. A txt line is a person: class 0, box centre and size, then
x, y, score of every keypoint, places as shares of the picture's width and height, then the person's score and, where
tracked, the id; a picture without people gets no file. The JSON has pixels with five decimals. Frames of a video are
NAME_1.txt, ...
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litepose.writers.base import FileEach, OneFile, PictureResult, found_boxes, ids, line, nothing, rounded

TXT_UNITS = "shares of width and height: class, box centre x, y, width, height; x, y, score of each keypoint; score; id"


def _labels(result: PictureResult) -> tuple[str, str] | None:
    if not len(result.poses):
        return None
    name = Path(result.name)
    ending = ".txt" if result.frame is None else f"_{result.frame + 1}.txt"
    return str(name.with_name(name.stem + ending)), "".join(_label(result, n) for n in range(len(result.poses)))


def _label(result: PictureResult, person: int) -> str:
    poses, size = result.poses, np.array(result.size, dtype=np.float64)
    box = found_boxes(poses)[person].astype(np.float64)
    middle, extent = (box[:2] + box[2:]) / 2 / size, (box[2:] - box[:2]) / size
    scores = np.clip(poses.keypoint_scores[person], 0, 1)
    places = np.where(poses.found[person][:, None], poses.keypoints[person] / size, 0)
    numbers = [*middle, *extent, *np.concatenate([places, scores[:, None]], axis=1).ravel(), poses.scores[person]]
    track_id = ids(poses)[person]
    end = "" if track_id is None else f" {track_id}"
    return f"0 {' '.join(f'{number:.6g}' for number in numbers)}{end}\n"


def _results(result: PictureResult, image_id: int) -> list[str]:
    poses, boxes = result.poses, found_boxes(result.poses)
    people: list[dict[str, Any]] = []
    for n, track_id in enumerate(ids(poses)):
        person: dict[str, Any] = {
            "name": "person",
            "class": 0,
            "confidence": round(float(poses.scores[n]), 5),
            "box": dict(zip(("x1", "y1", "x2", "y2"), rounded(boxes[n], 5), strict=True)),
        }
        if track_id is not None:
            person["track_id"] = track_id
        person["keypoints"] = {
            "x": rounded(poses.keypoints[n, :, 0], 5),
            "y": rounded(poses.keypoints[n, :, 1], 5),
            "visible": rounded(poses.keypoint_scores[n], 5),
        }
        people.append(person)
    return [line(people)]


TXT = FileEach(_labels, units=TXT_UNITS)
JSON = OneFile(start=nothing, entries=_results, between="", end="", units="picture pixels; a line for each picture")
