"""How much steadier do keypoints get, and how late? One-Euro while a video runs, and the filter for after it.

    python benchmarks/smoothing.py [--seeds 5]

A walker (litepose.datasets.synthetic.walking) who stands still and one who walks and swings his arms, far (90 px) and
near (360 px), at 25 frames a second and at times that vary from 15 to 60; keypoints tremble by 1.5 % of his height and
2 % of them are missing. Prints for each way of smoothing
- jitter: how far a keypoint of the standing one moves from frame to frame, as a share of what it was;
- lag: by how many milliseconds the walking one's wrists and ankles are late: the shift at which they fit best;
- error: RMS distance of the walking one's keypoints to the truth, as a share of what it was;
- filled: the share of the missing keypoints that are there afterwards.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from litepose.datasets.synthetic.walking import Walker
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.smoothing import OPENPOSE, PoseSmoother, SmoothSettings
from litepose.smoothing_offline import smooth_offline

JITTER, MISSING, SECONDS = 0.015, 0.02, 8.0
FAST = [COCO17.index(f"{side}_{part}") for side in ("left", "right") for part in ("wrist", "ankle")]
Smooth = Callable[[list[Poses], np.ndarray], list[Poses]]


def online(settings: SmoothSettings | None = None, *, fixed_rate: float | None = None) -> Smooth:
    def smooth(frames: list[Poses], times: np.ndarray) -> list[Poses]:
        smoother = PoseSmoother(settings)
        told = times if fixed_rate is None else np.arange(len(times)) / fixed_rate
        return [smoother.update(poses, time_s) for poses, time_s in zip(frames, told, strict=True)]

    return smooth


WAYS: dict[str, Smooth] = {
    "online": online(),
    "offline": smooth_offline,
    "Lightweight OpenPose": online(OPENPOSE, fixed_rate=15),
}


def frame_times(rng: np.random.Generator, *, varying: bool) -> np.ndarray:
    gaps = 1 / rng.uniform(15, 60, round(SECONDS * 60)) if varying else np.full(round(SECONDS * 60), 1 / 25)
    times = np.cumsum(gaps)
    return times[times < SECONDS]


def trembling(truth: np.ndarray, height: float, rng: np.random.Generator) -> list[Poses]:
    """Return what is found of true places, (T, K, 2)."""
    points = truth + rng.normal(0, JITTER * height, truth.shape)
    scores = np.where(rng.random(truth.shape[:2]) < MISSING, 0, 0.8)
    ids = np.array([1])
    return [Poses(COCO17, p[None], s[None], [0.8], track_ids=ids) for p, s in zip(points, scores, strict=True)]


def stacked(frames: list[Poses]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([poses.keypoints[0] for poses in frames], dtype=np.float64), np.array([p.found[0] for p in frames])


def movement(points: np.ndarray, found: np.ndarray) -> float:
    """Return the RMS step from frame to frame of keypoints found in both."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)[found[1:] & found[:-1]]
    return float(np.sqrt(np.mean(steps**2)))


def error(points: np.ndarray, truth: np.ndarray, found: np.ndarray) -> float:
    return float(np.sqrt(np.mean(((points - truth) ** 2).sum(axis=-1)[found])))


def lag_ms(points: np.ndarray, found: np.ndarray, walker: Walker, times: np.ndarray) -> float:
    """Return by how much the truth must be delayed to fit best."""
    shifts = np.arange(-0.04, 0.2, 0.002)
    places = [np.array([walker.keypoints(t - shift) for t in times])[:, FAST] for shift in shifts]
    errors = [error(points[:, FAST], truth, found[:, FAST]) for truth in places]
    return 1000 * float(shifts[int(np.argmin(errors))])


def measured(height: float, smooth: Smooth, *, varying: bool, seeds: int) -> dict[str, float]:
    """Return the four numbers for a walker of a height, means over the seeds."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        times = frame_times(rng, varying=varying)
        walking = Walker(0, height, height, 0.5 * height, phase=seed)
        standing = dataclasses.replace(walking, speed=0, stride_hz=0)
        still = trembling(np.array([standing.keypoints(t) for t in times]), height, rng)
        truth = np.array([walking.keypoints(t) for t in times])
        moving = trembling(truth, height, rng)
        rest, after = stacked(smooth(still, times)), stacked(smooth(moving, times))
        before = stacked(moving)
        rows.append((
            movement(*rest) / movement(*stacked(still)),
            lag_ms(*after, walking, times),
            error(after[0], truth, before[1]) / error(before[0], truth, before[1]),
            (after[1] & ~before[1]).sum() / (~before[1]).sum(),
        ))  # fmt: skip
    return dict(zip(("jitter", "lag_ms", "error", "filled"), np.mean(rows, axis=0).tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args(arguments)
    print(f"{'height':>7s}  {'times':8s}{'way':22s} jitter  lag ms  error  filled")
    for height in (90, 360):
        for varying in (False, True):
            for name, smooth in WAYS.items():
                row = measured(height, smooth, varying=varying, seeds=asked.seeds)
                times = "varying" if varying else "25/s"
                print(
                    f"{height:5d}px  {times:8s}{name:22s}{row['jitter']:7.2f}{row['lag_ms']:8.0f}{row['error']:7.2f}"
                    f"{row['filled']:8.2f}"
                )


if __name__ == "__main__":
    main()
