"""Left and right exchanged by whoever annotated a person, seen by geometry alone.

Every pair of keypoints, the eyes for instance, gives a vector from right to left. Bodies are such that neighbouring
pairs run the same way (shoulders and hips, elbows and wrists); that a face whose nose is seen runs to the right of the
upright picture, a head without nose and eyes to the left; and that of a person seen from the side the nearer half is
the visible one. Each of these is a piece of evidence in [-1, 1] that changes its sign when one of its pairs is
exchanged, and nothing else. An exchange is suspected where the evidence that it turns, weighted, speaks against the
labels by more than it needs.

The weights are those under which COCO's labels are likeliest among all EXCHANGES (a log-linear model fitted to half of
the people of COCO 2017 train, `benchmarks/label_checks.py --fit`); what each exchange needs makes it suspected for
0.1 % of them at most. Without a labelled face nothing tells front from back: there an exchange of the whole person
cannot be seen, one of a part can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from litepose.skeleton import FACE, Skeleton

PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
FACE_PAIRS, BODY_PAIRS = PAIRS[:2], PAIRS[2:]
SMALLEST_PX = 12.0  # a person whose torso is shorter is not judged
PEOPLE_AT_A_TIME = 32768  # bounds the memory


@dataclass(frozen=True)
class Piece:
    """One piece of evidence. pairs: it changes its sign where an odd number of them is exchanged."""

    kind: str
    pairs: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class Exchange:
    """A mistake that is looked for. needed: the evidence from which on it is suspected, natural log of odds."""

    name: str
    pairs: tuple[str, ...]
    needed: float


@dataclass(frozen=True)
class Swaps:
    """What was suspected of N people.

    exchange: (N,) int64, place in EXCHANGES, -1 = nothing. evidence: (N,) float64, natural log of how much likelier the
    person is with that exchange than as labelled; 0 where nothing is suspected.
    """

    exchange: np.ndarray
    evidence: np.ndarray


PIECES = (
    Piece("agree", ("eye", "ear"), 2.32),
    Piece("agree", ("ear", "shoulder"), 0.41),
    Piece("agree", ("eye", "shoulder"), 0.50),
    Piece("agree", ("ear", "hip"), 0.74),
    Piece("agree", ("shoulder", "hip"), 2.47),
    Piece("agree", ("shoulder", "elbow"), 1.94),
    Piece("agree", ("elbow", "wrist"), 1.20),
    Piece("agree", ("elbow", "hip"), 0.67),
    Piece("agree", ("shoulder", "wrist"), 0.72),
    Piece("agree", ("hip", "knee"), 2.15),
    Piece("agree", ("knee", "ankle"), 1.99),
    Piece("even", ("elbow", "wrist"), 0.82),
    Piece("even", ("hip", "knee"), 0.98),
    Piece("even", ("knee", "ankle"), 1.06),
    Piece("above nose", ("eye",), 1.39),
    Piece("front", ("eye",), 1.96),
    Piece("front", ("ear",), 1.02),
    Piece("front", ("shoulder",), 1.16),
    Piece("back", ("ear",), 1.08),
    Piece("back", ("shoulder",), 0.73),
    Piece("near", ("ear",), 1.36),
    Piece("near", ("elbow",), 0.67),
    Piece("near", ("wrist",), 0.57),
    Piece("near", ("knee",), 0.42),
    Piece("near", ("ankle",), 0.29),
)

# Of exchanges that are the same for a person, whose other pairs are not labelled, the first counts.
EXCHANGES = (
    Exchange("eyes", ("eye",), 1.3),
    Exchange("ears", ("ear",), 1.3),
    Exchange("face", FACE_PAIRS, 1.3),
    Exchange("shoulders", ("shoulder",), 3.2),
    Exchange("elbows", ("elbow",), 1.5),
    Exchange("wrists", ("wrist",), 3.6),
    Exchange("arms", ("elbow", "wrist"), 3.2),
    Exchange("shoulders and arms", ("shoulder", "elbow", "wrist"), 3.8),
    Exchange("hips", ("hip",), 2.5),
    Exchange("knees", ("knee",), 3.0),
    Exchange("ankles", ("ankle",), 3.8),
    Exchange("legs", ("knee", "ankle"), 3.2),
    Exchange("hips and legs", ("hip", "knee", "ankle"), 3.7),
    Exchange("body", BODY_PAIRS, 3.7),
    Exchange("whole person", PAIRS, 3.0),
)

SOFTNESS = 0.06  # of the squared torso: pairs closer together than about a quarter of it say less


def find_swaps(keypoints: np.ndarray, skeleton: Skeleton) -> Swaps:
    """Return the likeliest exchange of each person: keypoints (N, K, 3) x, y px and visible 0, 1 or 2 as in COCO."""
    exchange = np.full(len(keypoints), -1, dtype=np.int64)
    found = np.zeros(len(keypoints))
    for start in range(0, len(keypoints), PEOPLE_AT_A_TIME):
        rows = slice(start, start + PEOPLE_AT_A_TIME)
        against = evidence_against(evidence(keypoints[rows], skeleton))  # (N, exchanges)
        surplus = against - [one.needed for one in EXCHANGES]
        surplus[~_distinct(keypoints[rows], skeleton)] = -np.inf
        best = surplus.argmax(axis=1)
        people = np.arange(len(best))
        suspected = surplus[people, best] > 0
        exchange[rows] = np.where(suspected, best, -1)
        found[rows] = np.where(suspected, against[people, best], 0)
    return Swaps(exchange, found)


def evidence_against(pieces: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return by how much each exchange would make people likelier: (N, PIECES) -> (N, EXCHANGES), natural log."""
    if weights is None:
        weights = np.array([piece.weight for piece in PIECES])
    return -2 * pieces @ (turned() * weights).T


