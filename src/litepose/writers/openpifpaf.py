"""OpenPifPaf's JSON: lines of {"frame", "predictions"} for a video, NAME.predictions.json for pictures.

Source: openpifpaf (Kreiss et al., ITSC 2021), annotation.py, json_data, and video.py: places with two decimals, scores
with three, a keypoint that is found at least 0.01 and a person at least 0.001 sure; the first frame is 1; `id_` where
people are tracked.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from litepose.geometry import xyxy_to_xywh
from litepose.writers.base import FileEach, OneFile, PictureResult, ids, line, nothing, rounded

UNITS = "picture pixels; keypoints is x, y, score of each keypoint, 0 = not found; bbox is x, y, width, height"


def _predictions(result: PictureResult) -> list[dict[str, Any]]:
    poses = result.poses
    surest = np.where(poses.found, np.maximum(poses.keypoint_scores, 0.01), 0)
    triples = np.concatenate([poses.keypoints, surest[..., None]], axis=-1)
    boxes = xyxy_to_xywh(poses.keypoint_boxes)
    people = []
    for n, track_id in enumerate(ids(poses)):
        person: dict[str, Any] = {
            "keypoints": rounded(triples[n].ravel(), 2),
            "bbox": rounded(boxes[n], 2),
            "score": max(0.001, round(float(poses.scores[n]), 3)),
            "category_id": 1,
        }
        people.append(person if track_id is None else person | {"id_": track_id})
    return people


def _line(result: PictureResult, image_id: int) -> list[str]:
    assert result.frame is not None
    return [line({"frame": result.frame + 1, "predictions": _predictions(result)})]


VIDEO = OneFile(start=nothing, entries=_line, between="", end="", units=UNITS)
PICTURES = FileEach(lambda one: (f"{Path(one.name)}.predictions.json", line(_predictions(one))), units=UNITS)
