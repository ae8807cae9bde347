"""COCO keypoint results, and beside them the pictures behind the ids.

The list is what COCO's and CrowdPose's evaluations load: image_id, category_id 1, keypoints x, y, score, bbox xywh,
score; `track_id` where people are tracked. An id is the number at the end of a file's name where all have one, as in
COCO, else 1, 2...; of a video the frame's number.
"""

from __future__ import annotations

import json
from typing import Any

from litepose.skeleton import Skeleton
from litepose.writers.base import Head, OneFile, PictureResult, ids


def _people(result: PictureResult, image_id: int) -> list[str]:
    records = result.poses.to_coco(image_id)
    for record, track_id in zip(records, ids(result.poses), strict=True):
        if track_id is not None:
            record["track_id"] = track_id
    return [json.dumps(record) for record in records]


def _pictures_start(head: Head) -> str:
    info: dict[str, Any] = {"model": head.model} if head.video is None else {"model": head.model, "video": head.video}
    categories = [] if head.skeleton is None else [_category(head.skeleton)]
    return f'{{"info": {json.dumps(info)}, "categories": {json.dumps(categories)}, "images": ['


def _category(skeleton: Skeleton) -> dict[str, Any]:
    limbs = [[a + 1, b + 1] for a, b in skeleton.limb_indices]  # COCO counts from 1
    return {"id": 1, "name": "person", "keypoints": list(skeleton.keypoints), "skeleton": limbs}


def _picture(result: PictureResult, image_id: int) -> list[str]:
    image: dict[str, Any] = {
        "id": image_id, "file_name": result.name, "width": result.size[0], "height": result.size[1]
    }  # fmt: skip
    if result.frame is not None:
        image["frame"] = result.frame
    if result.time_s is not None:
        image["time_s"] = round(result.time_s, 6)
    return [json.dumps(image)]


PICTURES = OneFile(start=_pictures_start, entries=_picture, between=",\n", end="]}\n")
COCO = OneFile(
    start=lambda head: "[", entries=_people, between=",\n", end="]\n", explains_itself=True,
    beside=(".images.json", PICTURES),
)  # fmt: skip
