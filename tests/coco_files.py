"""Small COCO keypoint files with their pictures, made for tests."""

import json

import cv2
import numpy as np

from litepose.skeleton import COCO17

POSE = np.array(
    [(50, 12), (53, 10), (47, 10), (56, 12), (44, 12), (60, 25), (40, 25), (66, 40), (34, 40), (68, 55), (32, 55),
     (56, 55), (44, 55), (56, 75), (44, 75), (56, 95), (44, 95)], dtype=float,
)  # fmt: skip


def keypoints(offset=(0, 0), visible=2):
    """A standing COCO person, 100 px tall, as a flat list."""
    points = POSE + offset
    return [float(v) for x, y in points for v in (x, y, visible)]


def person(number=1, image=1, **fields):
    """One annotation; a field given as None is left out."""
    one = {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
           "keypoints": keypoints(), "bbox": [30, 5, 40, 95], "area": 2000.0} | fields  # fmt: skip
    return {key: value for key, value in one.items() if value is not None}


def coco(images=1, annotations=None, **fields):
    """A whole file as a dictionary; `images` is their number or the records."""
    records = [{"id": n, "file_name": f"{n}.jpg", "width": 120, "height": 110} for n in range(1, images + 1)] if (
        isinstance(images, int)) else images  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}
    people = [person()] if annotations is None else annotations
    return {"images": records, "annotations": people, "categories": [category]} | fields


def write(folder, data, *, pictures=True, size=(120, 110)):
    """Write the file and a picture for each record; return the file's path."""
    path = folder / "people.json"
    path.write_text(json.dumps(data))
    (folder / "images").mkdir(exist_ok=True)
    for number, record in enumerate(data["images"] if pictures else []):
        image = np.random.default_rng(number).integers(0, 255, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / record["file_name"]), cv2.resize(image, size))
    return path
