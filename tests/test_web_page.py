"""The page in headless Chromium: the same people as in Python, with a camera, without a network, on any host."""

import base64
import contextlib
import functools
import http.client
import http.server
import json
import re
import signal
import threading
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from browser import chromium
from litepose import images
from litepose.errors import LiteposeError, MissingPackageError, SettingError
from litepose.predictor import load
from litepose.web import engine_files
from litepose.web.serving import offered, open_models
from litepose.web.site import SHORT_SIDE, STATIC, write_site
from page_in_browser import assert_same, browser, latest, open_page, served, wait_until, write_camera

EXAMPLES = Path(__file__).parents[1] / "examples"
OWN_SIDE = "192"  # of litepose_xs
needs_engine = pytest.mark.skipif(bool(engine_files.missing()), reason="needs the page's engine: make web")

GRAB = """(async () => {
  const bitmap = await createImageBitmap(document.getElementById("video"));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
})()"""


def models(*names):
    return offered(names, open_models(names, threads=1, decode=None))


@needs_engine
def test_the_site_is_a_folder_that_says_what_it_holds(tmp_path):
    assert write_site(tmp_path, models("lpn_50", "litepose_xs")) == ["litepose_xs", "lpn_50"]
    listed = json.loads((tmp_path / "models.json").read_text())
    model, top_down = listed["models"]
    assert model["boxes_of"] is None and top_down["boxes_of"] == "litepose_xs"
    assert listed["short_side"] == SHORT_SIDE and listed["engines"][0] == "wasm"
    data = (tmp_path / model["file"]).read_bytes()
    assert len(data) == model["bytes"] and model["spec"]["skeleton"]["name"] == "coco17"
    assert (tmp_path / "ort" / "LICENSE").read_text().startswith("onnxruntime-web")
    worker = (tmp_path / "service-worker.js").read_text()
    assert not any(mark in worker for mark in ('"VERSION"', '"FILES"', '"LATER"'))
    kept, later = (json.loads(found) for found in re.findall(r"= (?:new Set\()?(\[.*?\])", worker)[:2])
    assert "ort/ort-wasm-simd-threaded.wasm" in kept and model["file"] in kept and top_down["file"] in later
    assert "http://" not in "".join(path.read_text() for path in tmp_path.glob("*.js"))  # nothing from elsewhere


@needs_engine
def test_models_that_the_page_cannot_run_are_refused(tmp_path):
    with pytest.raises(SettingError, match=r"needs a bottom-up model .* lpn_50 is not such a one"):
        write_site(tmp_path, models("lpn_50"))


def test_without_the_engine_the_page_says_how_to_get_it(tmp_path):
    with pytest.raises(MissingPackageError, match="make web"):
        engine_files.check_engine(tmp_path)


def test_a_package_that_is_not_the_pinned_one_is_not_written(tmp_path):
    with pytest.raises(LiteposeError, match=r"is pinned\. Nothing was written"):
        engine_files.fetch(tmp_path / "ort", archive=b"another")
    assert not (tmp_path / "ort").exists()


