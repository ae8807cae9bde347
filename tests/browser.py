"""A page file opened in headless Chromium, for tests: what it says, logs and asks for.

Chromium is looked for on the PATH, or LITEPOSE_CHROMIUM names it; without it, or without playwright, a test is skipped.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Visit:
    """What was seen. console, errors, requests: all must be empty for a page that holds everything itself.

    text: of the body, folded parts opened. broken_pictures: how many did not load. overflow_px: what reaches beyond
    the window's width, so that the whole page scrolls sideways.
    """

    title: str
    text: str
    console: tuple[str, ...]
    errors: tuple[str, ...]
    requests: tuple[str, ...]
    num_pictures: int
    broken_pictures: int
    overflow_px: int


def visit(path, *, width=1280, height=900, dark=False, screenshot=None) -> Visit:
    """Open a file in a window of width x height px, unfold it, and write a picture of all of it to `screenshot`."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    address = Path(path).resolve().as_uri()
    console, errors, requests = [], [], []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page.on("console", lambda message: console.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(address, wait_until="load")
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            pictures = page.evaluate("Array.from(document.images, one => one.complete && one.naturalWidth > 0)")
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if screenshot is not None:
                page.screenshot(path=str(screenshot), full_page=True)
            title, text = page.title(), page.inner_text("body")
        finally:
            browser.close()
    outside = tuple(one for one in requests if one != address and not one.startswith("data:"))
    return Visit(title, text, tuple(console), tuple(errors), outside, len(pictures), pictures.count(False), overflow)


def chromium() -> str:
    """Return the path of a Chromium or skip the test."""
    found = os.environ.get("LITEPOSE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed and LITEPOSE_CHROMIUM names none")
    return found
