"""Who is who from frame to frame: ids for the people of a video, one `Tracker` for each stream.

People are compared by OKS with where each track should be by now, and assigned at the least total cost; sure people
first, unsure ones to the tracks left over (the two passes of ByteTrack, Zhang et al., ECCV 2022; the gate by OKS is
that of PoseTrack baselines). What differs: everything that lasts is in seconds, so frame rate and gaps do not matter; a
track remembers keypoints that are hidden now; the OKS gets more generous the longer nobody was seen; a person found
twice starts no second track. There is no look at the pixels: two people who swap places unseen swap ids.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litepose.codecs.grouping import assign
from litepose.errors import SettingError
from litepose.poses import Poses
from litepose.similarity import box_areas, oks

NO_ID = -1  # in `Poses.track_ids`: seen too seldom, or too unsure, to have an id
REFUSED = 1e3  # the cost of a pair under the gate; all others cost at most 1
MIN_KEYPOINTS = 3  # that two people must share to be compared
SHORTEST_S = 1e-3  # between two frames, where timestamps repeat
VELOCITY_S = 0.15  # time constant of the averaged velocity
MOST = 0.8  # share of a track's keypoints that must be seen to measure velocity
UNNAMED_KEEP_S = 0.25  # a track without an id waits no longer, so that what flickers gets none
UNMEASURED = 4.0  # times as fast grows the looseness of a track seen once, whose velocity is not known
RECENT_S = 0.1  # a track seen in the last frame, or since then, is not lost
COASTING_S = 0.7  # somebody unseen goes on at his velocity for about so long, then is expected to have stopped


@dataclass(frozen=True)
class TrackSettings:
    """How people become tracks.

    strong_score: people from this score on may start tracks; the rest only continue them.
    keypoint_score: keypoints below do not count in comparisons.
    strong_similarity, weak_similarity: the least likeness (0-1) of a sure and of an unsure person to its track.
    duplicate_similarity: somebody this much like a person who has a track already starts no second one.
    duplicate_share: networks find people twice. Who is so much like somebody surer and reaches less than this share of
        his score may only continue a track that is not lost, and must be like it by `double_similarity`.
    keep_seconds: how long a track waits for a person who is not seen.
    min_hits: frames in which a person must be seen to get an id; those of a stream's first frame get one at once.
    looseness: how many times farther than in COCO's OKS a keypoint may be off; grows by `looseness_per_second`.
    """

    strong_score: float = 0.3
    keypoint_score: float = 0.25
    strong_similarity: float = 0.4
    weak_similarity: float = 0.6
    duplicate_similarity: float = 0.5
    duplicate_share: float = 0.65
    double_similarity: float = 0.75
    keep_seconds: float = 1.5
    min_hits: int = 3
    looseness: float = 1.5
    looseness_per_second: float = 2.0

    def __post_init__(self) -> None:
        for name in ("strong_similarity", "weak_similarity", "duplicate_similarity", "double_similarity"):
            if not 0 < getattr(self, name) <= 1:
                raise SettingError(f"Tracking wants {name} above 0 and up to 1; found {getattr(self, name)}.")
        for name, lowest in (("keep_seconds", 0.0), ("min_hits", 1), ("looseness", 0.1)):
            if not lowest <= getattr(self, name) < math.inf:
                raise SettingError(f"Tracking wants {name} of at least {lowest:g}; found {getattr(self, name)}.")


@dataclass
class _Track:
    """One person over time. keypoints: (K, 2) float64, the last place of each; known: (K,) bool, ever seen."""

    keypoints: np.ndarray
    known: np.ndarray
    seen_s: float
    velocity: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))  # px/s
    hits: int = 1
    id: int = NO_ID

    def expected(self, time_s: float) -> np.ndarray:
        """Return where the keypoints should be at a time: (K, 2)."""
        gap = max(time_s - self.seen_s, 0.0)
        return self.keypoints + self.velocity * COASTING_S * (1 - math.exp(-gap / COASTING_S))

    def see(self, keypoints: np.ndarray, known: np.ndarray, time_s: float) -> None:
        """Take over where the person is now; keypoints that are not seen move along with the others."""
        gap = max(time_s - self.seen_s, SHORTEST_S)
        both = known & self.known
        shift = np.median(keypoints[both] - self.keypoints[both], axis=0) if both.any() else np.zeros(2)
        share = 1.0 if self.hits == 1 else 1 - math.exp(-gap / VELOCITY_S)
        if both.sum() < MOST * self.known.sum():  # a few keypoints at the edge of what hides the rest jump about
            share = 0.0
        self.velocity = self.velocity + share * (shift / gap - self.velocity)
        self.keypoints = np.where(known[:, None], keypoints, self.keypoints + shift)
        self.known = self.known | known
        self.seen_s = max(time_s, self.seen_s)
        self.hits += 1


class Tracker:
    """Gives ids to the people of one stream, frame by frame. Not to be shared between streams or threads."""

    def __init__(self, settings: TrackSettings | None = None) -> None:
        self.settings = TrackSettings() if settings is None else settings
        self._tracks: list[_Track] = []
        self._next_id = 1
        self._started = False
        self._before_s = -math.inf  # the last frame's time

    def update(self, poses: Poses, time_s: float) -> Poses:
        """Return the people of the next frame with `track_ids`, from 1 on; NO_ID = has none (yet).

        time_s: of the frame, in the stream's own time.
        """
        settings = self.settings
        self._forget(time_s)
        known = poses.found & (poses.keypoint_scores >= settings.keypoint_score)
        known &= np.isfinite(poses.keypoints).all(axis=-1)
        alike = _shared_oks(poses.keypoints, known, poses.keypoints, known, poses.skeleton.oks_sigmas)  # (N, N)
        surer = settings.duplicate_share * poses.scores[None] > poses.scores[:, None]
        single: np.ndarray = ~np.any((alike >= settings.duplicate_similarity) & surer, axis=1)
        strong = single & (poses.scores >= settings.strong_score)
        owners: list[_Track | None] = [None] * len(poses)
        confirmed = [track for track in self._tracks if track.id != NO_ID]
        waiting = [track for track in self._tracks if track.id == NO_ID]
        recent = [track for track in confirmed if track.seen_s >= min(self._before_s, time_s - RECENT_S)]
        for tracks, mask, least in (
            (confirmed, strong, settings.strong_similarity),
            (confirmed, single & ~strong, settings.weak_similarity),
            (recent, ~single, settings.double_similarity),
            (waiting, strong, settings.strong_similarity),
        ):
            self._match(poses, known, tracks, mask, least, owners, time_s)
        self._start(poses, known, strong, alike, owners, time_s)
        self._started = self._started or len(poses) > 0
        self._before_s = time_s
        ids = [NO_ID if owner is None else owner.id for owner in owners]
        return dataclasses.replace(poses, track_ids=np.array(ids, dtype=np.int64))

    def _forget(self, time_s: float) -> None:
        keep = self.settings.keep_seconds
        self._tracks = [
            track
            for track in self._tracks
            if track.seen_s >= time_s - (keep if track.id != NO_ID else min(keep, UNNAMED_KEEP_S))
        ]

    def _match(
        self,
        poses: Poses,
        known: np.ndarray,
        tracks: Sequence[_Track],
        mask: np.ndarray,
        least: float,
        owners: list[_Track | None],
        time_s: float,
    ) -> None:
        """Assign the people of `mask` who have no track to the tracks that have no person in this frame."""
        taken = {id(owner) for owner in owners if owner is not None}
        free = [track for track in tracks if id(track) not in taken]
        rows = [n for n in np.flatnonzero(mask).tolist() if owners[n] is None]
        if not rows or not free:
            return
        likeness = self._likeness(poses, known, rows, free, time_s)
        for row, column in pairs_above(likeness, least):
            owners[rows[row]] = free[column]
            free[column].see(poses.keypoints[rows[row]].astype(np.float64), known[rows[row]], time_s)
            if free[column].id == NO_ID and free[column].hits >= self.settings.min_hits:
                self._name(free[column])

    def _likeness(
        self, poses: Poses, known: np.ndarray, rows: list[int], tracks: Sequence[_Track], time_s: float
    ) -> np.ndarray:
        """Return the OKS of people to tracks where they should be: (rows, tracks), more generous to the long unseen."""
        expected = np.stack([track.expected(time_s) for track in tracks])
        remembered = np.stack([track.known for track in tracks])
        gaps = np.array([max(time_s - track.seen_s, 0.0) for track in tracks])
        growth = np.array([UNMEASURED if track.hits == 1 else 1.0 for track in tracks])
        slack = self.settings.looseness + self.settings.looseness_per_second * growth * gaps
        return _shared_oks(
            poses.keypoints[rows], known[rows], expected, remembered, poses.skeleton.oks_sigmas, slack=slack
        )

    def _start(
        self,
        poses: Poses,
        known: np.ndarray,
        strong: np.ndarray,
        alike: np.ndarray,
        owners: list[_Track | None],
        time_s: float,
    ) -> None:
        """Begin a track for each sure person who has none and is nobody's double."""
        for n in np.argsort(-poses.scores, kind="stable").tolist():
            if owners[n] is not None or not strong[n] or known[n].sum() < MIN_KEYPOINTS:
                continue
            tracked = [m for m, owner in enumerate(owners) if owner is not None]
            if (alike[n, tracked] >= self.settings.duplicate_similarity).any():
                continue
            track = _Track(poses.keypoints[n].astype(np.float64), known[n], time_s)
            if not self._started or self.settings.min_hits == 1:
                self._name(track)
            owners[n] = track
            self._tracks.append(track)

    def _name(self, track: _Track) -> None:
        track.id = self._next_id
        self._next_id += 1


