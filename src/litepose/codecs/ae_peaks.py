"""Peaks that an exported file found by itself: the first half of decoding associative embedding, inside the graph.

Such a file gives no maps but, for each keypoint, its highest peaks: a few thousand numbers instead of a million. They
are the candidates of `mode` "fast" at the network's resolution. What needs whole maps is not possible with them:
filling in missing keypoints (`refine`), merging passes, and showing heatmaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.codecs.base import Pass, check_finite
from litepose.codecs.grouping import Candidates
from litepose.errors import SettingError

HEAT, X, Y, TAGS = 0, 1, 2, 3  # columns; the tags are the last


@dataclass(frozen=True)
class AEPeaks:
    """(K, M, 3 + T) float32: heat, x, y in cells of the finest output, already within the cell, tags; highest first."""

    rows: np.ndarray

    def candidates(self, above: float) -> Candidates:
        """Return the peaks with more heat than `above`. Raises ModelError where heats or their tags are not finite."""
        check_finite(self.rows[..., HEAT], "heatmaps")
        keypoints, places = np.nonzero(self.rows[..., HEAT] > above)
        rows = self.rows[keypoints, places]
        check_finite(rows, "tags")
        return Candidates(keypoints, rows[:, X : Y + 1], rows[:, HEAT], rows[:, TAGS:])


def only_pass(passes: Sequence[Pass]) -> AEPeaks:
    """Return what one forward pass gave. Raises SettingError for several: peaks cannot be averaged."""
    if len(passes) != 1 or passes[0].mirrored or passes[0].scale != 1:
        raise SettingError(
            "This model file finds peaks by itself, so that maps of several passes cannot be merged; asked were "
            "mirrored or scaled passes. Leave out --flip and --scales, or export the model without --peaks."
        )
    return AEPeaks(np.asarray(passes[0].outputs[0], dtype=np.float32))
