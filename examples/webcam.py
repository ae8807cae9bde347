"""Watch a camera, say who is there, keep a drawn video: python webcam.py SOURCE [MODEL]

SOURCE is a camera's number (0 is the first), an address (rtsp://...) or a video file. Ctrl-C ends it.
"""

import sys

import litepose
from litepose.smoothing import PoseSmoother
from litepose.tracking import Tracker
from litepose.video import VideoWriter, open_video, predict_video

if len(sys.argv) < 2:
    print("usage: python webcam.py SOURCE [MODEL]", file=sys.stderr)
    sys.exit(2)
source = open_video(sys.argv[1])
predict = litepose.load(sys.argv[2] if len(sys.argv) > 2 else "litepose_xs")
writer = VideoWriter("webcam.webm", rate=source.rate)

there: set[int] = set()
try:
    for result in predict_video(predict, source, tracker=Tracker(), smoother=PoseSmoother(), writer=writer):
        now = {track_id for track_id in result.poses.track_ids.tolist() if track_id > 0}
        for track_id in sorted(now - there):
            print(f"{result.frame.time_s:7.2f} s: person {track_id} came")
        for track_id in sorted(there - now):
            print(f"{result.frame.time_s:7.2f} s: person {track_id} left")
        there = now
except KeyboardInterrupt:
    print("stopped")
