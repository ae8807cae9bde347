"""Fields of a COCO keypoint file turned into arrays, or into one clear error."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from litepose.errors import AnnotationError
from litepose.geometry import boxes_of_keypoints
from litepose.skeleton import DEFAULT_OKS_SIGMA, SKELETONS, Skeleton, canonical_name, mirror_pairs


def require(data: Mapping[str, Any], field: str, kind: type, name: str) -> Any:
    """Return `data[field]`. Raises AnnotationError where it is missing or no `kind`."""
    if field not in data:
        raise AnnotationError(
            f"{name}: field {field!r} is missing; found {', '.join(sorted(data)) or 'nothing'}. "
            "A COCO keypoint file has images, annotations and categories."
        )
    if not isinstance(data[field], kind):
        raise AnnotationError(f"{name}: {field!r} is a {type(data[field]).__name__}; a {kind.__name__} is needed.")
    return data[field]


def person_categories(data: Mapping[str, Any], name: str) -> set[Any] | None:
    """Return the ids of the categories with keypoints; None = all annotations are people."""
    categories = data.get("categories")
    if not categories:
        return None
    if not isinstance(categories, list) or not all(isinstance(one, dict) for one in categories):
        raise AnnotationError(f"{name}: 'categories' must be a list of objects with id, name and keypoints.")
    with_keypoints = {one.get("id") for one in categories if one.get("keypoints")}
    return with_keypoints or {one.get("id") for one in categories if one.get("name") == "person"} or None


def skeleton_of(data: Mapping[str, Any], name: str, given: Skeleton | None) -> Skeleton:
    """Return the skeleton that the file's category names, built in where one fits; else the one `given`."""
    categories = [one for one in data.get("categories") or () if one.get("keypoints")]
    if not categories:
        if given is None:
            raise AnnotationError(
                f"{name}: no category names its keypoints, so their order is unknown. Add them to the file or give "
                f"the skeleton: {', '.join(SKELETONS)} or a JSON file."
            )
        return given
    category = categories[0]
    if any(one["keypoints"] != category["keypoints"] for one in categories):
        raise AnnotationError(
            f"{name}: its categories name different keypoints; one dataset has one skeleton. Split the file."
        )
    names = tuple(canonical_name(str(one)) for one in category["keypoints"])
    for known in SKELETONS.values():
        if names == known.keypoints:
            return known
    return _custom_skeleton(str(category.get("name", "custom")), names, category.get("skeleton") or ())


def _custom_skeleton(name: str, keypoints: tuple[str, ...], limbs: Sequence[Any]) -> Skeleton:
    """Build a skeleton from COCO's fields; sigmas as built in by name. Limbs are 1-based, but where one names a 0."""
    sigmas = {key: value for one in reversed(SKELETONS.values())
              for key, value in zip(one.keypoints, one.oks_sigmas, strict=True)}  # fmt: skip
    whole = [pair for pair in limbs if isinstance(pair, list) and [type(one) for one in pair] == [int, int]]
    first = 0 if any(0 in pair for pair in whole) else 1
    pairs = [(a - first, b - first) for a, b in whole]
    return Skeleton(
        name=name,
        keypoints=keypoints,
        limbs=tuple((keypoints[a], keypoints[b]) for a, b in pairs if max(a, b) < len(keypoints) and min(a, b) >= 0),
        oks_sigmas=tuple(sigmas.get(one, DEFAULT_OKS_SIGMA) for one in keypoints) if set(keypoints) & set(sigmas)
        else (),
        mirror=mirror_pairs(keypoints),
    )  # fmt: skip


def has_keypoints(annotation: Mapping[str, Any], name: str) -> bool:
    """Return whether any keypoint is labelled. Raises AnnotationError where the field is no list of numbers."""
    found = annotation.get("keypoints") or []
    if not isinstance(found, list) or not all(isinstance(value, (int, float)) for value in found):
        raise AnnotationError(
            f"{name}: annotation {annotation.get('id')} of picture {annotation['image_id']} has the keypoints "
            f"{str(found)[:60]}; a list of numbers x, y, visible, ... is needed."
        )
    return any(value > 0 for value in found[2::3])


def is_box(value: Any) -> bool:
    """Return whether a value is four finite numbers."""
    return _is_four_numbers(value) and bool(np.isfinite(value).all())


def _is_four_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(isinstance(one, (int, float)) for one in value)


def keypoint_array(annotations: list[dict[str, Any]], skeleton: Skeleton, name: str) -> np.ndarray:
    """Return (N, K, 3) float32 x, y, visible; values that are no numbers become "not labelled", with a warning."""
    wanted = 3 * skeleton.num_keypoints
    for one in annotations:
        found = one["keypoints"]
        if not isinstance(found, list) or len(found) != wanted:
            raise AnnotationError(
                f"{name}: annotation {one.get('id')} of picture {one['image_id']} has "
                f"{len(found) if isinstance(found, list) else found!r} keypoint values; {skeleton.name} needs {wanted} "
                f"(x, y, visible for each of {skeleton.num_keypoints}). Repair it or give the right skeleton."
            )
    table = np.array([one["keypoints"] for one in annotations], dtype=np.float32)
    table = table.reshape(-1, skeleton.num_keypoints, 3)
    broken = np.logical_not(np.all(np.isfinite(table), axis=-1))
    if broken.any():
        first = annotations[int(np.flatnonzero(np.any(broken, axis=1))[0])]
        warnings.warn(
            f"{name}: {int(broken.sum())} keypoints are NaN or infinite (the first in annotation {first.get('id')} of "
            f"picture {first['image_id']}); they count as not labelled.",
            stacklevel=4,
        )
    table[broken | ~(table[..., 2] > 0)] = 0
    return table


def box_array(annotations: list[dict[str, Any]], keypoints: np.ndarray, name: str) -> np.ndarray:
    """Return (N, 4) float32 xyxy; a missing box, or one that is no box, becomes that of the keypoints."""
    tight = boxes_of_keypoints(keypoints[..., :2], keypoints[..., 2] > 0)
    boxes = np.zeros((len(annotations), 4), dtype=np.float32)
    replaced = []
    for row, one in enumerate(annotations):
        found = one.get("bbox")
        if found is not None and not _is_four_numbers(found):
            raise AnnotationError(
                f"{name}: annotation {one.get('id')} of picture {one['image_id']} has the box {found!r}; "
                "four numbers x, y, width, height are needed."
            )
        if found is None or not np.isfinite(found).all() or min(found[2:]) <= 0:
            boxes[row] = tight[row]
            replaced += [one] if found is not None else []
            continue
        x, y, w, h = found
        boxes[row] = (x, y, x + w, y + h)
    if replaced:
        warnings.warn(
            f"{name}: {len(replaced)} boxes are NaN or empty (the first in annotation {replaced[0].get('id')} of "
            f"picture {replaced[0]['image_id']}); the boxes of their keypoints are used.",
            stacklevel=4,
        )
    return boxes
