"""Everything that is wrong with an annotation file and its pictures, listed rather than stopped at.

"Broken" is what training would refuse or leave out; a "note" is what it copes with (sizes that differ from the picture,
points outside, people without keypoints).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose import images as pictures
from litepose.datasets import as_object, default_images, mpii, parsed
from litepose.datasets.coco_checks import person_categories, require, skeleton_of
from litepose.errors import AnnotationError, PictureError, SkeletonError
from litepose.geometry import size_of
from litepose.skeleton import MPII16

THREADS = 4


@dataclass(frozen=True)
class Finding:
    """One thing found. where: the picture or annotation, with what was seen."""

    kind: str
    broken: bool
    where: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` saw. counts: of pictures, people and keypoints."""

    annotations: str
    counts: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> bool:
        return any(one.broken for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "annotations": self.annotations,
            "broken": self.broken,
            "counts": self.counts,
            "kinds": dict(Counter(one.kind for one in self.findings)),
            "findings": [asdict(one) for one in self.findings],
        }


def verify(annotations: str | Path, *, images: str | Path | None = None, deep: bool = True) -> VerifyReport:
    """Look at every record and every picture. Raises AnnotationError where the file as a whole is unusable.

    deep: decode the pictures; else their headers are read, and the ends of JPEGs.
    """
    path = Path(annotations)
    content = parsed(path)
    return verify_content(content, path, Path(images) if images is not None else None, deep=deep)


def verify_content(content: Any, path: Path, images: Path | None, *, deep: bool) -> VerifyReport:
    """Do what `verify` does with a parsed file; its path is for messages and, without `images`, for their folder."""
    name = str(path)
    if mpii.looks_like(content):
        return _verify_mpii(content, name, images or default_images(path), deep=deep)
    data = as_object(content, path)
    records, people = require(data, "images", list, name), require(data, "annotations", list, name)
    categories = person_categories(data, name)
    try:
        num_keypoints = skeleton_of(data, name, None).num_keypoints
    except (AnnotationError, SkeletonError) as error:
        return VerifyReport(name, {"pictures": len(records)}, (Finding("no skeleton", True, str(error)),))
    findings = list(_record_findings(records))
    whole = [record for record in records if _has(record, "id") and _has(record, "file_name")]
    sizes, unread = _picture_sizes(whole, images or default_images(path), deep=deep)
    findings += [*unread, *_size_findings(whole, sizes)]
    listed = {record["id"]: sizes.get(record["id"]) for record in whole}
    mine = [one for one in people if not isinstance(one, dict) or _is_person(one, categories)]
    findings += _annotation_findings(mine, listed, num_keypoints)
    with_people = {one["image_id"] for one in mine if _has(one, "image_id")}
    negatives = sum(record["id"] not in with_people for record in whole)
    if not mine:
        findings.append(Finding("no people at all", False, "all pictures serve as negatives"))
    labelled = [_labelled(one) for one in mine]
    counts = {
        "pictures": len(records),
        "pictures without people": negatives,
        "people": len(mine),
        "people with keypoints": sum(count > 0 for count in labelled),
        "keypoints": sum(labelled),
    }
    return VerifyReport(name, counts, tuple(findings))


def _has(record: Any, field: str) -> bool:
    return isinstance(record, dict) and isinstance(record.get(field), (int, str))


def _labelled(annotation: Any) -> int:
    found = annotation.get("keypoints") if isinstance(annotation, dict) else None
    return sum(isinstance(v, (int, float)) and v > 0 for v in found[2::3]) if isinstance(found, list) else 0


def _is_person(annotation: dict[str, Any], categories: set[Any] | None) -> bool:
    return categories is None or annotation.get("category_id") in categories


def _record_findings(records: list[Any]) -> Iterator[Finding]:
    seen_ids: Counter[Any] = Counter()
    seen_files: Counter[str] = Counter()
    for number, record in enumerate(records):
        missing = [field for field in ("id", "file_name") if not _has(record, field)]
        if missing:
            yield Finding("image without " + " and ".join(missing), True, f"image number {number}")
            continue
        seen_ids[record["id"]] += 1
        seen_files[str(record["file_name"])] += 1
    yield from (Finding("image id repeated", True, f"image {one}, {n} times") for one, n in seen_ids.items() if n > 1)
    for one, n in seen_files.items():
        if n > 1:
            yield Finding("picture listed more than once", False, f"{one}, {n} times")


