"""People of a truth and people found, made keypoint by keypoint for tests of what went wrong."""

import numpy as np

from coco_files import POSE
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses
from litepose.skeleton import COCO17

AREA = 2000.0  # px^2; a wrist is good up to 3 px and near up to 6 px from its place
APART = 300.0  # px between two people of a picture


def place(person=0, *, by=(0, 0)):
    """The true keypoints of one of a picture's people, (17, 2), or those keypoints elsewhere."""
    return POSE + np.array([APART * person + by[0], by[1]])


def true_people(count=1, *, id=1, visible=2, areas=None, crowd=None, chosen=None):
    """A picture with standing people side by side; visible: one mark, or (count, 17)."""
    marks = np.broadcast_to(np.asarray(visible), (count, 17))
    points = np.array([place(n) for n in range(count)]).reshape(count, 17, 2)
    keypoints = np.concatenate([points, marks[..., None]], axis=-1) * (marks > 0)[..., None]
    boxes = np.array([[30 + APART * n, 5, 40, 95] for n in range(count)], dtype=float).reshape(count, 4)
    return PictureTruth(
        id,
        keypoints.astype(np.float64),
        boxes,
        np.full(count, AREA) if areas is None else np.asarray(areas, dtype=float),
        np.zeros(count, bool) if crowd is None else np.asarray(crowd, bool),
        chosen if chosen is None else np.asarray(chosen, bool),
    )


def truth(*pictures):
    return Truth(COCO17, pictures)


def found(*people, scores=None):
    """The people found in a picture, each (17, 2); scores fall from 0.9 on where none are given."""
    count = len(people)
    scores = 0.9 - 0.01 * np.arange(count) if scores is None else scores
    return Poses(COCO17, np.array(people).reshape(count, 17, 2), np.ones((count, 17)), np.asarray(scores))


def moved(points, keypoint, to=None, by=None):
    """The same person with one keypoint elsewhere."""
    changed = np.array(points, dtype=float)
    k = COCO17.index(keypoint)
    changed[k] = to if to is not None else changed[k] + by
    return changed


def at_similarity(points, likeness, area=AREA):
    """The same person with every keypoint farther down, where its similarity is `likeness`."""
    scale = 2 * np.array(COCO17.oks_sigmas) * np.sqrt(area)
    away = scale * np.sqrt(-2 * np.log(likeness))
    return points + np.stack([np.zeros(17), away], axis=-1)


def random_pictures(rng, *, count=12):
    """Pictures with crowds, people who do not count, unlabelled keypoints; people found well, badly, twice, nowhere."""
    pictures, by_id = [], {}
    for number in range(count):
        people = int(rng.integers(0, 5))
        picture = true_people(
            people,
            id=number,
            visible=rng.choice([0, 1, 2], (people, 17), p=[0.3, 0.2, 0.5]) * (rng.random((people, 1)) > 0.15),
            crowd=rng.random(people) < 0.1,
            chosen=rng.random(people) > 0.1,
        )
        pictures.append(picture)
        some = []
        for n in range(people):
            for _ in range(int(rng.integers(0, 3))):
                some.append(place(n) + rng.normal(0, rng.choice([0.5, 3, 8, 40]), (17, 2)))
        by_id[number] = found(*some, scores=rng.integers(1, 6, len(some)) / 4)
    return truth(*pictures), by_id
