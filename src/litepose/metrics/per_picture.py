"""What an evaluation measured in each picture: enough to score any choice of the pictures again, without the pictures.

A report (`litepose eval --json`) carries it as its section "per_picture", so that two reports can be compared picture
by picture. Of the people found it holds score and verdict, not where they are: about 20 bytes each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from litepose.errors import AnnotationError
from litepose.metrics.matching import THRESHOLDS, Found, Matches, in_order
from litepose.metrics.truth import Truth
from litepose.poses import Poses
from litepose.similarity import oks
from litepose.skeleton import Skeleton

IDS, OUTCOMES = "ids", "AP"  # keys of the section; every other key is a measure that is a share


@dataclass(frozen=True)
class Outcomes:
    """What AP is made of: D people found in P pictures, judged at T OKS thresholds.

    num_truth: (P,) int64, the people of the truth who count. picture: (D,) int64, ascending. scores: (D,) float64.
    right, ignored: (D, T) bool; who is neither is a false person. Of one picture the best person comes first.
    """

    num_truth: np.ndarray
    picture: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    ignored: np.ndarray

    @classmethod
    def from_matches(cls, matches: Matches) -> Outcomes:
        """Return what AP needs of who is whom."""
        order = np.argsort(matches.picture, kind="stable")
        columns = (matches.picture, matches.scores, matches.right, matches.ignored)
        return cls(matches.num_truth, *(column[order] for column in columns))

    def only(self, rows: np.ndarray) -> Outcomes:
        """Return the outcomes of the pictures `rows`, (Q,) int64 without repetition, in that order."""
        place = np.full(len(self.num_truth), -1)
        place[rows] = np.arange(len(rows))
        kept = np.flatnonzero(place[self.picture] >= 0)
        kept = kept[np.argsort(place[self.picture[kept]], kind="stable")]
        picture = place[self.picture[kept]]
        return Outcomes(self.num_truth[rows], picture, self.scores[kept], self.right[kept], self.ignored[kept])

    def to_json(self) -> dict[str, Any]:
        """Return plain values; who was found right (or ignored) at threshold t has bit t set."""
        return {
            "thresholds": [round(value, 2) for value in THRESHOLDS],
            "num_truth": self.num_truth.tolist(),
            "num_found": np.bincount(self.picture, minlength=len(self.num_truth)).tolist(),
            "scores": _short(self.scores),
            "right": _as_bits(self.right),
            "ignored": _as_bits(self.ignored),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Outcomes:
        """Return what `to_json` wrote. Raises KeyError, TypeError or ValueError for what it did not write."""
        if data["thresholds"] != [round(value, 2) for value in THRESHOLDS]:
            raise ValueError(f"the OKS thresholds are {data['thresholds']}, not 0.5 to 0.95")
        num_truth, num_found, scores = _counts(data["num_truth"]), _counts(data["num_found"]), _numbers(data["scores"])
        right, ignored = _from_bits(data["right"]), _from_bits(data["ignored"])
        people = int(num_found.sum())
        if len(num_truth) != len(num_found) or {len(scores), len(right), len(ignored)} != {people}:
            raise ValueError(f"{people} people were found, and the lists have {len(scores)} scores, {len(right)} bits")
        return cls(num_truth, np.repeat(np.arange(len(num_found)), num_found), scores, right, ignored)


@dataclass(frozen=True)
class Sums:
    """A measure that is a share, such as PCK or the mean OKS: for each picture a sum and of how many. (P,) float64."""

    sum: np.ndarray
    of: np.ndarray

    def only(self, rows: np.ndarray) -> Sums:
        """Return the sums of the pictures `rows`."""
        return Sums(self.sum[rows], self.of[rows])

    def to_json(self) -> dict[str, Any]:
        """Return plain values, whole numbers without a point and others with six digits."""
        return {"sum": _rounded(self.sum), "of": _rounded(self.of)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sums:
        """Return what `to_json` wrote. Raises KeyError, TypeError or ValueError for what it did not write."""
        made = cls(_numbers(data["sum"]), _numbers(data["of"]))
        if len(made.sum) != len(made.of) or (made.of < 0).any():
            raise ValueError('"sum" and "of" do not fit')
        return made


@dataclass(frozen=True)
class PerPicture:
    """What was measured in P pictures. outcomes: None where AP is not measured. sums: the other measures, by name."""

    ids: tuple[int | str, ...]
    outcomes: Outcomes | None = None
    sums: Mapping[str, Sums] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def mean(self, measure: str) -> float:
        """Return a measure that is a share over all pictures, -1 where there is nobody to measure."""
        sums = self.sums[measure]
        return float(sums.sum.sum() / sums.of.sum()) if sums.of.any() else -1.0

    def only(self, ids: Iterable[int | str]) -> PerPicture:
        """Return what was measured in the named pictures, in the order of the names."""
        wanted, rows = tuple(ids), {key: row for row, key in enumerate(self.ids)}
        chosen = np.array([rows[key] for key in wanted], dtype=np.int64)
        outcomes = None if self.outcomes is None else self.outcomes.only(chosen)
        return PerPicture(wanted, outcomes, {name: sums.only(chosen) for name, sums in self.sums.items()})

    def to_json(self) -> dict[str, Any]:
        """Return {"ids", "AP": outcomes if there are some, measure: {"sum", "of"}} as plain values."""
        outcomes = {} if self.outcomes is None else {OUTCOMES: self.outcomes.to_json()}
        return {IDS: list(self.ids), **outcomes, **{name: sums.to_json() for name, sums in self.sums.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PerPicture:
        """Return what `to_json` wrote. Raises AnnotationError for what it did not write."""
        try:
            ids = tuple(data[IDS])
            outcomes = Outcomes.from_json(data[OUTCOMES]) if OUTCOMES in data else None
            sums = {name: Sums.from_json(one) for name, one in data.items() if name not in (IDS, OUTCOMES)}
            lengths = {len(one.of) for one in sums.values()} | ({len(outcomes.num_truth)} if outcomes else set())
            if lengths - {len(ids)} or len(set(ids)) != len(ids):
                raise ValueError(f"{len(set(ids))} pictures have measures of {sorted(lengths)} pictures")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise AnnotationError(
                f'The section "per_picture" is not as `litepose eval --json` writes it: {error!r}. Evaluate again.'
            ) from error
        return cls(ids, outcomes, sums)


def oks_sums(truth: Truth, found: Found, skeleton: Skeleton) -> Sums:
    """Return for each picture, `in_order`, the sum over the people who count of the OKS of whoever is most like them.

    A person of the truth in whose picture nobody was found adds 0. Mean OKS is the sum of all by the number of all.
    """
    pictures, nobody = in_order(truth), Poses.empty(skeleton)
    sums = np.zeros(len(pictures))
    for row, picture in enumerate(pictures):
        poses = found.get(picture.id, nobody)  # type: ignore[arg-type]
        scored = picture.scored
        if len(poses) and scored.any():
            alike = oks(
                poses.keypoints,
                picture.keypoints[scored, :, :2],
                areas=picture.areas[scored],
                sigmas=skeleton.oks_sigmas,
                counted=picture.labelled[scored],
            )
            sums[row] = alike.max(axis=0).sum()
    return Sums(sums, np.array([picture.scored.sum() for picture in pictures], dtype=np.float64))


def _as_bits(table: np.ndarray) -> list[int]:
    """Return each row of a (D, T) bool table as a number whose bit t is column t."""
    return (table @ (1 << np.arange(table.shape[1]))).tolist()


def _from_bits(numbers: Any) -> np.ndarray:
    values, columns = _counts(numbers), len(THRESHOLDS)
    if (values >> columns).any():
        raise ValueError(f"a bit mask has more than {columns} bits")
    return (values[:, None] >> np.arange(columns) & 1).astype(bool)


def _short(scores: np.ndarray) -> list[float]:
    """Return scores with as few digits as keep them apart: nine at most where all were made in float32."""
    narrow = scores.astype(np.float32)
    return [float(text) for text in narrow.astype(str)] if (narrow == scores).all() else scores.tolist()


def _rounded(values: np.ndarray) -> list[float]:
    return [int(value) if value == int(value) else round(value, 6) for value in np.asarray(values, float).tolist()]


def _counts(values: Any) -> np.ndarray:
    counts = np.array(values if len(values) else np.zeros(0, int))
    if counts.ndim != 1 or counts.dtype.kind != "i" or (counts < 0).any():
        raise ValueError("a list should hold whole numbers from 0 on")
    return counts.astype(np.int64)


def _numbers(values: Any) -> np.ndarray:
    numbers = np.array(values, dtype=np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise ValueError("a list should hold numbers")
    return numbers
