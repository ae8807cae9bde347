"""Time of finding people in part affinity fields next to the way the reference does it, at the same people.

    python benchmarks/paf.py [--rounds 7] [--people 0 1 5 10 20]

One thread, process CPU time (wall time on a shared machine measures the neighbours), the two ways in turns, medians of
each and of the ratios of neighbouring runs. A picture of 1280x720 is looked at as the reference's evaluation does: at a
height of 368 px, its maps of 82x46 cells enlarged eightfold, the padding cut off, then enlarged to the picture.
"reference-style" is written for this comparison from the specification of that evaluation: every map is enlarged as a
whole, every map is searched as a whole, and for every limb its two planes are copied. Then the demo's way: the maps
enlarged fourfold, and the mode "fast". Before anything is timed, peaks and people of the two ways are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from litepose.codecs.base import Pass  # noqa: E402
from litepose.codecs.paf import PafCodec  # noqa: E402
from litepose.codecs.paf_limbs import limbs_of  # noqa: E402
from litepose.codecs.paf_maps import PafMaps, Peaks, enlarging  # noqa: E402
from litepose.codecs.paf_people import assemble, connect  # noqa: E402
from litepose.poses import Sample  # noqa: E402
from litepose.skeleton import OPENPOSE18  # noqa: E402

PICTURE, INPUT, STRIDE = (1280, 720), (656, 368), 8
LIMBS = limbs_of(OPENPOSE18)
NOISE = 0.01
# A standing person in units of its height: x, y of OPENPOSE18's keypoints.
FIGURE = np.array([
    (0, 0.08), (0, 0.19), (-0.11, 0.19), (-0.15, 0.34), (-0.16, 0.48), (0.11, 0.19), (0.15, 0.34), (0.16, 0.48),
    (-0.07, 0.50), (-0.08, 0.72), (-0.08, 0.93), (0.07, 0.50), (0.08, 0.72), (0.08, 0.93),
    (-0.02, 0.06), (0.02, 0.06), (-0.05, 0.07), (0.05, 0.07),
])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--people", type=int, nargs="+", default=[0, 1, 5, 10, 20])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"one thread, CPU time, load average {os.getloadavg()[0]:.1f}, {asked.rounds} rounds")
    print("people  way                      peaks  people  reference-style ms     ours ms    ratio (quartiles)")
    for count in asked.people:
        outputs = scene(count, np.random.default_rng([asked.seed, count]))
        ways = {
            f"exact, {PICTURE[0]}x{PICTURE[1]}": (
                lambda outputs=outputs: reference_style(evaluated_as_a_whole(outputs)),
                lambda outputs=outputs: PafCodec().match(evaluated(outputs), OPENPOSE18),
            ),
            "exact, demo": (
                lambda outputs=outputs: reference_style(enlarged_as_a_whole(outputs, 4)),
                lambda outputs=outputs: found("exact", outputs),
            ),
            "fast": (
                lambda outputs=outputs: reference_style(evaluated_as_a_whole(outputs)),
                lambda outputs=outputs: found("fast", outputs),
            ),
        }
        for name, (slow, quick) in ways.items():
            if name != "fast":
                check_equal(slow(), quick())
            slow_ms, quick_ms, ratios = compare(slow, quick, asked.rounds)
            low, middle, high = statistics.quantiles(ratios, n=4)
            peaks, entries = quick()
            print(
                f"{count:6d}  {name:23s}  {len(peaks):5d}  {len(entries):6d}  {slow_ms:18.1f}  {quick_ms:10.1f}    "
                f"{middle:5.1f} ({low:.1f} .. {high:.1f})"
            )


def scene(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw what a network says of `count` people: (19, 46, 82) and (38, 46, 82) float32, with some noise."""
    heights = rng.uniform(0.35, 0.85, count) * INPUT[1]
    places = rng.uniform((0.08 * INPUT[0], 0.02), (0.92 * INPUT[0], 0.15 * INPUT[1]), (count, 2))
    keypoints = np.full((count, OPENPOSE18.num_keypoints, 3), 2.0)
    figures = FIGURE + rng.normal(0, 0.012, (count, *FIGURE.shape))
    keypoints[..., :2] = figures * heights[:, None, None] + places[:, None]
    image = np.zeros((INPUT[1], INPUT[0], 3), np.uint8)
    targets = PafCodec().encode(Sample(OPENPOSE18, image, keypoints, np.zeros((count, 4)), np.ones(count)), INPUT)
    return tuple(
        (maps * rng.uniform(0.7, 0.95) + cv2.GaussianBlur(rng.normal(0, NOISE, maps.shape[1:]), (3, 3), 0)).astype(
            np.float32
        )
        for maps in (targets.heatmaps, targets.pafs)
    )


def compare(slow: Callable, quick: Callable, rounds: int) -> tuple[float, float, list[float]]:
    """Return the median times in ms and the ratios of neighbouring runs, each way in turn first."""
    times: dict[Callable, list[float]] = {slow: [], quick: []}
    for number in range(rounds + 1):
        for way in (slow, quick) if number % 2 else (quick, slow):
            start = time.process_time_ns()
            way()
            times[way].append((time.process_time_ns() - start) / 1e6)
    a, b = times[slow][1:], times[quick][1:]  # the first round warms up
    return statistics.median(a), statistics.median(b), [x / y for x, y in zip(a, b, strict=True)]


