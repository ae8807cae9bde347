"""Time of decoding next to the time of the network whose maps are decoded.

    python benchmarks/decode.py [--model FILE.onnx] [--rounds 60] [--people 1 5 20]

One process, one thread, process CPU time (wall time on a shared machine measures the neighbours). Network and decoder
take turns, so the decoder starts with caches that the network filled, except that the maps to decode have just been
written, as a network's own would be. The median of the ratios of neighbouring runs is printed with the quartiles. The
scene decides what
decoding costs, so the people found stand beside each ratio. "reference-shaped" is written for this comparison: maps
enlarged to the picture, top-k over whole maps, refinement over whole maps for each person and keypoint. "compiled" is
timed where numba is installed. Decoding starts at the network's raw outputs and ends at `Poses`. Needs torch unless
--model names an exported network.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

from litepose.codecs.ae import AECodec  # noqa: E402
from litepose.codecs.ae_maps import shift_to_subcell  # noqa: E402
from litepose.codecs.base import Pass  # noqa: E402
from litepose.codecs.grouping import Candidates, group, keypoint_order  # noqa: E402
from litepose.codecs.maps import quarter_shift, resize_maps  # noqa: E402
from litepose.skeleton import CROWDPOSE14  # noqa: E402

HAS_NUMBA = importlib.util.find_spec("numba") is not None
SIZE = 256
SKELETON = CROWDPOSE14
SIGMA_CELLS = 2.0
HIDDEN_SHARE = 0.15  # of the keypoints give no peak
NOISE = 0.01
TAG_NOISE = 0.05
SPACING_CELLS = 6  # between keypoints of one kind on the coarse map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="an exported litepose_xs; without it the network is exported here")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--people", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    cv2.setNumThreads(1)
    network = open_network(asked.model)
    print(f"network: litepose_xs {SIZE}x{SIZE}, ONNX Runtime {onnxruntime.__version__}, one thread, CPU time")
    print(f"load average {os.getloadavg()[0]:.1f}, {asked.rounds} rounds\n")
    print("people  decoder            found  share of the network's time (quartiles)   decoder ms   network ms")
    for count in asked.people:
        outputs = scene(count, np.random.default_rng(asked.seed + count))
        compiled = {"compiled": lambda outputs=outputs: decode("compiled", outputs)} if HAS_NUMBA else {}
        decoders = {
            "exact": lambda outputs=outputs: decode("exact", outputs),
            "fast": lambda outputs=outputs: decode("fast", outputs),
            **compiled,
            "reference-shaped": lambda outputs=outputs: decode_like_the_reference(outputs),
        }
        for name, decoder in decoders.items():
            rounds = asked.rounds if name != "reference-shaped" else max(5, asked.rounds // 4)
            ratios, decoder_ms, network_ms = compare(decoder, network, outputs, rounds)
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"{count:6d}  {name:17s}  {len(decoder()):5d}  "
                f"{100 * middle:8.1f} %  ({100 * low:.1f} .. {100 * high:.1f} %)".ljust(74)
                + f"  {decoder_ms:10.2f}   {network_ms:10.2f}"
            )


def compare(decoder: Callable, network: Callable, outputs: tuple, rounds: int) -> tuple[list[float], float, float]:
    """Return the ratios of CPU times of neighbouring runs, and both median times in ms."""
    network_ms, decoder_ms = [], []
    for _ in range(rounds + 3):
        start = time.process_time_ns()
        network()
        network_ms.append((time.process_time_ns() - start) / 1e6)
        for maps in outputs:
            maps[...] = maps.copy()
        start = time.process_time_ns()
        decoder()
        decoder_ms.append((time.process_time_ns() - start) / 1e6)
    a, b = decoder_ms[3:], network_ms[3:]  # the first rounds warm up
    return [x / y for x, y in zip(a, b, strict=True)], statistics.median(a), statistics.median(b)


def open_network(path: Path | None) -> Callable:
    """Return a call that runs the network once on a fixed input, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        model = path or export_network(Path(folder) / "litepose_xs.onnx")
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    image = np.random.default_rng(0).normal(size=(1, 3, SIZE, SIZE)).astype(np.float32)
    return lambda: session.run(None, {name: image})


def export_network(path: Path) -> Path:
    """Export litepose_xs with its initial weights; latency does not depend on their values."""
    import torch

    from litepose import models

    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = models.build("litepose_xs", num_keypoints=SKELETON.num_keypoints).eval()
    image = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(network, (image,), str(path), input_names=["image"], opset_version=18, dynamo=True, verbose=False)
    return path


