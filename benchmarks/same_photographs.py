"""The table of pictures that weights are trained and validated on, and which photographs are in both under two names.

    python benchmarks/same_photographs.py DATA [--write src/litepose/weights/pictures.json] [--parts]

DATA: the folder with the COCO keypoint files of TRAINING and VALIDATION. --write: only the table, from the files. Else
every picture of validation is compared with every one of training, as it is and mirrored, by a hash of its coarse
pattern (64 signs of its lowest cosine frequencies): a whole photograph is found again after scaling, compression and
small cuts. Of pairs that differ in few signs the grey pictures are correlated, and those above SAME are printed.
Composites are made of training people on training pictures without people, so their sources are among the latter.

--parts also finds a part of a photograph in another cut of it: SIFT features of both, and the pairs in which many of
them agree on one shift, turn and scale. It takes six minutes of one core and 2 GB. Such pairs have to be looked at:
two photographs of one place, or one advertising board, agree as well.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from litepose.files import write_text

TRAINING = ("coco/train.json", "lspet/train.json", "negatives/train.json")
VALIDATION = ("coco/val.json", "lspet/val.json")
HASH_SIDE, PATTERN_SIDE = 8, 32
FEW_SIGNS = 12  # of 64; half of them differ between unlike pictures
SAME = 0.9  # correlation of the patterns
FEATURES, FEATURE_PARTS, LONGEST_PX = 110, 32, 360
NEAR = 0.8  # of the distance to the nearest feature of yet another picture
VOTES, AGREEING = 5, 12


@dataclass(frozen=True)
class Pair:
    """One photograph in both. likeness: correlation, or the number of features that agree."""

    validation: str
    training: str
    likeness: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", type=Path, help="write the table of the pictures' numbers")
    parser.add_argument("--parts", action="store_true", help="also look for parts of photographs")
    asked = parser.parse_args(arguments)
    if asked.write is not None:
        write_text(asked.write, as_text(read_table(asked.data)))
        return
    pairs = same_photographs(asked.data)
    print(f"{len(pairs)} photographs as a whole in training and validation")
    for pair in pairs:
        print(f"  {pair.validation} = {pair.training}, correlation {pair.likeness:.3f}")
    if asked.parts:
        pairs = same_parts(asked.data)
        print(f"{len(pairs)} pairs in which {AGREEING} features or more agree on one shift, turn and scale")
        for pair in pairs:
            print(f"  {pair.validation} ~ {pair.training}, {pair.likeness:.0f} features")


def read_table(data: Path) -> dict[str, dict[str, list[int]]]:
    """Return {"training": {file: ids}, "validation": {file: ids}} ids sorted."""
    return {
        part: {name: sorted(image["id"] for image in _images(data / name)) for name in names}
        for part, names in (("training", TRAINING), ("validation", VALIDATION))
    }


def as_text(table: Mapping[str, Mapping[str, Sequence[int]]]) -> str:
    """Return the table as JSON with one set a line."""
    parts = []
    for part, sets in table.items():
        lines = [f'  "{name}": {json.dumps(list(ids), separators=(",", ":"))}' for name, ids in sets.items()]
        parts.append(f' "{part}": {{\n' + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def same_photographs(data: Path) -> list[Pair]:
    """Return the pairs of whole pictures, as they are or mirrored."""
    trained = list(_pictures(data, TRAINING))
    names, patterns = [name for name, _ in trained], np.stack([pattern_of(image) for _, image in trained])
    signs = signs_of(patterns)
    pairs = []
    for name, image in _pictures(data, VALIDATION):
        for pattern in (pattern_of(image), pattern_of(image)[:, ::-1]):
            differing = (signs != signs_of(pattern[None])).sum(axis=1)
            for n in np.flatnonzero(differing <= FEW_SIGNS):
                likeness = float(np.corrcoef(pattern.ravel(), patterns[n].ravel())[0, 1])
                if likeness >= SAME:
                    pairs.append(Pair(name, names[n], likeness))
    return pairs


def pattern_of(image: np.ndarray) -> np.ndarray:
    """Return a grey picture small and square: (PATTERN_SIDE, PATTERN_SIDE) float32."""
    return cv2.resize(image, (PATTERN_SIDE, PATTERN_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def signs_of(patterns: np.ndarray) -> np.ndarray:
    """Return which of the lowest frequencies are above their median: (N, HASH_SIDE ** 2) bool."""
    low = np.stack([cv2.dct(pattern)[:HASH_SIDE, :HASH_SIDE].ravel() for pattern in np.ascontiguousarray(patterns)])
    low[:, 0] = 0  # the mean brightness says nothing
    return low > np.median(low, axis=1, keepdims=True)


def same_parts(data: Path) -> list[Pair]:
    """Return the pairs that share a part, best first."""
    finder = cv2.SIFT_create(nfeatures=FEATURES)
    trained = [(name, *_features(finder, image)) for name, image in _pictures(data, TRAINING)]
    everything = np.concatenate([features for *_, features in trained])
    ends = np.cumsum([len(features) for *_, features in trained])
    few = np.random.default_rng(0).choice(len(everything), min(len(everything), 20_000), replace=False)
    _, axes = np.linalg.eigh(np.cov(everything[few].T))
    axes = np.ascontiguousarray(axes[:, -FEATURE_PARTS:])
    short = everything @ axes
    squares = (short**2).sum(axis=1)
    pairs = []
    for name, image in _pictures(data, VALIDATION):
        points, features = _features(finder, image)
        votes = np.bincount(_voted(features @ axes, short, squares, ends), minlength=len(trained))
        for n in np.flatnonzero(votes >= VOTES):
            agreeing = _agreeing(points, features, *trained[n][1:])
            if agreeing >= AGREEING:
                pairs.append(Pair(name, trained[n][0], agreeing))
    return sorted(pairs, key=lambda pair: -pair.likeness)


def _features(finder: cv2.SIFT, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return places (M, 2) and roots of the normalised descriptors (M, 128), as in Arandjelovic and Zisserman 2012."""
    zoom = min(1.0, LONGEST_PX / max(image.shape))
    image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    points, features = finder.detectAndCompute(image, None)
    if features is None:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    places = np.array([point.pt for point in points], np.float32)
    return places, np.sqrt(features / np.maximum(features.sum(axis=1, keepdims=True), 1e-9))