def turned() -> np.ndarray:
    """Return which pieces of evidence an exchange turns: (EXCHANGES, PIECES), 1 or 0."""
    return np.array([[len(set(piece.pairs) & set(one.pairs)) % 2 for piece in PIECES] for one in EXCHANGES], float)


def evidence(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return what speaks for the labels as they are: (N, PIECES) in about [-1, 1], 0 = nothing."""
    person = _Person(keypoints, skeleton)
    kinds: dict[str, Callable[..., np.ndarray]] = {
        "agree": person.agree,
        "even": person.even,
        "above nose": person.above_nose,
        "front": person.front,
        "back": person.back,
        "near": person.near,
    }
    pieces = np.stack([kinds[piece.kind](*piece.pairs) for piece in PIECES], axis=-1)
    return np.where(person.unit[:, None] >= SMALLEST_PX, pieces, 0)


def is_judged(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return who is large and labelled enough to be judged: (N,) bool."""
    return _Person(keypoints, skeleton).unit >= SMALLEST_PX


class _Person:
    """N people as vectors from right to left, (N, 2) px, of every pair, with what the pieces of evidence share.

    unit: (N,) px, about the length of the torso; no exchange changes it. up: (N, 2), along the spine.
    """

    def __init__(self, keypoints: np.ndarray, skeleton: Skeleton) -> None:
        names = {name: k for k, name in enumerate(skeleton.keypoints)}
        nothing = np.zeros((len(keypoints), 3))

        def get(name: str) -> np.ndarray:
            return keypoints[:, names[name]] if name in names else nothing

        self.left, self.right = ({pair: get(f"{side}_{pair}") for pair in PAIRS} for side in ("left", "right"))
        self.both = {pair: (self.left[pair][:, 2] > 0) & (self.right[pair][:, 2] > 0) for pair in PAIRS}
        self.nose, self.has_nose = get("nose")[:, :2], get("nose")[:, 2] > 0
        self.middle = {pair: (self.left[pair] + self.right[pair])[:, :2] / 2 for pair in PAIRS}
        self.across = {pair: self._across(pair) for pair in PAIRS}
        self.unit = self._unit()
        self.up = self._up(np.stack([get(name) for name in FACE], axis=1))

    def agree(self, a: str, b: str) -> np.ndarray:
        """Return the cosine between two pairs, smaller where they are narrow."""
        product = (self.across[a] * self.across[b]).sum(axis=-1)
        return product / (_length(self.across[a]) * _length(self.across[b]) + SOFTNESS * self.unit**2)

    def even(self, a: str, b: str) -> np.ndarray:
        """Return how much more alike the two limbs between pairs are than they would be crosswise, in units."""
        ends = [side[pair][:, :2] for pair in (a, b) for side in (self.left, self.right)]
        straight = _length(ends[0] - ends[2]) - _length(ends[1] - ends[3])
        crossed = _length(ends[0] - ends[3]) - _length(ends[1] - ends[2])
        return np.where(self.both[a] & self.both[b], np.abs(crossed) - np.abs(straight), 0) / self.unit

    def above_nose(self, pair: str) -> np.ndarray:
        """Return whether a pair runs as it does round a nose that is seen, whichever way the head is turned."""
        rise, across = self.middle[pair] - self.nose, self.across[pair]
        turn = rise[:, 0] * across[:, 1] - rise[:, 1] * across[:, 0]
        size = _length(rise) * _length(across) + SOFTNESS * (0.2 * self.unit) ** 2
        return np.where(self.both[pair] & self.has_nose, turn / size, 0)

    def front(self, pair: str) -> np.ndarray:
        """Return whether a pair runs as it does in people seen from the front, where the face is seen."""
        seen = self.has_nose if pair in FACE_PAIRS else self.has_nose & self.both["eye"]
        return np.where(seen, self._sideways(pair), 0)

    def back(self, pair: str) -> np.ndarray:
        """Return whether a pair runs as it does in people seen from behind, where only ears are seen."""
        eyes, ears = (self._any(pair) for pair in FACE_PAIRS)
        return np.where(~self.has_nose & ~eyes & ears, -self._sideways(pair), 0)

    def near(self, pair: str) -> np.ndarray:
        """Return whether of a person looking sideways the half nearer to the camera is the visible one."""
        left, right = self.left["ear"], self.right["ear"]
        ear = np.where((left[:, 2] > 0)[:, None], left, right)[:, :2]
        ear = np.where(self.both["ear"][:, None], self.middle["ear"], ear)
        looking = self._along(self.nose - ear, 0.05 * self.unit)  # 1: to what is the right in an upright picture
        visible = (self.left[pair][:, 2] == 2).astype(float) - (self.right[pair][:, 2] == 2)
        return np.where(self.has_nose & self._any("ear"), -looking * visible, 0)

    def _across(self, pair: str) -> np.ndarray:
        """Return left minus right; of a face with one side, that side against the nose, which lies between."""
        left, right = self.left[pair], self.right[pair]
        whole = np.where(self.both[pair][:, None], left - right, 0)[:, :2]
        if pair not in FACE_PAIRS:
            return whole
        only_left = self.has_nose & (left[:, 2] > 0) & ~(right[:, 2] > 0)
        only_right = self.has_nose & (right[:, 2] > 0) & ~(left[:, 2] > 0)
        half = np.where(only_left[:, None], left[:, :2] - self.nose, self.nose - right[:, :2])
        return np.where((only_left | only_right)[:, None], half, whole)

    def _unit(self) -> np.ndarray:
        spine = (("shoulder", "hip", 1.0), ("hip", "knee", 1.0), ("knee", "ankle", 1.0), ("shoulder", "knee", 0.6))
        wide = (("shoulder", 1.2), ("hip", 1.5), ("ear", 2.0))
        lengths = [
            np.where(self.both[a] & self.both[b], share * _length(self.middle[a] - self.middle[b]), 0)
            for a, b, share in spine
        ]
        lengths += [np.where(self.both[pair], share * _length(self.across[pair]), 0) for pair, share in wide]
        return np.maximum(np.max(lengths, axis=0), 1e-6)

    def _up(self, face: np.ndarray) -> np.ndarray:
        seen = face[..., 2] > 0  # (N, 5)
        middle = (face[..., :2] * seen[..., None]).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)[:, None]
        neck = np.where((self.both["shoulder"] & seen.any(axis=1))[:, None], middle - self.middle["shoulder"], 0)
        torso = (self.both["shoulder"] & self.both["hip"])[:, None]
        up = np.where(torso, self.middle["shoulder"] - self.middle["hip"], neck)
        return up / np.maximum(_length(up), 1e-6)[:, None]

    def _any(self, pair: str) -> np.ndarray:
        return (self.left[pair][:, 2] > 0) | (self.right[pair][:, 2] > 0)

    def _sideways(self, pair: str) -> np.ndarray:
        return self._along(self.across[pair], 0.15 * self.unit)

    def _along(self, vectors: np.ndarray, softness: np.ndarray) -> np.ndarray:
        """Return the share of vectors that points to the right of who stands as `up` says: (N,) in [-1, 1]."""
        right = np.stack([-self.up[:, 1], self.up[:, 0]], axis=-1)
        return (vectors * right).sum(axis=-1) / (_length(vectors) + softness)


def _distinct(keypoints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Return which exchanges are possible for a person, and no other one under a second name: (N, EXCHANGES) bool."""
    labelled = np.zeros((len(keypoints), len(PAIRS)), dtype=bool)
    for n, pair in enumerate(PAIRS):
        known = [skeleton.index(side) for side in (f"left_{pair}", f"right_{pair}") if side in skeleton.keypoints]
        there = keypoints[:, known, 2] > 0
        labelled[:, n] = there.any(axis=1) if pair in FACE_PAIRS else there.sum(axis=1) == 2
    bits = 1 << np.arange(len(PAIRS))
    codes = np.stack([labelled @ (bits * [pair in one.pairs for pair in PAIRS]) for one in EXCHANGES], axis=-1)
    distinct = codes > 0
    for n in range(1, len(EXCHANGES)):
        distinct[:, n] &= (codes[:, :n] != codes[:, n : n + 1]).all(axis=1)
    return distinct


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.hypot(vectors[..., 0], vectors[..., 1])
