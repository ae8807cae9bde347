"""The loop: people with ids in order, drawn and written; what was done stays; steps timed."""

from __future__ import annotations

import csv
import dataclasses
import json

import cv2
import numpy as np
import pytest

from dot_model import lay_out, paint, write_crop_model, write_dot_model
from litepose.errors import SettingError, VideoError
from litepose.poses import Poses
from litepose.predictor import load
from litepose.skeleton import COCO17
from litepose.smoothing import PoseSmoother
from litepose.tracking import Tracker
from litepose.video import VideoFrame, VideoWriter, draw_video, open_video, predict_video
from litepose.video.run import Drawing, drawn, mirrored
from litepose.video.window import Window
from litepose.writers import ResultFiles

SIZE = (320, 256)
TWO = np.concatenate([lay_out(1, SIZE, radius=7), lay_out(1, SIZE, radius=7) + np.array([0, 120])])  # well apart


class Painted:
    """People of dots in memory: two who move a pixel a frame."""

    name, live, rate, duration_s = "painted.mp4", False, 25.0, None

    def __init__(self, count, error=None):
        self.count, self.error = count, error

    def frames(self):
        for i in range(self.count):
            yield VideoFrame(i, i / 25, paint(TWO + np.array([i, 0]), SIZE, radius=7))
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx"), threads=1)


def test_people_are_found_tracked_smoothed_and_each_step_is_timed(predictor):
    results = list(predict_video(predictor, Painted(8), tracker=Tracker(), smoother=PoseSmoother()))
    assert [result.frame.number for result in results] == list(range(8))
    assert all(sorted(result.poses.track_ids.tolist()) == [1, 2] for result in results)
    assert list(results[0].seconds) == ["read", "pre", "network", "decode", "track"]
    assert all(0 <= value < 10 for result in results for value in result.seconds.values())
    left = [result.poses.keypoints[result.poses.track_ids == 1, 0, 0][0] for result in results]
    assert (np.diff(left) > 0).all()


def test_a_second_pass_draws_and_writes_people_who_are_known(predictor, tmp_path):
    people = [result.poses for result in predict_video(predictor, Painted(6), tracker=Tracker())]
    moved = [dataclasses.replace(poses, keypoints=poses.keypoints + 5) for poses in people]
    files = ResultFiles(
        tmp_path / "p.csv", format="csv", model="dots", skeleton=predictor.skeleton, video="painted.mp4"
    )
    results = list(draw_video(Painted(9), moved, results=files))
    assert len(results) == 6
    assert all(result.poses is poses for result, poses in zip(results, moved, strict=True))
    assert "network" not in results[0].seconds
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert {int(row["frame"]) for row in rows} == set(range(6))
    assert float(rows[0]["x"]) == pytest.approx(moved[0].keypoints[0, 0, 0], abs=0.01)


def test_without_tracker_and_outputs_it_is_the_predictor_itself(predictor):
    source = Painted(3)
    for result, frame in zip(predict_video(predictor, source), source.frames(), strict=True):
        np.testing.assert_array_equal(result.poses.keypoints, predictor(frame.image).keypoints)
        assert result.image is None and result.poses.track_ids is None


def test_a_top_down_models_detector_is_a_step(tmp_path):
    whole = np.array([[0, 0, *SIZE]])
    predictor = load(write_crop_model(tmp_path / "crops.onnx"), threads=1, boxes=lambda image: whole)
    (result,) = predict_video(predictor, Painted(1))
    assert "detect" in result.seconds and len(result.poses) == 1


