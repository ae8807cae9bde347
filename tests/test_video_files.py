"""Video files in and out: times, parts, rotation, damage; what is written plays."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from litepose.errors import MissingPackageError, SettingError, VideoError
from litepose.video import Clip, PictureSequence, VideoWriter, open_video
from litepose.video.sources import find_videos, is_video
from video_files import SIZE, av, cut, grey, level_of, noise, turn_clockwise, write_sound, write_video

VARYING = [0.0, 0.04, 0.05, 0.3, 0.31, 0.7, 1.2, 1.21, 1.25, 2.0]


def times_of(path, clip=Clip()):  # noqa: B008 - frozen
    return [round(frame.time_s, 3) for frame in open_video(path, clip).frames()]


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.mp4", "libx264"), ("a.avi", "mpeg4")])
def test_every_frame_comes_in_order_with_its_time(name, codec, tmp_path):
    source = open_video(write_video(tmp_path / name, 20, codec=codec))
    frames = list(source.frames())
    assert [frame.number for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(20) / 25, atol=1e-3)  # WebM: ms
    np.testing.assert_allclose([level_of(frame.image) for frame in frames], 10 + 5 * np.arange(20), atol=4)  # lossy
    assert source.rate == 25 and source.duration_s == pytest.approx(0.8, abs=0.05)
    assert frames[0].image.shape == (SIZE[1], SIZE[0], 3) and frames[0].image.dtype == np.uint8
    assert frames[0].image[5, 5, 2] > 200 > frames[0].image[5, 5, 0]  # red, in BGR


@pytest.mark.parametrize("name", ["a.webm", "a.mp4"])
def test_times_of_a_varying_frame_rate_are_kept_in_and_out(name, tmp_path):
    assert times_of(write_video(tmp_path / "in.mkv", 10, times=VARYING)) == pytest.approx(VARYING, abs=2e-3)
    with VideoWriter(tmp_path / name) as writer:
        for frame in open_video(tmp_path / "in.mkv").frames():
            writer.add(frame.image, frame.time_s)
    assert times_of(tmp_path / name) == pytest.approx(VARYING, abs=2e-3)


@pytest.mark.parametrize(
    ("clip", "levels"),
    [
        (Clip(start_s=0.4), range(10, 20)),
        (Clip(stop_s=0.2), range(5)),
        (Clip(start_s=0.2, stop_s=0.6, stride=3), range(5, 15, 3)),
        (Clip(max_frames=3), range(3)),
        (Clip(stride=4, max_frames=3), range(0, 12, 4)),
    ],
)
@pytest.mark.parametrize("name", ["a.webm", "a.mp4"])
def test_a_part_of_a_video_is_just_that_part(name, clip, levels, tmp_path):
    frames = list(open_video(write_video(tmp_path / name), clip).frames())
    np.testing.assert_allclose([level_of(frame.image) for frame in frames], [10 + 5 * i for i in levels], atol=4)
    np.testing.assert_allclose([frame.time_s for frame in frames], [i / 25 for i in levels], atol=2e-3)


def test_a_phones_upright_video_is_turned(tmp_path):
    path = turn_clockwise(write_video(tmp_path / "a.mp4", 2, codec="libx264"))
    image = next(open_video(path).frames()).image
    assert image.shape == (SIZE[0], SIZE[1], 3)
    red = image[..., 2].astype(int) - image[..., 0] > 120
    assert red[: SIZE[0] // 2 - 4, SIZE[1] // 2 + 4 :].all()  # top left went to the top right
    assert not red[:, : SIZE[1] // 2 - 4].any()


def test_a_video_that_begins_late_begins_at_zero(tmp_path):
    assert times_of(write_video(tmp_path / "a.mkv", 3, times=[5.0, 5.1, 5.2])) == pytest.approx([0, 0.1, 0.2], abs=2e-3)


@pytest.mark.parametrize(("name", "codec", "options"), [
    ("a.webm", "libvpx-vp9", {}), ("a.mkv", "libx264", {}), ("a.mp4", "libx264", {"movflags": "faststart"}),
])  # fmt: skip
def test_of_a_video_that_ends_mid_frame_all_before_is_given_then_an_error(name, codec, options, tmp_path):
    path = cut(write_video(tmp_path / name, noise(50), codec=codec, options=options))
    got = []
    with pytest.raises(VideoError, match=r"is cut off: it says that it lasts 2\.00 s.*download it again"):
        for frame in open_video(path).frames():
            got.append(frame.number)
    assert 10 < len(got) < 48


def test_a_damaged_part_is_said_and_the_rest_is_given(tmp_path):
    path = write_video(tmp_path / "a.mkv", noise(50), codec="libx264")
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 9000] = bytes(9000)
    path.write_bytes(data)
    got = []
    with pytest.raises(VideoError, match=r"damaged|cut off"):
        for frame in open_video(path).frames():
            got.append(frame.number)
    assert len(got) > 10


BROKEN = {
    "cut before its index": (lambda p: cut(write_video(p / "a.mp4", codec="libx264")), "cannot be opened as a video"),
    "no video at all": (lambda p: (p / "a.mp4").write_bytes(b"no video" * 99) and p / "a.mp4", "cannot be opened"),
    "empty": (lambda p: (p / "a.mp4").touch() or p / "a.mp4", "cannot be opened"),
    "absent": (lambda p: p / "a.mp4", "There is no video"),
    "sound alone": (lambda p: write_sound(p / "a.mp4"), "no moving pictures: it holds audio"),
    "unknown codec": (lambda p: with_unknown_codec(p / "a.mp4"), "codec that this FFmpeg cannot decode"),
}


def with_unknown_codec(path):
    write_video(path, codec="libx264")
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    return path


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_played_is_one_clear_error(kind, tmp_path):
    make, said = BROKEN[kind]
    with pytest.raises(VideoError, match=said):
        open_video(make(tmp_path))


def test_a_video_without_frames_says_so(tmp_path):
    with pytest.raises(VideoError, match="holds no frames"):
        list(open_video(write_video(tmp_path / "a.avi", 0, codec="mpeg4")).frames())
    with pytest.raises(VideoError, match="nothing is in it"):
        open_video(write_video(tmp_path / "a.mp4", 0, codec="libx264"))
    write_video(tmp_path / "b.webm", 5)
    with pytest.raises(VideoError, match=r"no frame from 9 s on"):
        list(open_video(tmp_path / "b.webm", Clip(start_s=9)).frames())


@pytest.mark.parametrize("wrong", [{"start_s": -1}, {"start_s": 2, "stop_s": 1}, {"stride": 0}, {"max_frames": 0}])
def test_impossible_parts_are_refused(wrong):
    with pytest.raises(SettingError):
        Clip(**wrong)


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (33, 65)])
def test_any_size_is_written_and_read_back(size, tmp_path):
    with VideoWriter(tmp_path / "a.webm", rate=30) as writer:
        for i in range(5):
            writer.add(grey(100, size), i / 30)
    (first, *_) = open_video(tmp_path / "a.webm").frames()
    assert first.image.shape[:2] == size[::-1]
    assert np.abs(first.image.astype(int) - grey(100, size)).mean() < 6


def test_a_frame_of_another_size_is_fitted_into_the_first(tmp_path):
    with VideoWriter(tmp_path / "a.webm") as writer:
        writer.add(grey(100), 0.0)
        writer.add(grey(200, (48, 64)), 0.04)
    frames = list(open_video(tmp_path / "a.webm").frames())
    assert [frame.image.shape for frame in frames] == [(SIZE[1], SIZE[0], 3)] * 2


def test_an_error_while_writing_leaves_what_was_written(tmp_path):
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4") as writer:
        writer.add(grey(50), 0.0)
        writer.add(grey(60), 0.04)
        raise RuntimeError
    assert len(times_of(tmp_path / "a.mp4")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_without_a_frame_there_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.webm"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_repeated_times_still_give_every_frame(tmp_path):
    with VideoWriter(tmp_path / "a.webm") as writer:
        for time_s in (0.0, 0.0, 0.0, 0.04):
            writer.add(grey(50), time_s)
    assert len(times_of(tmp_path / "a.webm")) == 4


def test_a_suffix_that_is_not_written_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"\.webm, \.mp4, \.mkv"):
        VideoWriter(tmp_path / "a.avi")


def test_pictures_are_a_sequence_at_a_rate_and_a_broken_one_is_said_at_the_end(tmp_path):
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i}.png"), grey(10 * i))
    files = sorted(tmp_path.iterdir())
    assert [frame.time_s for frame in PictureSequence(files, rate=10).frames()] == pytest.approx(np.arange(6) / 10)
    part = PictureSequence(files, rate=10, clip=Clip(start_s=0.2, stop_s=0.5, stride=2))
    assert [level_of(frame.image) for frame in part.frames()] == [20, 40]
    files[2].write_bytes(b"nothing")
    got = []
    with pytest.raises(VideoError, match=r"(?s)1 of 6 pictures.*2\.png"):
        for frame in PictureSequence(files, rate=10).frames():
            got.append(frame.time_s)
    assert got == pytest.approx([0, 0.1, 0.3, 0.4, 0.5])


def test_names_that_stand_for_moving_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(map(is_video, ("0", "clip.MP4", "rtsp://host/live", "http://host:8080/")))
    assert not any(map(is_video, ("a.jpg", "folder", "photos/*.png")))
    (tmp_path / "7").touch()
    assert not is_video("7")  # a file of that name
    for name in ("b.mp4", "a.mp4"):
        (tmp_path / name).touch()
    assert find_videos(["*.mp4", "0"]) == ["a.mp4", "b.mp4", "0"]
    with pytest.raises(VideoError, match="Nothing matches"):
        find_videos(["x/*.mp4"])


def test_without_the_package_its_install_line_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'litepose\[video\]'"):
        open_video(tmp_path / "a.mp4")


def test_a_browser_plays_what_is_written(tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    for name in ("a.webm", "a.mp4"):
        with VideoWriter(tmp_path / name, rate=25) as writer:
            for i in range(25):
                writer.add(grey(8 * i), i / 25)
    (tmp_path / "page.html").write_text("<video id=v muted></video>")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        for name in ("a.webm", "a.mp4"):
            found = page.evaluate(
                """name => new Promise(done => { const v = document.getElementById('v');
                v.onerror = () => done('error ' + v.error.message);
                v.onended = () => done([v.videoWidth, v.videoHeight, v.duration]); v.src = name; v.play() })""",
                name,
            )
            assert found == [64, 48, pytest.approx(1.0, abs=0.1)], name
        browser.close()


@pytest.mark.slow
def test_an_hour_takes_no_more_memory_than_a_minute(tmp_path):
    """Peak of the Python side and growth of the process over an hour of 10 frames a second."""
    import psutil

    path = tmp_path / "hour.mkv"
    frames = [grey(i) for i in range(0, 250, 5)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(36_000):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frames[i % 50], format="bgr24")))
        container.mux(stream.encode())
    process, held = psutil.Process(), []
    with VideoWriter(tmp_path / "out.webm") as writer:
        for frame in open_video(path).frames():
            writer.add(frame.image, frame.time_s)
            if frame.number % 600 == 599:
                held.append(process.memory_info().rss / 2**20)
    assert len(held) == 60 and held[-1] - held[1] < 30  # MB
