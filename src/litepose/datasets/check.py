"""Labels that are probably wrong: boxes, places, limbs, left and right, people annotated twice.

`verify` says whether a file and its pictures can be used; here are suspicions about what a sound file says. All but
missing pictures is seen from the labels alone. How sure each kind is, measured: docs/label-checks.md.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.datasets import default_images
from litepose.datasets.check_shapes import Odd, odd_shapes
from litepose.datasets.check_swaps import EXCHANGES, find_swaps
from litepose.datasets.labels import Labels, read_labels
from litepose.errors import AnnotationError
from litepose.geometry import boxes_of_keypoints
from litepose.similarity import AREA_OF_BOX, box_areas, iou, oks
from litepose.skeleton import Skeleton

TWICE_OKS = 0.85  # of the same person annotated twice
TWICE_KEYPOINTS = 3  # labelled in both, at least
TWICE_IOU = 0.5  # of the keypoints' boxes, below which nobody is compared
SWAP = "left and right exchanged"
TWICE = "person annotated twice"


@dataclass(frozen=True)
class Suspicion:
    """One thing that is probably wrong.

    picture, annotation: ids as in the file (of an MPII list: the file name, the record's number); annotation is None
    where the picture is meant. others: further annotations concerned. keypoints: names of those concerned.
    badness: larger is worse, only comparable within a kind.
    """

    kind: str
    picture: Any
    annotation: Any
    keypoints: tuple[str, ...]
    badness: float
    text: str
    others: tuple[Any, ...] = ()


@dataclass(frozen=True)
class KindSummary:
    """How often one kind was found. share: of the people, or of the pictures where `of` says so."""

    kind: str
    count: int
    share: float
    of: str
    worst: Suspicion


@dataclass(frozen=True)
class CheckReport:
    """What `check` suspects, worst first within each kind. left_out: checks that could not be made, and why."""

    annotations: str
    counts: dict[str, int]
    suspicions: tuple[Suspicion, ...]
    left_out: tuple[str, ...]
    labels: Labels

    @property
    def kinds(self) -> list[KindSummary]:
        """Each kind that was found, in the order of KINDS."""
        numbers = Counter(one.kind for one in self.suspicions)
        summaries = []
        for kind in sorted(numbers, key=list(KINDS).index):
            worst = next(one for one in self.suspicions if one.kind == kind)
            of = "pictures" if kind in PICTURE_KINDS else "people"
            summaries.append(KindSummary(kind, numbers[kind], numbers[kind] / max(1, self.counts[of]), of, worst))
        return summaries

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "annotations": self.annotations,
            "counts": self.counts,
            "left_out": list(self.left_out),
            "kinds": {one.kind: {"count": one.count, "share": one.share, "of": one.of} for one in self.kinds},
            "suspicions": [asdict(one) for one in self.suspicions],
        }


# Every kind, with what is to be known about it.
KINDS = {
    "picture missing": "The file lists a picture that is not in the folder.",
    "picture listed twice": "One file under two records: its people are learned or scored twice.",
    "id repeated": "Two pictures or two annotations have the same id; training refuses such a file.",
    "no listed picture": "The annotation's image_id is not in the list of images.",
    "keypoints unusable": "Wrong number of values, NaN or infinity: `litepose data verify` says which.",
    TWICE: "Two annotations of one picture whose keypoints almost coincide.",
    SWAP: "The body is likelier with these pairs exchanged; crossed limbs and people looking over their shoulder are "
    "found too.",
    "limb too long": "Longer than the person's other limbs let expect; a limb close to the camera is found too.",
    "left and right limb differ": "One of a pair is many times longer; strong foreshortening is found too.",
    "keypoints at one place": "Two keypoints of a person that cannot be at one point are.",
    "keypoints outside their box": "Further out than a tenth of the box's longer side.",
    "keypoints outside the picture": "Labelled where there is no picture.",
    "box empty": "Without width or height.",
    "box outside the picture": "It reaches beyond the picture's edge.",
    "box much larger than the keypoints": "A person labelled from head to foot fills less than half of the box.",
    "area larger than the box": "The area decides about scores and lies within the box.",
    "num_keypoints differs": "The listed number is not that of the labelled keypoints; evaluators use it.",
}
PICTURE_KINDS = ("picture missing", "picture listed twice")


def check(
    annotations: str | Path, *, images: str | Path | None = None, skeleton: Skeleton | None = None
) -> CheckReport:
    """Look at all labels of a COCO or CrowdPose keypoint file or an MPII list.

    images: folder of the pictures; default where `open_dataset` looks. Where there is none, missing pictures are left
    out and said to be. skeleton: where a COCO file names no keypoints.
    Raises AnnotationError where the file as a whole is unusable or `images` is no folder.
    """
    labels = read_labels(annotations, skeleton=skeleton)
    folder, left_out = _folder(Path(annotations), images)
    if np.isnan(labels.sizes).all():
        left_out += ("what lies outside of the picture: the file lists no sizes",)
    sizes = np.where(labels.pictures[:, None] >= 0, labels.sizes[labels.pictures], np.nan)
    found = [*_missing(labels, folder), *_repeated(labels), *_twice(labels)]
    found += [_suspicion(labels, one) for one in (*odd_shapes(labels, sizes), *_swaps(labels))]
    order = list(KINDS)
    found.sort(key=lambda one: (order.index(one.kind), -one.badness))
    counts = {
        "pictures": len(labels.picture_ids),
        "people": len(labels.ids),
        "people with keypoints": int(labels.labelled.any(axis=1).sum()),
        "keypoints": int(labels.labelled.sum()),
    }
    return CheckReport(str(annotations), counts, tuple(found), left_out, labels)


def _folder(annotations: Path, images: str | Path | None) -> tuple[Path | None, tuple[str, ...]]:
    if images is None:
        try:
            return default_images(annotations), ()
        except AnnotationError:
            return None, ("missing pictures: no folder of pictures was found; name it with --images",)
    if not Path(images).is_dir():
        raise AnnotationError(f"The pictures of {annotations} were to be in {images}, which is no folder. Name theirs.")
    return Path(images), ()


def _suspicion(labels: Labels, odd: Odd) -> Suspicion:
    place = int(labels.pictures[odd.person])
    picture = labels.picture_ids[place] if place >= 0 else None
    return Suspicion(odd.kind, picture, labels.ids[odd.person], odd.keypoints, round(odd.badness, 4), odd.text)


def _missing(labels: Labels, folder: Path | None) -> Iterator[Suspicion]:
    if folder is None:
        return
    listings: dict[Path, set[str]] = {}
    for picture, name in zip(labels.picture_ids, labels.file_names, strict=True):
        path = folder / name
        if path.parent not in listings:
            listings[path.parent] = {one.name for one in os.scandir(path.parent)} if path.parent.is_dir() else set()
        if path.name not in listings[path.parent]:
            yield Suspicion("picture missing", picture, None, (), 1.0, f"There is no {path}.")


def _repeated(labels: Labels) -> Iterator[Suspicion]:
    files, pictures = Counter(labels.file_names), Counter(labels.picture_ids)
    last = dict(zip(labels.file_names, labels.picture_ids, strict=True))
    for name, n in files.items():
        if n > 1 and name:
            yield Suspicion("picture listed twice", last[name], None, (), float(n), f"{name} is listed {n} times.")
    for picture, n in pictures.items():
        if n > 1:
            yield Suspicion("id repeated", picture, None, (), float(n), f"{n} pictures have the id {picture}.")
    people = Counter(one for one in labels.ids if isinstance(one, (int, str)))
    for one, n in people.items():
        if n > 1:
            place = int(labels.pictures[labels.ids.index(one)])
            picture = labels.picture_ids[place] if place >= 0 else None
            yield Suspicion("id repeated", picture, one, (), float(n), f"{n} annotations have the id {one}.")


def _twice(labels: Labels) -> Iterator[Suspicion]:
    """Compare the people of each picture; OKS counts the keypoints that both have, by the smaller area."""
    boxes = boxes_of_keypoints(labels.keypoints[..., :2], labels.labelled)
    areas = AREA_OF_BOX * box_areas(boxes)
    known = labels.labelled.sum(axis=1) >= TWICE_KEYPOINTS
    rows = np.flatnonzero(known & (labels.pictures >= 0))
    rows = rows[np.argsort(labels.pictures[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(labels.pictures[rows], prepend=-1))
    for people in np.split(rows, starts[1:]):
        if len(people) < 2:
            continue
        near = np.triu(iou(boxes[people], boxes[people]) > TWICE_IOU, 1)
        for a, b in zip(people[near.nonzero()[0]], people[near.nonzero()[1]], strict=True):
            alike = _alike(labels, int(a), int(b), min(areas[a], areas[b]))
            if alike > TWICE_OKS:
                text = f"Annotations {labels.ids[a]} and {labels.ids[b]} are alike by an OKS of {alike:.2f}."
                picture = labels.picture_ids[labels.pictures[a]]
                yield Suspicion(TWICE, picture, labels.ids[a], (), round(alike, 4), text, (labels.ids[b],))


def _alike(labels: Labels, a: int, b: int, area: float) -> float:
    both = labels.labelled[a] & labels.labelled[b]
    if both.sum() < TWICE_KEYPOINTS:
        return 0.0
    one, other = labels.keypoints[[a], :, :2], labels.keypoints[[b], :, :2]
    alike = oks(one, other, areas=np.array([area]), sigmas=labels.skeleton.oks_sigmas, counted=both[None])
    return float(alike[0, 0])


def _swaps(labels: Labels) -> Iterator[Odd]:
    swaps = find_swaps(labels.keypoints, labels.skeleton)
    for n in np.flatnonzero(swaps.exchange >= 0):
        exchange = EXCHANGES[swaps.exchange[n]]
        ends = [f"{side}_{pair}" for pair in exchange.pairs for side in ("left", "right")]
        keypoints = tuple(
            name
            for name in ends
            if name in labels.skeleton.keypoints and labels.labelled[n, labels.skeleton.index(name)]
        )
        text = f"Probably exchanged: {exchange.name} (evidence {swaps.evidence[n]:.1f})."
        yield Odd(SWAP, int(n), float(swaps.evidence[n]), keypoints, text)
