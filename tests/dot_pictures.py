"""Annotated pictures of dotted people, which `write_dot_model`'s network finds, as a COCO file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dot_model import K, lay_out, paint
from litepose.skeleton import COCO17

SIZE = (512, 512)


def write_dot_pictures(folder: Path, *, count: int, people: int = 2, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Write images/1.png, ... below `folder` and truth.json; return what that holds. Every picture is the same."""
    (folder / "images").mkdir(parents=True)
    everybody = lay_out(people, size)
    png = cv2.imencode(".png", paint(everybody, size))[1].tobytes()
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        (folder / "images" / f"{image_id}.png").write_bytes(png)
        for keypoints in everybody:
            low, high = keypoints.min(axis=0) - 10, keypoints.max(axis=0) + 10
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": K,
                "keypoints": np.column_stack([keypoints, np.full(K, 2)]).ravel().tolist(),
                "bbox": [*low.tolist(), *(high - low).tolist()], "area": float((high - low).prod()),
            })  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": size[0], "height": size[1]} for i in range(1, count + 1)]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(data))
    return data
