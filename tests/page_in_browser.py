"""The page served and opened in headless Chromium, for tests and benchmarks."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

import litepose
from litepose.predictor import load

SOURCE = Path(litepose.__file__).parents[1]


@contextlib.contextmanager
def served(*arguments, environment=None):
    """Run `litepose serve` on a free port; yield (its address, the process)."""
    for package in ("fastapi", "uvicorn", "python_multipart"):
        pytest.importorskip(package, reason="needs litepose[web]")
    command = [sys.executable, "-m", "litepose", "serve", "--port", "0", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(SOURCE), **(environment or {})}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"(http://127\.0\.0\.1:\d+),", line):
                break
        else:
            raise AssertionError("".join(lines))
        yield found.group(1), process
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@contextlib.contextmanager
def browser(executable, *, camera=None, arguments=()):
    """Yield Chromium; camera: an .mjpeg file that its camera shows. arguments: more of the command line."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")

    arguments = ["--no-sandbox", *arguments]
    if camera is not None:
        arguments += [
            "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]  # fmt: skip
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=executable, args=arguments)
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(chromium, address, *, width=1280, height=800, dark=False, settings=()):
    """Return a page that is ready, and what it logged. settings: (id, value) of its selects."""
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    problems = []
    page.on("console", lambda message: message.type == "error" and problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    wait_until(page, "window.litepose?.ready")
    page.evaluate("document.querySelector('details').open = true")
    for name, value in settings:
        page.select_option(f"#{name}", value)
        wait_until(page, "window.litepose.ready")
    page.evaluate("document.querySelector('details').open = false")
    return page, problems


def wait_until(page, expression, *, timeout_s=120):
    """Wait until an expression holds (the page's policy forbids the evaluation that playwright's own waiting needs)."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression} after {timeout_s} s: {page.inner_text('#status')}"
        page.wait_for_timeout(50)


def latest(page, *, timeout_s=120):
    """Return what the page finds next: {people, picture, input, times}."""
    page.evaluate("void (window.litepose.latest = null)")
    wait_until(page, "window.litepose.latest !== null", timeout_s=timeout_s)
    return page.evaluate("window.litepose.latest")


def assert_same(found, image, predictor=None, *, ties=0):
    """Compare what the page found with Python, by default the mode "fast": everybody, all keypoints within 2 px.

    ties: keypoints that may lie elsewhere: where two cells are equally hot, the last bit decides which is the peak.
    """
    people = (predictor or load("litepose_xs", threads=1, decode="fast"))(image)
    assert len(found["people"]) == len(people) > 0
    np.testing.assert_allclose([one["score"] for one in found["people"]], people.scores, atol=0.001)
    triples = np.array([one["keypoints"] for one in found["people"]])
    assert (np.abs(triples[..., :2] - people.keypoints).max(axis=-1) >= 2).sum() <= ties
    assert np.abs(triples[..., 2] - people.keypoint_scores).max() < 0.005


def write_camera(path, image, *, frames=30):
    """Write a picture as a video that Chromium's camera shows again and again."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 98])
    assert done
    path.write_bytes(data.tobytes() * frames)
    return path
