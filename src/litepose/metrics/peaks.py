"""How often the peaks of heatmaps lie where the targets have theirs: the quick look that top-down trainings log.

Sources: zhang943/lpn-pytorch@f397525 (lib/core/evaluate.py, accuracy) and mmpose 0.13 (pose_pck_accuracy), which are
one measure: a peak is right within a twentieth of the map. Kept from both: x is measured in map heights and y in map
widths. It needs no annotation but the targets, and compares with no published number.
"""

from __future__ import annotations

import numpy as np

from litepose.codecs.heatmap_peaks import highest_cells

THRESHOLD = 0.05


def peak_accuracy(
    outputs: np.ndarray, targets: np.ndarray, *, counted: np.ndarray | None = None, threshold: float = THRESHOLD
) -> np.ndarray:
    """Return for each keypoint the share of people whose peak is right: (K,) float64, -1 where none counts.

    outputs, targets: (B, K, h, w). counted: (B, K) bool (mmpose: of a weight above 0); None = where the target's peak
    lies beyond cell 1 on both axes (LPN). A map without a positive value has its peak at (0, 0) for LPN's rule, at
    (-1, -1) for mmpose's.
    """
    height, width = targets.shape[2:]
    missing = 0 if counted is None else -1
    found, wanted = (_peaks(maps, missing) for maps in (outputs, targets))
    valid = np.all(wanted > 1, axis=-1) if counted is None else counted
    distances = np.linalg.norm((found - wanted) / (height, width), axis=-1)  # (B, K)
    right = ((distances < threshold) & valid).sum(axis=0)
    total = valid.sum(axis=0)
    return np.divide(right, total, out=np.full(len(total), -1.0), where=total > 0)


def mean_accuracy(shares: np.ndarray) -> float:
    """Return the mean of the keypoints' shares that are not -1; 0 without any."""
    known = shares[shares >= 0]
    return float(known.mean()) if len(known) else 0.0


def _peaks(maps: np.ndarray, missing: int) -> np.ndarray:
    """Return the highest cells, `missing` where nothing is above 0: (B, K, 2) x, y."""
    cells, heats = highest_cells(maps.reshape(-1, *maps.shape[2:]))
    return np.where(heats[:, None] > 0, cells, missing).reshape(*maps.shape[:2], 2)
