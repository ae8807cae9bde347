"""`litepose predict` on moving pictures, as a user calls it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import litepose
from dot_model import lay_out, paint, write_dot_model
from litepose import cli
from litepose.video import open_video
from video_files import cut, write_sound, write_video

SIZE = (320, 256)
TWO = np.concatenate([lay_out(1, SIZE, radius=7), lay_out(1, SIZE, radius=7) + np.array([0, 120])])  # well apart


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx"))


@pytest.fixture(scope="module")
def frames():
    """Twelve frames of two people of dots who move."""
    return [paint(TWO + np.array([i, 0]), SIZE, radius=7) for i in range(12)]


@pytest.fixture
def clip(tmp_path, frames) -> Path:
    return write_video(tmp_path / "clip.mp4", frames, codec="libx264")


def call(*arguments: object) -> int:
    """Run the command line in this process; return its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_a_video_is_drawn_tracked_and_written(model, clip, tmp_path, capsys):
    out = tmp_path / "out"
    asked = ("--track", "--smooth", "--overlay", "--draw-boxes", "--threads", 1)
    assert call("predict", clip, "-m", model, "-o", out, "--json", out / "p.json", *asked) == 0
    said = capsys.readouterr().out
    assert "clip.mp4: 12 frames, 0.44 s, " in said and " tracks -> " in said and "clip.webm" in said
    assert "ms a frame, median (90 %): read " in said and "network" in said
    assert len(list(open_video(out / "clip.webm").frames())) == 12
    content = json.loads((out / "p.json").read_text())
    assert content["video"] == "clip.mp4" and len(content["pictures"]) == 12
    assert all("track_id" in person for picture in content["pictures"] for person in picture["people"][:1])


def test_offline_smoothing_is_never_late_and_fills_a_frame_without_people(model, frames, tmp_path, capsys):
    clip = write_video(tmp_path / "gap.mp4", [*frames[:5], np.full_like(frames[0], 90), *frames[6:]], codec="libx264")
    online, offline = tmp_path / "online.json", tmp_path / "offline.json"
    assert call("predict", clip, "-m", model, "--track", "--json", online, "--threads", 1) == 0
    asked = ("--smooth-offline", "-o", tmp_path / "drawn.mp4", "--json", offline, "--threads", 1)
    assert call("predict", clip, "-m", model, *asked) == 0
    before, after = (json.loads(path.read_text())["pictures"] for path in (online, offline))
    assert len(before[5]["people"]) == 0 and len(after[5]["people"]) == 2
    assert len(after) == len(list(open_video(tmp_path / "drawn.mp4").frames())) == 12


def test_offline_smoothing_of_a_camera_is_an_error_that_names_the_other_way(model, monkeypatch, tmp_path, capsys):
    from litepose.commands import predict_video

    class Live:
        name, live, rate, duration_s = "camera 0", True, 30.0, None

    monkeypatch.setattr(predict_video, "_open", lambda source, options: Live())
    assert call("predict", "0", "-m", model, "--smooth-offline", "-o", tmp_path) == 2
    assert "is live and has no last one. Take --smooth." in " ".join(capsys.readouterr().err.split())


def test_a_file_named_with_o_chooses_the_container(model, clip, tmp_path):
    assert call("predict", clip, "-m", model, "-o", tmp_path / "drawn.mp4", "--max-frames", 3, "--threads", 1) == 0
    assert len(list(open_video(tmp_path / "drawn.mp4").frames())) == 3


