"""Every script in examples/ runs as its first line says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import litepose
from dot_model import lay_out, paint, write_dot_model
from litepose.video import VideoWriter
from page_in_browser import served

EXAMPLES = Path(__file__).parents[1] / "examples"
SIZE = (640, 480)

# script -> (arguments, what it prints, the file it leaves)
CALLS = {
    "predict_picture.py": (["photos/two.png", "dots.onnx"], "person 1: score", "people.png"),
    "api_client.py": (["ADDRESS", "photos/two.png"], "two.png: 2 people", "people.json"),
    "batch_folder.py": (["photos", "dots.onnx"], "two.png: 2 people", "people.json"),
    "synthetic_scene.py": (["."], "people drawn", "scene-truth.jpg"),
    "own_keypoints.py": (["own", "3"], "people drawn into 3 pictures", "own/dancers.json"),
    "segmentation.py": (["2"], "mIoU 0.", "segmentation.png"),
    "tracking.py": (["clip.mp4", "dots.onnx"], "person 1: in 6 of 6 frames", "tracked.webm"),
    "video_to_csv.py": (["clip.mp4", "dots.onnx"], "6 frames are in keypoints.csv", "keypoints.csv"),
    "webcam.py": (["clip.mp4", "dots.onnx"], "0.00 s: person 1 came", "webcam.webm"),
    "show_heatmap.py": (["photos/two.png", "left_knee", "dots.onnx"], "left_knee: strongest heat 0.", "heatmap.png"),
}


def test_every_example_is_called_here():
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(CALLS)


@pytest.mark.parametrize("script", CALLS)
def test_an_example_does_what_it_says(script, tmp_path):
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "two.png"), paint(lay_out(2, SIZE), SIZE))
    write_dot_model(tmp_path / "dots.onnx")
    if "clip.mp4" in CALLS[script][0]:
        pytest.importorskip("av", reason="PyAV is not installed: pip install 'litepose[video]'")
        with VideoWriter(tmp_path / "clip.mp4", rate=25) as writer:
            for i in range(6):
                writer.add(paint(lay_out(2, SIZE) + np.array([i, 0]), SIZE), i / 25)
    arguments, printed, left = CALLS[script]
    if "ADDRESS" in arguments:
        with served("-m", str(tmp_path / "dots.onnx")) as (address, _):
            _run(script, [address, *arguments[1:]], printed, tmp_path)
    else:
        _run(script, arguments, printed, tmp_path)
    assert (tmp_path / left).stat().st_size > 0
    assert 12 <= len((EXAMPLES / script).read_text().splitlines()) <= 40


def _run(script, arguments, printed, folder):
    environment = {**os.environ, "PYTHONPATH": str(Path(litepose.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert printed in done.stdout


@pytest.mark.parametrize("script", sorted({*CALLS} - {"synthetic_scene.py"}))  # which needs no arguments
def test_an_example_without_arguments_says_how_it_is_called(script, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(litepose.__file__).parents[1])}
    command = [sys.executable, str(EXAMPLES / script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: python {script} ") and len(done.stderr.splitlines()) == 1
