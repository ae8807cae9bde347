"""Follow people through a video, smooth their ways afterwards, draw them: python tracking.py VIDEO [MODEL]

Afterwards nothing is late and short gaps are filled, which cannot be done while a video runs. Frames are read twice.
"""

import sys

import numpy as np

import litepose
from litepose.smoothing_offline import smooth_offline
from litepose.tracking import Tracker
from litepose.video import VideoWriter, open_video, predict_video
from litepose.video.run import Drawing, drawn

if len(sys.argv) < 2:
    print("usage: python tracking.py VIDEO [MODEL]", file=sys.stderr)
    sys.exit(2)
video = open_video(sys.argv[1])
predict = litepose.load(sys.argv[2] if len(sys.argv) > 2 else "litepose_xs")

results = [(one.poses, one.frame.time_s) for one in predict_video(predict, video, tracker=Tracker())]
people = smooth_offline([poses for poses, _ in results], [time_s for _, time_s in results])

with VideoWriter("tracked.webm", rate=video.rate) as writer:
    for frame, poses in zip(video.frames(), people, strict=True):
        writer.add(drawn(frame.image, poses, Drawing()), frame.time_s)

ids = np.concatenate([poses.track_ids for poses in people])
for track_id in np.unique(ids[ids > 0]).tolist():
    print(f"person {track_id}: in {np.count_nonzero(ids == track_id)} of {len(people)} frames")
