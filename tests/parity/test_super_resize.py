"""How the authors' supernet training moves its targets to a step's input size, and what a made target is instead.

mit-han-lab/litepose@00b702d draws the targets once, for 512 px, resizes heatmaps to the nearest cell and moves the flat
tag indices by arithmetic that takes the rows of every map for 512 cells long. The arithmetic stands here, and only
here, for the record: litepose makes the targets anew for each size (`training.supernet`).
"""

from __future__ import annotations

import numpy as np
import pytest

from litepose.codecs import AECodec
from litepose.codecs.ae_targets import AETargets
from litepose.poses import Sample
from litepose.skeleton import CROWDPOSE14
from parity.fixtures import cases, load_case

TOPIC = "ae-super-resize"
ROW = 512  # what the authors take for the length of a row
LOADED = 512  # px, the size for which their loader draws


def displaced(indices: np.ndarray, size: int) -> np.ndarray:
    """Move flat indices (keypoint * cells + y * width + x) of any of the maps to an input size, as the authors do."""
    x, y = (indices % ROW) * size // LOADED, (indices // ROW) * size // LOADED
    return y * size + x


@pytest.mark.parametrize("case", cases(TOPIC))
def test_the_authors_arithmetic_is_this(case):
    about, arrays = load_case(TOPIC, case)
    for output in (0, 1):
        before, after = arrays[f"joints_in_{output}"].astype(np.int64), arrays[f"joints_out_{output}"]
        np.testing.assert_array_equal(displaced(before[..., 0], about["img_size"]), after[..., 0])
        np.testing.assert_array_equal(before[..., 1], after[..., 1])


@pytest.mark.parametrize("case", cases(TOPIC))
def test_the_authors_heatmaps_are_ours_of_512_px_at_the_nearest_cells(case):
    about, arrays = load_case(TOPIC, case)
    drawn = _targets(arrays["people"], LOADED).heatmaps[0]
    cells = np.arange(about["img_size"] // 4) * LOADED // about["img_size"]
    wanted = arrays["heatmaps_out_0"].astype(np.float32)
    np.testing.assert_allclose(drawn[:, cells][:, :, cells], wanted, atol=5e-4)  # the fixture is in half precision


@pytest.mark.parametrize("case", cases(TOPIC))
def test_made_targets_have_their_peaks_and_tags_at_the_keypoints_where_the_authors_lose_them(case):
    about, arrays = load_case(TOPIC, case)
    size = about["img_size"]
    people = arrays["people"].copy()
    people[..., :2] *= size / LOADED  # cells of the map at this size
    made, cells = _targets(people, size), size // 4
    tags = made.tag_indices[made.tag_indices[..., 1] > 0][:, 0]
    assert np.array_equal(made.heatmaps[0].reshape(-1)[tags], np.ones(len(tags)))  # every tag is under a peak of 1
    inside = (people[..., 2] > 0) & (people[..., :2] >= 0).all(-1) & (people[..., :2] < cells).all(-1)
    x, y = people[..., :2][inside].astype(int).T
    assert set(tags.tolist()) >= set((np.nonzero(inside)[1] * cells**2 + y * cells + x).tolist())

    moved, peaks = arrays["joints_out_0"], arrays["heatmaps_out_0"].astype(np.float32).reshape(-1)
    heat = peaks[moved[moved[..., 1] > 0][:, 0]]
    assert (heat == 1).mean() == (1 if size == LOADED else pytest.approx(0, abs=0.5))


def _targets(people: np.ndarray, size: int) -> AETargets:
    """Return our targets for people (P, K, 3) whose places are cells of the map of stride 4."""
    keypoints = people * [4, 4, 1]
    boxes = np.tile([0.0, 0.0, size, size], (len(people), 1))
    sample = Sample(CROWDPOSE14, np.zeros((size, size, 3), np.uint8), keypoints, boxes, np.ones(len(people)))
    return AECodec(max_people=30).encode(sample, (size, size))
