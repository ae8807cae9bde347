"""The curves behind AP: precision over recall, how similar found people are, what scores are worth, who is counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from litepose.metrics.coco import AT_50, AT_75
from litepose.metrics.keypoint_errors import PictureErrors
from litepose.metrics.matching import CocoTables, Matches

RECALLS = tuple(np.linspace(0, 1, 101).round(2).tolist())  # cocoapi's steps
OKS_BINS = 20
SCORE_BINS = 10


@dataclass(frozen=True)
class Threshold:
    """The score from which on precision and recall at OKS 0.5 balance best (greatest F1), and both there."""

    score: float
    precision: float
    recall: float


@dataclass(frozen=True)
class ScoreBin:
    """The people found with scores from `low` to `high`: how many, and the share of right ones at OKS 0.5."""

    low: float
    high: float
    num_people: int
    precision: float


@dataclass(frozen=True)
class Curves:
    """precision_at_50, precision_at_75, precision_mean: at the recalls of RECALLS; empty where there is no truth.

    best_oks: how many true people have their best OKS with anybody found in each of OKS_BINS equal parts of 0 to 1.
    scores: about equally many people found in each. surplus: (people found - people there) -> number of pictures,
    counting people found from `threshold` on. threshold: None where nobody was found right.
    """

    precision_at_50: tuple[float, ...]
    precision_at_75: tuple[float, ...]
    precision_mean: tuple[float, ...]
    best_oks: tuple[int, ...]
    scores: tuple[ScoreBin, ...]
    threshold: Threshold | None
    surplus: dict[int, int]


def curves(errors: tuple[PictureErrors, ...], tables: CocoTables, matches: Matches) -> Curves:
    """Return the curves of what was found; `tables` and `matches` are of the same people."""
    precision = tables.precision[:, :, 0]  # (T, R) of everybody
    known = precision if (precision > -1).any() else precision[:, :0]
    best = np.concatenate([np.zeros(0), *(one.people.best[one.people.truth.scored] for one in errors)])
    threshold = best_threshold(matches)
    return Curves(
        precision_at_50=tuple(known[AT_50].tolist()),
        precision_at_75=tuple(known[AT_75].tolist()),
        precision_mean=tuple(known.mean(axis=0).tolist()),
        best_oks=tuple(np.histogram(best, bins=OKS_BINS, range=(0, 1))[0].tolist()),
        scores=score_bins(matches),
        threshold=threshold,
        surplus=_surplus(errors, -np.inf if threshold is None else threshold.score),
    )


def best_threshold(matches: Matches) -> Threshold | None:
    """Return the score of the greatest F1 at OKS 0.5; of equal ones the highest. None where nobody is right."""
    counted = ~matches.ignored[:, AT_50]
    scores, right = matches.scores[counted], matches.right[counted, AT_50]
    if not right.any():
        return None
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], right[order].cumsum()
    last = np.append(scores[1:] != scores[:-1], True)  # people of one score stay together
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / matches.num_truth.sum()
    best = int(np.where(last, 2 * precision * recall / np.maximum(precision + recall, 1e-12), -1).argmax())
    return Threshold(float(scores[best]), float(precision[best]), float(recall[best]))


def score_bins(matches: Matches) -> tuple[ScoreBin, ...]:
    """Return up to SCORE_BINS bins of scores, lowest first, those who are neither right nor wrong left out."""
    counted = ~matches.ignored[:, AT_50]
    order = np.argsort(matches.scores[counted], kind="stable")
    scores, right = matches.scores[counted][order], matches.right[counted, AT_50][order]
    parts = [rows for rows in np.array_split(np.arange(len(order)), SCORE_BINS) if len(rows)]
    return tuple(
        ScoreBin(float(scores[rows[0]]), float(scores[rows[-1]]), len(rows), float(right[rows].mean()))
        for rows in parts
    )  # fmt: skip


def _surplus(errors: Iterable[PictureErrors], threshold: float) -> dict[int, int]:
    counts: dict[int, int] = {}
    for one in errors:
        people = one.people
        found = int(((people.poses.scores >= threshold) & ~people.ignored).sum())
        surplus = found - int(people.truth.scored.sum())
        counts[surplus] = counts.get(surplus, 0) + 1
    return dict(sorted(counts.items()))
