"""Mean intersection over union of classes that pixels belong to, from a confusion matrix that pictures add up in.

Everingham et al. 2010, "The PASCAL Visual Object Classes Challenge", section 4.2.3; as there, the counts of all
pictures are summed before the division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.errors import AnnotationError

PROTOCOL = "miou"
IGNORED = 255  # the label of pixels that count nowhere, as in PASCAL VOC and Cityscapes


@dataclass(frozen=True)
class MiouStats:
    """Shares in [0, 1]; -1 = the class is neither in the truth nor was it found.

    mean: over the classes that occur. accuracy: the share of counted pixels whose class is right.
    """

    mean: float
    per_class: tuple[float, ...]
    accuracy: float
    num_pixels: int

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol": ..., "stats": {"mIoU": ..., "accuracy": ...}, "per_class": [...], "pixels": ...}."""
        return {
            "protocol": PROTOCOL,
            "stats": {"mIoU": self.mean, "accuracy": self.accuracy},
            "per_class": list(self.per_class),
            "pixels": self.num_pixels,
        }


def confusion(truth: np.ndarray, found: np.ndarray, num_classes: int, *, ignored: int = IGNORED) -> np.ndarray:
    """Return how many pixels of each true class (row) were given each class (column): (C, C) int64.

    truth, found: class numbers of equal shape; where truth is `ignored`, nothing counts. Raises AnnotationError.
    """
    truth, found = np.asarray(truth), np.asarray(found)
    if truth.shape != found.shape:
        raise AnnotationError(
            f"Labels of shape {truth.shape} were compared with classes of shape {found.shape}; bring both to one size."
        )
    counted = truth != ignored
    truth, found = truth[counted].astype(np.int64), found[counted].astype(np.int64)
    for what, classes in (("The truth", truth), ("The result", found)):
        if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
            raise AnnotationError(
                f"{what} holds classes {classes.min()} to {classes.max()}; possible are 0 to {num_classes - 1}, and "
                f"{ignored} in the truth for pixels that do not count."
            )
    pairs = np.bincount(truth * num_classes + found, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def mean_iou(matrix: np.ndarray) -> MiouStats:
    """Return the figures of a confusion matrix, or of the sum of several."""
    right = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - right
    occurs = union > 0
    shares = np.divide(right, union, out=np.full_like(right, -1.0), where=occurs)
    total = int(matrix.sum())
    return MiouStats(
        mean=float(shares[occurs].mean()) if occurs.any() else -1.0,
        per_class=tuple(shares.tolist()),
        accuracy=float(right.sum() / total) if total else -1.0,
        num_pixels=total,
    )