def pairs_above(likeness: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Return the (row, column) pairs of the best one-to-one assignment, of those alike by at least `least`.

    likeness: (rows, columns), at most 1.
    """
    costs = np.where(likeness >= least, 1 - likeness, REFUSED)
    turned = costs.shape[0] > costs.shape[1]
    columns = assign(costs.T if turned else costs)
    pairs = [(column, row) if turned else (row, column) for row, column in enumerate(columns)]
    return [(row, column) for row, column in pairs if likeness[row, column] >= least]


def _shared_oks(
    keypoints: np.ndarray,
    known: np.ndarray,
    others: np.ndarray,
    others_known: np.ndarray,
    sigmas: Sequence[float],
    *,
    slack: float | np.ndarray = 1.0,
) -> np.ndarray:
    """Return the OKS over the keypoints that both of a pair have: (N, M); 0 where these are too few.

    slack: (M,), how many times farther off a keypoint may be. The larger area of a pair counts: half a person, seen
    behind a table, is still as large.
    """
    counted = known[:, None] & others_known[None]  # (N, M, K)
    keypoints = np.where(known[..., None], keypoints, 0)  # what is not known may be no number
    others = np.where(others_known[..., None], others, 0)
    areas = np.maximum(_areas(keypoints, known)[:, None], _areas(others, others_known)[None]) * np.square(slack)
    likeness = oks(keypoints, others, areas=areas, sigmas=sigmas, counted=counted)
    return np.where(counted.sum(axis=-1) >= MIN_KEYPOINTS, likeness, 0)


def _areas(keypoints: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the areas of the boxes around known keypoints, at least those of a narrow person as long: (N,) px^2."""
    low = np.where(known[..., None], keypoints, np.inf).min(axis=1)
    high = np.where(known[..., None], keypoints, -np.inf).max(axis=1)
    anything: np.ndarray = np.any(known, axis=1)
    boxes = np.where(anything[:, None], np.concatenate([low, high], axis=-1), 0)
    longest = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).max(axis=-1)
    return np.maximum(box_areas(boxes), 0.2 * longest**2)
