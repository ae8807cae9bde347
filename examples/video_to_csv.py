"""Write every keypoint of a video into a table: python video_to_csv.py VIDEO [MODEL]

keypoints.csv has a row for each keypoint found: frame, time, person, keypoint, x, y, score.
"""

import sys

import litepose
from litepose.video import open_video, predict_video
from litepose.writers import ResultFiles

if len(sys.argv) < 2:
    print("usage: python video_to_csv.py VIDEO [MODEL]", file=sys.stderr)
    sys.exit(2)
source = open_video(sys.argv[1])
predict = litepose.load(sys.argv[2] if len(sys.argv) > 2 else "litepose_xs")

table = ResultFiles(
    "keypoints.csv", format="csv", model=predict.spec.model, skeleton=predict.skeleton, video=source.name
)
frames = 0
for result in predict_video(predict, source, min_score=0.2, results=table):
    frames += 1
    print(f"{result.frame.time_s:7.2f} s: {len(result.poses)} people", end="\r")
print(f"{frames} frames are in keypoints.csv        ")
