"""What every result format is: texts of one file, or a file for each picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from litepose.poses import Poses
from litepose.skeleton import Skeleton

UNITS = "picture pixels, the middle of the first pixel is (0, 0); a keypoint is [x, y, score], score 0 = not found"


@dataclass(frozen=True)
class PictureResult:
    """The people of one picture or frame.

    name: how output files call it. size: (w, h). frame: number in its video, from 0 on; time_s: when; None = a picture.
    """

    name: str
    size: tuple[int, int]
    poses: Poses
    frame: int | None = None
    time_s: float | None = None


@dataclass(frozen=True)
class Head:
    """What a file says once. skeleton: None where no picture was read. video: its name, None for pictures."""

    model: str
    skeleton: Skeleton | None
    video: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the head as plain values."""
        head: dict[str, Any] = {"model": self.model}
        if self.video is not None:
            head["video"] = self.video
        if self.skeleton is not None:
            limbs = [list(limb) for limb in self.skeleton.limbs]
            head["skeleton"] = {"name": self.skeleton.name, "limbs": limbs}
            head["keypoints"] = list(self.skeleton.keypoints)
        return head


@dataclass(frozen=True)
class OneFile:
    """A format that is one file: `start`, the entries of each picture with `between` between them, `end`.

    entries: (result, image id) -> texts. explains_itself: the file has a head, or another one beside it.
    beside: the ending and the format of a second file.
    """

    start: Callable[[Head], str]
    entries: Callable[[PictureResult, int], list[str]]
    between: str
    end: str
    units: str = UNITS
    explains_itself: bool = False
    beside: tuple[str, OneFile] | None = None


@dataclass(frozen=True)
class FileEach:
    """A format that is a folder: each picture's file name and text, or None where it gets no file."""

    file: Callable[[PictureResult], tuple[str, str] | None]
    units: str = UNITS
    explains_itself: bool = False


def nothing(head: Head) -> str:
    """Return the start of a file without one."""
    return ""


def ids(poses: Poses) -> list[int | None]:
    """Return each person's track id, None where there is none (yet)."""
    if poses.track_ids is None:
        return [None] * len(poses)
    return [one if one >= 0 else None for one in poses.track_ids.tolist()]


def found_boxes(poses: Poses) -> np.ndarray:
    """Return the people's boxes, or those around their keypoints: (N, 4) xyxy."""
    return poses.keypoint_boxes if poses.boxes is None else poses.boxes


def rounded(values: np.ndarray, digits: int) -> list[float]:
    """Return numbers rounded, as plain floats."""
    return [round(float(value), digits) for value in values]


def line(value: Any) -> str:
    """Return plain values as one line of JSON."""
    return json.dumps(value) + "\n"
