"""Time of exported top-down networks by the form of their graph, and of the steps around them for each person.

    python benchmarks/topdown.py [--models lpn_50 litehrnet_18] [--size 192x256] [--batches 1 4] [--rounds 40]

One process, one thread. The forms of a graph take turns within a round, in turned order from round to round, and each
round gives one ratio to the first form; printed are the median ratios with their quartiles. The main figure is CPU time
of the process, because wall time on a shared machine measures the neighbours (who still share caches and cores, hence
the quartiles); wall time stands beside it. The forms:

    reference-style  Lite-HRNet step by step as its authors compute it, written for this comparison (reference_style.py)
    plain            the network's own layers: litepose export --plain
    exported         what litepose export writes: export_rewrites.py

Files take any batch; the reference-style graph, which cannot, is written for each. Weights are random, normalised as in
a trained network, so that no value is too small for the processor's fast path. The error is the largest difference to
PyTorch's output, relative to the largest output. The steps: cutting the crop of one person out of a 640x480 picture,
the network, and decoding, on maps of one clear peak for each keypoint. Needs torch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from reference_style import reference_style  # noqa: E402
from torch import nn  # noqa: E402

from litepose import checkpoints  # noqa: E402
from litepose.export import example_input, export_onnx  # noqa: E402
from litepose.models.litehrnet import LiteHRNet  # noqa: E402
from litepose.predictor import Predictor  # noqa: E402
from litepose.runtimes.onnx import OnnxRuntime, open_session  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.spec import PoseSpec  # noqa: E402

PICTURE = (640, 480)
PEAK_SIGMA_CELLS = 2.0
WARM_UP = 2  # rounds that do not count

Times = tuple[list[float], list[float]]  # CPU ms and wall ms of each round


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["lpn_50", "litehrnet_18"])
    parser.add_argument("--size", default="192x256", help="WxH of the crops")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--people", type=int, default=5, help="crops in the picture of the steps")
    asked = parser.parse_args(arguments)
    size = tuple(int(side) for side in asked.size.split("x"))

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"ONNX Runtime {onnxruntime.__version__}, one thread, {asked.size}, {asked.rounds} rounds, CPU time first;")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print(
        "network                    batch  form             CPU ms  faster by (quartiles)    "
        "wall ms  faster by (quartiles)   error"
    )
    steps = []
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.models:
            network, spec = build(name)
            files = write_files(network, spec, size, Path(folder))
            for batch in asked.batches:
                compare_forms(network, spec, files, batch, size, asked.rounds, Path(folder))
            steps.append(time_steps(name, files["exported"], asked.people, asked.rounds))
    print("\nCPU ms a person               crop   network   decode   decode's share of the network's time (quartiles)")
    print("\n".join(steps))


def build(name: str) -> tuple[nn.Module, PoseSpec]:
    """Return a network with random weights whose normalisations have seen a batch, and its spec."""
    torch.manual_seed(0)
    spec = checkpoints.default_spec(name, COCO17)
    network = checkpoints.build_network(spec)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(torch.from_numpy(inputs_of(spec, 4, (192, 256))))
    return network.eval(), spec


def inputs_of(spec: PoseSpec, count: int, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([example_input(spec.input, size, seed=seed) for seed in range(count)])


def write_files(network: nn.Module, spec: PoseSpec, size: tuple[int, int], folder: Path) -> dict[str, Path]:
    ways = {"plain": True, "exported": False}
    return {
        form: export_onnx(network, spec, folder / f"{spec.model}_{form}.onnx", size=size, plain=plain).path
        for form, plain in ways.items()
    }


def write_reference(network: LiteHRNet, batch: int, size: tuple[int, int], path: Path) -> Path:
    images = torch.zeros(batch, 3, size[1], size[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            reference_style(network), (images,), str(path), input_names=["image"], opset_version=17, dynamo=False
        )
    return path


def compare_forms(
    network: nn.Module,
    spec: PoseSpec,
    files: dict[str, Path],
    batch: int,
    size: tuple[int, int],
    rounds: int,
    folder: Path,
) -> None:
    """Print a line for each form of one network's graph."""
    images = inputs_of(spec, batch, size)
    if isinstance(network, LiteHRNet):
        files = {"reference-style": write_reference(network, batch, size, folder / "reference.onnx"), **files}
    with torch.inference_mode():
        wanted = network(torch.from_numpy(images))[0].numpy()
    sessions = {form: open_session(path, "cpu", 1) for form, path in files.items()}
    times = take_turns(
        {form: lambda one=one: one.run(None, {"image": images}) for form, one in sessions.items()}, rounds
    )
    base = next(iter(times))
    for form, clocks in times.items():
        error = np.abs(sessions[form].run(None, {"image": images})[0] - wanted).max() / np.abs(wanted).max()
        columns = [
            f"{statistics.median(mine):7.2f}  {faster(theirs, mine):23s}"
            for theirs, mine in zip(times[base], clocks, strict=True)
        ]
        print(f"{spec.model:26s} {batch:5d}  {form:15s} {columns[0]}  {columns[1]}  {error:.0e}")