def test_the_page_names_only_files_that_are_there():
    text = (STATIC / "index.html").read_text() + (STATIC / "manifest.webmanifest").read_text()
    for path in STATIC.iterdir():
        if path.is_file() and path.suffix in (".svg", ".png", ".css", ".webmanifest"):
            assert path.name in text, path.name


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A still of one person, 640x480, as a camera."""
    photo = cv2.imread(str(EXAMPLES / "astronaut.jpg"))
    frame = np.zeros((480, 640, 3), np.uint8)
    frame[:, 80:560] = cv2.resize(photo, (480, 480), interpolation=cv2.INTER_AREA)
    return write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg", frame)


@pytest.mark.slow
@needs_engine
def test_the_page_finds_the_people_that_python_finds(camera, tmp_path):
    with served("-m", "litepose_xs") as (address, _), browser(chromium(), camera=camera) as opened:
        page, problems = open_page(opened, address, settings=[("side", OWN_SIDE)])
        assert page.evaluate("crossOriginIsolated")
        phone = cv2.resize(cv2.imread(str(EXAMPLES / "scene.jpg")), (2560, 1792), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(tmp_path / "large.png"), phone)
        for path in (EXAMPLES / "astronaut.jpg", EXAMPLES / "scene.jpg", tmp_path / "large.png"):
            page.set_input_files("#file", path)
            found = latest(page)
            assert_same(found, images.read(path))
            assert page.inner_text("#people") == str(sum(one["score"] >= 0.2 for one in found["people"]))
        page.click("#camera")
        found = latest(page)
        assert found["picture"] == [640, 480] and found["input"] == [256, 192]
        assert_same(found, images.read(base64.b64decode(page.evaluate(GRAB))))
        page.evaluate("document.querySelector('details').open = true")
        page.select_option("#side", str(SHORT_SIDE))
        found = [latest(page), latest(page)][1]  # the first may have begun before
        assert found["input"] == [208, 160]
        smaller = load("litepose_xs", threads=1, decode="fast", size=(208, 160))
        assert_same(found, images.read(base64.b64decode(page.evaluate(GRAB))), smaller)
        page.click("#stop")
        assert page.inner_text("#fps") == "-" and page.is_visible("#invitation")
        assert problems == []


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize("name", ["litehrnet_18", "lpn_50"])
def test_top_down_models_find_in_the_page_what_they_find_in_python(name, camera, tmp_path):
    in_python = load(name, threads=1, boxes=load("litepose_xs", threads=1, decode="fast"))
    large = cv2.resize(cv2.imread(str(EXAMPLES / "astronaut.jpg")), (1800, 1800), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    with served("-m", "litepose_xs", "-m", name) as (address, _), browser(chromium(), camera=camera) as opened:
        page, problems = open_page(opened, address, settings=[("model", name), ("side", OWN_SIDE)])
        assert f"{name} in the boxes of litepose_xs" in page.inner_text("#status")
        for path in (EXAMPLES / "astronaut.jpg", EXAMPLES / "scene.jpg", tmp_path / "large.png"):
            page.set_input_files("#file", path)
            assert_same(latest(page), images.read(path), in_python, ties=1)
        page.click("#camera")
        found = latest(page)
        assert_same(found, images.read(base64.b64decode(page.evaluate(GRAB))), in_python, ties=1)
        assert problems == []


@pytest.mark.slow
@needs_engine
@pytest.mark.parametrize("width, height, dark", [(390, 844, True), (1280, 800, False)])
def test_the_page_fits_a_phone_and_a_desk(camera, width, height, dark):
    with served() as (address, _), browser(chromium(), camera=camera) as opened:
        page, problems = open_page(opened, address, width=width, height=height, dark=dark)
        page.click("#camera")
        latest(page)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        small = page.evaluate(
            "[...document.querySelectorAll('button, .button, select, input[type=range]')].filter(one => "
            "one.offsetHeight && one.id !== 'file' && one.offsetHeight < 44).map(one => one.id)"
        )
        assert small == [] and problems == []


@pytest.mark.slow
@needs_engine
def test_what_is_no_photo_gets_a_sentence(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"none")
    with served() as (address, _), browser(chromium()) as opened:
        page, _ = open_page(opened, address)
        page.set_input_files("#file", tmp_path / "photo.jpg")
        wait_until(page, "document.getElementById('status').classList.contains('problem')")
        assert "photo.jpg is neither a photo nor a video" in page.inner_text("#status")
        page.set_input_files("#file", EXAMPLES / "scene.jpg")
        assert len(latest(page)["people"]) > 2


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def plain_host(folder):
    """Serve a folder as any static host does, without headers of ours."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@needs_engine
def test_on_a_plain_host_the_page_works_in_a_folder_and_then_without_a_network(tmp_path):
    write_site(tmp_path / "sub" / "pose", models("litepose_xs", "litehrnet_18", "lpn_50"))
    with browser(chromium()) as opened:
        with plain_host(tmp_path) as address:
            page, problems = open_page(opened, f"{address}/sub/pose/")
            assert not page.evaluate("crossOriginIsolated")
            page.set_input_files("#file", EXAMPLES / "scene.jpg")
            first = latest(page)
            wait_until(page, "navigator.serviceWorker.controller !== null")
            page.reload()
            wait_until(page, "window.litepose?.ready")
            assert page.evaluate("crossOriginIsolated")  # the service worker adds the headers: threads are possible
            assert choose_model(page, "litehrnet_18").startswith("litehrnet_18 in the boxes of litepose_xs")
        page.reload()  # nobody serves any more
        wait_until(page, "window.litepose?.ready")
        page.set_input_files("#file", EXAMPLES / "scene.jpg")
        again = latest(page)
        assert [one["score"] for one in again["people"]] == pytest.approx([one["score"] for one in first["people"]])
        assert problems == []
        assert choose_model(page, "litehrnet_18").startswith("litehrnet_18 in the boxes of litepose_xs")  # once used
        assert choose_model(page, "lpn_50") == "lpn_50 cannot be opened: Failed to fetch"  # never used


def choose_model(page, name):
    """Choose a model as a person does; return what the page says then."""
    page.evaluate("document.querySelector('details').open = true")
    page.select_option("#model", name)
    wait_until(page, "!document.getElementById('status').textContent.startsWith('Opening')")
    return page.inner_text("#status")


@pytest.mark.slow
@needs_engine
def test_a_served_model_answers_over_a_socket_and_ends_when_told(tmp_path):
    photo = (EXAMPLES / "scene.jpg").read_bytes()
    with served(environment={"LITEPOSE_TOKEN": "correct-horse"}) as (address, process):
        headers = {"content-type": "image/jpeg", "authorization": "Bearer correct-horse"}
        with urllib.request.urlopen(urllib.request.Request(f"{address}/v1/people", photo, headers)) as answer:
            people = json.load(answer)["pictures"][0]["people"]
        expected = load("litepose_xs", threads=1)(photo)
        assert [one["score"] for one in people] == pytest.approx(expected.scores[expected.scores >= 0.2], abs=1e-3)
        with urllib.request.urlopen(address) as answer:
            assert b"litepose" in answer.read()
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        connection.putrequest("POST", "/v1/people")
        for name, value in {**headers, "content-length": "100000000"}.items():
            connection.putheader(name, value)
        connection.endheaders()  # no byte of the hundred megabytes is sent before the answer
        assert connection.getresponse().status == 413
        connection.close()
        connection.request("POST", "/v1/people", bytes(30_000_000), headers)  # who sends all of it gets the answer too
        assert connection.getresponse().status == 413
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, -signal.SIGTERM)
