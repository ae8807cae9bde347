"""Two files of one model side by side: how long they take, taking turns, and whom they find."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.evaluation import Evaluation
from litepose.poses import Poses
from litepose.quantization.calibration import MIN_SCORE
from litepose.quantization.report import Timing
from litepose.runtimes import Runtime
from litepose.similarity import oks, pose_areas

ROUNDS = 40
WARMUP = 5


@dataclass(frozen=True)
class Likeness:
    """oks: mean over the people of the first model of the OKS of whoever is most like each; None without people."""

    oks: float | None
    people: tuple[int, int]


def time_turns(first: Runtime, second: Runtime, inputs: Sequence[np.ndarray], *, rounds: int = ROUNDS) -> Timing:
    """Time both networks on the same inputs, one after the other in each round.

    CPU time for one thread, wall time for several, as in `benchmark`.
    """
    clock = time.process_time if first.threads == 1 else time.perf_counter
    seconds = np.zeros((WARMUP + rounds, 2))
    for number, row in enumerate(seconds):
        one = inputs[number % len(inputs)]
        for column, runtime in enumerate((first, second)):
            start = clock()
            runtime(one)
            row[column] = clock() - start
    counted = np.maximum(seconds[WARMUP:], 1e-9)
    before, after = 1000 * np.median(counted, axis=0)
    ratio = float(np.median(counted[:, 1] / counted[:, 0]))
    return Timing(float(before), float(after), ratio, first.threads, platform.machine())


def compare_people(
    first: Mapping[Any, Poses], second: Mapping[Any, Poses], *, min_score: float = MIN_SCORE
) -> Likeness:
    """Compare whom two models found in the same pictures; people below `min_score` do not count."""
    best: list[np.ndarray] = []
    numbers = [0, 0]
    for key, poses in first.items():
        wanted, found = (people[people.scores >= min_score] for people in (poses, second[key]))
        numbers[0] += len(wanted)
        numbers[1] += len(found)
        best.append(_best_oks(wanted, found))
    every = np.concatenate(best) if best else np.zeros(0)
    return Likeness(float(every.mean()) if len(every) else None, (numbers[0], numbers[1]))


def compare_scores(first: Evaluation, second: Evaluation) -> dict[str, tuple[float, float]]:
    """Return what both were scored by: name -> (first, second); {} where nothing is annotated."""
    if first.report is None or second.report is None:
        return {}
    before, after = (one.report.scores.to_json()["stats"] for one in (first, second) if one.report is not None)
    return {name: (float(value), float(after[name])) for name, value in before.items() if value >= 0}


def _best_oks(wanted: Poses, found: Poses) -> np.ndarray:
    """Return the OKS of each of the N people wanted with whoever was found most like them: (N,)."""
    if not len(wanted) or not len(found):
        return np.zeros(len(wanted))
    seen = wanted.keypoint_scores > 0
    alike = oks(
        found.keypoints, wanted.keypoints, areas=pose_areas(wanted), sigmas=wanted.skeleton.oks_sigmas, counted=seen
    )
    return alike.max(axis=0)
