"""Do people keep their ids? Our tracker against one that remembers the last frame's boxes.

    python benchmarks/tracking.py [--seeds 5]

Walkers without pixels (litepose.datasets.synthetic.walking): people who cross, who walk behind pillars, who enter and
leave, the crossing at 8 frames a second, runners, and the crossing seen by a network that finds people twice. Prints
for each scene, summed over the seeds: true people, those missed, false ones, id switches, MOTA, IDF1, ids given for the
people there are, and the tracker's CPU time a frame.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Sequence

import numpy as np

from litepose.datasets.synthetic.walking import WALKS, Walk, walk_frames
from litepose.metrics.tracks import TrackStats, track_stats
from litepose.poses import Poses
from litepose.tracking import Tracker
from litepose.tracking_last_frame import LastFrameTracker, box_overlap, similar_keypoints

Update = Callable[[Poses, float], Poses]


def tracker() -> Update:
    return Tracker().update


def last_frame_iou() -> Update:
    last = LastFrameTracker(box_overlap, 0.3)
    return lambda poses, time_s: last.update(poses)


def last_frame_keypoints() -> Update:
    last = LastFrameTracker(similar_keypoints, 3)
    return lambda poses, time_s: last.update(poses)


TRACKERS = {"litepose": tracker, "last-frame IoU": last_frame_iou, "last-frame keypoints": last_frame_keypoints}


def measured(walk: Walk, make: Callable[[], Update], seeds: int) -> tuple[TrackStats, float]:
    """Return the sums over the seeds (IDF1: the mean) and the CPU milliseconds of a frame."""
    rows, spent, frames = [], 0.0, 0
    for seed in range(seeds):
        scene, update = walk_frames(walk, seed=seed), make()
        start = time.process_time()
        found = [update(frame.found, frame.time_s) for frame in scene]
        spent += time.process_time() - start
        frames += len(scene)
        rows.append(track_stats([frame.truth for frame in scene], found))
    sums = {field: sum(getattr(row, field) for row in rows) for field in ("true", "missed", "false", "switches", "ids")}
    return TrackStats(**sums, idf1=float(np.mean([row.idf1 for row in rows]))), 1000 * spent / frames


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args(arguments)
    print(f"{'scene':12s}{'tracker':22s}  true missed false switches   MOTA   IDF1  ids (people)  ms")
    for walk in WALKS:
        for name, make in TRACKERS.items():
            stats, ms = measured(walk, make, asked.seeds)
            row = dataclasses.asdict(stats)
            print(
                f"{walk.name:12s}{name:22s}{row['true']:6d}{row['missed']:7d}{row['false']:6d}{row['switches']:9d}"
                f"{stats.mota:7.3f}{stats.idf1:7.3f}{stats.ids:6d} ({len(walk.walkers) * asked.seeds}){ms:7.2f}"
            )


if __name__ == "__main__":
    main()