def test_drawn_video_and_results_hold_every_frame(predictor, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    writer = VideoWriter(tmp_path / "out.webm", rate=25)
    files = ResultFiles(tmp_path / "out.csv", format="csv", model="m", skeleton=COCO17, video="painted.mp4")
    drawing = Drawing(boxes=True, timing=True)
    list(predict_video(predictor, Painted(6), tracker=Tracker(), writer=writer, results=files, drawing=drawing))
    frames = list(open_video(tmp_path / "out.webm").frames())
    assert [round(frame.time_s, 2) for frame in frames] == [0, 0.04, 0.08, 0.12, 0.16, 0.2]
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert {row["frame"] for row in rows} == set("012345") and {row["track_id"] for row in rows} == {"1", "2"}


@pytest.mark.parametrize("end", ["error", "left"])
def test_what_was_done_before_an_error_or_an_early_end_stays(end, predictor, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    writer = VideoWriter(tmp_path / "out.mp4", rate=25)
    files = ResultFiles(tmp_path / "out.json", format="coco", model="m", skeleton=COCO17, video="v")
    source = Painted(5, VideoError("the stream died")) if end == "error" else Painted(50)
    loop = predict_video(predictor, source, writer=writer, results=files)
    if end == "error":
        with pytest.raises(VideoError, match="died"):
            list(loop)
    else:
        for _ in range(5):
            next(loop)
        loop.close()
    assert len(list(open_video(tmp_path / "out.mp4").frames())) == 5
    assert {one["image_id"] for one in json.loads((tmp_path / "out.json").read_text())} == set(range(5))
    assert not list(tmp_path.glob(".*"))


def test_a_window_may_end_the_loop(predictor):
    shown = []
    results = list(predict_video(predictor, Painted(9), show=lambda image: shown.append(image) or len(shown) < 3))
    assert len(results) == len(shown) == 3 and shown[0].shape == (SIZE[1], SIZE[0], 3)


def test_a_mirrored_drawing_flips_picture_and_people_and_not_what_is_written(predictor, tmp_path):
    files = ResultFiles(tmp_path / "r.json", format="coco", model="m", skeleton=COCO17, video="v")
    shown = []
    drawing = Drawing(mirrored=True)
    (result,) = predict_video(
        predictor, Painted(1), results=files, show=lambda i: shown.append(i) or True, drawing=drawing
    )
    plain = drawn(result.frame.image, result.poses, Drawing())
    written = json.loads((tmp_path / "r.json").read_text())[0]["keypoints"]
    assert written[0] == pytest.approx(float(result.poses.keypoints[0, 0, 0]), abs=1e-3)
    assert np.abs(cv2.flip(shown[0], 1).astype(int)[20:] - plain[20:]).mean() < 2  # blue and orange are where they were


def test_mirrored_people_keep_their_left_hand():
    points = np.zeros((1, 17, 2))
    points[0, :, 0] = np.arange(17)
    poses = Poses(COCO17, points, np.ones((1, 17)), [1], [[2, 0, 5, 9]])
    flipped = mirrored(poses, 101)
    assert flipped.keypoints[0, 9, 0] == 100 - 9 and flipped.boxes.tolist() == [[95, 0, 98, 9]]


def test_ids_are_drawn_where_there_are_any():
    poses = Poses(COCO17, np.random.default_rng(0).uniform(60, 200, (1, 17, 2)), np.ones((1, 17)), [1], track_ids=[3])
    blank = np.zeros((256, 256, 3), np.uint8)
    with_id, without = drawn(blank, poses, Drawing()), drawn(blank, poses, Drawing(ids=False))
    nobody = drawn(blank, Poses(COCO17, poses.keypoints, np.ones((1, 17)), [1], track_ids=[-1]), Drawing())
    assert (with_id != without).any() and (nobody == without).all()


def test_timing_is_drawn_into_the_corner():
    from litepose.drawing_overlay import draw_timing

    canvas = np.full((240, 320, 3), 200, np.uint8)
    draw_timing(canvas, 24.8, {"read": 1.0, "network": 20.5})
    assert (canvas[:4, :4] < 120).all() and (canvas[100:] == 200).all() and (canvas[:, 200:] == 200).all()


def test_a_window_without_a_display_or_without_windows_in_opencv_is_an_error(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingError, match="there is no display"):
        Window()
    monkeypatch.setenv("DISPLAY", ":0")

    def refuse(*arguments):
        raise cv2.error("not implemented")

    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(SettingError, match="pip install opencv-python"):
        Window()


def test_a_window_shows_frames_until_q(monkeypatch):
    keys = iter([-1, ord("q")])
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("namedWindow", "resizeWindow", "imshow", "destroyWindow"):
        monkeypatch.setattr(cv2, name, lambda *arguments: None)
    monkeypatch.setattr(cv2, "waitKey", lambda ms: next(keys))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *arguments: 1)
    window = Window()
    assert [window(np.zeros((4, 4, 3), np.uint8)) for _ in range(2)] == [True, False]
    window.close()
