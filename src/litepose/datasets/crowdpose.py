"""CrowdPose annotation files (Li et al. 2019), which look like COCO's and differ.

Traps, and what is done: no `area` and no `segmentation` (0.53 w h as its evaluator does, nothing ignored);
`num_keypoints` counts the first 12 only (counted anew); head and neck always have v=1 (kept); the category's limbs are
COCO's and wrong here (the built-in skeleton is used); width and height are swapped in some records (the picture's own
size counts, and the first difference is said).
"""

from __future__ import annotations

from typing import Any

from litepose.datasets.coco import CocoDataset
from litepose.skeleton import CROWDPOSE14, Skeleton


def looks_like(data: Any) -> bool:
    """Return whether parsed JSON is CrowdPose's: its pictures carry `crowdIndex`."""
    images = data.get("images") if isinstance(data, dict) else None
    return isinstance(images, list) and bool(images) and isinstance(images[0], dict) and "crowdIndex" in images[0]


def open_parsed(data: dict[str, Any], *, skeleton: Skeleton | None = None, **options: Any) -> CocoDataset:
    """Return CrowdPose's people, on their own skeleton; nothing of it is ignored, as in the reference.

    options: as in `CocoDataset`. Raises AnnotationError.
    """
    return CocoDataset(data, skeleton=CROWDPOSE14, native=True, **options)
