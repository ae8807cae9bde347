"""Find the people in one picture, print them, save a drawing: python predict_picture.py PHOTO [MODEL]"""

import sys

import litepose
from litepose import drawing, images

if len(sys.argv) < 2:
    print("usage: python predict_picture.py PHOTO [MODEL]", file=sys.stderr)
    sys.exit(2)
photo = sys.argv[1]
model = sys.argv[2] if len(sys.argv) > 2 else "litepose_xs"

predict = litepose.load(model)
image = images.read(photo)
people = predict(image)  # best first, in picture pixels

for number, person in enumerate(people):
    print(f"person {number}: score {person.scores[0]:.2f}")
    for name, (x, y), score in zip(
        people.skeleton.keypoints, person.keypoints[0], person.keypoint_scores[0], strict=True
    ):
        if score > 0:  # 0 = not found
            print(f"  {name:15} {x:7.1f} {y:7.1f}   {score:.2f}")

images.write("people.png", drawing.draw(image, people, boxes=True, scores=True))
print("drawn into people.png")
