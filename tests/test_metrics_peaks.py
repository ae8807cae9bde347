"""The share of heatmap peaks that lie where the targets have theirs."""

import numpy as np

from litepose.metrics.peaks import mean_accuracy, peak_accuracy


def maps_with(*places: tuple[int, int]) -> np.ndarray:
    """One person with a lit cell (x, y) for each keypoint, on a map of 40x60."""
    maps = np.zeros((1, len(places), 60, 40), np.float32)
    for keypoint, (x, y) in enumerate(places):
        maps[0, keypoint, y, x] = 1
    return maps


def test_a_peak_is_right_within_a_twentieth_of_the_map():
    # x is measured in heights: 2 of 60 is near enough, 3 is not; y in widths: 1 of 40 is, 2 is not.
    targets = maps_with((20, 30), (20, 30), (20, 30), (20, 30))
    outputs = maps_with((22, 30), (23, 30), (20, 31), (20, 32))
    assert peak_accuracy(outputs, targets).tolist() == [1, 0, 1, 0]


def test_keypoints_that_do_not_count_have_no_share():
    targets, outputs = maps_with((20, 30), (1, 30)), maps_with((20, 30), (1, 30))
    assert peak_accuracy(outputs, targets).tolist() == [1, -1]
    shares = peak_accuracy(outputs, targets, counted=np.array([[False, True]]))
    assert shares.tolist() == [-1, 1]
    assert mean_accuracy(shares) == 1
    assert mean_accuracy(np.array([-1.0])) == 0


def test_shares_are_over_all_people():
    targets = np.concatenate([maps_with((20, 30)), maps_with((10, 10))])
    outputs = np.concatenate([maps_with((20, 30)), maps_with((30, 50))])
    assert peak_accuracy(outputs, targets).tolist() == [0.5]
