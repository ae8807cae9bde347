"""The network that reads painted dots, behind convolutions that let the picture pass: something to quantize."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import helper, numpy_helper

from dot_model import SKELETON, crop_spec, dot_spec, lay_out, paint, write_crop_model, write_dot_model
from litepose.files import write_json

SIZE = (192, 192)
PASS = np.eye(3, dtype=np.float32)
# A fourth channel of a thousand times the range, which the next layer drops: as int8, the picture between is lost.
SPOIL = np.concatenate([PASS, 1000 * PASS[:1]])
DROP = np.concatenate([PASS, np.zeros((3, 1), np.float32)], axis=1)
HARMLESS = (PASS, PASS, PASS)
SPOILING = (PASS, PASS, SPOIL, DROP, PASS)


def write_layered_dots(path: Path, weights: Sequence[np.ndarray] = HARMLESS, *, crops: bool = False) -> Path:
    """Write the dot model behind 1x1 convolutions named conv0, conv1...; crops: the top-down one."""
    if crops:
        write_crop_model(path, spec=crop_spec(size=SIZE))
    else:
        write_dot_model(path, spec=dot_spec(size=SIZE))
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.input[:] = ["seen" if name == "image" else name for name in node.input]
    names = ["image", *(f"conv{number}" for number in range(len(weights) - 1)), "seen"]
    for number in reversed(range(len(weights))):
        weight = numpy_helper.from_array(np.ascontiguousarray(weights[number][..., None, None]), f"weight{number}")
        model.graph.initializer.append(weight)
        model.graph.node.insert(0, helper.make_node("Conv", [names[number], weight.name], [names[number + 1]]))
    onnx.save(model, str(path))
    return path


def write_pictures(folder: Path, counts: Sequence[int] = (1, 1, 1)) -> Path:
    """Write a PNG for each number of people."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, count in enumerate(counts):
        cv2.imwrite(str(folder / f"{number + 1}.png"), paint(lay_out(count, SIZE), SIZE))
    return folder


def write_annotated(folder: Path, counts: Sequence[int] = (1, 1)) -> Path:
    """Write pictures and their COCO file; return the file."""
    write_pictures(folder / "images", counts)
    images = [
        {"id": n + 1, "file_name": f"{n + 1}.png", "width": SIZE[0], "height": SIZE[1]} for n in range(len(counts))
    ]
    people = []
    for image, count in zip(images, counts, strict=True):
        for keypoints in lay_out(count, SIZE):
            low, high = keypoints.min(axis=0) - 12, keypoints.max(axis=0) + 12
            marked = np.concatenate([keypoints, np.full((len(keypoints), 1), 2)], axis=1)
            people.append({
                "id": len(people) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": 0,
                "keypoints": marked.ravel().tolist(), "num_keypoints": len(keypoints),
                "bbox": [*low.tolist(), *(high - low).tolist()], "area": float(np.prod(high - low)),
            })  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(SKELETON.keypoints), "skeleton": []}
    write_json(folder / "people.json", {"images": images, "annotations": people, "categories": [category]})
    return folder / "people.json"
