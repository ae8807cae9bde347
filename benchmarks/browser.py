"""Time of the page's model in headless Chromium, beside the plain model in the same page and native ONNX Runtime.

    python benchmarks/browser.py [--model litepose_xs] [--beside litepose_xs] [--rounds 40] [--threads 1]

Needs playwright and a Chromium, and the page's engine (make web). In one page, with one thread, they take turns: the
file of the model that it is compared with as it is, at its own input size; the model's browser form at its own size;
and, where the page begins with a smaller input, that form at that size. After each turn native ONNX Runtime computes
the plain file once, with as many threads. Inputs are those of a 4:3 camera. Wall time: a page cannot ask for CPU time,
so ratios are of neighbouring runs, and medians.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from playwright.sync_api import sync_playwright

from litepose.predictor import Predictor, load
from litepose.web.engine_files import VERSION
from litepose.web.guard import HEADERS
from litepose.web.site import SHORT_SIDE, Offered, write_site
from litepose.weights import path_of

CAMERA = (640, 480)

OPEN = """async ({ variants, threads }) => {
  const ort = await import("/ort/ort.wasm.min.mjs");
  ort.env.wasm.wasmPaths = location.origin + "/ort/";
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  window.turns = [];
  for (const { file, size: [width, height] } of variants) {
    const bytes = new Uint8Array(await (await fetch("/" + file)).arrayBuffer());
    const session = await ort.InferenceSession.create(bytes, {
      executionProviders: ["wasm"], graphOptimizationLevel: "all",
      freeDimensionOverrides: { batch: 1, height, width },
    });
    const data = Float32Array.from({ length: 3 * width * height }, (_, i) => Math.sin(0.37 * i) + Math.cos(0.011 * i));
    const image = new ort.Tensor("float32", data, [1, 3, height, width]);
    window.turns.push(async () => {
      const start = performance.now();
      const outputs = await session.run({ image });
      const took = performance.now() - start;
      for (const one of Object.values(outputs)) one.dispose();
      return took;
    });
  }
  return crossOriginIsolated;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="litepose_xs")
    parser.add_argument("--beside", help="the plain model of all ratios; by default the model itself")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chromium", default=os.environ.get("LITEPOSE_CHROMIUM") or shutil.which("chromium"))
    asked = parser.parse_args()

    source, beside = path_of(asked.model), path_of(asked.beside or asked.model)
    predictor, plain = load(source, threads=1), load(beside, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        (name,) = write_site(folder, {source.stem: Offered(source, predictor.spec)})
        shutil.copy(beside, Path(folder) / "models" / "plain.onnx")
        own, small = plain.frame(CAMERA).size, first_size(predictor)
        variants = [
            (f"plain {beside.stem}", "models/plain.onnx", own),
            ("browser form, own size", f"models/{name}.onnx", predictor.frame(CAMERA).size),
        ]
        if small != variants[-1][2]:
            variants.append(("browser form, the page's size", f"models/{name}.onnx", small))
        session, image = native(beside, own, asked.threads)
        with served(folder) as address, sync_playwright() as running:
            browser = running.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address + "/models.json")  # any file: the page itself would compute too
            told = [{"file": file, "size": size} for _, file, size in variants]
            isolated = page.evaluate(OPEN, {"variants": told, "threads": asked.threads})
            print(f"Chromium {browser.version}, onnxruntime-web {VERSION} (wasm, isolated: {isolated}), native ONNX")
            print(
                f"Runtime {onnxruntime.__version__}, {asked.threads} thread(s), load average {os.getloadavg()[0]:.1f}"
            )
            times = measure(page, session, image, len(variants), asked.rounds)
            browser.close()
    report(variants, times, own)


def measure(page: Any, session: Any, image: np.ndarray, count: int, rounds: int) -> list[list[float]]:
    """Return the times of each variant, then of native ONNX Runtime, in ms."""
    times: list[list[float]] = [[] for _ in range(count + 1)]
    for round_ in range(rounds + 3):
        row = [page.evaluate(f"window.turns[{i}]()") for i in range(count)]
        start = time.perf_counter()
        session.run(None, {"image": image})
        row.append((time.perf_counter() - start) * 1000)
        if round_ >= 3:  # the first warm up
            for series, value in zip(times, row, strict=True):
                series.append(value)
    return times


def report(variants: list[tuple[str, str, tuple[int, int]]], times: list[list[float]], own: tuple[int, int]) -> None:
    plain, last = times[0], times[-1]
    print(f"\n{'':32s} {'input':>9s} {'ms':>7s} {'x plain':>8s} (quartiles)      {'x native':>8s}")
    rows = [*((name, size) for name, _, size in variants), ("native, plain model", own)]
    for (name, size), series in zip(rows, times, strict=True):
        low, middle, high = statistics.quantiles([a / b for a, b in zip(series, plain, strict=True)], n=4)
        native_ratio = statistics.median(a / b for a, b in zip(series, last, strict=True))
        print(
            f"{name:32s} {f'{size[0]}x{size[1]}':>9s} {statistics.median(series):7.1f} {middle:8.3f} "
            f"({low:.3f} .. {high:.3f})  {native_ratio:8.2f}"
        )


def first_size(predictor: Predictor) -> tuple[int, int]:
    """Return the page's first input for a 4:3 camera, as picture.js plans it."""
    if min(predictor.spec.input.size) <= SHORT_SIDE:
        return predictor.frame(CAMERA).size
    return (round(SHORT_SIDE * CAMERA[0] / CAMERA[1] / 16) * 16, SHORT_SIDE)


def native(source: Path, size: tuple[int, int], threads: int) -> tuple[Any, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    i = np.arange(3 * size[0] * size[1])
    return session, (np.sin(0.37 * i) + np.cos(0.011 * i)).astype(np.float32).reshape(1, 3, size[1], size[0])


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with the headers of `litepose serve`, so that threads are possible."""

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class served:
    """A context: a folder on a free port of the loopback."""

    def __init__(self, folder: str) -> None:
        handler = functools.partial(Handler, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()


if __name__ == "__main__":
    main()
