"""litepose's own JSON: a head that states model, keypoint names, skeleton and units once; then pictures with people."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from litepose.writers.base import UNITS, Head, OneFile, PictureResult, found_boxes, ids, rounded


def _start(head: Head) -> str:
    start = json.dumps({"format": "litepose", "version": 1, **head.to_json(), "units": UNITS})
    return f'{start[:-1]}, "pictures": [\n'


def _picture(result: PictureResult, image_id: int) -> list[str]:
    poses = result.poses
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1)
    boxes = found_boxes(poses)
    people: list[dict[str, Any]] = []
    for n, track_id in enumerate(ids(poses)):
        person: dict[str, Any] = {
            "score": round(float(poses.scores[n]), 4),
            "box": rounded(boxes[n], 2),
            "keypoints": [rounded(triple, 3) for triple in triples[n]],
        }
        people.append(person if track_id is None else person | {"track_id": track_id})
    picture: dict[str, Any] = {"file": result.name}
    if result.frame is not None:
        picture["frame"] = result.frame
    if result.time_s is not None:
        picture["time_s"] = round(result.time_s, 6)
    return [json.dumps(picture | {"width": result.size[0], "height": result.size[1], "people": people})]


LITEPOSE = OneFile(start=_start, entries=_picture, between=",\n", end="]}\n", explains_itself=True)
