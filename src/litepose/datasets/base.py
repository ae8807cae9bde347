"""What every dataset is, and the ways to see one differently: on another skeleton, without its broken pictures."""

from __future__ import annotations

import math
import multiprocessing
import multiprocessing.context
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from litepose.errors import AnnotationError, LiteposeError, PictureError
from litepose.poses import Sample
from litepose.skeleton import Skeleton

# Keypoints that can be placed between two others where a dataset lacks them. MPII's "neck" lies above the shoulders'
# middle (that is its thorax), so neck is only derived for skeletons without a thorax.
MIDDLES = {
    "neck": ("left_shoulder", "right_shoulder"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "pelvis": ("left_hip", "right_hip"),
}
TRIES = 20  # how many pictures in a row may be unreadable before a training stops


class Dataset(Protocol):
    """The contract; a new file format is one new file with one class that fulfils it.

    name: for messages and provenance.
    ids: of the pictures, in the order of the indices.
    """

    name: str
    skeleton: Skeleton

    @property
    def ids(self) -> Sequence[int | str]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Return one annotated picture. Raises PictureError where it cannot be read."""
        ...


@dataclass(frozen=True)
class PeopleTable:
    """Everybody annotated in a dataset, in the order of the pictures; known before any picture is opened.

    picture, person: (N,) int32, the picture's index in the dataset and the person's row in its sample.
    keypoints: (N, K, 3) float32. boxes: (N, 4) float32 xyxy. areas: (N,) float32 px^2. All as in the sample.
    sizes: (N, 2) float32, what x and y in the picture stay below, inf where nothing is known. crowd: (N,) bool.
    """

    skeleton: Skeleton
    picture: np.ndarray
    person: np.ndarray
    keypoints: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    sizes: np.ndarray
    crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.picture)

    def rows(self, rows: np.ndarray) -> PeopleTable:
        """Return some of the people, (M,) int, in the order given."""
        values = {name: value[rows] for name, value in vars(self).items() if name != "skeleton"}
        return PeopleTable(self.skeleton, **values)

    def on(self, skeleton: Skeleton) -> PeopleTable:
        """Return the same people on another skeleton, as `remap` moves them."""
        unopened = np.zeros((0, 0, 3), np.uint8)
        everybody = Sample(self.skeleton, unopened, self.keypoints, self.boxes, self.areas)
        return replace(self, skeleton=skeleton, keypoints=remap(everybody, skeleton).keypoints)

    def of_pictures(self, pictures: np.ndarray) -> PeopleTable:
        """Return the people of some pictures, (M,) int, by which they are numbered anew: 0 to M - 1."""
        first = np.searchsorted(self.picture, pictures, side="left")
        counts = np.searchsorted(self.picture, pictures, side="right") - first
        number = np.repeat(np.arange(len(pictures), dtype=np.int32), counts)
        within = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
        return replace(self.rows(np.repeat(first, counts) + within), picture=number)


def join_tables(tables: Sequence[PeopleTable]) -> PeopleTable:
    """Return the people of all tables, at least one and on one skeleton, in the order of their pictures."""
    assert len({table.skeleton for table in tables}) == 1, [table.skeleton.name for table in tables]
    names = [name for name in vars(tables[0]) if name != "skeleton"]
    values = {name: np.concatenate([getattr(table, name) for table in tables]) for name in names}
    return PeopleTable(tables[0].skeleton, **values).rows(np.argsort(values["picture"], kind="stable"))


def people_table(dataset: Dataset) -> PeopleTable | None:
    """Return who is in a dataset's pictures, or None where it cannot say before it opens them.

    A dataset that can has a method `people_table()`, which those that wrap another one pass on.
    """
    method = getattr(dataset, "people_table", None)
    table: PeopleTable | None = method() if method is not None else None
    return table


def remap(sample: Sample, skeleton: Skeleton) -> Sample:
    """Return the same people on another skeleton, keypoints matched by name.

    A keypoint that the sample's skeleton lacks is not `labelled`, except the middles of two others (neck, pelvis,
    thorax), which are computed where both are labelled. A picture without people has none of the unknown ones either.
    """
    if skeleton == sample.skeleton:
        return sample
    source = skeleton.positions_in(sample.skeleton)
    known, nobody = source >= 0, len(sample) == 0
    labelled = known if sample.labelled is None else np.logical_and(known, sample.labelled[source])
    keypoints = np.where(known[None, :, None], sample.keypoints[:, source], 0).astype(np.float32)
    weights = None if sample.keypoint_weights is None else np.where(known, sample.keypoint_weights[:, source], 1)
    for k, a, b in _derived(sample.skeleton, skeleton):
        pair = sample.keypoints[:, [a, b]]
        both = np.all(pair[..., 2] > 0, axis=1)
        keypoints[:, k] = np.where(both[:, None], pair.mean(axis=1), 0)
        keypoints[:, k, 2] = np.where(both, pair[..., 2].min(axis=1), 0)
        labelled[k] = sample.labelled is None or bool(sample.labelled[[a, b]].all())
        if weights is not None and sample.keypoint_weights is not None:
            weights[:, k] = np.where(both, sample.keypoint_weights[:, [a, b]].min(axis=1), 1)
    return replace(
        sample,
        skeleton=skeleton,
        keypoints=keypoints,
        labelled=None if labelled.all() or (nobody and sample.labelled is None) else labelled,
        keypoint_weights=None if weights is None else weights.astype(np.float32),
    )


def _derived(source: Skeleton, target: Skeleton) -> list[tuple[int, int, int]]:
    """Return (keypoint of the target, its two ends in the source) for all middles that can be computed."""
    found = []
    for name, (a, b) in MIDDLES.items():
        missing = name in target.keypoints and name not in source.keypoints
        if name == "neck" and "thorax" in target.keypoints:
            continue
        if missing and a in source.keypoints and b in source.keypoints:
            found.append((target.index(name), source.index(a), source.index(b)))
    return found


class Remapped:
    """A dataset seen on another skeleton. Raises AnnotationError where the two share no keypoint."""

    def __init__(self, dataset: Dataset, skeleton: Skeleton) -> None:
        if not set(skeleton.keypoints) & set(dataset.skeleton.keypoints):
            raise AnnotationError(
                f"{dataset.name} was asked for on skeleton {skeleton.name}; its own keypoints are "
                f"{', '.join(dataset.skeleton.keypoints)}, and none of them is one of "
                f"{', '.join(skeleton.keypoints)}. Rename them in the file or choose another skeleton."
            )
        self.dataset, self.skeleton, self.name = dataset, skeleton, dataset.name

    @property
    def ids(self) -> Sequence[int | str]:
        return self.dataset.ids

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return remap(self.dataset[index], self.skeleton)

    def people_table(self) -> PeopleTable | None:
        table = people_table(self.dataset)
        return None if table is None else table.on(self.skeleton)


class SkipUnreadable:
    """A dataset that never raises for a single broken picture: it warns once with its name and gives another.

    `unreadable` lists the ids that were met, in loader processes too (the marks lie in shared memory).
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.skeleton, self.name = dataset, dataset.skeleton, dataset.name
        self._broken = multiprocessing.RawArray("b", max(1, len(dataset)))
        self._jump = _jump(len(dataset))

    @property
    def ids(self) -> Sequence[int | str]:
        return self.dataset.ids

    @property
    def unreadable(self) -> list[int | str]:
        return [one for one, broken in zip(self.ids, self._broken, strict=False) if broken]

    def __len__(self) -> int:
        return len(self.dataset)

    def people_table(self) -> PeopleTable | None:
        return people_table(self.dataset)

    def __getstate__(self) -> dict[str, Any]:
        """Give a starting loader process the shared marks, and anybody else a copy."""
        marks = self._broken if multiprocessing.context.get_spawning_popen() else bytes(self._broken)
        return {**self.__dict__, "_broken": marks}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._broken, bytes):
            self._broken = multiprocessing.RawArray("b", list(self._broken))

    def __getitem__(self, index: int) -> Sample:
        failure: LiteposeError | None = None
        tries = min(TRIES, len(self))
        for attempt in range(tries):
            candidate = (index + attempt * self._jump) % len(self)
            if self._broken[candidate] and attempt < tries - 1:
                continue
            try:
                return self.dataset[candidate]
            except (PictureError, AnnotationError) as error:
                failure = error
                self._broken[candidate] = 1
                warnings.warn(f"{self.name}: picture left out: {error}", stacklevel=2)
        raise PictureError(
            f"{self.name}: {tries} pictures in a row could not be read; the last: {failure}. "
            "Run `litepose data verify` on it."
        ) from failure


def _jump(length: int) -> int:
    """Return the jump to the next candidate: fixed, about a third of all pictures, and in the end it meets each."""
    jump = length // 3 + 1
    while math.gcd(jump, length) > 1:
        jump += 1
    return jump
