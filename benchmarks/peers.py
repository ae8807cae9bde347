"""Time of our networks against those of our peers, in one run; writes docs/performance.md.

    python benchmarks/peers.py [--rounds 30] [--peer NAME=FILE.onnx[@WxH] ...] [--write docs/performance.md]

One thread, CPU time of the process, ONNX Runtime. Two networks take turns at a time (with more, each would find colder
caches than in use); the median of the rounds' ratios is printed with its quartiles. Networks are those of our own
families with random weights, at their published input sizes, as `litepose export` writes them; "plain" is without its
rewrites. Latency does not depend on the weights, so RTMPose-s is a network of its shape (rtmpose_shape.py). A peer from
elsewhere is given by its ONNX file, with a size where the
file takes any, and is compared with LitePose-XS; what is not given is not in the table. With --write the printed
results of chain.py and footprint.py stand in the file too, run here (--quick leaves them out). Needs torch and onnx.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from rtmpose_shape import SIZE as RTMPOSE_SIZE  # noqa: E402
from rtmpose_shape import rtmpose_s  # noqa: E402

from litepose import checkpoints  # noqa: E402
from litepose.export import export_onnx  # noqa: E402
from litepose.files import write_bytes  # noqa: E402
from litepose.machine_limits import convolution_gflops, fma_gflops  # noqa: E402
from litepose.runtimes.onnx import open_session  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14  # noqa: E402

WARM_UP = 3  # rounds that do not count
XS = "litepose_xs"
RTMPOSE = "shape of rtmpose_s"


@dataclass(frozen=True)
class Goal:
    """How much faster `ours` shall be than `peer`; "NAME plain" is the export without rewrites."""

    ours: str
    peer: str
    at_least: float
    words: str


GOALS = (
    Goal(XS, f"{XS} plain", 1.10, "at least 1.10x"),
    Goal("litepose_s", "efficienthrnet_h1", 2.7, "at least 2.7x"),
    Goal("litepose_m", "openpose_light_1", 0.9, "within 10 %: at least 0.90x"),
    Goal("lpn_50", RTMPOSE, 0, "none"),
    Goal("litehrnet_18", RTMPOSE, 0, "none"),
)
FOREIGN_GOALS = {"yolo11n": 3.0}  # a part of a peer's name -> how much faster XS shall be

CHAINS = (
    "The chains below: first ours against the reference's shape of work on the same engine and input size; then both "
    "at 384x256, which is the reference's own input for such a picture; then, where OpenVINO is installed, ours at its "
    "fastest on this machine, in bfloat16, against the reference on ONNX Runtime: two engines differ there.",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--peer", action="append", default=[], help="NAME=FILE.onnx, or NAME=FILE.onnx@WxH")
    parser.add_argument("--write", type=Path, help="write the whole page to this file")
    parser.add_argument("--quick", action="store_true", help="leave out chain.py and footprint.py")
    asked = parser.parse_args(arguments)
    foreign = dict(peer_of(text) for text in asked.peer)

    torch.set_num_threads(1)
    goals = list(GOALS)
    for name in foreign:
        wanted = next((ratio for part, ratio in FOREIGN_GOALS.items() if part in name), 0.0)
        goals.append(Goal(XS, name, wanted, f"at least {wanted:g}x" if wanted else "none"))
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Callable[[], object]] = {}
        rows = [row_of(goal, Path(folder), runs, foreign, asked.rounds) for goal in goals]
    page = page_of(rows, asked.rounds, {} if asked.quick or asked.write is None else outputs_of_others(asked.rounds))
    print(page)
    if asked.write is not None:
        write_bytes(asked.write, page.encode())


def peer_of(text: str) -> tuple[str, tuple[Path, tuple[int, int] | None]]:
    """Return the parts of NAME=FILE.onnx@WxH."""
    name, _, rest = text.partition("=")
    file, _, size = rest.partition("@")
    sides = size.lower().split("x")
    if not name or not file.endswith(".onnx") or (size and (len(sides) != 2 or not all(map(str.isdigit, sides)))):
        sys.exit(f"--peer wants NAME=FILE.onnx or NAME=FILE.onnx@WxH; found {text!r}.")
    if not Path(file).is_file():
        sys.exit(f"--peer {name}: there is no file {file}.")
    return name, (Path(file), (int(sides[0]), int(sides[1])) if size else None)


def row_of(
    goal: Goal,
    folder: Path,
    runs: dict[str, Callable[[], object]],
    foreign: dict[str, tuple[Path, tuple[int, int] | None]],
    rounds: int,
) -> str:
    """Return a line of the table: the pair, their times, the ratio and what was asked."""
    for name in (goal.ours, goal.peer):
        if name not in runs:
            path, size = foreign[name] if name in foreign else (exported(name, folder), None)
            runs[name] = opened(path, size)
    ours, peer = in_turns(runs[goal.ours], runs[goal.peer], rounds)
    low, middle, high = np.percentile(peer / ours, (25, 50, 75))
    verdict = "-" if not goal.at_least else "kept" if middle >= goal.at_least else "not kept"
    faster = goal.ours if middle >= 1 else goal.peer
    return (
        f"| {goal.ours} | {goal.peer} | {np.median(ours):.1f} | {np.median(peer):.1f} | "
        f"{middle:.2f}x ({low:.2f} .. {high:.2f}) | {goal.words} | {verdict} | {faster} |"
    )


def exported(name: str, folder: Path) -> Path:
    """Export a network of ours with random weights, at its published input size, or one of RTMPose-s's shape."""
    if name == RTMPOSE:
        return exported_rtmpose(folder / "rtmpose.onnx")
    model, _, form = name.partition(" ")
    torch.manual_seed(0)
    spec = checkpoints.default_spec(model, CROWDPOSE14 if model.startswith("litepose") else COCO17)
    network = checkpoints.build_network(spec).eval()
    return export_onnx(network, spec, folder / f"{model}_{form}.onnx", plain=form == "plain").path


