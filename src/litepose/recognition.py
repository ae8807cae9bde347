"""Which network weights belong to, told by their names and shapes.

The names are put through every family's `OFFICIAL_KEYS`. Of the families that know many of them, each network is built
without memory (on torch's meta device) and compared tensor by tensor. The number of keypoints is read off the tensors
whose shape changes when a network is built for one keypoint more. A new family needs no line here.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

from litepose import importing, models
from litepose.importing import State

USUAL_KEYPOINTS = 17  # where a comparison begins
MAX_KEYPOINTS = 1000
SAMPLE = 200  # names of a file that are put through a family's rules before its networks are built
LEAST_KNOWN = 0.3  # of them that the rules must know, and at least half as many as of the family that knows most
LEAST_SCORE = 0.1  # of a match worth naming
LEAST_NAMED = 0.5  # or of one whose names fit, as of another architecture
MAX_MATCHES = 4
COUNTER = "num_batches_tracked"  # old files lack them, so they do not count
OURS = "litepose"  # the source of weights under our own names

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Match:
    """How a network fits weights.

    source: whose names they have. score: the tensors that fit, of all that either side has; batch counters aside.
    named: those whose names fit, whatever their shapes.
    keypoints: 0 where no shape tells. Names are the file's, but for those missing in it, which are ours.
    """

    model: str
    source: str
    score: float
    named: float
    fitting: int
    keypoints: int
    wrapper: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]


@dataclass(frozen=True)
class _Comparison:
    """A network beside weights. theirs: our name -> the file's, whose shapes are known by the file's name."""

    model: str
    source: str
    theirs: Mapping[str, str]
    shapes: Shapes
    wrapper: str

    def match(self, num_keypoints: int) -> Match:
        """Compare with the network for that many keypoints; 0: not known, the usual number."""
        own, theirs = _shapes(self.model, num_keypoints or USUAL_KEYPOINTS), self.theirs
        both = {name: (self.shapes[theirs[name]], own[name]) for name in own if name in theirs}
        fitting, total = sum(found == wanted for found, wanted in both.values()), len(own.keys() | theirs.keys())
        return Match(
            model=self.model,
            source=self.source,
            score=fitting / max(1, total),
            named=len(both) / max(1, total),
            fitting=fitting,
            keypoints=num_keypoints,
            wrapper=self.wrapper,
            missing=tuple(name for name in own if name not in theirs),
            unexpected=tuple(name for ours, name in theirs.items() if ours not in own),
            misshapen=tuple(f"{theirs[n]} {a} instead of {b}" for n, (a, b) in both.items() if a != b),
        )

    def keypoints(self) -> int:
        """Return the number of keypoints that most shapes agree on, 0 where none tells."""
        few, more = _shapes(self.model, USUAL_KEYPOINTS), _shapes(self.model, USUAL_KEYPOINTS + 1)
        votes: Counter[int] = Counter()
        for name in few:
            found = self.shapes.get(self.theirs.get(name, ""), ())
            if few[name] == more[name] or len(found) != len(few[name]):
                continue
            for have, small, large in zip(found, few[name], more[name], strict=True):
                if large > small and (have - small) % (large - small) == 0:
                    votes[USUAL_KEYPOINTS + (have - small) // (large - small)] += 1
        number = votes.most_common(1)[0][0] if votes else 0
        return number if 1 <= number <= MAX_KEYPOINTS else 0


def find_matches(states: Iterable[State]) -> list[Match]:
    """Return how well the best networks fit the best of these weights, best first; one match for each network."""
    best: dict[str, tuple[tuple[float, float], _Comparison]] = {}
    seen: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
    for state in states:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.tensors.items() if not name.endswith(COUNTER)}
        described = tuple(shapes.items())
        if described in seen:  # as state_dict and best_state_dict are
            continue
        seen.add(described)
        for comparison in _comparisons(shapes, state.wrapper):
            match = comparison.match(0)
            rank = match.score, match.named
            if (match.score > LEAST_SCORE or match.named > LEAST_NAMED) and rank > best.get(
                comparison.model, ((0.0, 0.0), None)
            )[0]:
                best[comparison.model] = rank, comparison
    first = sorted(best.values(), key=lambda one: one[0], reverse=True)[:MAX_MATCHES]
    found = [comparison.match(comparison.keypoints()) for _, comparison in first]
    return sorted(found, key=lambda match: (match.score, match.named), reverse=True)


def _comparisons(shapes: Shapes, wrapper: str) -> Iterator[_Comparison]:
    """Yield every network of the families whose names these may be."""
    prefixed = any(name.startswith(importing.MMPOSE_PREFIXES) for name in shapes)
    sources = ("official", "mmpose") if prefixed else ("official",)  # mmpose's names are the authors' but for these
    known = {
        (family, source): _share_known(family, source, shapes) for family in models.modules() for source in sources
    }
    most = max(known.values(), default=0.0)
    if most < LEAST_KNOWN:
        known, most = {(family, OURS): 1.0 for family in models.modules()}, 1.0
    for (family, source), share in known.items():
        if share >= max(LEAST_KNOWN, most / 2):
            theirs = _their_names(family, source, shapes)
            for model in family.VARIANTS:
                yield _Comparison(model, source, theirs, shapes, wrapper)


def _share_known(family: ModuleType, source: str, shapes: Shapes) -> float:
    """Return how many of the names the family's rules know."""
    sample = list(shapes)[:: -(-len(shapes) // SAMPLE) or 1]
    known = sum(importing.is_known(name, family.OFFICIAL_KEYS, source=source) for name in sample)
    return known / max(1, len(sample))


def _their_names(family: ModuleType, source: str, shapes: Shapes) -> dict[str, str]:
    """Return our name -> the file's."""
    names = {name: name for name in shapes}
    return names if source == OURS else importing.rename(names, family.OFFICIAL_KEYS, source=source)


@functools.lru_cache(maxsize=256)
def _shapes(model: str, num_keypoints: int) -> dict[str, tuple[int, ...]]:
    state = models.build_shell(model, num_keypoints=num_keypoints).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items() if not name.endswith(COUNTER)}
