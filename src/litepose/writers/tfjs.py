"""What tfjs' pose-detection returns from estimatePoses, one line of JSON for each picture.

Source: tensorflow/tfjs-models, pose-detection/src/types.ts: score, keypoints with x, y, score and name, box, and `id`
where people are tracked; pixels, snake_case names.
"""

from __future__ import annotations

from typing import Any

from litepose.writers.base import OneFile, PictureResult, found_boxes, ids, line, nothing


def _poses(result: PictureResult, image_id: int) -> list[str]:
    poses, boxes = result.poses, found_boxes(result.poses).astype(float).round(3).tolist()
    people: list[dict[str, Any]] = []
    for n, track_id in enumerate(ids(poses)):
        left, top, right, bottom = boxes[n]
        person: dict[str, Any] = {
            "score": round(float(poses.scores[n]), 4),
            "keypoints": [
                {"x": round(float(x), 3), "y": round(float(y), 3), "score": round(float(score), 4), "name": name}
                for name, (x, y), score in zip(
                    poses.skeleton.keypoints, poses.keypoints[n], poses.keypoint_scores[n], strict=True
                )
            ],
            "box": {
                "xMin": left, "yMin": top, "xMax": right, "yMax": bottom,
                "width": round(right - left, 3), "height": round(bottom - top, 3),
            },
        }  # fmt: skip
        people.append(person if track_id is None else person | {"id": track_id})
    return [line(people)]


TFJS = OneFile(start=nothing, entries=_poses, between="", end="", units="picture pixels; a line for each picture")
