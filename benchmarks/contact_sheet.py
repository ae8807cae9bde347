"""A model's people on validation pictures drawn at random, as one picture to be looked at.

    python benchmarks/contact_sheet.py MODEL --data VAL.json [--boxes gt] [--count 24] [--seed 0] -o sheet.jpg

The same seed gives the same pictures for every model. Drawn are the people as `litepose predict` draws them. Below each
picture stands how many of the annotated people are found with an OKS of 0.5 or more, and how many were found in all.
--boxes: of top-down models, as in `litepose eval`: gt (the annotated ones), a bottom-up model's name, a detector.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from litepose.drawing import draw
from litepose.drawing_sheet import arrange, with_lines
from litepose.evaluation import Data, open_boxes, open_data
from litepose.files import write_bytes
from litepose.geometry import Warp, size_of
from litepose.metrics.pairing import similarities
from litepose.metrics.protocols import found_by
from litepose.metrics.truth import truth_of
from litepose.poses import Poses, Sample
from litepose.predictor import Predictor, load

LONGEST_PX = 312  # of a tile: four in a row
FOUND_FROM = 0.5  # OKS
QUALITY = 88


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True, help="COCO keypoint file; its pictures lie in images/ beside it")
    parser.add_argument("--boxes", help="gt, a model or a detector; default: gt")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    finder = load(asked.model, threads=1)
    data = open_data(asked.data, skeleton=finder.skeleton)
    rng = np.random.default_rng(asked.seed)
    looked = look(finder, data, boxes=asked.boxes, count=asked.count, rng=rng)
    title = f"{asked.model}: {len(looked)} of {len(data.ids)} pictures of {data.name}, seed {asked.seed}"
    if finder.takes_boxes:
        title += f", boxes: {asked.boxes or 'gt'}"
    tiles, totals = [], np.zeros(3, dtype=int)
    for sample, poses in looked:
        counts = count_people(sample, poses)
        totals += counts
        tiles.append(with_lines(shown(sample.image, poses), [f"{sample.id}: {words(counts)}"]))
    sheet = arrange(tiles, title=[title, f"All together: {words(totals)}."])
    write_bytes(asked.output, cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
    print(f"{title}: {words(totals)} -> {asked.output}")


def look(
    finder: Predictor, data: Data, *, boxes: str | None, count: int, rng: np.random.Generator
) -> list[tuple[Sample, Poses]]:
    """Return pictures drawn at random, in the order of the data, with the people found."""
    assert data.dataset is not None
    source = open_boxes(boxes, finder, data, threads=1)
    chosen = sorted(rng.choice(len(data.ids), min(count, len(data.ids)), replace=False).tolist())
    samples = [data.dataset[index] for index in chosen]
    return [(sample, found_by(finder, sample, source)) for sample in samples]


def count_people(sample: Sample, poses: Poses) -> tuple[int, int, int]:
    """Return how many annotated people are found well, how many there are, and how many were found."""
    truth = truth_of(sample)
    best = similarities(poses, truth).max(axis=0, initial=0.0)[truth.scored]
    return int((best >= FOUND_FROM).sum()), len(best), len(poses)


def words(counts: Sequence[int]) -> str:
    well, annotated, found = counts
    return f"{well} of {annotated} well, {found} found"


def shown(image: np.ndarray, poses: Poses) -> np.ndarray:
    """Return the picture as a tile with its people."""
    size = size_of(image)
    zoom = LONGEST_PX / max(size)
    target = (max(1, round(zoom * size[0])), max(1, round(zoom * size[1])))
    tile = cv2.resize(image, target, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    return draw(tile, poses.warped(Warp.resize(size, target)))


if __name__ == "__main__":
    main()