def take_turns(calls: dict[str, Callable], rounds: int) -> dict[str, Times]:
    """Return the times of each call: one of each a round, every second round backwards."""
    times: dict[str, Times] = {name: ([], []) for name in calls}
    for turn in range(rounds + WARM_UP):
        for name in list(calls) if turn % 2 else reversed(calls):
            wall, cpu = time.perf_counter_ns(), time.process_time_ns()
            calls[name]()
            cpu, wall = time.process_time_ns() - cpu, time.perf_counter_ns() - wall
            if turn >= WARM_UP:
                times[name][0].append(cpu / 1e6)
                times[name][1].append(wall / 1e6)
    return times


def faster(theirs: Sequence[float], mine: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles([a / b for a, b in zip(theirs, mine, strict=True)], n=4)
    return f"{middle:.3f}  ({low:.3f} .. {high:.3f})"


def time_steps(name: str, file: Path, people: int, rounds: int) -> str:
    """Return a line with the CPU time for one person of the predictor's steps around a picture of several."""
    rng = np.random.default_rng(0)
    predictor = Predictor(OnnxRuntime(file, threads=1))
    picture = rng.integers(0, 256, (PICTURE[1], PICTURE[0], 3), dtype=np.uint8)
    frames = predictor.frames(picture, random_boxes(people, rng))
    views = [view for frame in frames for view in frame.views]
    tensors = [predictor.prepare(picture, view) for view in views]
    shape = predictor.forward(tensors[:1])[0][0].shape
    maps = [(drawn_maps(shape, rng),) for _ in views]
    calls = {
        "crop": lambda: [predictor.prepare(picture, view) for view in views],
        "network": lambda: [predictor.forward([tensor]) for tensor in tensors],
        "decode": lambda: predictor.decode(frames, iter(maps)),
    }
    times = {step: [one / people for one in clocks[0]] for step, clocks in take_turns(calls, rounds).items()}
    shares = [100 * a / b for a, b in zip(times["decode"], times["network"], strict=True)]
    low, middle, high = statistics.quantiles(shares, n=4)
    crop, network, decode = (statistics.median(times[step]) for step in ("crop", "network", "decode"))
    return f"{name:26s} {crop:7.3f}  {network:8.2f}  {decode:7.3f}   {middle:.1f} %  ({low:.1f} .. {high:.1f} %)"


def random_boxes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 4) xyxy boxes of upright people inside the picture."""
    heights = rng.uniform(150, 400, count)
    corners = rng.uniform(0, 1, (count, 2)) * np.stack([PICTURE[0] - heights / 2, PICTURE[1] - heights], axis=1)
    return np.concatenate([corners, corners + np.stack([heights / 2, heights], axis=1)], axis=1)


def drawn_maps(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return (K, h, w) float32 heatmaps: one peak between cells each, over noise."""
    count, height, width = shape
    y, x = np.mgrid[:height, :width]
    places = rng.uniform(2, np.array([width, height]) - 3, (count, 2))
    square = (x - places[:, 0, None, None]) ** 2 + (y - places[:, 1, None, None]) ** 2
    peaks = rng.uniform(0.4, 0.95, (count, 1, 1)) * np.exp(-square / (2 * PEAK_SIGMA_CELLS**2))
    return (peaks + rng.normal(0, 0.01, shape)).astype(np.float32)


if __name__ == "__main__":
    main()
