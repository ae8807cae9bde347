"""How often `litepose data check` suspects a left-right exchange of people as they are, and of people with one made.

    python benchmarks/label_checks.py FILE [--fit]

FILE: a COCO keypoint file with 17 keypoints, or an .npz with `kpt_xy_norm` (N, 17, 2) in shares of the picture, `kpt_v`
(N, 17), `size_wh` and `offset` of its pictures, and `is_val`, of which only the people of False count. Every second
person whose torso is 12 px or longer counts, because the weights were fitted to the others; for one exchange after the
other, the pairs of everybody who has all of them are exchanged. Printed are the shares of people suspected before (an
upper bound of false alarms: some of them are mistakes) and after, the latter of any exchange and of the right one. "by
part" is of people as they are, by what is suspected. --fit prints the weights that PIECES should have, from the other
half.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from litepose.datasets import check_swaps as swaps
from litepose.datasets.labels import read_labels
from litepose.skeleton import COCO17


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--fit", action="store_true", help="print fitted weights instead")
    asked = parser.parse_args(arguments)

    people = read_people(asked.file)
    if asked.fit:
        print_weights(people[0::2])
        return
    people = people[1::2]
    start = time.process_time()
    found = swaps.find_swaps(people, COCO17)
    seconds = time.process_time() - start
    print(f"{len(people)} people in {seconds:.1f} s of processor time; {share(found.exchange >= 0)} suspected as is\n")
    print("exchange            people   suspected after   the right one   by part, as is")
    for n, exchange in enumerate(swaps.EXCHANGES):
        whole = people[has_pairs(people, exchange.pairs)]
        after = swaps.find_swaps(exchanged(whole, exchange.pairs), COCO17).exchange
        columns = (share(after >= 0), share(after == n), share(found.exchange == n))
        print(f"{exchange.name:18} {len(whole):7d}   {columns[0]:>15}   {columns[1]:>13}   {columns[2]:>14}")


def read_people(path: Path) -> np.ndarray:
    """Return (N, 17, 3) float64 x, y px and visible, of the people with keypoints."""
    if path.suffix != ".npz":
        labels = read_labels(path)
        assert labels.skeleton == COCO17, f"{path} is on {labels.skeleton.name}"
        keypoints = labels.keypoints
    else:
        table = np.load(path)
        picture = np.repeat(np.arange(len(table["size_wh"])), np.diff(table["offset"]))
        places = table["kpt_xy_norm"] * table["size_wh"][picture, None].astype(float)
        keypoints = np.concatenate([places, table["kpt_v"][..., None]], axis=-1)[~table["is_val"][picture]]
    return keypoints[swaps.is_judged(keypoints, COCO17)]


def has_pairs(people: np.ndarray, pairs: Sequence[str]) -> np.ndarray:
    """Return who has both keypoints of every pair."""
    wanted = [COCO17.index(f"{side}_{pair}") for pair in pairs for side in ("left", "right")]
    return (people[:, wanted, 2] > 0).all(axis=1)


def exchanged(people: np.ndarray, pairs: Sequence[str]) -> np.ndarray:
    """Return people whose left and right keypoints of the pairs have changed places."""
    order = np.arange(COCO17.num_keypoints)
    for pair in pairs:
        left, right = COCO17.index(f"left_{pair}"), COCO17.index(f"right_{pair}")
        order[left], order[right] = right, left
    return people[:, order]


def print_weights(people: np.ndarray, *, decay: float = 1e-3, most_steps: int = 40) -> None:
    """Maximise the mean log of the probability of the labels among all exchanges, by Newton's method."""
    pieces, turned = swaps.evidence(people, COCO17), swaps.turned()
    weights = np.ones(pieces.shape[1])
    for _ in range(most_steps):
        odds = np.exp(np.clip(swaps.evidence_against(pieces, weights), -50, 50))
        chance = odds / (1 + odds.sum(axis=1, keepdims=True))  # (N, exchanges)
        mean = 2 * pieces * (chance @ turned)
        slope = decay * weights - mean.mean(axis=0)
        bend = sum(4 * (pieces * turned[n]).T @ (pieces * turned[n] * chance[:, n, None]) for n in range(len(turned)))
        step = np.linalg.solve((bend - mean.T @ mean) / len(people) + decay * np.eye(len(weights)), slope)
        weights = weights - np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-4:
            break
    for piece, weight in zip(swaps.PIECES, weights, strict=True):
        print(f"{piece.kind:10} {' '.join(piece.pairs):16} {weight:5.2f}   now {piece.weight:.2f}")


def share(which: np.ndarray) -> str:
    return f"{100 * which.mean():.2f} %" if len(which) else "nobody"


if __name__ == "__main__":
    main()
