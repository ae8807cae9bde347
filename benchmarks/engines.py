"""Exports for every engine: how far their outputs are from PyTorch's, how large the files are, how fast the engines.

    python benchmarks/engines.py [--parity NAME ...] [--speed NAME ...] [--rounds 20] [--pictures PATH ...]

Engines that are not installed are left out and named. Parity: each network is exported for each engine, and its outputs
for a photo, a drawn picture and --pictures are compared with PyTorch's: the largest difference, relative to the largest
output. Speed: one process, one thread; two files take turns (A B, B A, ...), a round gives one ratio of CPU times of
the process, printed are medians; wall time on a shared machine measures the neighbours. Comparisons are in pairs, as
every further engine in a loop leaves colder caches to all. Weights are those of the models that ship, else random and
normalised as in a trained network. Needs torch.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from litepose import checkpoints, images, unfolding, weights  # noqa: E402
from litepose.converters import PHOTO, suffix_of  # noqa: E402
from litepose.errors import LiteposeError  # noqa: E402
from litepose.export import compare, example_input, export_model, picture_input  # noqa: E402
from litepose.runtimes import FileRuntime, is_installed, open_runtime  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.spec import PoseSpec  # noqa: E402

ENGINES = ("onnx", "openvino", "openvino:bf16", "ncnn", "ncnn:f16", "litert")
PARITY = (
    "litepose_xs", "litehrnet_18", "lpn_50", "simplebaseline_mobilenetv2", "hrnet_w16_small", "higherhrnet_w16",
    "efficienthrnet_h4", "openpose_light_1", "litepose_dani",
)  # fmt: skip
SPEED = ("litepose_xs", "litepose_s", "litepose_m")
# What is compared: (engine, plain) against (engine, plain).
PAIRS = (
    (("onnx", True), ("onnx", False)),
    (("onnx", False), ("openvino", False)),
    (("openvino", True), ("openvino", False)),
    (("openvino", False), ("openvino:bf16", False)),
    (("onnx", False), ("ncnn", False)),
    (("litert", True), ("litert", False)),
    (("onnx", False), ("litert", False)),
)
WARM_UP = 2  # rounds that do not count


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parity", nargs="*", default=list(PARITY), metavar="NAME")
    parser.add_argument("--speed", nargs="*", default=list(SPEED), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--size", help="WxH of all inputs; default: each network's own")
    asked = parser.parse_args(arguments)
    size = tuple(int(side) for side in asked.size.split("x")) if asked.size else None
    torch.set_num_threads(1)
    here = [engine for engine in ENGINES if is_installed(engine.partition(":")[0])]
    absent = sorted({engine.partition(":")[0] for engine in ENGINES} - {engine.partition(":")[0] for engine in here})
    print(f"engines: {', '.join(here)}; not installed: {', '.join(absent) or 'none'}")
    print(f"one thread, {asked.rounds} rounds, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        if asked.parity:
            print(f"\nlargest difference / largest output\n{'network':28}{''.join(f'{one:>15}' for one in here)}")
        for name in asked.parity:
            print_parity(*build(name, size), here, images.find(asked.pictures), Path(folder))
        if asked.speed:
            print(f"\n{'network':14}{'of':>16}{'to':>16}{'CPU ms':>9}{'CPU ms':>9}  faster by (quartiles)   MB     MB")
        for name in asked.speed:
            print_speed(*build(name, size), here, asked.rounds, Path(folder))


def build(name: str, size: tuple[int, int] | None) -> tuple[nn.Module, PoseSpec]:
    """Return a shipped network, or one with random weights whose normalisations have seen a batch, and its spec."""
    if name in weights.names() and size is None:
        state, spec = unfolding.load(weights.path_of(name))
        network = checkpoints.build_network(spec)
        network.load_state_dict(state)
        return network.eval(), spec
    torch.manual_seed(0)
    spec = checkpoints.default_spec(name, COCO17, size=size)
    network = checkpoints.build_network(spec)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    batch = np.concatenate([example_input(spec.input, (192, 256), seed=seed) for seed in range(2)])
    with torch.no_grad():
        network.train()(torch.from_numpy(batch))
    return network.eval(), spec


def write(network: nn.Module, spec: PoseSpec, engine: str, plain: bool, folder: Path) -> FileRuntime:
    """Export and open; an engine with a precision has the file of the engine without."""
    base = engine.partition(":")[0]
    path = folder / f"{spec.model}_{base}{'_plain' if plain else ''}{suffix_of(base)}"
    if not path.exists():
        export_model(network, spec, path, engine=base, plain=plain)
    return open_runtime(path, threads=1, runtime=engine)


def print_parity(
    network: nn.Module, spec: PoseSpec, engines: Sequence[str], pictures: Sequence[Path], folder: Path
) -> None:
    size = spec.input.size
    inputs = [example_input(spec.input, size), *(picture_input(one, spec.input, size) for one in (PHOTO, *pictures))]
    cells = []
    for engine in engines:
        try:
            report = compare(network, write(network, spec, engine, False, folder), inputs, 1.0)
            cells.append(f"{report.max_error / report.largest:15.1e}")
        except LiteposeError as error:
            cells.append(f"{'refused':>15}")
            print(f"  {spec.model}, {engine}: {error}")
    print(f"{spec.model:28}{''.join(cells)}", flush=True)


def print_speed(network: nn.Module, spec: PoseSpec, engines: Sequence[str], rounds: int, folder: Path) -> None:
    image = example_input(spec.input, spec.input.size)
    for pair in PAIRS:
        if not all(engine in engines for engine, _ in pair):
            continue
        runtimes = [write(network, spec, engine, plain, folder) for engine, plain in pair]
        times = np.array(take_turns(runtimes, image, rounds))
        low, middle, high = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
        names = [engine + (" plain" if plain else "") for engine, plain in pair]
        first, second = np.median(times, axis=0)
        sizes = "".join(f"{megabytes(one.path):7.1f}" for one in runtimes)
        ratio = f"{middle:5.2f} ({low:.2f}-{high:.2f})"
        print(f"{spec.model:14}{names[0]:>16}{names[1]:>16}{first:9.1f}{second:9.1f}   {ratio:22}{sizes}", flush=True)


def take_turns(runtimes: Sequence[FileRuntime], image: np.ndarray, rounds: int) -> list[list[float]]:
    """Return the CPU ms of both in each round; who begins changes from round to round."""
    times = []
    for n in range(WARM_UP + rounds):
        taken = [0.0, 0.0]
        for which in (0, 1) if n % 2 else (1, 0):
            start = time.process_time()
            runtimes[which](image)
            taken[which] = 1000 * (time.process_time() - start)
        times.append(taken)
    return times[WARM_UP:]


def megabytes(path: Path) -> float:
    """Return the size of a model file and of its weights."""
    return sum(one.stat().st_size for one in {path, path.with_suffix(".bin")} if one.exists()) / 1e6


if __name__ == "__main__":
    main()
