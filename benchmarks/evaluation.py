"""Time of a COCO evaluation as large as val2017's: litepose next to pycocotools and faster-coco-eval, on one core.

    python benchmarks/evaluation.py [--pictures 5000] [--rounds 5] [--seed 0]

One process, CPU time of the process (wall time on a shared machine measures the neighbours), the evaluators in turns
within a round. The data are drawn from a seed: about 6,350 true people and 250 crowds in half of the pictures, 20 found
people in every picture, some near a true person and the rest false. litepose starts at `Truth` and `Poses` arrays and
makes its records itself, the others at lists of dicts in memory, made before the clock starts; reading JSON is in none
of the times. Printed are the median times, the median ratios with their quartiles, and the greatest difference of the
ten statistics to those of pycocotools, which must be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

# Before numpy and hotcoco start their threads.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"

import faster_coco_eval  # noqa: E402
import numpy as np  # noqa: E402
import pycocotools.coco  # noqa: E402
import pycocotools.cocoeval  # noqa: E402

from litepose.metrics.coco import evaluate_poses  # noqa: E402
from litepose.metrics.truth import truth_from_coco  # noqa: E402
from litepose.poses import Poses  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402

PEOPLE_A_PICTURE, CROWDS_A_PICTURE = 6352 / 5000, 250 / 5000  # val2017: people with keypoints
FOUND_A_PICTURE = 20
WITH_PEOPLE = 0.5  # of the pictures
UNLABELLED = 0.35  # of the keypoints
NOISES = (0.01, 0.03, 0.08, 0.3)  # of the found keypoints, as shares of the box's side
SECONDS_WANTED = 1.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)

    rng = np.random.default_rng(asked.seed)
    data = draw_truth(asked.pictures, rng)
    found = draw_found(data, rng)
    crowds = sum(one["iscrowd"] for one in data["annotations"])
    print(
        f"{asked.pictures} pictures, {len(data['annotations']) - crowds} people, {crowds} crowds, "
        f"{sum(map(len, found.values()))} found; one core, CPU time, {asked.rounds} rounds, "
        f"load average {os.getloadavg()[0]:.1f}\n"
    )
    calls = evaluators(data, found)
    times, stats = take_turns(calls, asked.rounds)
    print_table(times, stats)


def draw_truth(pictures: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return a COCO keypoint mapping."""
    ids = (np.sort(rng.choice(600_000, pictures, replace=False)) + 1).tolist()
    shown = rng.choice(ids, max(1, round(pictures * WITH_PEOPLE)), replace=False)
    people, crowds = round(pictures * PEOPLE_A_PICTURE), round(pictures * CROWDS_A_PICTURE)
    annotations = []
    for number in range(people + crowds):
        crowd = number >= people
        side = float(rng.uniform(20, 400))
        corner = rng.uniform(0, 640 - side / 2, 2)
        visible = np.where(rng.random(COCO17.num_keypoints) < UNLABELLED, 0, 2) * (not crowd)
        xy = (corner + rng.uniform(0, side, (COCO17.num_keypoints, 2))).round() * (visible[:, None] > 0)
        one = {
            "id": number + 1,
            "image_id": int(rng.choice(shown)),
            "category_id": 1,
            "iscrowd": int(crowd),
            "keypoints": np.column_stack([xy, visible]).ravel().tolist(),
            "num_keypoints": int((visible > 0).sum()),
            "bbox": [*corner.tolist(), side, side],
            "area": side * side / 2,
        }
        annotations.append(one)
    return {
        "info": {},
        "images": [{"id": key, "width": 640, "height": 640} for key in ids],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}],
    }


def draw_found(data: dict[str, Any], rng: np.random.Generator) -> dict[int, Poses]:
    """Return the people found by picture id: one or two near each true one, the rest anywhere."""
    near: dict[int, list[np.ndarray]] = {image["id"]: [] for image in data["images"]}
    for one in data["annotations"]:
        xy = np.array(one["keypoints"]).reshape(-1, 3)[:, :2]
        for _ in range(rng.integers(1, 3)):
            noise = rng.choice(NOISES) * one["bbox"][2]
            near[one["image_id"]].append(xy + rng.normal(0, noise, xy.shape))
    return {key: _picture(people[:FOUND_A_PICTURE], rng) for key, people in near.items()}


