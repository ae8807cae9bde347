"""RTSP as network cameras speak it: read, connected again, given up, never late; addresses that keep their secrets."""

from __future__ import annotations

import itertools
import time

import pytest

from litepose.errors import VideoError
from litepose.video import Clip, streams
from litepose.video.reading import FrameReader
from litepose.video.sources import open_video
from litepose.video.streams import open_stream, without_password
from rtsp_camera import RtspCamera
from video_files import SIZE, level_of


def test_a_camera_is_read_and_connected_again_where_it_hangs_up():
    with RtspCamera(pictures=12) as camera:
        source = open_video(camera.address, Clip(max_frames=20))
        frames = list(source.frames())
    assert source.live and source.reconnected >= 1 and camera.callers >= 2
    assert [frame.number for frame in frames] == list(range(20))
    assert frames[0].image.shape == (SIZE[1], SIZE[0], 3)
    assert abs(level_of(frames[0].image) - 20) < 8
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))


def test_a_camera_that_lost_its_power_is_found_again_when_it_is_back():
    got = []
    with RtspCamera(pictures=10**6) as camera:
        source = open_stream(camera.address, Clip(max_frames=40), patience_s=20)
        frames = source.frames()
        got += [next(frames).number for _ in range(10)]
    with RtspCamera(port=camera.port, pictures=10**6):
        got += [frame.number for frame in frames]
    assert got == list(range(40)) and source.reconnected >= 1


def test_a_camera_that_stays_away_is_given_up_and_what_came_is_kept():
    with RtspCamera(pictures=10**6) as camera:
        frames = open_stream(camera.address, patience_s=0.6).frames()
        next(frames)
    with pytest.raises(VideoError, match=r"broke off after \d+ frames .* for 0\.6 s \(connection refused\)"):
        for _ in frames:
            pass


@pytest.mark.parametrize("silent", ["OPTIONS", "DESCRIBE", "PLAY", "frames"])
def test_a_camera_that_never_answers_is_one_error_in_time(silent, monkeypatch):
    monkeypatch.setattr(streams, "TIMEOUT_S", 0.5)
    with RtspCamera(silent=silent) as camera:
        address = camera.address.replace("//", "//user:secret@")
        start = time.monotonic()
        with pytest.raises(VideoError, match=r"rtsp://127\.0\.0\.1:.*nothing came within 0.5 s") as caught:
            next(open_video(address).frames())
        assert time.monotonic() - start < 4
    assert "secret" not in str(caught.value)


def test_the_newest_frame_wins_however_slowly_they_are_looked_at():
    with (
        RtspCamera(pictures=10**6, gap_s=0.01) as camera,
        FrameReader(open_stream(camera.address, Clip(max_frames=80))) as reader,
    ):
        taken = []
        for frame in reader:
            taken.append((frame.number, frame.time_s, time.monotonic()))
            time.sleep(0.1)
    numbers, times, clock = zip(*taken, strict=True)
    assert reader.dropped == 80 - len(taken) > 30 and list(numbers) == sorted(set(numbers))
    late = [now - clock[0] - (at - times[0]) for at, now in zip(times, clock, strict=True)]
    assert max(late) < 0.2  # behind the camera, in seconds: it does not grow


def test_a_recording_that_was_played_to_its_end_is_not_begun_again():
    with RtspCamera(pictures=12, length_s=0.48) as camera:
        source = open_video(camera.address)
        assert len(list(source.frames())) == 12
    assert source.reconnected == 0 and camera.callers == 1


@pytest.mark.parametrize("address, shown", [
    ("rtsp://user:secret@host:554/x", "rtsp://host:554/x"),
    ("rtsp://user:se@cret@host/x", "rtsp://host/x"),
    ("http://host/x?user=me&password=secret&channel=1", "http://host/x?user=me&password=***&channel=1"),
    ("rtsp://host/user=me_password=secret_channel=1.sdp", "rtsp://host/user=me_password=***"),
    ("http://host/clip.mp4?token=secret", "http://host/clip.mp4?token=***"),
    ("http://host/a@b?c=d@e", "http://host/a@b?c=d@e"),
])  # fmt: skip
def test_an_address_is_shown_without_what_it_keeps_secret(address, shown):
    assert without_password(address) == shown
    assert "secret" not in open_stream(address).name
