"""MOTA, id switches and IDF1 by hand, and against py-motmetrics where it is installed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from litepose.datasets.synthetic.walking import CROSSING, OCCLUSION, Walker, walk_frames
from litepose.metrics.tracks import _likeness, track_stats
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.tracking import Tracker
from litepose.tracking_last_frame import LastFrameTracker, box_overlap


def frame(*ids: int) -> Poses:
    """People with these ids, side by side; a negative id is nobody's place."""
    points = np.array([Walker(100 + 120 * n, 300, 200, 0).keypoints(0) for n in range(len(ids))]).reshape(-1, 17, 2)
    people = Poses(COCO17, points, np.ones((len(ids), 17)), np.ones(len(ids)), track_ids=np.array(ids, dtype=np.int64))
    return people[people.track_ids >= 0]


def test_a_swap_a_miss_and_a_new_id_are_counted():
    truth = [frame(0, 1)] * 6
    found = [frame(7, 8), frame(7, 8), frame(8, 7), frame(8, 7), frame(8, -1), frame(8, 9)]
    stats = track_stats(truth, found)
    assert (stats.true, stats.missed, stats.false, stats.switches, stats.ids) == (12, 1, 0, 3, 3)
    assert stats.mota == pytest.approx(1 - 4 / 12)
    # 8 agrees with person 0 in 4 frames, 7 with person 1 in 2: 2 * 6 / (12 + 11)
    assert stats.idf1 == pytest.approx(12 / 23)


def test_a_perfect_tracker_has_one_and_an_empty_one_nothing():
    truth = [frame(0, 1, 2)] * 3
    assert (track_stats(truth, truth).mota, track_stats(truth, truth).idf1) == (1, 1)
    nobody = [dataclasses.replace(Poses.empty(COCO17), track_ids=np.zeros(0))] * 3
    assert (track_stats(truth, nobody).mota, track_stats(truth, nobody).idf1) == (0, 0)


@pytest.mark.parametrize("walk", [CROSSING, OCCLUSION], ids=lambda walk: walk.name)
def test_the_numbers_are_those_of_motmetrics(walk):
    motmetrics = pytest.importorskip("motmetrics", reason="py-motmetrics is not installed")
    frames = walk_frames(walk, seed=3)
    last = LastFrameTracker(box_overlap, 0.3)
    for update in (Tracker().update, lambda poses, _: last.update(poses)):
        found = [update(one.found, one.time_s) for one in frames]
        ours = track_stats([one.truth for one in frames], found)
        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        for one, people in zip(frames, found, strict=True):
            rows, columns, alike = _likeness(one.truth, people)
            accumulator.update(rows, columns, np.where(alike >= 0.5, 1 - alike, np.nan))
        names = ["mota", "idf1", "num_switches", "num_misses", "num_false_positives"]
        theirs = motmetrics.metrics.create().compute(accumulator, metrics=names).iloc[0]
        assert ours.mota == pytest.approx(theirs.mota) and ours.idf1 == pytest.approx(theirs.idf1)
        counts = (ours.switches, ours.missed, ours.false)
        assert counts == (theirs.num_switches, theirs.num_misses, theirs.num_false_positives)