def _picture(near: list[np.ndarray], rng: np.random.Generator) -> Poses:
    false = FOUND_A_PICTURE - len(near)
    corners, sides = rng.uniform(0, 400, (false, 1, 2)), rng.uniform(20, 240, (false, 1, 1))
    anywhere = corners + sides * rng.random((false, COCO17.num_keypoints, 2))
    scores = np.concatenate([rng.beta(4, 3, len(near)), rng.beta(2, 6, false)])
    shape = (FOUND_A_PICTURE, COCO17.num_keypoints)
    return Poses(COCO17, np.concatenate([np.reshape(near, (-1, *shape[1:], 2)), anywhere]), rng.random(shape), scores)


def evaluators(data: dict[str, Any], found: dict[int, Poses]) -> dict[str, Callable[[], list[float]]]:
    """Return calls that give the ten statistics; the first is pycocotools'."""
    truth = truth_from_coco(data, COCO17)
    records = [record for key, poses in found.items() for record in as_records(key, poses)]
    with contextlib.redirect_stdout(io.StringIO()):
        known, known_too = pycocotools.coco.COCO(), faster_coco_eval.COCO(data)
        known.dataset = data
        known.createIndex()

    def pycocotools_stats() -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            results = known.loadRes([dict(record) for record in records])
            return summed_up(pycocotools.cocoeval.COCOeval(known, results, "keypoints"))

    def faster_stats() -> list[float]:
        results = known_too.loadRes([dict(record) for record in records])
        return summed_up(faster_coco_eval.COCOeval_faster(known_too, results, "keypoints"))

    return {
        f"pycocotools {version('pycocotools')}": pycocotools_stats,
        f"faster-coco-eval {version('faster-coco-eval')}": faster_stats,
        f"litepose (hotcoco {version('hotcoco')})": lambda: list(
            evaluate_poses(truth, found, COCO17).to_json().values()
        ),
    }


def as_records(key: int, poses: Poses) -> list[dict[str, Any]]:
    """Return result records with unrounded numbers."""
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1).reshape(len(poses), -1)
    return [
        {"image_id": key, "category_id": 1, "keypoints": keypoints, "score": score}
        for keypoints, score in zip(triples.tolist(), poses.scores.tolist(), strict=True)
    ]


def summed_up(run: Any) -> list[float]:
    run.evaluate()
    run.accumulate()
    run.summarize()
    return [float(value) for value in run.stats[:10]]


def take_turns(
    calls: dict[str, Callable[[], list[float]]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the CPU seconds of each call, every second round backwards, and what it returned."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    stats: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name in reversed(calls) if turn % 2 else list(calls):
            start = time.process_time_ns()
            stats[name] = calls[name]()
            times[name].append((time.process_time_ns() - start) / 1e9)
    return times, stats


def print_table(times: dict[str, list[float]], stats: dict[str, list[float]]) -> None:
    base, *_, own = times
    print("evaluator                    CPU s   faster than pycocotools (quartiles)   greatest difference of ten")
    for name, seconds in times.items():
        difference = max(abs(a - b) for a, b in zip(stats[name], stats[base], strict=True))
        print(f"{name:26s} {statistics.median(seconds):7.2f}   {faster(times[base], seconds):38s} {difference:.1g}")
    print(f"\nAP {stats[own][0]:.4f}, AR {stats[own][5]:.4f}; wanted: below {SECONDS_WANTED:g} s, difference 0")


def faster(theirs: Sequence[float], mine: Sequence[float]) -> str:
    ratios = [a / b for a, b in zip(theirs, mine, strict=True)]
    if len(ratios) < 2:
        return f"{ratios[0]:.1f}"
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.1f}  ({low:.1f} .. {high:.1f})"


if __name__ == "__main__":
    main()
