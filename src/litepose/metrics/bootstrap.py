"""Is the difference between two evaluations real? The paired bootstrap over pictures.

Sources: Efron and Tibshirani 1993, "An Introduction to the Bootstrap" (percentile interval); Koehn 2004, "Statistical
Significance Tests for Machine Translation Evaluation" (both systems on the same resamples). A resample is a weight for
each picture, how often it was drawn; AP is accumulated with these weights as pycocotools accumulates without
(cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py), so weights of 1 give its number to the last bit, and others
that of a data set with so many copies of each picture. Of equal scores the copies of the first person come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.errors import AnnotationError, SettingError
from litepose.metrics.coco import AT_50, AT_75
from litepose.metrics.per_picture import Outcomes, PerPicture

RECALLS = np.linspace(0.0, 1.0, 101)  # the steps of recall at which pycocotools reads the precision
CELLS_AT_ONCE = 1_000_000  # resamples times people found, to stay within the processor's cache and a few MB
FEW_PICTURES = 30  # below, percentile intervals are known to be too narrow


@dataclass(frozen=True)
class Difference:
    """One measure of two evaluations, in [0, 1]. low, high: interval of second - first.

    p: two-sided, how often resamples fall on the other side of 0, of either side twice the smaller share.
    """

    measure: str
    first: float
    second: float
    low: float
    high: float
    p: float

    @property
    def difference(self) -> float:
        """How much greater the second is."""
        return self.second - self.first

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "interval": [self.low, self.high],
            "p": self.p,
            "real": self.is_real,
        }


def compare(
    first: PerPicture,
    second: PerPicture,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Difference, ...]:
    """Return how the measures that both have differ, each with an interval that holds the truth in `level` of cases.

    first, second: of the same pictures in the same order. progress: called with (resamples done, resamples in all).
    Raises SettingError, and AnnotationError where there is nothing to compare.
    """
    _check(first, second, resamples, level)
    pair = Measures(first), Measures(second)
    plain = [measures(np.ones((1, len(first)), dtype=np.int32)) for measures in pair]
    names = [name for name in plain[0] if name in plain[1] and np.isfinite([one[name][0] for one in plain]).all()]
    if not names:
        raise AnnotationError(
            f"Two evaluations of {len(first)} pictures were to be compared; no measure has a value in both. "
            "Evaluate both on pictures with annotated people, in the same way."
        )
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    done = 0
    for weights in resampled(len(first), resamples, seed, at_once=CELLS_AT_ONCE // max(one.width for one in pair)):
        values = [measures(weights) for measures in pair]
        for name in names:
            drawn[name].append(values[1][name] - values[0][name])
        done += len(weights)
        if progress is not None:
            progress(done, resamples)
    return tuple(
        _difference(name, float(plain[0][name][0]), float(plain[1][name][0]), np.concatenate(drawn[name]), level)
        for name in names
    )


def resampled(num_pictures: int, resamples: int, seed: int, *, at_once: int) -> Iterator[np.ndarray]:
    """Yield how often each picture is drawn, (B, P) int32, with B up to `at_once`, which does not change the draws."""
    rng, at_once = np.random.default_rng(seed), max(1, at_once)
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        draws = (rng.integers(0, num_pictures, num_pictures) for _ in range(count))
        yield np.stack([np.bincount(draw, minlength=num_pictures) for draw in draws]).astype(np.int32)


class Measures:
    """The measures of weighted pictures. Sorting and counting are done once, here."""

    def __init__(self, pictures: PerPicture) -> None:
        self.sums = pictures.sums
        self.precision = None if pictures.outcomes is None else _Precision(pictures.outcomes)
        self.width = max(1, len(pictures), 0 if self.precision is None else len(self.precision.picture))

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return {measure: (B,) float64}, NaN where there is nobody to measure. weights: (B, P) int32."""
        values: dict[str, np.ndarray] = {}
        if self.precision is not None:
            table, recall = self.precision(weights)
            means = table.reshape(len(weights), -1).mean(axis=1)
            values = {"AP": means, "AP50": table[:, AT_50].mean(axis=1), "AP75": table[:, AT_75].mean(axis=1)}
            values["AR"] = recall.mean(axis=1)
        for name, sums in self.sums.items():
            of = weights @ sums.of
            values[name] = np.divide(weights @ sums.sum, of, out=np.full(len(of), np.nan), where=of > 0)
        return values


