"""Reports of `litepose eval --json`, read back in order to be compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import AnnotationError, SettingError
from litepose.metrics.per_picture import PerPicture

SECTION = "per_picture"
RESULTS = ("unreadable", "pictures_with_more")  # among the settings, but of what came out


@dataclass(frozen=True)
class SavedReport:
    """One evaluation. settings: how it was done, by name."""

    path: str
    protocol: str
    settings: Mapping[str, Any]
    per_picture: PerPicture


def read_report(path: str | Path) -> SavedReport:
    """Read what `litepose eval --json` wrote. Raises SettingError."""
    data = _read_json(path)
    if not isinstance(data, Mapping) or "protocol" not in data or "stats" not in data:
        raise SettingError(
            f'{path} is no report of an evaluation: it has no "protocol" and "stats". Write one with '
            "`litepose eval --json FILE`."
        )
    if not isinstance(data.get(SECTION), Mapping):
        raise SettingError(
            f'{path} has no section "{SECTION}", from which reports are compared; an older litepose wrote it, or '
            "something else did. Evaluate again: litepose eval --json FILE."
        )
    try:
        per_picture = PerPicture.from_json(data[SECTION])
    except AnnotationError as error:
        raise SettingError(f"{path}: {error}") from error
    settings = data.get("settings")
    return SavedReport(str(path), str(data["protocol"]), settings if isinstance(settings, Mapping) else {}, per_picture)


def on_the_same_pictures(
    first: SavedReport, second: SavedReport, *, shared: bool = False
) -> tuple[PerPicture, PerPicture]:
    """Return what both measured, of the same pictures in the same order.

    shared: leave out pictures that only one has. Raises SettingError where the reports do not fit together.
    """
    if first.protocol != second.protocol:
        raise SettingError(
            f"{first.path} was scored by the protocol {first.protocol}, {second.path} by {second.protocol}. Their "
            "numbers mean different things: evaluate both by the same --protocol."
        )
    a, b = first.per_picture, second.per_picture
    known = set(b.ids)
    both = [key for key in a.ids if key in known]
    if not both:
        raise SettingError(
            f"{first.path} ({len(a)} pictures) and {second.path} ({len(b)} pictures) share no picture. Compare "
            "evaluations of the same data."
        )
    if not shared and not len(both) == len(a) == len(b):
        raise SettingError(
            f"{first.path} has {len(a)} pictures and {second.path} {len(b)}; they share {len(both)}. Evaluate both on "
            "the same pictures, or compare on the shared ones only: --shared."
        )
    a, b = a.only(both), b.only(both)
    _check_same_truth(first, second, a, b)
    return a, b


def different_settings(first: SavedReport, second: SavedReport) -> dict[str, tuple[Any, Any]]:
    """Return {setting: (value in the first, value in the second)} where they differ; None = it has none.

    Of settings within settings each is named ("versions.numpy"), or only what they belong to where that differs.
    """
    a, b = ({name: one for name, one in report.settings.items() if name not in RESULTS} for report in (first, second))
    return dict(_differing(a, b))


def _check_same_truth(first: SavedReport, second: SavedReport, a: PerPicture, b: PerPicture) -> None:
    """Raise SettingError where other people, or other keypoints of theirs, were looked for in a picture."""
    counts = {name: (sums.of, b.sums[name].of) for name, sums in a.sums.items() if name in b.sums}
    if a.outcomes is not None and b.outcomes is not None:
        counts["AP"] = a.outcomes.num_truth, b.outcomes.num_truth
    for measure, (one, other) in counts.items():
        rows = np.flatnonzero(one != other)
        if len(rows):
            raise SettingError(
                f"{first.path} and {second.path} were scored against different annotations: in {len(rows)} of {len(a)} "
                f"pictures {measure} is of other numbers (in the first, {a.ids[rows[0]]!r}, of {one[rows[0]]:g} and "
                f"{other[rows[0]]:g}). Evaluate both on one file, with models on one skeleton."
            )


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in {**a, **b}:
        one, other = a.get(name), b.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("name") == other.get("name"):
            yield from _differing(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}", (_name_of(one), _name_of(other))


def _name_of(value: Any) -> Any:
    return value["name"] if isinstance(value, Mapping) and "name" in value else value


def _read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise SettingError(f"Report {path} cannot be read: {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"Report {path} is no JSON: {error}. Write it with `litepose eval --json FILE`.") from error