def _picture_sizes(
    records: list[dict[str, Any]], folder: Path, *, deep: bool
) -> tuple[dict[Any, tuple[int, int]], list[Finding]]:
    """Look at every picture: (w, h) by image id, and what could not be read."""

    def size_or_finding(record: dict[str, Any]) -> tuple[int, int] | Finding:
        path = folder / str(record["file_name"])
        if not path.is_file():
            return Finding("picture missing", True, str(path))
        try:
            return size_of(pictures.read(path, upright=False)) if deep else pictures.stored_size(path)
        except PictureError as error:
            return Finding("picture unreadable", True, str(error))

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(size_or_finding, records))
    sizes = {record["id"]: one for record, one in zip(records, found, strict=True) if isinstance(one, tuple)}
    return sizes, [one for one in found if isinstance(one, Finding)]


def _size_findings(records: list[dict[str, Any]], sizes: dict[Any, tuple[int, int]]) -> Iterator[Finding]:
    for record in records:
        size, listed = sizes.get(record["id"]), (record.get("width"), record.get("height"))
        if size is None or listed in ((None, None), size):
            continue
        kind = "width and height swapped" if listed == size[::-1] else "size differs from the picture's"
        where = f"{record['file_name']} is {size[0]}x{size[1]}, listed as {listed[0]}x{listed[1]}"
        yield Finding(kind, False, where)


def _annotation_findings(
    people: list[Any], listed: dict[Any, tuple[int, int] | None], num_keypoints: int
) -> Iterator[Finding]:
    seen: Counter[Any] = Counter()
    for number, one in enumerate(people):
        if not _has(one, "image_id"):
            yield Finding("annotation without image_id", True, f"annotation number {number}")
            continue
        where = f"annotation {one.get('id', f'number {number}')} of image {one['image_id']}"
        if _has(one, "id"):
            seen[one["id"]] += 1
        if one["image_id"] not in listed:
            yield Finding("annotation of no listed picture", True, where)
            continue
        size = listed[one["image_id"]]
        yield from _box_findings(one.get("bbox"), size, where)
        if one.get("iscrowd") and not one.get("keypoints"):
            continue
        yield from _keypoint_findings(one, size, num_keypoints, where)
    for one, n in seen.items():
        if n > 1:
            yield Finding("annotation id repeated", True, f"annotation {one}, {n} times")


def _box_findings(box: Any, size: tuple[int, int] | None, where: str) -> Iterator[Finding]:
    if box is None:
        yield Finding("no box", False, where)
        return
    values = _numbers(box)
    if values is None or values.shape != (4,):
        yield Finding("box is not four numbers", True, f"{where}: {box!r}")
    elif not np.isfinite(values).all():
        yield Finding("box with NaN or infinity", True, f"{where}: {box}")
    elif min(values[2:]) <= 0:
        yield Finding("box without extent", False, f"{where}: {box}")
    elif size is not None and (
        min(values[:2]) < -1 or values[0] + values[2] > size[0] + 1 or values[1] + values[3] > size[1] + 1
    ):
        yield Finding("box outside the picture", False, f"{where}: {box} in {size[0]}x{size[1]}")


