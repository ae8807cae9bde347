"""Where the files of published data sets lie under a root folder, and how much the official files hold.

The places are those of the source projects: LitePose and HigherHRNet (COCO, CrowdPose), DaniAffCH's LitePose
(CrowdPose), HRNet, LPN and Lite-HRNet (COCO, MPII); the first of several is the one that the recipes name.

Counts, and where they come from. COCO 2017: 118,287 listed training pictures (a log in
facebookresearch/detectron2#1658) and 5,000 for validation (cocodataset.org); people and keypoints counted in the
official files. CrowdPose: pictures as in Li et al. 2019 (10,000, 2,000 and 8,000), people and keypoints of the
validation file counted in it. MPII: people in leoxiaobin/deep-high-resolution-net.pytorch#34. What nobody states is
not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from litepose.errors import AnnotationError, SettingError, nearest_name

MOST_NAMED = 8  # entries of a folder in a message
DEPTH = 2  # folders below the root in which misplaced files are looked for


@dataclass(frozen=True)
class Split:
    """One annotation file of a data set. All places are relative to the root; the first is the recipes'.

    pictures: folders of its pictures. needed: by most of its recipes. counts: of the official file, by
    the names of `verify`'s counts.
    """

    name: str
    files: tuple[str, ...]
    pictures: tuple[str, ...]
    needed: bool
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A data set. apart: pairs of splits that must not share pictures. extras: place and what it is for."""

    name: str
    root: str
    splits: tuple[Split, ...]
    apart: tuple[tuple[str, str], ...]
    extras: tuple[tuple[tuple[str, ...], str], ...] = ()


def _coco(name: str, pictures: int, people: int, keypoints: int) -> Split:
    counts = {"pictures": pictures, "people with keypoints": people, "keypoints": keypoints}
    file = f"annotations/person_keypoints_{name}2017.json"
    return Split(name, (file,), (f"{name}2017", f"images/{name}2017"), needed=True, counts=counts)


def _crowdpose(name: str, pictures: int, *, needed: bool, **counts: int) -> Split:
    return Split(name, (f"json/crowdpose_{name}.json",), ("images",), needed, {"pictures": pictures, **counts})


def _mpii(name: str, hrnet: str, people: int, *, needed: bool) -> Split:
    files = (f"annotations/mpii_{name}.json", f"annot/{hrnet}.json")
    return Split(name, files, ("images",), needed, {"people": people})


DETECTIONS = "person_detection_results/COCO_val2017_detections_AP_H_56_person.json"
LAYOUTS = {
    "coco": Layout(
        "coco",
        "data/coco",
        (_coco("train", 118_287, 149_813, 1_642_283), _coco("val", 5_000, 6_352, 68_215)),
        apart=(("train", "val"),),
        extras=(((DETECTIONS,), "boxes of published top-down results (eval --boxes)"),),
    ),
    "crowdpose": Layout(
        "crowdpose",
        "data/crowdpose",
        (
            _crowdpose("trainval", 12_000, needed=True),
            _crowdpose("test", 8_000, needed=True),
            _crowdpose("train", 10_000, needed=False),
            _crowdpose("val", 2_000, needed=False, people=8_527, keypoints=78_631),
        ),
        apart=(("trainval", "test"), ("train", "val"), ("train", "test"), ("val", "test")),
    ),
    "mpii": Layout(
        "mpii",
        "data/mpii",
        (
            _mpii("train", "train", 22_246, needed=True),
            _mpii("val", "valid", 2_958, needed=True),
            _mpii("trainval", "trainval", 29_116, needed=False),
            _mpii("test", "test", 7_247, needed=False),
        ),
        apart=(("train", "val"),),
        extras=((("annotations/mpii_gt_val.mat", "annot/gt_valid.mat"), "head boxes, without which eval has no PCKh"),),
    ),
}


def layout_of(name: str) -> Layout:
    """Return a data set's layout. Raises SettingError."""
    if name not in LAYOUTS:
        raise SettingError(f"No folder layout {name!r} is known. {nearest_name(name, sorted(LAYOUTS))}")
    return LAYOUTS[name]


def first_there(root: Path, places: tuple[str, ...]) -> Path | None:
    """Return the first of the places that exists."""
    return next((root / place for place in places if (root / place).exists()), None)


def pictures_of(source: str) -> str | None:
    """Return where the pictures of a published annotation file lie under the same root; None for other files."""
    splits = (split for layout in LAYOUTS.values() for split in layout.splits)
    return next((split.pictures[0] for split in splits if source in split.files), None)


def check_root(layout: Layout, root: Path) -> None:
    """Raise AnnotationError, which says what was found and where things go, where none of the needed files is there."""
    needed = [split for split in layout.splits if split.needed]
    if any(first_there(root, split.files) for split in needed):
        return
    wanted = " and ".join(split.files[0] for split in needed)
    if not root.is_dir():
        raise AnnotationError(
            f"There is no folder {root} to look for {layout.name} in. Give the folder that holds {wanted}; that of "
            f"the recipes is {layout.root} (--set data.root=...)."
        )
    entries = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in root.iterdir())
    found = ", ".join(entries[:MOST_NAMED]) + (", ..." if len(entries) > MOST_NAMED else "")
    raise AnnotationError(
        f"{root} is not laid out as {layout.name}: looked for {wanted}; found {found or 'an empty folder'}. "
        f"{_advice(layout, root)}"
    )


def place_of_pictures(split: Split, root: Path) -> str:
    """Return where a split's missing pictures go, with the archive that may still hold them."""
    wanted = " or ".join(f"{root / place}/" for place in split.pictures)
    packed = [path for place in split.pictures for path in (root / f"{place}.zip", root / f"{place}.tar.gz")]
    archive = next((path for path in (*packed, root / "images.zip") if path.is_file()), None)
    return f"put them into {wanted}" + (f"; {archive} is still packed: unpack it there" if archive else "")


def _advice(layout: Layout, root: Path) -> str:
    """Return what to do about files that lie elsewhere: above, below or nowhere."""
    files = [(split, place) for split in layout.splits if split.needed for place in split.files]
    for folder in (root.parent, *(path for path in sorted(root.glob("*")) if path.is_dir())):
        if any((folder / place).is_file() for _, place in files):
            return f"{folder} is laid out so: give that folder."
    for split, place in files:
        name = Path(place).name
        pattern = ("*/" * depth + name for depth in range(DEPTH + 1))
        there = next((path for one in pattern for path in sorted(root.glob(one))), None)
        if there is not None:
            return f"Move {there} to {root / split.files[0]}, and the others alike."
    return f"Download the annotations and put them there; docs/training.md shows the whole layout of {layout.name}."
