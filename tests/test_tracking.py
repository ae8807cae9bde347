"""Ids: kept through crossings, occlusion and low frame rates; by time, not by frames; none for what flickers."""

from __future__ import annotations

import numpy as np
import pytest

from litepose.datasets.synthetic.walking import (
    CROSSING,
    ENTRIES,
    FOUND_TWICE,
    OCCLUSION,
    RUNNERS,
    SLOW_RATE,
    Walker,
    walk_frames,
)
from litepose.errors import SettingError
from litepose.metrics.tracks import track_stats
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.tracking import NO_ID, Tracker, TrackSettings
from litepose.tracking_last_frame import LastFrameTracker, box_overlap

PERSON = Walker(100, 300, 200, 60)


def people(*walkers: Walker, at: float = 0.0, score: float = 0.8) -> Poses:
    points = np.array([walker.keypoints(at) for walker in walkers]).reshape(-1, 17, 2)
    return Poses(COCO17, points, np.full((len(walkers), 17), score), np.full(len(walkers), score))


@pytest.mark.parametrize(
    "walk", [CROSSING, OCCLUSION, ENTRIES, SLOW_RATE, RUNNERS, FOUND_TWICE], ids=lambda walk: walk.name
)
def test_people_keep_their_ids_where_the_last_frames_boxes_lose_them(walk):
    frames = walk_frames(walk, seed=1)
    truth = [frame.truth for frame in frames]
    ours, boxes = Tracker(), LastFrameTracker(box_overlap, 0.3)
    good = track_stats(truth, [ours.update(frame.found, frame.time_s) for frame in frames])
    poor = track_stats(truth, [boxes.update(frame.found) for frame in frames])
    assert good.switches <= 1 and good.ids <= len(walk.walkers) + 1
    assert good.mota > 0.93 and good.idf1 > 0.95
    assert poor.switches > 5 and good.idf1 > poor.idf1 + 0.2 and good.mota > poor.mota


def test_a_lost_person_is_waited_for_by_seconds_whatever_the_frame_rate():
    for rate in (5, 60):
        for away, same in ((1.0, True), (2.0, False)):
            tracker = Tracker(TrackSettings(keep_seconds=1.5, min_hits=1))
            still = Walker(100, 300, 200, 0, stride_hz=0)
            for i in range(rate):
                first = tracker.update(people(still), i / rate)
            last = first
            for i in range(round(away * rate)):
                tracker.update(Poses.empty(COCO17), 1 + i / rate)
            last = tracker.update(people(still), 1 + away)
            assert bool(last.track_ids[0] == first.track_ids[0]) is same, (rate, away)


def test_a_person_gets_an_id_after_min_hits_and_at_once_in_the_first_frame():
    tracker = Tracker(TrackSettings(min_hits=3))
    newcomer = Walker(500, 300, 180, 0)
    assert tracker.update(people(PERSON), 0.0).track_ids.tolist() == [1]
    ids = [tracker.update(people(PERSON, newcomer, at=t), t).track_ids.tolist() for t in (0.04, 0.08, 0.12)]
    assert ids == [[1, NO_ID], [1, NO_ID], [1, 2]]


def test_somebody_seen_once_in_a_while_never_gets_an_id():
    tracker = Tracker()
    tracker.update(people(PERSON), 0.0)
    ghost = Walker(500, 300, 180, 0)
    for i in range(1, 20):
        shown = people(PERSON, ghost, at=i / 2) if i % 2 else people(PERSON, at=i / 2)
        assert set(tracker.update(shown, i / 2).track_ids.tolist()) <= {1, NO_ID}


def test_unsure_people_continue_tracks_and_start_none():
    tracker = Tracker(TrackSettings(strong_score=0.5, min_hits=1))
    assert tracker.update(people(PERSON, score=0.4), 0.0).track_ids.tolist() == [NO_ID]
    assert tracker.update(people(PERSON), 0.04).track_ids.tolist() == [1]
    assert tracker.update(people(PERSON, score=0.4), 0.08).track_ids.tolist() == [1]


def test_a_person_found_twice_is_one_track():
    tracker = Tracker(TrackSettings(min_hits=1))
    twice = people(PERSON, Walker(102, 301, 201, 60))
    assert sorted(tracker.update(twice, 0.0).track_ids.tolist()) == [NO_ID, 1]


def test_frames_without_people_and_repeated_times_are_no_trouble():
    tracker = Tracker()
    assert len(tracker.update(Poses.empty(COCO17), 0.0).track_ids) == 0
    for _ in range(3):
        tracked = tracker.update(people(PERSON), 0.0)
    assert tracked.track_ids.tolist() == [1]
    assert np.isfinite(tracker.update(people(PERSON), 0.01).keypoints).all()


def test_keypoints_that_are_no_numbers_do_not_count():
    tracker = Tracker()
    for i in range(3):
        poses = people(PERSON, at=i / 25)
        poses.keypoints[0, i] = np.nan
        assert tracker.update(poses, i / 25).track_ids.tolist() == [1]


def test_two_streams_have_ids_of_their_own():
    one, two = Tracker(), Tracker()
    one.update(people(PERSON), 0.0)
    assert two.update(people(PERSON), 0.0).track_ids.tolist() == [1]


@pytest.mark.parametrize(
    "wrong", [{"min_hits": 0}, {"keep_seconds": -1}, {"strong_similarity": 0}, {"looseness": np.nan}]
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        TrackSettings(**wrong)
