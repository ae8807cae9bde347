"""Smoothing: less trembling, little lag, by time and size; anew after a loss; gaps filled afterwards."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from litepose.errors import SettingError
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.smoothing import PoseSmoother, SmoothSettings
from litepose.smoothing_offline import smooth_offline

ROOT = Path(__file__).parents[1]


def benchmark(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def person(points, *, scores=0.8, track_id=1) -> Poses:
    points = np.broadcast_to(np.asarray(points, dtype=float), (17, 2))
    scores = np.broadcast_to(scores, 17)
    return Poses(COCO17, points[None], scores[None], [0.8], track_ids=[track_id])


def spread(shift: float = 0.0) -> np.ndarray:
    """Keypoints in a box of 100 by 100."""
    return np.stack([np.linspace(0, 100, 17), np.linspace(100, 0, 17)], axis=-1) + shift


def test_online_smoothing_takes_most_of_the_trembling_for_little_lag():
    row = benchmark("smoothing").measured(180, PoseSmootherWay(), varying=True, seeds=1)
    assert row["jitter"] < 0.35 and row["lag_ms"] <= 30 and row["error"] < 0.95


def test_offline_smoothing_is_not_late_and_fills_gaps():
    row = benchmark("smoothing").measured(180, smooth_offline, varying=True, seeds=1)
    assert row["jitter"] < 0.25 and abs(row["lag_ms"]) <= 4 and row["error"] < 0.6 and row["filled"] > 0.9


class PoseSmootherWay:
    def __call__(self, frames, times):
        smoother = PoseSmoother()
        return [smoother.update(poses, time_s) for poses, time_s in zip(frames, times, strict=True)]


def test_people_far_and_near_are_smoothed_alike():
    far, near = PoseSmoother(), PoseSmoother()
    rng = np.random.default_rng(0)
    for i in range(30):
        points = spread(i) + rng.normal(0, 2, (17, 2))
        small = far.update(person(points), i / 25)
        large = near.update(person(4 * points), i / 25)
    np.testing.assert_allclose(4 * small.keypoints, large.keypoints, rtol=1e-5)


def test_real_times_count_and_not_the_number_of_frames():
    quick, slow = PoseSmoother(), PoseSmoother()
    for smoother, gap in ((quick, 0.01), (slow, 0.2)):
        smoother.update(person(spread()), 0.0)
        smoother.update(person(spread()), gap)
    after_quick = quick.update(person(spread(10)), 0.02).keypoints[0]
    after_slow = slow.update(person(spread(10)), 0.4).keypoints[0]
    assert (np.abs(after_slow - spread(10)) < np.abs(after_quick - spread(10))).all()


def test_a_lost_keypoint_starts_anew_and_a_short_gap_does_not():
    for missing_s, anew in ((0.1, False), (0.5, True)):
        smoother = PoseSmoother(SmoothSettings(max_gap_s=0.25))
        hidden = np.where(np.arange(17) == 5, 0, 0.8)
        for i in range(10):
            smoother.update(person(spread()), i / 25)
        for i in range(round(missing_s * 25)):
            smoother.update(person(spread(), scores=hidden), 0.4 + i / 25)
        back = smoother.update(person(spread(40)), 0.4 + missing_s)
        assert bool(abs(back.keypoints[0, 5, 0] - spread(40)[5, 0]) < 1e-3) is anew
        assert abs(back.keypoints[0, 6, 0] - spread(40)[6, 0]) > 1e-3


def test_each_id_has_filters_of_its_own_and_nobody_without_an_id_is_touched():
    smoother = PoseSmoother()
    smoother.update(person(spread()), 0.0)
    for track_id, points in ((2, spread(50)), (-1, spread(90))):
        seen = smoother.update(person(points, track_id=track_id), 0.04)
        np.testing.assert_allclose(seen.keypoints[0], points, atol=1e-4)  # float32


def test_people_who_are_not_tracked_are_refused():
    untracked = Poses(COCO17, spread()[None], np.ones((1, 17)), [1.0])
    with pytest.raises(SettingError, match="Track them first"):
        PoseSmoother().update(untracked, 0.0)


def test_a_whole_person_missing_for_a_moment_is_put_back_on_the_line_between():
    times = np.arange(9) / 25
    frames = [person(spread(5 * i)) for i in range(9)]
    frames[4] = Poses(COCO17, np.zeros((0, 17, 2)), np.zeros((0, 17)), [], track_ids=np.zeros(0))
    smooth = smooth_offline(frames, times)
    assert [len(poses) for poses in smooth] == [1] * 9
    assert smooth[4].track_ids.tolist() == [1] and smooth[4].scores[0] == pytest.approx(0.4)
    np.testing.assert_allclose(smooth[4].keypoints[0], spread(20), atol=1.0)
    long = smooth_offline(frames, np.arange(9.0))
    assert len(long[4]) == 0


def test_times_that_do_not_fit_are_refused():
    with pytest.raises(SettingError, match="2 frames"):
        smooth_offline([person(spread())] * 2, [1.0])
    with pytest.raises(SettingError, match="2 frames"):
        smooth_offline([person(spread())] * 2, [1.0, 0.5])
    with pytest.raises(SettingError, match="min_cutoff"):
        SmoothSettings(min_cutoff=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "said"), [("tracking", "last-frame IoU"), ("smoothing", "offline")])
def test_the_benchmark_prints_its_table(name, said, capsys):
    benchmark(name).main(["--seeds", "1"])
    assert said in capsys.readouterr().out
