"""Firefox and WebKitGTK (the engine of Safari) driven without a window, for tests: just enough of WebDriver.

Firefox is asked through its own Marionette connection; WebKitGTK's MiniBrowser through WebKitWebDriver, on a screen of
Xvfb. LITEPOSE_FIREFOX and LITEPOSE_WEBKIT_DRIVER name them where they are not on the PATH; without them, tests are
skipped. Debian has both: firefox-esr, webkit2gtk-driver, xvfb.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver calls an element's number
MINI_BROWSER = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser"
FIREFOX_SETTINGS = {
    "marionette.port": 0,  # a free one, written into the profile
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,  # a camera that shows a coloured square
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
}


class Browser:
    """What both can do. `command(name of WebDriver, method, path, values)` is the difference."""

    name = ""

    def goto(self, address):
        self.command("Navigate", "POST", "/url", {"url": address})

    def evaluate(self, expression):
        """Return the value of a JavaScript expression, waited for where it is a promise."""
        script = (
            "const done = arguments[arguments.length - 1];"
            f"Promise.resolve((() => {{ return {expression}; }})()).then(one => done({{ value: one }}),"
            " error => done({ problem: String(error) }));"
        )
        answer = self.command("ExecuteAsyncScript", "POST", "/execute/async", {"script": script, "args": []})
        assert "problem" not in answer, answer["problem"]
        return answer.get("value")

    def element(self, selector):
        found = self.command("FindElement", "POST", "/element", {"using": "css selector", "value": selector})
        return found.get("value", found)[ELEMENT]

    def click(self, selector):
        element = self.element(selector)
        self.command("ElementClick", "POST", f"/element/{element}/click", {"id": element})

    def upload(self, selector, path):
        """Choose a file in an input."""
        element = self.element(selector)
        text = str(Path(path).resolve())
        values = {"id": element, "text": text, "value": list(text)}
        self.command("ElementSendKeys", "POST", f"/element/{element}/value", values)

    def screenshot(self, path):
        answer = self.command("TakeScreenshot", "GET", "/screenshot", {"full": False})
        Path(path).write_bytes(base64.b64decode(answer["value"] if isinstance(answer, dict) else answer))

    def command(self, name, method, path, values):
        raise NotImplementedError

    def wait_until(self, expression, *, timeout_s=120):
        end = time.monotonic() + timeout_s
        while not self.evaluate(expression):
            status = self.evaluate("document.getElementById('status')?.textContent")
            assert time.monotonic() < end, f"{self.name}: {expression} after {timeout_s} s: {status}"
            time.sleep(0.1)


class Firefox(Browser):
    """A connection to Marionette: messages are `length:json`."""

    name = "Firefox"

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=180)
        self.buffer, self.number = b"", 0
        self._read()  # who is there
        self.command("NewSession", "", "", {"capabilities": {}})
        self.command("SetTimeouts", "", "", {"script": 120_000})

    def command(self, name, method, path, values):
        self.number += 1
        data = json.dumps([0, self.number, f"WebDriver:{name}", values]).encode()
        self.socket.sendall(b"%d:" % len(data) + data)
        _, number, error, result = self._read()
        assert number == self.number and error is None, error
        return result["value"] if isinstance(result, dict) and set(result) == {"value"} else result

    def close(self):
        self.socket.close()

    def _read(self):
        while b":" not in self.buffer:
            self.buffer += self._more()
        length, _, rest = self.buffer.partition(b":")
        while len(rest) < int(length):
            rest += self._more()
        self.buffer = rest[int(length) :]
        return json.loads(rest[: int(length)])

    def _more(self):
        data = self.socket.recv(1 << 20)
        assert data, "Firefox hung up"
        return data


class WebKit(Browser):
    """A session of WebKitWebDriver at an address."""

    name = "WebKitGTK"

    def __init__(self, address, mini_browser):
        options = {"binary": mini_browser, "args": ["--automation", "--enable-mock-capture-devices=true"]}
        capabilities = {"alwaysMatch": {"webkitgtk:browserOptions": options}}
        self.address = f"{address}/session"
        session = self._ask("POST", "", {"capabilities": capabilities})
        self.address += f"/{session['sessionId']}"
        self._ask("POST", "/timeouts", {"script": 120_000})

    def command(self, name, method, path, values):
        return self._ask(method, path, values)

    def _ask(self, method, path, values):
        data = json.dumps(values).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=180) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None


@contextlib.contextmanager
def firefox(*, width=1280, height=800):
    """Yield Firefox with a window of width x height px."""
    executable = os.environ.get("LITEPOSE_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if executable is None:
        pytest.skip("needs Firefox: none is installed and LITEPOSE_FIREFOX names none")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in FIREFOX_SETTINGS.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        command = [executable, "--headless", "--marionette", "--profile", profile, "--width", str(width),
                   "--height", str(height), "about:blank"]  # fmt: skip
        size = {"MOZ_HEADLESS_WIDTH": str(width), "MOZ_HEADLESS_HEIGHT": str(height)}
        environment = {**os.environ, "HOME": profile, **size}
        with running(command, environment):
            port = int(awaited(lambda: (Path(profile) / "MarionetteActivePort").read_text()))
            with contextlib.closing(Firefox(port)) as opened:
                yield opened


@contextlib.contextmanager
def webkit():
    """Yield WebKitGTK's MiniBrowser."""
    driver = os.environ.get("LITEPOSE_WEBKIT_DRIVER") or shutil.which("WebKitWebDriver")
    mini_browser = next((str(path) for path in Path("/").glob(MINI_BROWSER[1:])), None)
    screen = shutil.which("Xvfb")
    if driver is None or mini_browser is None or screen is None:
        pytest.skip("needs WebKitGTK: WebKitWebDriver, its MiniBrowser and Xvfb are not all installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.ExitStack() as stack:
        read, write = os.pipe()
        display = [screen, "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        stack.enter_context(running(display, dict(os.environ), pass_fds=(write,)))
        number = os.read(read, 16).decode().strip()
        port = free_port()
        environment = {
            **os.environ, "DISPLAY": f":{number}", "HOME": folder, "XDG_RUNTIME_DIR": folder, "GDK_BACKEND": "x11",
            "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
        }  # fmt: skip
        stack.enter_context(running([driver, f"--port={port}", "--host=127.0.0.1"], environment))
        address = f"http://127.0.0.1:{port}"
        awaited(lambda: urllib.request.urlopen(f"{address}/status", timeout=5).read())
        yield WebKit(address, mini_browser)


@contextlib.contextmanager
def running(command, environment, **settings):
    """Run a program, with its children, until the end of the context."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **settings,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)


def awaited(get, *, timeout_s=60):
    """Return what `get` gives as soon as it gives something."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            if found := get():
                return found
        except OSError:
            pass
        assert time.monotonic() < end, f"nothing after {timeout_s} s"
        time.sleep(0.1)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]
