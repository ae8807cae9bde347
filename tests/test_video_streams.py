"""Live sources: the newest frame wins, breaks are bridged or said, cameras and addresses that are not there."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from litepose.errors import VideoError
from litepose.video import Clip, VideoFrame
from litepose.video.files import VideoFile
from litepose.video.reading import AHEAD, FrameReader
from litepose.video.sources import open_video
from litepose.video.streams import LiveSource, open_camera, open_stream, without_password
from video_files import SIZE, grey, write_video


def jpeg(level: int) -> bytes:
    return cv2.imencode(".jpg", grey(level))[1].tobytes()


class Sender(http.server.BaseHTTPRequestHandler):
    """Sends motion JPEG as network cameras do: `pictures` to each caller, then hangs up."""

    pictures = 12
    callers = 0

    def do_GET(self):
        if self.path.startswith("/clip.webm"):
            self.send_file()
            return
        if self.path.startswith("/broken.webm"):
            self.send_part()
            return
        type(self).callers += 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for i in range(self.pictures):
                data = jpeg(20 + 10 * (i % 20))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.01)

    def send_file(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.clip)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(self.server.clip)

    def send_part(self):
        """Send what is asked for, and hang up half way, which is the end only where little is left."""
        clip = self.server.clip
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{len(clip) - 1}/{len(clip)}")
        self.send_header("Content-Length", str(len(clip) - start))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(clip[start : start + len(clip) // 2 + 1])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A server on the loopback; yields its address."""
    handler = type("Handler", (Sender,), {"callers": 0})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.clip = write_video(tmp_path / "clip.webm", 6).read_bytes()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        server.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield server
        server.shutdown()


class EndlessCamera:
    """Stands for cv2.VideoCapture: gives `most` pictures, or none to a number that is not 0."""

    most = 10**9
    opened = 0

    def __init__(self, number):
        self.there, self.count = number == 0, 0
        type(self).opened += 1

    def isOpened(self):
        return self.there

    def set(self, *arguments):
        return True

    def read(self):
        self.count += 1
        time.sleep(0.002)
        return (self.count <= self.most, grey(self.count % 250))

    def release(self):
        self.there = False


class Frames:
    """A source in memory."""

    name, rate, duration_s = "frames", None, None

    def __init__(self, count, *, live, error=None):
        self.count, self.live, self.error, self.given = count, live, error, 0

    def frames(self):
        for i in range(self.count):
            self.given += 1
            yield VideoFrame(i, i / 25, grey(i % 250))
        if self.error is not None:
            raise self.error


def test_of_a_live_source_the_newest_frame_wins_and_the_others_are_counted():
    with FrameReader(Frames(200, live=True)) as reader:
        time.sleep(0.2)
        numbers = [frame.number for frame in reader]
    assert numbers == [199] and reader.dropped == 199


def test_of_a_file_every_frame_comes_and_few_are_read_ahead():
    source = Frames(50, live=False)
    with FrameReader(source) as reader:
        frames = iter(reader)
        assert next(frames).number == 0
        time.sleep(0.2)
        assert source.given <= AHEAD + 3
        assert [frame.number for frame in frames] == list(range(1, 50)) and reader.dropped == 0


def test_an_error_comes_after_the_frames_before_it():
    got = []
    with (
        pytest.raises(VideoError, match="gone"),
        FrameReader(Frames(5, live=False, error=VideoError("gone"))) as reader,
    ):
        for frame in reader:
            got.append(frame.number)
    assert got == list(range(5))


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    for live in (True, False):
        with FrameReader(Frames(10**6, live=live)) as reader:
            next(iter(reader))
    assert threading.active_count() == before


def test_a_camera_that_is_not_there_is_one_clear_error():
    with pytest.raises(VideoError, match="There is no camera 63 that can be opened"):
        next(open_camera(63).frames())


def test_a_camera_gives_frames_with_times_of_arrival(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", EndlessCamera)
    source = open_video("0", Clip(max_frames=5))
    frames = list(source.frames())
    assert source.live and source.name == "camera0"
    assert [frame.number for frame in frames] == list(range(5)) and frames[0].time_s == 0
    gaps = np.diff([frame.time_s for frame in frames])
    assert (gaps > 0.001).all() and (gaps < 1).all()


def test_a_camera_that_breaks_off_is_opened_again(monkeypatch):
    camera = type("Camera", (EndlessCamera,), {"most": 5, "opened": 0})
    monkeypatch.setattr(cv2, "VideoCapture", camera)
    source = open_camera(0, Clip(max_frames=12), patience_s=0.5)
    frames = list(source.frames())
    assert [frame.number for frame in frames] == list(range(12))
    assert source.reconnected == 2 and camera.opened == 3


def test_a_source_that_stays_away_is_given_up_after_its_patience():
    calls = itertools.count()

    def connect():
        if next(calls):
            raise VideoError("no route")
        yield from [grey(1)] * 3

    got, start = [], time.monotonic()
    with pytest.raises(VideoError, match=r"Camera broke off after 3 frames and gave none for 0\.3 s \(no route\)"):
        for frame in LiveSource("c", "Camera", connect, clip=Clip(), patience_s=0.3).frames():
            got.append(frame.number)
    assert len(got) == 3 and 0.3 < time.monotonic() - start < 5


def test_a_network_camera_is_read_and_connected_again(server):
    source = open_video(server.address + "/live", Clip(max_frames=20))
    assert source.live
    frames = list(source.frames())
    assert [frame.number for frame in frames] == list(range(20)) and source.reconnected >= 1
    assert frames[0].image.shape == (SIZE[1], SIZE[0], 3)


def test_an_address_that_lasts_is_a_file_of_which_every_frame_counts(server):
    source = open_video(server.address + "/clip.webm")
    assert isinstance(source, VideoFile) and not source.live
    assert len(list(source.frames())) == 6


def test_a_file_whose_transfer_breaks_off_is_gone_on_with(server):
    source = open_video(server.address.replace("//", "//user:secret@") + "/broken.webm?token=secret")
    assert len(list(source.frames())) == 6
    assert "secret" not in source.path + source.name


def test_an_address_where_nobody_answers_is_one_error_without_its_password():
    with pytest.raises(VideoError, match="cannot be opened") as caught:
        open_video("http://user:secret@127.0.0.1:9/live")
    assert "secret" not in str(caught.value) and "http://127.0.0.1:9/live" in str(caught.value)
    assert without_password("rtsp://a:b@host/x") == "rtsp://host/x"
    assert open_stream("rtsp://a:b@host:554/x/y").name == "host-554-x-y"