def test_without_places_it_goes_to_its_own_folder_and_with_json_alone_nothing_is_drawn(
    model, clip, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert call("predict", clip, "-m", model, "--stop", 0.1, "--threads", 1) == 0
    assert [path.name for path in (tmp_path / "litepose-out").iterdir()] == ["clip.webm"]
    assert call("predict", clip, "-m", model, "--json", "lines", "--format", "openpifpaf", "--threads", 1) == 0
    assert len((tmp_path / "lines").read_text().splitlines()) == 12


def test_several_videos_have_outputs_of_their_own_and_a_broken_one_stops_none(model, clip, tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "clip.mp4").write_bytes(clip.read_bytes())
    write_sound(tmp_path / "b" / "music.mp4")
    given = (clip, tmp_path / "b" / "music.mp4", tmp_path / "a" / "clip.mp4")
    out = tmp_path / "out"
    assert call("predict", *given, "-m", model, "-o", out, "--json", out, "--format", "csv", "--threads", 1) == 2
    assert "music.mp4 has no moving pictures" in capsys.readouterr().err
    names = sorted(path.name for path in out.iterdir() if "about" not in path.name)
    assert names == ["clip-2.csv", "clip-2.webm", "clip.csv", "clip.webm"]


def test_a_video_that_is_cut_off_leaves_what_was_there_and_exits_with_two(model, tmp_path, frames, capsys):
    path = cut(write_video(tmp_path / "clip.mkv", [*frames, *frames, *frames], codec="libx264"), 0.7)
    assert call("predict", path, "-m", model, "-o", tmp_path / "out", "--threads", 1) == 2
    printed = capsys.readouterr()
    assert "is cut off" in printed.err and "litepose: " in printed.err and "clip.mkv: " in printed.out
    with_what_was_there = list(open_video(tmp_path / "out" / "clip.webm").frames())
    assert 3 < len(with_what_was_there) < 36


def test_pictures_become_a_sequence_where_that_is_asked_for(model, tmp_path, frames):
    for i, frame in enumerate(frames[:4]):
        cv2.imwrite(str(tmp_path / f"{i}.png"), frame)
    out, results = tmp_path / "out", tmp_path / "r.json"
    asked = ("--sequence", "--rate", 10, "--track", "--threads", 1)
    assert call("predict", tmp_path, "-m", model, "-o", out, "--json", results, *asked) == 0
    times = [picture["time_s"] for picture in json.loads(results.read_text())["pictures"]]
    assert times == pytest.approx([0, 0.1, 0.2, 0.3])
    assert (out / f"{tmp_path.name}.webm").is_file()


WRONG = {
    "a camera that is not there": (["63"], "There is no camera 63"),
    "a video that is not there": (["no.mp4"], "There is no video no.mp4"),
    "video options with pictures": (
        ["{photo}", "--track", "--start", "1"],
        "--track, --start.*the sources are pictures",
    ),
    "both kinds": (["{photo}", "{clip}"], "Pictures and videos were given together"),
    "maps of a video": (["{clip}", "--show-maps"], "--show-maps: of pictures"),
    "a box file of a video": (["{clip}", "--boxes", "b.json"], "--boxes b.json: of pictures"),
    "one file for two": (["{clip}", "{clip2}", "-o", "x.webm"], "one file for several"),
    "its own input": (["{clip}", "-o", "{clip}"], "would overwrite the input"),
    "a stop before the start": (["{clip}", "--start", "2", "--stop", "1"], "stops after it starts"),
    "a window without display": (["{clip}", "--show"], "there is no display"),
    "a folder for one file": (["{clip}", "--json", "."], "is a folder"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_mistake_is_one_clear_message_and_exit_code_two(kind, model, clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    cv2.imwrite("photo.png", paint(lay_out(1, SIZE), SIZE))
    Path("clip2.mp4").write_bytes(clip.read_bytes())
    before = clip.read_bytes()
    arguments, said = WRONG[kind]
    named = [argument.format(photo="photo.png", clip=clip, clip2="clip2.mp4") for argument in arguments]
    assert call("predict", *named, "-m", model) == 2
    error = capsys.readouterr().err
    assert error.startswith("litepose: ")
    assert re.search(said, error)
    assert clip.read_bytes() == before and not list(tmp_path.glob("**/*.webm"))


def test_ctrl_c_leaves_a_video_that_plays_and_results_that_read(model, tmp_path, frames):
    write_video(tmp_path / "long.mp4", frames * 300, codec="libx264")
    environment = {**os.environ, "PYTHONPATH": str(Path(litepose.__file__).parents[1])}
    asked = ["predict", "long.mp4", "-m", model, "-o", "out", "--json", "out/r.json", "--threads", "1"]
    command = [sys.executable, "-m", "litepose", *asked]
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        parts = list((tmp_path / "out").glob(".r-*"))
        if parts and parts[0].stat().st_size > 20_000:
            break
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, error = running.communicate(timeout=60)
    assert running.returncode == 130, error
    assert b"interrupted; what was done" in error and b"long.mp4: " in out
    pictures = json.loads((tmp_path / "out" / "r.json").read_text())["pictures"]
    assert 1 <= len(pictures) < 3600
    assert len(list(open_video(tmp_path / "out" / "long.webm").frames())) == len(pictures)
    assert not list((tmp_path / "out").glob(".*"))
