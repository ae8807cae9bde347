"""The page in other engines than Chromium's, and on WebGPU: the same people as in Python."""

from pathlib import Path

import cv2
import pytest

from browser import chromium
from litepose import images
from litepose.predictor import load
from litepose.web import engine_files
from other_browsers import firefox, webkit
from page_in_browser import assert_same, browser, latest, open_page, served

EXAMPLES = Path(__file__).parents[1] / "examples"
GPU_IN_SOFTWARE = (
    "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
    "--use-vulkan=swiftshader", "--disable-vulkan-surface",
)  # fmt: skip
OWN_SIDE = "192"  # of litepose_xs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(engine_files.missing()), reason="needs the page's engine: make web"),
]


@pytest.mark.parametrize("other", [firefox, webkit])
def test_firefox_and_webkit_find_the_people_that_python_finds(other, tmp_path):
    large = cv2.resize(cv2.imread(str(EXAMPLES / "scene.jpg")), (2560, 1792), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    with served("-m", "litepose_xs") as (address, _), other() as opened:
        opened.goto(address)
        opened.wait_until("window.litepose?.ready")
        assert opened.evaluate("crossOriginIsolated")
        choose(opened, "side", OWN_SIDE)
        for path in (EXAMPLES / "astronaut.jpg", EXAMPLES / "scene.jpg", tmp_path / "large.png"):
            assert_same(seen(opened, lambda path=path: opened.upload("#file", path)), images.read(path))
        found = seen(opened, lambda: opened.click("#camera"))
        assert found["picture"] == [640, 480] and found["input"] == [256, 192]
        assert not opened.evaluate("document.getElementById('status').classList.contains('problem')")


def choose(opened, name, value):
    opened.evaluate(
        f"void (one => {{ one.value = '{value}'; one.dispatchEvent(new Event('change')); }})"
        f"(document.getElementById('{name}'))"
    )


def seen(opened, act):
    """Return what the page finds after something was done."""
    opened.evaluate("void (window.litepose.latest = null)")
    act()
    opened.wait_until("window.litepose.latest !== null")
    return opened.evaluate("window.litepose.latest")


@pytest.mark.skipif(
    bool(engine_files.missing(engine_files.WEBGPU_FILES)),
    reason="needs make web WEBGPU=1",
)
def test_on_webgpu_the_page_finds_the_people_that_python_finds():
    in_python = load("litepose_xs", threads=1, decode="fast", size=(128, 128))
    with served("-m", "litepose_xs") as (address, _), browser(chromium(), arguments=GPU_IN_SOFTWARE) as opened:
        page, _ = open_page(opened, address, settings=[("side", "128")])
        if not page.evaluate("navigator.gpu?.requestAdapter().then(one => one !== null) ?? false"):
            pytest.skip("needs a Chromium with WebGPU, on SwiftShader at least")
        page.evaluate("document.querySelector('details').open = true")
        page.select_option("#engine", "webgpu")
        page.set_input_files("#file", EXAMPLES / "astronaut.jpg")
        assert_same(
            latest(page, timeout_s=500), images.read(EXAMPLES / "astronaut.jpg"), in_python
        )  # minutes, in software
        assert page.evaluate("document.getElementById('engine').value") == "webgpu"
