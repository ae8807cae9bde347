"""A table of keypoints, one row each: CSV for spreadsheets and data frames (`Poses.to_dataframe` has its columns)."""

from __future__ import annotations

import csv
import io

from litepose.writers.base import Head, OneFile, PictureResult, ids

COLUMNS = ("file", "frame", "time_s", "person", "track_id", "person_score", "keypoint", "x", "y", "score")
UNITS = (
    "picture pixels, the middle of the first pixel is (0, 0); seconds; frame from 0 on; person: row in its picture, "
    "best first; a keypoint that was not found has no row"
)


def _start(head: Head) -> str:
    return ",".join(COLUMNS) + "\n"


def _rows(result: PictureResult, image_id: int) -> list[str]:
    poses, text = result.poses, io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    when = ("" if result.frame is None else result.frame, "" if result.time_s is None else f"{result.time_s:.6f}")
    for n, track_id in enumerate(ids(poses)):
        who = (n, "" if track_id is None else track_id, f"{poses.scores[n]:.4f}")
        for k in poses.found[n].nonzero()[0].tolist():
            x, y = poses.keypoints[n, k]
            score = poses.keypoint_scores[n, k]
            name = poses.skeleton.keypoints[k]
            table.writerow((result.name, *when, *who, name, f"{x:.3f}", f"{y:.3f}", f"{score:.4f}"))
    return [text.getvalue()]


CSV = OneFile(start=_start, entries=_rows, between="", end="", units=UNITS)