def _voted(mine: np.ndarray, theirs: np.ndarray, squares: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the pictures of the features nearest to mine that are far nearer than any other picture's.

    ends: where each picture's features end.
    """
    voted = []
    for part in np.array_split(mine, max(1, len(mine) // 40)):
        distances = squares - 2 * part @ theirs.T  # short of the own square
        for row, own in zip(distances, (part**2).sum(axis=1), strict=True):
            nearest = int(row.argmin())
            length = row[nearest] + own
            picture = int(np.searchsorted(ends, nearest, side="right"))
            row[ends[picture - 1] if picture else 0 : ends[picture]] = np.inf
            if length < NEAR**2 * (row.min() + own):
                voted.append(picture)
    return np.array(voted, dtype=np.int64)


def _agreeing(points: np.ndarray, features: np.ndarray, places: np.ndarray, others: np.ndarray) -> int:
    """Return how many features agree on one shift, turn and scale."""
    if len(others) < 2:
        return 0
    distances = np.linalg.norm(features[:, None] - others[None], axis=-1)
    order = np.argsort(distances, axis=1)[:, :2]
    rows = np.arange(len(features))
    clear = distances[rows, order[:, 0]] < NEAR * distances[rows, order[:, 1]]
    if clear.sum() < AGREEING:
        return 0
    start, end = points[clear], places[order[clear, 0]]
    matrix, inside = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=4.0)
    return 0 if matrix is None else int(inside.sum())


def _pictures(data: Path, files: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each picture's name and grey pixels."""
    for name in files:
        for image in _images(data / name):
            path = data / Path(name).parent / "images" / image["file_name"]
            grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            assert grey is not None, path
            yield f"{name}:{image['id']}", grey


def _images(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["images"]


if __name__ == "__main__":
    main()
