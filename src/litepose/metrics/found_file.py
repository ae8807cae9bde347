"""A file that grows while people are being found, so that a killed evaluation goes on where it was.

One line of JSON a picture: what was found there, or why it could not be read. The file's name carries a fingerprint of
all that the result depends on, so a run with other settings never goes on from it. Numbers come back as they were, to
the last bit; a line that was cut off by a kill does not count.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from litepose.errors import SettingError
from litepose.files import check_writable
from litepose.metrics.truth import PictureTruth
from litepose.poses import Poses
from litepose.skeleton import Skeleton

SUFFIX = ".part"


@dataclass(frozen=True)
class Looked:
    """What became of one picture: the people found and, where the sample was needed, its truth; or the error."""

    id: int | str
    poses: Poses | None = None
    truth: PictureTruth | None = None
    error: str = ""


class FoundFile:
    """The pictures looked at so far. Several processes write a file each, and each reads those of all.

    beside: the output that the work is for; the files lie in its folder, with its name.
    settings: all that the result depends on, as plain values. rank: of this process.
    Raises SettingError where nothing can be written.
    """

    def __init__(self, beside: Path, settings: Mapping[str, Any], skeleton: Skeleton, *, rank: int = 0) -> None:
        text = json.dumps([settings, list(skeleton.keypoints)], sort_keys=True)
        self.stem = f"{beside.name}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.folder, self.skeleton, self.rank = beside.parent, skeleton, rank
        self._file: IO[bytes] | None = None

    def read(self) -> dict[int, Looked]:
        """Return what is known already, by the picture's index in the dataset."""
        known: dict[int, Looked] = {}
        for path in self._paths():
            for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last line break was cut off
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    record = json.loads(line)
                    known[int(record["index"])] = self._looked(record)
        return known

    def add(self, index: int, looked: Looked) -> None:
        """Write one more picture; it is safe from a kill of this process when the call returns."""
        if self._file is None:
            self._file = self._opened()
        self._file.write(json.dumps({"index": index, **_record(looked)}).encode() + b"\n")
        self._file.flush()

    def check(self) -> None:
        """Raise SettingError where nothing could be written."""
        check_writable(self._path)

    def close(self) -> None:
        """Close the file; what it holds stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove the files of all processes: the work is done, and its outputs are written."""
        self.close()
        for path in self._paths():
            path.unlink(missing_ok=True)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.stem}.{self.rank}{SUFFIX}"

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.stem}.*{SUFFIX}")) if self.folder.is_dir() else []

    def _opened(self) -> IO[bytes]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab")
        except OSError as error:
            raise SettingError(f"Cannot write {self._path}: {error.strerror}. Choose another place.") from error
        file.write(b"\n")  # ends a line that was cut off
        return file

    def _looked(self, record: Mapping[str, Any]) -> Looked:
        key = record["id"]
        if "error" in record:
            return Looked(key, error=record["error"])
        people = record["people"]
        count, num_keypoints = len(people["scores"]), self.skeleton.num_keypoints
        triples = np.array(people["keypoints"], dtype=np.float32).reshape(count, num_keypoints, 3)
        boxes = None if people["boxes"] is None else np.array(people["boxes"], dtype=np.float32).reshape(count, 4)
        poses = Poses(self.skeleton, triples[..., :2], triples[..., 2], np.array(people["scores"]), boxes)
        truth = record["truth"]
        return Looked(key, poses, None if truth is None else _truth(key, truth, num_keypoints))


def _record(looked: Looked) -> dict[str, Any]:
    if looked.poses is None:
        return {"id": looked.id, "error": looked.error}
    poses, truth = looked.poses, looked.truth
    triples = np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1)
    people = {
        "keypoints": triples.tolist(),
        "scores": poses.scores.tolist(),
        "boxes": None if poses.boxes is None else poses.boxes.tolist(),
    }
    return {"id": looked.id, "people": people, "truth": None if truth is None else _truth_record(truth)}


def _truth_record(truth: PictureTruth) -> dict[str, Any]:
    return {
        "keypoints": truth.keypoints.tolist(),
        "boxes_xywh": truth.boxes_xywh.tolist(),
        "areas": truth.areas.tolist(),
        "crowd": truth.crowd.tolist(),
    }


def _truth(key: int | str, record: Mapping[str, Any], num_keypoints: int) -> PictureTruth:
    count = len(record["areas"])
    return PictureTruth(
        key,
        np.array(record["keypoints"], dtype=np.float64).reshape(count, num_keypoints, 3),
        np.array(record["boxes_xywh"], dtype=np.float64).reshape(count, 4),
        np.array(record["areas"], dtype=np.float64),
        np.array(record["crowd"], dtype=bool),
    )


@contextlib.contextmanager
def closing(file: FoundFile | None) -> Iterator[None]:
    """Close `file` at the end, if there is one."""
    try:
        yield
    finally:
        if file is not None:
            file.close()
