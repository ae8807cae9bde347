"""Split an annotation file by pictures, so that training and validation share none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litepose.datasets import read_annotations
from litepose.datasets.coco_checks import require
from litepose.errors import SettingError
from litepose.files import write_json


def split(
    annotations: str | Path, *, share: float, seed: int = 0, folder: str | Path | None = None
) -> list[tuple[Path, int]]:
    """Write NAME_train.json and NAME_val.json, the second with about `share` of the pictures, at least one.

    folder: default beside the file, where both keep their pictures. Returns (path, number of pictures) of each.
    Raises SettingError where one of them would be empty.
    """
    path = Path(annotations)
    data = read_annotations(path)
    records = require(data, "images", list, str(path))
    require(data, "annotations", list, str(path))
    # One picture may be listed under two ids; its file must not end up on both sides.
    files = sorted({str(record["file_name"]) for record in records})
    chosen = round(share * len(files))
    if not 0 < chosen < len(files):
        raise SettingError(
            f"A share of {share} of {len(files)} pictures is {chosen}, which leaves one side empty. "
            "Choose a share between."
        )
    order = np.random.default_rng(seed).permutation(len(files))
    held_out = {files[i] for i in order[:chosen]}
    written = []
    for name, wanted in (("train", set(files) - held_out), ("val", held_out)):
        part = part_of(data, wanted)
        target = Path(folder or path.parent) / f"{path.stem}_{name}.json"
        write_json(target, part)
        written.append((target, len(part["images"])))
    return written


def part_of(data: Mapping[str, Any], files: Collection[str]) -> dict[str, Any]:
    """Return an annotation file's content with the pictures of these names, and their annotations, alone."""
    kept = [record for record in data["images"] if str(record["file_name"]) in files]
    ids = {record["id"] for record in kept}
    return {**data, "images": kept, "annotations": [one for one in data["annotations"] if one.get("image_id") in ids]}
