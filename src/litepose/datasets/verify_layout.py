"""Whether a download of a published data set is whole and lies where the recipes look for it.

Each of its annotation files is looked at as `verify` does, and beside that: whether file, pictures and extras are in
place, whether the counts are the official ones, and whether training and test share pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litepose.datasets import crowdpose, parsed
from litepose.datasets.layouts import Layout, Split, check_root, first_there, layout_of, place_of_pictures
from litepose.datasets.verify import Finding, VerifyReport, verify_content
from litepose.errors import AnnotationError

# What litepose does about traps of the official files.
REMARKS = {
    "width and height swapped": "harmless: the picture's own size counts",
    "size differs from the picture's": "harmless: the picture's own size counts",
    "num_keypoints differs": "harmless: counted anew (CrowdPose counts the first 12 only)",
    "person without keypoints": "harmless: evaluation counts it as neither right nor wrong",
    "no centre": "as in the reference, the box lies at the picture's corner",
}


@dataclass(frozen=True)
class SplitReport:
    """One annotation file of the data set. report: None where it was not looked at."""

    name: str
    file: str
    report: VerifyReport | None


@dataclass(frozen=True)
class LayoutReport:
    """What `verify_layout` saw: each file, and what concerns the whole."""

    layout: str
    root: str
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> bool:
        """Whether a recipe would miss or misread something, or the files are not the official ones."""
        of_splits = any(one.report.broken for one in self.splits if one.report is not None)
        return of_splits or any(one.broken for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        whole = VerifyReport(self.root, {}, self.findings).to_json()
        return {
            "layout": self.layout,
            "root": self.root,
            "broken": self.broken,
            "kinds": whole["kinds"],
            "findings": whole["findings"],
            "splits": {one.name: one.report.to_json() for one in self.splits if one.report is not None},
        }


def verify_layout(
    name: str, root: str | Path, *, deep: bool = False, on_split: Callable[[str], None] | None = None
) -> LayoutReport:
    """Look at a download of "coco", "crowdpose" or "mpii" under `root`.

    deep: decode every picture; else headers and the ends of JPEGs are read. on_split: called with each file's name
        before it is looked at.
    Raises SettingError for other names, AnnotationError where none of the needed files is there.
    """
    layout, root = layout_of(name), Path(root)
    check_root(layout, root)
    splits: list[SplitReport] = []
    findings: list[Finding] = []
    names: dict[str, set[str]] = {}
    for split in layout.splits:
        if on_split is not None:
            on_split(split.name)
        file = first_there(root, split.files)
        report = None
        if file is None:
            findings += _missing_file(split, root)
        else:
            findings += _other_place(split, file, root)
            report, names[split.name], more = _look(layout, split, file, root, deep=deep)
            findings += more
        splits.append(SplitReport(split.name, split.files[0] if file is None else str(file.relative_to(root)), report))
    findings += _shared(layout, names)
    for places, purpose in layout.extras:
        if first_there(root, places) is None:
            findings.append(Finding("optional file not there", False, f"{places[0]}: {purpose}"))
    return LayoutReport(name, str(root), tuple(splits), tuple(findings))


def _look(
    layout: Layout, split: Split, file: Path, root: Path, *, deep: bool
) -> tuple[VerifyReport | None, set[str], list[Finding]]:
    """Return a file's own report, the names of its pictures and what is wrong with it as a part of the whole."""
    try:
        content = parsed(file)
        names = set(_picture_names(content))
        pictures = first_there(root, split.pictures)
        if pictures is None:
            what = f"of {file.name}: {place_of_pictures(split, root)}"
            return None, names, [Finding("folder of pictures missing", True, what)]
        report = verify_content(content, file, pictures, deep=deep)
    except AnnotationError as error:
        return None, set(), [Finding("annotation file unusable", True, str(error))]
    findings = list(_count_findings(split, report))
    if layout.name == "crowdpose" and not crowdpose.looks_like(content):
        where = f"{file.name}: read as a COCO file; easy, medium and hard pictures cannot be told apart"
        findings.append(Finding("no crowdIndex", False, where))
    return report, names, findings


def _missing_file(split: Split, root: Path) -> Iterator[Finding]:
    if split.needed:
        yield Finding("annotation file missing", True, f"put it at {root / split.files[0]}")


def _other_place(split: Split, file: Path, root: Path) -> Iterator[Finding]:
    where, wanted = file.relative_to(root), split.files[0]
    if split.needed and file != root / wanted:
        change = "data.validation.source" if split.name == "val" else "data.train.0.source"
        advice = f"{where}, not {wanted}: rename it, or train with --set {change}={where}"
        yield Finding("not where the recipes look", False, advice)


def _count_findings(split: Split, report: VerifyReport) -> Iterator[Finding]:
    for what, official in split.counts.items():
        found = report.counts.get(what)
        if found is not None and found != official:
            where = f"{split.name}: {found:,} {what}, the official file has {official:,}"
            yield Finding("count differs from the official file's", True, where)


def _shared(layout: Layout, names: dict[str, set[str]]) -> Iterator[Finding]:
    for first, second in layout.apart:
        both = sorted(names.get(first, set()) & names.get(second, set()))
        if both:
            where = f"{len(both):,} of {first} are in {second} too, for instance {both[0]}"
            yield Finding("pictures in two splits", True, where)


def _picture_names(content: Any) -> Iterator[str]:
    """Yield the file names that a parsed file of any of the formats lists."""
    records = content.get("images") if isinstance(content, dict) else content
    for one in records if isinstance(records, list) else ():
        name = one.get("file_name", one.get("image")) if isinstance(one, dict) else None
        if isinstance(name, str):
            yield name
