"""Ids and smoothing against Lightweight OpenPose."""

import dataclasses

import numpy as np
import pytest

from litepose.poses import Poses
from litepose.skeleton import OPENPOSE18
from litepose.smoothing import OPENPOSE, OneEuro, PoseSmoother, SmoothSettings
from litepose.tracking_last_frame import LastFrameTracker, similar_keypoints
from parity.fixtures import load_case

RATE = 15.0  # what the reference assumes


def frames_of(arrays):
    """Yield (rows, people) of each frame."""
    for frame in np.unique(arrays["frame"]):
        rows = np.flatnonzero(arrays["frame"] == frame)
        points = arrays["inp"][rows]
        yield rows, Poses(OPENPOSE18, points, points[..., 0] != -1, arrays["conf"][rows])


def test_ids_and_smoothed_keypoints_equal_the_reference():
    _, arrays = load_case("pose-track", "seq")
    tracker, smoother = LastFrameTracker(similar_keypoints, 3), PoseSmoother(OPENPOSE)
    checked = 0
    for i, (rows, poses) in enumerate(frames_of(arrays)):
        tracked = tracker.update(poses)
        np.testing.assert_array_equal(tracked.track_ids, arrays["id"][rows])
        smooth = smoother.update(tracked, i / RATE)
        whole = np.trunc(smooth.keypoints + 1e-6)  # the reference stores whole numbers
        np.testing.assert_array_equal(whole[poses.found], arrays["out"][rows][poses.found])
        tracker.remember(dataclasses.replace(smooth, keypoints=whole))
        checked += int(poses.found.sum())
    assert checked > 500


@pytest.mark.parametrize(
    ("name", "rate", "settings"),
    [("default", 15, OPENPOSE), ("tuned", 30, SmoothSettings(1.7, 0.3, 1, by_size=False)),
     ("nobeta", 15, SmoothSettings(0.5, 0, 1, by_size=False))],
)  # fmt: skip
def test_one_euro_equals_the_reference_at_its_fixed_rate(name, rate, settings):
    _, arrays = load_case("one-euro", "series")
    one_euro = OneEuro((4,), settings)
    found = np.ones(4, dtype=bool)
    smooth = [one_euro.update(values, i / rate, found=found) for i, values in enumerate(arrays["signal"])]
    np.testing.assert_allclose(smooth, arrays[name], rtol=0, atol=1e-9)  # times are multiples of 1/rate, rounded