class _Precision:
    """Precision and recall of weighted pictures.

    Only people found rightly raise the recall, and between two of them precision falls, so its envelope is known from
    their places alone: of each threshold few people are looked at, and all of them only once for all thresholds.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        order = np.argsort(-outcomes.scores, kind="stable")  # equal scores: by picture, as pycocotools' mergesort
        self.picture, self.num_truth = outcomes.picture[order], outcomes.num_truth
        self.right_in = np.stack(
            [np.bincount(outcomes.picture[one], minlength=len(self.num_truth)) for one in outcomes.right.T], axis=1
        )  # (P, T)
        self.right = [np.flatnonzero(one) for one in outcomes.right[order].T]
        self.ignored = [np.flatnonzero(one) for one in outcomes.ignored[order].T]

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return precision (B, T, R) and greatest recall (B, T), NaN where nobody is in the truth."""
        people = weights @ self.num_truth  # (B,)
        nobody, people = people == 0, np.maximum(people, 1)
        passed = np.cumsum(weights[:, self.picture], axis=1, dtype=np.int32)  # (B, D)
        needed = _needed(people)
        rows = zip(self.right, self.ignored, strict=True)
        table = np.stack([self._at(weights, passed, needed, *one) for one in rows], axis=1)
        recall = (weights @ self.right_in) / people[:, None]
        table[nobody], recall[nobody] = np.nan, np.nan
        return table, recall

    def _at(
        self, weights: np.ndarray, passed: np.ndarray, needed: np.ndarray, right: np.ndarray, ignored: np.ndarray
    ) -> np.ndarray:
        """Return the precision at each step of recall for one threshold: (B, R)."""
        hits = np.cumsum(weights[:, self.picture[right]], axis=1, dtype=np.int32)  # (B, M)
        counted = passed[:, right]
        if len(ignored):
            aside = np.cumsum(weights[:, self.picture[ignored]], axis=1, dtype=np.int32)
            aside = np.concatenate([np.zeros((len(weights), 1), dtype=np.int32), aside], axis=1)
            counted = counted - aside[:, np.searchsorted(ignored, right)]
        precision = hits / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        envelope = np.concatenate([envelope, np.zeros((len(weights), 1))], axis=1)  # of a recall that is not reached
        return np.take_along_axis(envelope, _first_reaching(hits, needed), axis=1)


def _needed(people: np.ndarray) -> np.ndarray:
    """Return how many must be found for each step of recall, by pycocotools' own comparison of floats: (B, R) int64."""
    count = np.maximum(np.floor(RECALLS * people[:, None]) - 1, 0)
    for _ in range(3):
        count += count / people[:, None] < RECALLS
    return count.astype(np.int64)


def _first_reaching(hits: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """Return for each row of ascending `hits` (B, M) where it first reaches `needed` (B, R), M = nowhere: (B, R)."""
    rows, width = np.arange(len(hits))[:, None], hits.shape[1]
    apart = rows * (max(needed.max(), hits.max(initial=0)) + 1)  # one search for all rows, which do not overlap
    return np.searchsorted((hits + apart).ravel(), (needed + apart).ravel()).reshape(needed.shape) - rows * width


def _difference(name: str, first: float, second: float, drawn: np.ndarray, level: float) -> Difference:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Difference(name, first, second, -1.0, 1.0, 1.0)  # no resample has anybody in it: nothing is known
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (beyond + 1) / (len(drawn) + 1))
    return Difference(name, first, second, float(low), float(high), p)


def _check(first: PerPicture, second: PerPicture, resamples: int, level: float) -> None:
    if first.ids != second.ids or not len(first):
        raise AnnotationError(
            f"Evaluations of {len(first)} and {len(second)} pictures were to be compared; a comparison needs the same "
            "pictures in the same order, at least one."
        )
    if resamples < 1:
        raise SettingError(f"{resamples} resamples were asked for; at least 1 is possible. Use 1000.")
    if not 0 < level < 1:
        raise SettingError(f"An interval of level {level:g} was asked for; possible is between 0 and 1. Use 0.95.")
