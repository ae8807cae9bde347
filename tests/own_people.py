"""A small annotation file of one's own: drawn people with keypoints that no built-in skeleton has."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images
from litepose.datasets.synthetic import SyntheticPeople
from litepose.skeleton import MPII16

# Our name of a drawn keypoint -> the file's.
NAMES = {
    "head_top": "crown", "neck": "neck", "left_shoulder": "LShoulder", "right_shoulder": "RShoulder",
    "left_wrist": "hand_l", "right_wrist": "hand_r", "left_ankle": "foot_l", "right_ankle": "foot_r",
}  # fmt: skip
DANCER = ("crown", "neck", "left_shoulder", "right_shoulder", "hand_l", "hand_r", "foot_l", "foot_r")
LIMBS = [[1, 2], [2, 3], [2, 4], [3, 5], [4, 6], [2, 7], [2, 8]]
PLAIN = "dancer"


@cache
def scenes(count: int, side: int) -> list[Any]:
    drawn = SyntheticPeople((side, side), (1, 2), skeleton=MPII16, seed=5)
    return [drawn[i] for i in range(count)]


def write_dancers(folder: Path, *, count: int = 24, side: int = 96, boxes: bool = False, **changes: Any) -> Path:
    """Write pictures and dancers.json of them; `changes` replace whole fields of the file."""
    kept = [MPII16.index(name) for name in NAMES]
    records, people = [], []
    for i, scene in enumerate(scenes(count, side)):
        records.append({"id": i + 1, "file_name": f"{i:03}.png", "width": side, "height": side})
        images.write(folder / "images" / f"{i:03}.png", scene.image)
        for row in range(len(scene)):
            points = scene.keypoints[row, kept].ravel().tolist()
            one = {"id": len(people), "image_id": i + 1, "category_id": 1, "keypoints": points}
            x1, y1, x2, y2 = np.asarray(scene.boxes[row], dtype=float)
            size = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(scene.areas[row])} if boxes else {}
            people.append({**one, **size})
    category = {"id": 1, "name": PLAIN, "keypoints": list(NAMES.values()), "skeleton": LIMBS}
    content = {"images": records, "annotations": people, "categories": [category], **changes}
    path = folder / "dancers.json"
    path.write_text(json.dumps(content))
    return path
