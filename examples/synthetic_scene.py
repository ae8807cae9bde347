"""Draw a scene of people and, beside it, the truth that comes with it: python examples/synthetic_scene.py [FOLDER]"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from litepose.datasets.synthetic import SyntheticPeople
from litepose.drawing import draw
from litepose.poses import Poses

SEED, SCENE = 1, 6


def main(folder: Path) -> None:
    """Write scene.jpg and scene-truth.jpg into `folder`."""
    scenes = SyntheticPeople(size=(640, 448), people=(3, 4), seed=SEED)
    sample = scenes[SCENE]
    seen = sample.keypoints[..., 2]  # 2 = seen, 1 = hidden: drawn fainter
    truth = Poses(sample.skeleton, sample.keypoints[..., :2], seen / 2, seen.max(axis=1))
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "scene.jpg"), sample.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(folder / "scene-truth.jpg"), draw(sample.image, truth), [cv2.IMWRITE_JPEG_QUALITY, 92])
    print(f"{len(sample)} people drawn: {folder / 'scene.jpg'}; where they are: {folder / 'scene-truth.jpg'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/synthetic"))