def _keypoint_findings(
    one: dict[str, Any], size: tuple[int, int] | None, num_keypoints: int, where: str
) -> Iterator[Finding]:
    found = one.get("keypoints")
    if found is None:
        yield Finding("no keypoints field", False, where)
        return
    values = _numbers(found)
    if values is None or values.size != 3 * num_keypoints:
        count = len(found) if isinstance(found, list) else repr(found)
        yield Finding("wrong number of keypoint values", True, f"{where}: {count}, not {3 * num_keypoints}")
        return
    points = values.reshape(-1, 3)
    if not np.isfinite(points).all():
        yield Finding("keypoints with NaN or infinity", True, where)
        return
    labelled = points[points[:, 2] > 0]
    if not len(labelled):
        yield Finding("person without keypoints", False, where)
        return
    if "num_keypoints" in one and one["num_keypoints"] != len(labelled):
        yield Finding("num_keypoints differs", False, f"{where}: {one['num_keypoints']}, labelled {len(labelled)}")
    if size is not None and ((labelled[:, :2] < -1).any() or (labelled[:, :2] > size).any()):
        yield Finding("keypoint outside the picture", False, where)
    if not set(np.unique(points[:, 2])) <= {0, 1, 2}:
        yield Finding("visibility is not 0, 1 or 2", False, where)


def _numbers(values: Any) -> np.ndarray | None:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None


# MPII's list -----------------------------------------------------------------------------------------


def _verify_mpii(records: list[Any], name: str, folder: Path, *, deep: bool) -> VerifyReport:
    """Look at a list of one record for each person; its pictures stand nowhere else."""
    people = {n: one for n, one in enumerate(records) if isinstance(one, dict) and isinstance(one.get("image"), str)}
    nameless = [n for n in range(len(records)) if n not in people]
    findings = [Finding("record without image", True, f"record number {number}") for number in nameless]
    images = list(dict.fromkeys(one["image"] for one in people.values()))
    sizes, unread = _picture_sizes([{"id": image, "file_name": image} for image in images], folder, deep=deep)
    findings += unread
    annotated = any("joints" in one for one in people.values())
    if not annotated:  # MPII's test split
        findings.append(Finding("no keypoints at all", False, "people can be found, but nothing learned or scored"))
    labelled = []
    for number, one in people.items():
        where = f"record number {number} of {one['image']}"
        keypoints = mpii_keypoints(one)
        labelled.append(0 if keypoints is None else int(np.count_nonzero(keypoints[:, 2] > 0)))
        findings += _place_findings(one, where, has_keypoints=labelled[-1] > 0)
        findings += _mpii_keypoint_findings(keypoints, sizes.get(one["image"]), where) if annotated else ()
    counts = {
        "pictures": len(images),
        "people": len(people),
        "people with keypoints": sum(count > 0 for count in labelled),
        "keypoints": sum(labelled),
    }
    return VerifyReport(name, counts, tuple(findings))


def mpii_keypoints(record: dict[str, Any]) -> np.ndarray | None:
    """Return (16, 3) float64 x, y (0-based px), mark, or None where the record holds something else."""
    points, marks = _numbers(record.get("joints", "")), _numbers(record.get("joints_vis", ""))
    count = MPII16.num_keypoints
    if points is None or marks is None or points.shape != (count, 2) or marks.shape != (count,):
        return None
    return np.column_stack([points - 1, marks])


def _mpii_keypoint_findings(
    keypoints: np.ndarray | None, size: tuple[int, int] | None, where: str
) -> Iterator[Finding]:
    if keypoints is None:
        yield Finding("not 16 joints with 16 marks", True, where)
        return
    labelled = keypoints[keypoints[:, 2] > 0]
    if not np.isfinite(keypoints).all():
        yield Finding("keypoints with NaN or infinity", True, where)
    elif not len(labelled):
        yield Finding("person without keypoints", False, where)
    elif size is not None and ((labelled[:, :2] < -1).any() or (labelled[:, :2] > size).any()):
        yield Finding("keypoint outside the picture", False, where)


def _place_findings(record: dict[str, Any], where: str, *, has_keypoints: bool) -> Iterator[Finding]:
    """Look at centre and scale, for which the box of the keypoints can stand in."""
    center, scale = _numbers(record.get("center", "")), _numbers(record.get("scale", ""))
    if center is None or scale is None or center.shape != (2,) or scale.shape != ():
        yield Finding("centre and scale are not two numbers and one", True, where)
    elif not (np.isfinite(center).all() and np.isfinite(scale) and scale > 0):
        yield Finding("centre or scale cannot be used", not has_keypoints, where)
    elif center[0] == -1:
        yield Finding("no centre", False, where)
