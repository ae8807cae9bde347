"""Make a data set with keypoints of its own, to train on without a recipe: python own_keypoints.py FOLDER [PICTURES]

The people are drawn; hands and feet are where wrists and ankles are. docs/training.md says what to do with it.
"""

import sys
from pathlib import Path

from litepose import images
from litepose.datasets.synthetic import SyntheticPeople
from litepose.files import write_json
from litepose.skeleton import MPII16

if len(sys.argv) < 2:
    print("usage: python own_keypoints.py FOLDER [PICTURES]", file=sys.stderr)
    sys.exit(2)
folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300

NAMES = {
    "head_top": "head_top", "neck": "neck", "left_shoulder": "shoulder_l", "right_shoulder": "shoulder_r",
    "left_wrist": "hand_l", "right_wrist": "hand_r", "left_hip": "hip_l", "right_hip": "hip_r",
    "left_ankle": "foot_l", "right_ankle": "foot_r",
}  # fmt: skip
LIMBS = [[1, 2], [2, 3], [2, 4], [3, 5], [4, 6], [3, 7], [4, 8], [7, 8], [7, 9], [8, 10]]

scenes = SyntheticPeople((256, 256), (1, 3), skeleton=MPII16, seed=5)
kept = [MPII16.index(name) for name in NAMES]
pictures, people = [], []
for i in range(count):
    scene, name = scenes[i], f"{i:04}.jpg"
    images.write(folder / "images" / name, scene.image)
    pictures.append({"id": i, "file_name": name, "width": 256, "height": 256})
    for person in range(len(scene)):
        points = scene.keypoints[person, kept].ravel().tolist()
        people.append({"id": len(people), "image_id": i, "category_id": 1, "iscrowd": 0, "keypoints": points})
category = {"id": 1, "name": "dancer", "keypoints": list(NAMES.values()), "skeleton": LIMBS}
write_json(folder / "dancers.json", {"images": pictures, "annotations": people, "categories": [category]})
print(f"{len(people)} people drawn into {count} pictures: {folder / 'dancers.json'}")
