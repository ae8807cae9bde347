"""Time from a JPEG file to people: our chain against the reference pipeline's shape of work.

    python benchmarks/chain.py [--people 1 5 20] [--rounds 40] [--size 256x256] [--modes fast compiled] [--eager]
                               [--ours onnx openvino:bf16+pixels ...]

A 640x480 JPEG of quality 90, LitePose-XS, one thread, one process, CPU time. The reference and a chain of ours take
turns; the medians of the rounds' times and ratios are printed. Shares are of the time that the plain export takes in
the same rounds: the reference runs it on ONNX Runtime, ours what `litepose export` writes. Weights are random, so each
chain hands its decoder the maps of a made scene (scene in decode.py) in place of those that its network has just
computed; the pictures show as many people. "compiled" needs numba, the reference needs torch and munkres==1.1.4.

The reference's shape of work, as LitePose's authors' valid.py has it, is written for this comparison
(reference_chain.py): the picture is warped, turned into floats and normalised by torch, the plain export runs, heatmaps
and tags are enlarged to the input's size, torch finds and ranks the peaks of whole maps, munkres assigns them keypoint
by keypoint, each keypoint is moved by a quarter cell in a loop, and for each person whole maps of heat and tag distance
are compared. "eager" is the same with the network run by torch, as the authors run it.

--size: of both networks' input, into which the picture is letterboxed. The reference's own input for a 640x480 picture
at "256" is 384x256: its short side is 256 long. --ours: the engine, and what the exported file does beside the network
(pixels, peaks); another engine than the reference's says what a change of engine gives as well.
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
from litepose.converters import suffix_of  # noqa: E402
from litepose.datasets import open_dataset  # noqa: E402
from litepose.export import export_model  # noqa: E402
from litepose.export_inside import PeaksOut  # noqa: E402
from litepose.predictor import Predictor  # noqa: E402
from litepose.runtimes import Runtime, open_runtime  # noqa: E402
from litepose.runtimes.torch import compute  # noqa: E402
from litepose.skeleton import CROWDPOSE14  # noqa: E402

WARM_UP = 3  # rounds that do not count
ASKED = (
    "Asked: faster by 4.5x, by 10x at 20 people; decode / plain 10 % (compiled 5 %), all but the network 22 % (15 %)."
)
COLUMNS = (
    "people  chain      found    read     pre  network  decode  around    whole   faster by (quartiles)   "
    "decode / plain   all but the network / plain"
)


class MadeScene:
    """A runtime that computes the network and returns other maps, copied, so that they are as fresh as its own."""

    def __init__(self, runtime: Runtime, maps: Sequence[np.ndarray], eager: nn.Module | None = None) -> None:
        self.runtime, self.maps, self.eager = runtime, [one[None] for one in maps], eager
        self.spec, self.size, self.threads = runtime.spec, runtime.size, runtime.threads
        if not self.spec.outputs[0].stride:  # the file gives the peaks of its maps
            made = tuple(torch.from_numpy(one) for one in self.maps)
            finder = PeaksOut(nn.Identity(), self.spec.codec, self.spec.skeleton.num_keypoints)  # type: ignore[arg-type]
            self.maps = [finder(made)[0].numpy()]

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        computed = self.runtime(batch) if self.eager is None else compute(self.eager, batch, torch.device("cpu"))
        for target, made in zip(computed, self.maps, strict=True):
            target[...] = made
        return computed


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--size", default="256x256", help="WxH of the networks' input")
    parser.add_argument("--eager", action="store_true", help="compare with the network run by torch, too")
    parser.add_argument("--modes", nargs="+", default=["fast"], help="of decoding: exact, fast, compiled")
    parser.add_argument("--ours", nargs="+", default=["onnx"], metavar="ENGINE[+pixels][+peaks]")
    asked = parser.parse_args(arguments)
    width, height = (int(side) for side in asked.size.split("x"))

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    print(f"litepose_xs {asked.size}, ONNX Runtime {onnxruntime.__version__}, OpenCV {cv2.__version__}, one thread")
    print(f"load average {os.getloadavg()[0]:.1f}, {asked.rounds} rounds, CPU ms")
    print(ASKED)
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder), (width, height))
        for ours in asked.ours:
            print(f"\nours: {ours}; reference: plain export, ONNX Runtime\n{COLUMNS}")
            for count in asked.people:
                for eager in (False, True)[: 1 + asked.eager]:
                    for mode in asked.modes:
                        print("\n".join(compare(count, files, ours, mode, asked.rounds, eager=eager)), flush=True)


class Files:
    """litepose_xs with initial weights, on which times do not depend, exported as it is asked for."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        self.folder, self.size = folder, size
        self.spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14)
        self.network = checkpoints.build_network(self.spec).eval()

    def open(self, form: str) -> Runtime:
        """Return a runtime of one thread for "plain", or for ENGINE[+pixels][+peaks]."""
        engine, *inside = form.split("+")
        base = "onnx" if form == "plain" else engine.partition(":")[0]
        path = self.folder / f"{form.replace(':', '_')}{suffix_of(base)}"
        if not path.exists():
            settings = {"pixels": "pixels" in inside, "peaks": "peaks" in inside, "plain": form == "plain"}
            export_model(self.network, self.spec, path, engine=base, size=self.size, **settings)
        return open_runtime(path, threads=1, runtime="onnx" if form == "plain" else engine)


def compare(count: int, files: Files, form: str, mode: str, rounds: int, *, eager: bool) -> list[str]:
    """Return a line for the reference and one for our chain in a mode of decoding."""
    maps = scene(count, np.random.default_rng(count), files.size)
    picture = as_jpeg(open_dataset(f"synthetic:people={count}-{count},seed=0,size=640x480")[0].image)
    plain = files.open("plain")
    chains = {
        "eager" if eager else "reference": ReferenceChain(MadeScene(plain, maps, files.network if eager else None)),
        mode: OurChain(Predictor(MadeScene(files.open(form), maps), decode=mode, size=files.size)),
    }
    times: dict[str, list[list[float]]] = {name: [] for name in chains}
    found, plain_ms = {}, []
    for _ in range(rounds + WARM_UP):
        for name, chain in chains.items():
            steps, found[name] = chain(picture)
            times[name].append(steps)
        if eager:
            start = time.process_time_ns()
            plain(np.zeros((1, 3, *files.size[::-1]), dtype=np.float32))
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