def scene(count: int, rng: np.random.Generator, size: tuple[int, int] = (SIZE, SIZE)) -> tuple[np.ndarray, np.ndarray]:
    """Draw the raw outputs of a network that sees `count` people: (28, h / 4, w / 4) and (14, h / 2, w / 2) float32.

    Sub-cell peaks of varied height over smooth noise, tags that agree to about 0.05 in a person and differ by more than
    1 between people, some keypoints without a peak, keypoints of one kind apart.
    """
    num_keypoints, width, height = SKELETON.num_keypoints, size[0] // 4, size[1] // 4
    places = np.zeros((count, num_keypoints, 2))
    for keypoint in range(num_keypoints):
        for person in range(count):
            for _ in range(200):
                places[person, keypoint] = rng.uniform(3, (width - 3, height - 3), 2)
                others = places[:person, keypoint]
                if not person or np.linalg.norm(others - places[person, keypoint], axis=1).min() > SPACING_CELLS:
                    break
    seen = rng.random((count, num_keypoints)) > HIDDEN_SHARE
    heights = rng.uniform(0.4, 0.95, (count, num_keypoints))
    tags = 1.7 * rng.permutation(count)[:, None] + rng.normal(0, TAG_NOISE, (count, num_keypoints))
    heat_maps = []
    for scale in (1, 2):
        y, x = np.mgrid[: height * scale, : width * scale]
        maps = smooth_noise(rng, num_keypoints, x.shape, NOISE)
        for person, keypoint in zip(*np.nonzero(seen), strict=True):
            square = ((np.stack([x, y]) - scale * places[person, keypoint][:, None, None]) ** 2).sum(axis=0)
            blob = heights[person, keypoint] * np.exp(-square / (2 * SIGMA_CELLS**2))
            np.maximum(maps[keypoint], blob.astype(np.float32), out=maps[keypoint])
        heat_maps.append(maps)
    y, x = np.mgrid[:height, :width]
    distances = ((np.stack([x, y])[None, None] - places[..., None, None]) ** 2).sum(axis=2)  # (N, K, h, w)
    nearest = distances.argmin(axis=0)
    tag_maps = np.take_along_axis(tags[:, :, None, None] + 0 * distances, nearest[None], axis=0)[0]
    tag_maps = tag_maps.astype(np.float32) + smooth_noise(rng, num_keypoints, x.shape, TAG_NOISE)
    return np.concatenate([heat_maps[0], tag_maps]).astype(np.float32), heat_maps[1]


def smooth_noise(rng: np.random.Generator, count: int, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(rng.normal(0, 3 * deviation, shape), (5, 5), 1.0) for _ in range(count)]).astype(
        np.float32
    )


def decode(mode: str, outputs: tuple[np.ndarray, ...]):
    codec = AECodec(mode=mode)
    return codec.decode(codec.aggregate([Pass(outputs)], (SIZE, SIZE), SKELETON), SKELETON)


def decode_like_the_reference(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
    """Decode by the straight way over full-size maps, without any of the codec's shortcuts."""
    num_keypoints, codec = SKELETON.num_keypoints, AECodec()
    fine = outputs[1].shape[:0:-1]
    heatmaps = (resize_maps(outputs[0][:num_keypoints], fine) + outputs[1]) / 2
    heatmaps = resize_maps(heatmaps, (SIZE, SIZE))
    tags = resize_maps(resize_maps(outputs[0][num_keypoints:], fine), (SIZE, SIZE))
    found = []
    for keypoint, heatmap in enumerate(heatmaps):
        peaks = (heatmap * (cv2.dilate(heatmap, np.ones((5, 5), np.uint8)) == heatmap)).ravel()
        order = np.argsort(-peaks, kind="stable")[: codec.max_people]
        order = order[peaks[order] > codec.detection_threshold]
        found += [(keypoint, cell % SIZE, cell // SIZE, peaks[cell]) for cell in order]
    keypoint, x, y = np.array([row[:3] for row in found], dtype=np.int64).T
    heats = np.array([row[3] for row in found], dtype=np.float32)
    people = group(
        Candidates(keypoint, np.stack([x, y], axis=1), heats, tags[keypoint, y, x][:, None]),
        num_keypoints,
        order=keypoint_order(num_keypoints),
        max_people=codec.max_people,
        tag_threshold=codec.tag_threshold,
        use_detection_val=True,
        ignore_too_much=False,
    )
    shift_to_subcell(heatmaps, people, people[..., 2] > 0)
    for person in people:
        found_keypoints = np.flatnonzero(person[:, 2] > 0)
        x, y = person[found_keypoints, :2].astype(int).T
        mean = tags[found_keypoints, y, x].mean()
        for keypoint in range(num_keypoints):
            worth = heatmaps[keypoint] - np.round(np.sqrt((tags[keypoint] - mean) ** 2))
            y, x = np.unravel_index(worth.argmax(), worth.shape)
            heat = heatmaps[keypoint, y, x]
            if person[keypoint, 2] == 0 and heat > 0:
                shift = quarter_shift(heatmaps, np.array([keypoint]), np.array([[x, y]]))[0]
                person[keypoint, :3] = x + 0.5 + shift[0], y + 0.5 + shift[1], heat
    return people


if __name__ == "__main__":
    main()
