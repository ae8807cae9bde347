"""Time from a JPEG file to people: our chain against the reference pipeline's shape of work.

    python benchmarks/chain.py [--people 1 5 20] [--rounds 40] [--modes fast compiled] [--eager]

A 640x480 JPEG of quality 90, LitePose-XS at 256x256, one thread, one process, CPU time. The reference and a chain of
ours take turns; the medians of the rounds' times and ratios are printed. Shares are of the time that the plain export
takes in the same rounds: the reference runs it, ours what `litepose export` writes. Weights are random, so each chain
hands its decoder the maps of a made scene (scene in decode.py) in place of those that its network has just computed;
the pictures show as many people. "compiled" needs numba, the reference needs torch and munkres==1.1.4.

The reference's shape of work, as LitePose's authors' valid.py has it, is written for this comparison
(reference_chain.py): the picture is warped, turned into floats and normalised by torch, the plain export runs, heatmaps
and tags are enlarged to the input's size, torch finds and ranks the peaks of whole maps, munkres assigns them keypoint
by keypoint, each keypoint is moved by a quarter cell in a loop, and for each person and keypoint, found or not, whole
maps of heat and tag distance are compared. "eager" is the same with the network run by torch, as the authors run it.
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

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from decode import scene  # noqa: E402
from reference_chain import ReferenceChain  # noqa: E402
from torch import nn  # noqa: E402

from litepose import checkpoints, images  # noqa: E402
from litepose.benchmark import as_jpeg  # noqa: E402
from litepose.datasets import open_dataset  # noqa: E402
from litepose.export import export_onnx  # noqa: E402
from litepose.predictor import Predictor  # noqa: E402
from litepose.runtimes.onnx import OnnxRuntime  # noqa: E402
from litepose.runtimes.torch import compute  # noqa: E402
from litepose.skeleton import CROWDPOSE14  # noqa: E402

SIZE = (256, 256)
WARM_UP = 3  # rounds that do not count
ASKED = (
    "Asked: faster by 4.5x, by 10x at 20 people; decode / plain 10 % (compiled 5 %), all but the network 22 % (15 %)."
)


class MadeScene:
    """A runtime that computes the network and returns other maps, copied, so that they are as fresh as its own."""

    def __init__(self, runtime: OnnxRuntime, maps: Sequence[np.ndarray], eager: nn.Module | None = None) -> None:
        self.runtime, self.maps, self.eager = runtime, [one[None] for one in maps], eager
        self.spec, self.size, self.threads = runtime.spec, runtime.size, runtime.threads

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        computed = self.runtime(batch) if self.eager is None else compute(self.eager, batch, torch.device("cpu"))
        for target, made in zip(computed, self.maps, strict=True):
            target[...] = made
        return computed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--eager", action="store_true", help="compare with the network run by torch, too")
    parser.add_argument("--modes", nargs="+", default=["fast"], help="of decoding: exact, fast, compiled")
    asked = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(
        f"litepose_xs {SIZE[0]}x{SIZE[1]}, ONNX Runtime {onnxruntime.__version__}, OpenCV {cv2.__version__}, one thread"
    )
    print(f"load average {os.getloadavg()[0]:.1f}, {asked.rounds} rounds, CPU ms")
    print(ASKED + "\n")
    print(
        "people  chain      found    read     pre  network  decode  around    whole   faster by (quartiles)   "
        "decode / plain   all but the network / plain"
    )
    with tempfile.TemporaryDirectory() as folder:
        network, files = write_files(Path(folder))
        for count in asked.people:
            for eager in [None, network][: 1 + asked.eager]:
                for mode in asked.modes:
                    print("\n".join(compare(count, files, mode, asked.rounds, eager)))


def write_files(folder: Path) -> tuple[nn.Module, dict[str, Path]]:
    """Export litepose_xs with initial weights, on which times do not depend, plainly and as `litepose export` does."""
    torch.manual_seed(0)
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14)
    network = checkpoints.build_network(spec).eval()
    files = {
        form: export_onnx(network, spec, folder / f"{form}.onnx", size=SIZE, plain=form == "plain").path
        for form in ("plain", "exported")
    }
    return network, files


def compare(count: int, files: dict[str, Path], mode: str, rounds: int, eager: nn.Module | None) -> list[str]:
    """Return a line for the reference and one for our chain in a mode of decoding."""
    maps = scene(count, np.random.default_rng(count))
    picture = as_jpeg(open_dataset(f"synthetic:people={count}-{count},seed=0,size=640x480")[0].image)
    plain, exported = (OnnxRuntime(files[form], threads=1) for form in ("plain", "exported"))
    chains = {
        "eager" if eager else "reference": ReferenceChain(MadeScene(plain, maps, eager)),
        mode: OurChain(Predictor(MadeScene(exported, maps), decode=mode, size=SIZE)),
    }
    times: dict[str, list[list[float]]] = {name: [] for name in chains}
    found, plain_ms = {}, []
    for _ in range(rounds + WARM_UP):
        for name, chain in chains.items():
            steps, found[name] = chain(picture)
            times[name].append(steps)
        if eager:
            start = time.process_time_ns()
            plain(np.zeros((1, 3, *SIZE), dtype=np.float32))
            plain_ms.append((time.process_time_ns() - start) / 1e6)
    tables = {name: np.array(rows[WARM_UP:]) for name, rows in times.items()}
    reference = next(iter(tables.values()))
    network = np.median(plain_ms[WARM_UP:] if eager else reference[:, 2])
    return [line(count, name, found[name], rows, reference[:, -1], network) for name, rows in tables.items()]


def line(count: int, name: str, found: int, rows: np.ndarray, reference: np.ndarray, plain: float) -> str:
    """rows: (rounds, 5) ms of the steps and of the whole. reference: (rounds,) ms. plain: ms of the plain export."""
    whole = rows[:, -1]
    low, middle, high = np.percentile(reference / whole, (25, 50, 75))
    read, pre, network, decode, total = np.median(rows, axis=0)
    return (
        f"{count:6d}  {name:9s} {found:6d} {read:7.2f} {pre:7.2f} {network:8.2f} {decode:7.2f} "
        f"{np.median(whole - rows[:, :-1].sum(axis=1)):7.2f} {total:8.2f}   {middle:5.2f}x ({low:.2f} .. {high:.2f})"
    ).ljust(97) + f"{100 * decode / plain:8.1f} %  {100 * np.median(whole - rows[:, 2]) / plain:18.1f} %"


class OurChain:
    """A predictor's steps, as `Predictor.batch` takes them for one picture."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.network_ns = predictor, 0
        inner = predictor.runtime

        def timed(batch: np.ndarray) -> tuple[np.ndarray, ...]:
            start = time.process_time_ns()
            try:
                return inner(batch)
            finally:
                self.network_ns = time.process_time_ns() - start

        predictor.runtime = timed  # type: ignore[assignment]

    def __call__(self, picture: bytes) -> tuple[list[float], int]:
        """Return ms of read, pre, network, decode and the whole, and the number of people."""
        predictor = self.predictor
        marks = [time.process_time_ns()]
        image = images.read(picture)
        marks.append(time.process_time_ns())
        frames = predictor.frames(image)
        tensors = [predictor.prepare(image, view) for frame in frames for view in frame.views]
        marks.append(time.process_time_ns())
        outputs = predictor.forward(tensors)
        marks.append(time.process_time_ns())
        poses = predictor.decode(frames, iter(outputs))
        marks.append(time.process_time_ns())
        steps = [marks[1] - marks[0], marks[2] - marks[1], self.network_ns, marks[4] - marks[3], marks[4] - marks[0]]
        return [step / 1e6 for step in steps], len(poses)


if __name__ == "__main__":
    main()
