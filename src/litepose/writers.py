"""Result files: the people of many pictures as COCO results, OpenPose files or litepose's own JSON.

- coco: a list of COCO keypoint results (what COCO's evaluation loads) and, beside it, NAME.images.json with the
  pictures behind the ids. An id is the number at the end of a file's name where all have one, as in COCO, else 1, 2...
- openpose: a folder with NAME_keypoints.json for each picture, fields of OpenPose's version 1.3, 18 keypoints.
- litepose: one file whose head states model, keypoint names, skeleton and units once; then pictures with people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import SettingError, nearest_name
from litepose.files import check_writable, picture_ids, write_json
from litepose.poses import Poses
from litepose.skeleton import OPENPOSE18

OPENPOSE_LISTS = ("face", "hand_left", "hand_right")  # parts we do not find, but readers expect the fields


@dataclass(frozen=True)
class PictureResult:
    """The people of one picture. name: how output files call it. size: (w, h)."""

    name: str
    size: tuple[int, int]
    poses: Poses


def write_results(path: str | Path, results: Sequence[PictureResult], *, format: str, model: str) -> list[Path]:
    """Write the people of all pictures; return the files written. `path` is a folder for the format openpose.

    model: named in the head of litepose's own format. Raises SettingError.
    """
    check_target(path, format)
    return WRITERS[format](Path(path), results, model)


def check_target(path: str | Path | None, format: str) -> None:
    """Raise SettingError where `write_results` could not write: known before any picture is read."""
    if format not in WRITERS:
        raise SettingError(f"No result format {format!r}. {nearest_name(format, WRITERS)}")
    if path is None:
        return
    if format == "openpose" and Path(path).is_file():
        raise SettingError(f"The format openpose writes a file for each picture; {path} is a file. Name a folder.")
    if format != "openpose" and Path(path).is_dir():
        raise SettingError(f"The format {format} writes one file; {path} is a folder. Name a file in it.")
    check_writable(Path(path) / "people.json" if format == "openpose" else path)


def _write_coco(path: Path, results: Sequence[PictureResult], model: str) -> list[Path]:
    ids = picture_ids([result.name for result in results])
    records = [record for i, result in zip(ids, results, strict=True) for record in result.poses.to_coco(i)]
    images = [
        {"id": i, "file_name": result.name, "width": result.size[0], "height": result.size[1]}
        for i, result in zip(ids, results, strict=True)
    ]
    categories = [_coco_category(results[0].poses)] if results else []
    beside = path.with_suffix(".images.json")
    write_json(path, records)
    write_json(beside, {"info": {"model": model}, "images": images, "categories": categories})
    return [path, beside]


def _coco_category(poses: Poses) -> dict[str, Any]:
    skeleton = poses.skeleton
    limbs = [[a + 1, b + 1] for a, b in skeleton.limb_indices]  # COCO counts from 1
    return {"id": 1, "name": "person", "keypoints": list(skeleton.keypoints), "skeleton": limbs}


def _write_openpose(folder: Path, results: Sequence[PictureResult], model: str) -> list[Path]:
    written = []
    for result in results:
        name = Path(result.name)
        path = folder / name.with_name(f"{name.stem}_keypoints.json")
        if path in written:  # a.jpg and a.png
            path = folder / name.with_name(f"{name.name}_keypoints.json")
        write_json(path, {"version": 1.3, "people": [_openpose_person(triples) for triples in _openpose(result.poses)]})
        written.append(path)
    return written


def _openpose(poses: Poses) -> np.ndarray:
    """Return x, y, score in [0, 1] of OpenPose's 18 keypoints: (N, 18, 3), zeros where not found.

    A skeleton without a neck gets it in the middle of the shoulders, as sure as the less sure of them.
    """
    mapped = poses.mapped_to(OPENPOSE18)
    scores = np.clip(mapped.keypoint_scores, 0, 1)
    triples = np.concatenate([mapped.keypoints, scores[..., None]], axis=-1)
    if "neck" not in poses.skeleton.keypoints:
        shoulders = triples[:, [OPENPOSE18.index("left_shoulder"), OPENPOSE18.index("right_shoulder")]]
        neck = np.concatenate([shoulders[..., :2].mean(axis=1), shoulders[..., 2:].min(axis=1)], axis=-1)
        triples[:, OPENPOSE18.index("neck")] = neck
    return np.where(triples[..., 2:] > 0, triples, 0)


def _openpose_person(triples: np.ndarray) -> dict[str, Any]:
    person: dict[str, Any] = {"person_id": [-1], "pose_keypoints_2d": _rounded(triples.ravel(), 3)}
    person |= {f"{part}_keypoints_2d": [] for part in OPENPOSE_LISTS}
    return person | {f"{part}_keypoints_3d": [] for part in ("pose", *OPENPOSE_LISTS)}


def _write_litepose(path: Path, results: Sequence[PictureResult], model: str) -> list[Path]:
    head: dict[str, Any] = {"format": "litepose", "version": 1, "model": model}
    if results:
        skeleton = results[0].poses.skeleton
        head["skeleton"] = {"name": skeleton.name, "limbs": [list(limb) for limb in skeleton.limbs]}
        head["keypoints"] = list(skeleton.keypoints)
    head["units"] = (
        "picture pixels, the middle of the first pixel is (0, 0); a keypoint is [x, y, score], score 0 = not found"
    )
    write_json(path, {**head, "pictures": [_litepose_picture(result) for result in results]})
    return [path]


def _litepose_picture(result: PictureResult) -> dict[str, Any]:
    poses = result.poses
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1)
    boxes = poses.keypoint_boxes if poses.boxes is None else poses.boxes
    people: list[dict[str, Any]] = [
        {
            "score": round(float(poses.scores[n]), 4),
            "box": _rounded(boxes[n], 2),
            "keypoints": [_rounded(triple, 3) for triple in triples[n]],
        }
        for n in range(len(poses))
    ]
    if poses.track_ids is not None:
        for person, track_id in zip(people, poses.track_ids.tolist(), strict=True):
            person["track_id"] = track_id
    return {"file": result.name, "width": result.size[0], "height": result.size[1], "people": people}


def _rounded(values: np.ndarray, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


WRITERS: dict[str, Callable[[Path, Sequence[PictureResult], str], list[Path]]] = {
    "coco": _write_coco,
    "litepose": _write_litepose,
    "openpose": _write_openpose,
}