def exported_rtmpose(path: Path) -> Path:
    torch.manual_seed(0)
    image = torch.zeros(1, 3, *RTMPOSE_SIZE[::-1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(rtmpose_s(), (image,), str(path), input_names=["image"], opset_version=17, dynamo=False)
    return path


def opened(path: Path, size: tuple[int, int] | None) -> Callable[[], object]:
    """Return a call that runs a file once on one thread, on noise."""
    session = open_session(path, "cpu", 1)
    (given, *_) = session.get_inputs()
    shape = [side if isinstance(side, int) else 1 for side in given.shape]
    if size is not None:
        shape[2:] = size[::-1]
    if min(shape[2:]) < 32:
        sys.exit(f"{path} takes any size: say which, as NAME={path.name}@640x640.")
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return lambda: session.run(None, {given.name: x})


def in_turns(first: Callable[[], object], second: Callable[[], object], rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the CPU ms of each round's two runs."""
    times = np.empty((rounds + WARM_UP, 2))
    for turn in range(rounds + WARM_UP):
        for place, run in ((0, first), (1, second))[:: -1 if turn % 2 else 1]:
            start = time.process_time_ns()
            run()
            times[turn, place] = (time.process_time_ns() - start) / 1e6
    return times[WARM_UP:, 0], times[WARM_UP:, 1]


def outputs_of_others(rounds: int) -> dict[str, str]:
    """Return what the other scripts print here, by their command lines."""
    modes = ["fast", *["compiled"] * has("numba")]
    chain = ["chain.py", "--rounds", str(rounds)]
    commands = [
        [*chain, "--eager", "--modes", *modes],
        [*chain, "--size", "384x256", "--people", "5", "20", "--modes", *modes],
    ]
    if has("openvino"):
        fastest = ["--ours", "openvino:bf16+pixels", "openvino:bf16+pixels+peaks"]
        commands.append([*chain, "--people", "5", "20", "--modes", modes[-1], *fastest])
    outputs = {}
    for command in [*commands, ["footprint.py"]]:
        script = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(command[0])), *command[1:]]
        done = subprocess.run(script, check=True, capture_output=True, text=True)
        outputs[" ".join(["python benchmarks/" + command[0], *command[1:]])] = done.stdout.strip()
    return outputs


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def page_of(rows: Sequence[str], rounds: int, others: dict[str, str]) -> str:
    """Return the page in Markdown."""
    fma, dense = fma_gflops(), convolution_gflops("onnx", 1)
    lines = [
        "# Performance",
        "",
        "Written by `python benchmarks/peers.py --write docs/performance.md`; do not edit.",
        "",
        f"Machine: {processor()}, {os.cpu_count()} cores for this process, {platform.system()}, Python "
        f"{platform.python_version()}, ONNX Runtime {onnxruntime.__version__}, numpy {np.__version__}, torch "
        f"{torch.__version__.partition('+')[0]}; load average {os.getloadavg()[0]:.1f}. One core attains "
        f"{'an unknown number of' if fma is None else f'{fma:.0f}'} GFLOP/s of float32 multiply-adds, "
        f"{dense:.0f} in a dense convolution of ONNX Runtime.",
        "",
        "## Networks against peers",
        "",
        f"One thread, CPU time, two networks in turns, {rounds} rounds, median of the rounds' ratios (quartiles). The "
        "ratio says how much faster ours is; below 1 the peer is the faster one. Random weights, published input "
        "sizes. A peer that is not in the table was not at hand when this was written.",
        "",
        "| ours | peer | ours ms | peer ms | ours is faster by | asked | verdict | faster |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "RTMPose-s has a network of its shape here (rtmpose_shape.py: 5.47 M parameters, 0.68 G multiply-adds, as "
        "published; random weights). LPN-50 multiplies 1.6 times as often as it (1.07 G).",
    ]
    if others:
        lines += ["", *CHAINS]
    for command, output in others.items():
        lines += ["", f"## {command.split()[1].split('/')[1]}", "", f"`{command}`", "", "```text", output, "```"]
    return "\n".join(lines) + "\n"


def processor() -> str:
    """Return the processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