def check_equal(slow: tuple[Peaks, np.ndarray], quick: tuple[Peaks, np.ndarray]) -> None:
    """Raise AssertionError where the two ways do not find the same peaks and people."""
    np.testing.assert_array_equal(quick[0].keypoints, slow[0].keypoints)
    np.testing.assert_array_equal(quick[0].xy, slow[0].xy)
    np.testing.assert_allclose(quick[0].heats, slow[0].heats, atol=1e-5)
    np.testing.assert_array_equal(quick[1][:, :-2], slow[1][:, :-2])
    np.testing.assert_allclose(quick[1][:, -2:], slow[1][:, -2:], atol=1e-3)


def found(mode: str, outputs: tuple[np.ndarray, ...]) -> tuple[Peaks, np.ndarray]:
    codec = PafCodec(mode=mode)
    return codec.match(codec.aggregate([Pass(outputs)], INPUT, OPENPOSE18), OPENPOSE18)


def cut() -> tuple[slice, slice]:
    """Return which columns and rows of the input the picture covers; the rest is padding around it."""
    used = round(PICTURE[0] * INPUT[1] / PICTURE[1])
    left = (INPUT[0] - used) // 2
    return slice(left, left + used), slice(0, INPUT[1])


def evaluated(outputs: tuple[np.ndarray, ...]) -> PafMaps:
    """Return the maps as they are, with the matrices of the evaluation's enlargements."""
    heatmaps, pafs = outputs
    matrices = []
    for cells, length, part, end in zip(heatmaps.shape[:0:-1], INPUT, cut(), PICTURE, strict=True):
        first = enlarging(cells, length)[part]
        matrices.append(enlarging(len(first), end) @ first)
    return PafMaps(heatmaps[:-1], pafs, INPUT, down=matrices[1], across=matrices[0])


def evaluated_as_a_whole(outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    columns, rows = cut()
    heatmaps, pafs = enlarged_as_a_whole(outputs, STRIDE)
    return tuple(
        cv2.resize(np.ascontiguousarray(maps[rows, columns]), PICTURE, interpolation=cv2.INTER_CUBIC)
        for maps in (heatmaps, pafs)
    )


def enlarged_as_a_whole(outputs: tuple[np.ndarray, ...], factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all maps enlarged, (h, w, C)."""
    return tuple(
        cv2.resize(
            np.ascontiguousarray(maps.transpose(1, 2, 0)), (0, 0), fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
        )
        for maps in outputs
    )


def reference_style(maps: tuple[np.ndarray, np.ndarray]) -> tuple[Peaks, np.ndarray]:
    """Return peaks and entries, found by looking at every cell of the enlarged maps."""
    heatmaps, pafs = maps
    columns = [peaks_of(heatmaps[:, :, keypoint].copy()) for keypoint in range(OPENPOSE18.num_keypoints)]
    keypoints = np.repeat(np.arange(len(columns)), [len(one) for one in columns])
    rows = np.concatenate(columns)
    peaks = Peaks(keypoints, rows[:, :2].astype(np.int64), rows[:, 2].astype(np.float32))
    # The reference takes a copy of both planes of each limb, whether or not there is anything to connect.
    planes = [pafs[:, :, [2 * limb, 2 * limb + 1]] for limb in range(len(LIMBS))]

    def fields(limbs: np.ndarray, places: np.ndarray) -> np.ndarray:
        x, y = np.rint(places).astype(np.int64).transpose(2, 0, 1)
        values = np.empty((*x.shape, 2), dtype=np.float32)
        for limb in np.unique(limbs).tolist():
            values[limbs == limb] = planes[limb][y[limbs == limb], x[limbs == limb]]
        return values

    codec = PafCodec()
    connections = connect(
        peaks, LIMBS, OPENPOSE18.num_keypoints, fields,
        samples=codec.limb_samples, above=codec.sample_threshold, share=codec.sample_share,
    )  # fmt: skip
    entries = assemble(connections, peaks.heats, LIMBS, OPENPOSE18.num_keypoints)
    enough = (entries[:, -1] >= codec.min_keypoints) & (entries[:, -2] / entries[:, -1] >= codec.min_score)
    return peaks, entries[enough]


def peaks_of(heatmap: np.ndarray) -> np.ndarray:
    """Return x, y, heat of a map's peaks, by x: (M, 3)."""
    codec = PafCodec()
    heatmap[heatmap < codec.detection_threshold] = 0
    around = np.pad(heatmap, 2)
    middle = around[1:-1, 1:-1]
    is_peak = (middle > around[1:-1, :-2]) & (middle > around[1:-1, 2:])
    is_peak &= (middle > around[:-2, 1:-1]) & (middle > around[2:, 1:-1])
    y, x = np.nonzero(is_peak[1:-1, 1:-1])
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    kept = np.ones(len(x), dtype=bool)
    for i in range(len(x)):
        if kept[i]:
            near = np.hypot(x[i + 1 :] - x[i], y[i + 1 :] - y[i]) < codec.peak_distance
            kept[i + 1 :] &= ~near
    x, y = x[kept], y[kept]
    return np.stack([x, y, heatmap[y, x]], axis=1).astype(np.float64)


if __name__ == "__main__":
    main()
