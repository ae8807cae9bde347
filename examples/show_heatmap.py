"""Show where a model sees one keypoint: python show_heatmap.py PHOTO KEYPOINT [MODEL]"""

import sys

import litepose
from litepose import drawing, images

if len(sys.argv) < 3:
    print("usage: python show_heatmap.py PHOTO KEYPOINT [MODEL]", file=sys.stderr)
    sys.exit(2)
photo, keypoint = sys.argv[1:3]
model = sys.argv[3] if len(sys.argv) > 3 else "litepose_xs"

predict = litepose.load(model)
image = images.read(photo)
heatmap = predict.maps(image).heatmaps[predict.skeleton.index(keypoint)]
height, width = image.shape[:2]

images.write("heatmap.png", drawing.draw_heatmap(image, heatmap, predict.frame((width, height))))
print(f"{keypoint}: strongest heat {heatmap.max():.2f}, drawn into heatmap.png")
