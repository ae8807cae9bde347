"""People onto pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from litepose import drawing
from litepose.drawing import COLOURS, draw, draw_heatmap, side_of, visible_keypoints
from litepose.geometry import Warp
from litepose.poses import Poses
from litepose.skeleton import COCO17, CROWDPOSE14, MPII16, OPENPOSE18, Skeleton

ARM = Skeleton(
    "arm",
    ("left_shoulder", "left_elbow", "left_wrist"),
    limbs=(("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    oks_sigmas=(0.1, 0.1, 0.1),
)


def arm(keypoints, scores=(1.0, 1.0, 1.0), score: float = 1.0) -> Poses:
    return Poses(ARM, np.array([keypoints], float), np.array([scores]), np.array([score]))


def grey(size=(200, 100), level=128) -> np.ndarray:
    return np.full((size[1], size[0], 3), level, np.uint8)


def changed(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    return (image != drawn).any(axis=-1)


def test_a_limb_has_its_sides_colour_and_a_dark_rim():
    image = grey()
    drawn = draw(image, arm([[20, 50], [100, 50], [180, 50]]))
    np.testing.assert_array_equal(drawn[50, 60], COLOURS["left"])
    column = drawn[30:70, 60].astype(int).sum(axis=-1)
    assert column.min() < 200  # the rim: the picture has 384, the limb 480
    assert not changed(image, drawn)[:30].any()


def test_the_picture_given_stays_as_it_is():
    image = grey()
    before = image.copy()
    draw(image, arm([[20, 50], [100, 50], [180, 50]]))
    np.testing.assert_array_equal(image, before)


def test_a_limb_needs_both_its_ends():
    image = grey()
    drawn = draw(image, arm([[20, 50], [100, 50], [180, 50]], scores=(1, 1, 0.05)))
    assert changed(image, drawn)[50, 60] and not changed(image, drawn)[:, 110:].any()


def test_nobody_drawn_changes_nothing():
    image = grey()
    for poses in (Poses.empty(ARM), arm([[20, 50], [100, 50], [180, 50]], scores=(0, 0, 0))):
        np.testing.assert_array_equal(draw(image, poses), image)


def test_a_surer_limb_is_more_opaque():
    image = grey(level=0)
    levels = [
        int(draw(image, arm([[20, 50], [100, 50], [180, 50]], scores=(s, s, s)))[50, 60, 2]) for s in (0.25, 0.35, 0.6)
    ]
    assert levels == sorted(levels) and levels[0] >= 100 and levels[2] == COLOURS["left"][2]


def test_widths_grow_with_the_person_up_to_a_limit():
    image = grey((2000, 2000))

    def width(extent: float) -> int:
        drawn = draw(image, arm([[50, 1000], [50 + extent / 2, 1000], [50 + extent, 1000]]))
        return int(changed(image, drawn)[:, round(50 + extent / 4)].sum())

    widths = [width(extent) for extent in (20, 200, 800, 1500, 1900)]
    assert widths[0] < widths[1] < widths[2] < widths[3] <= widths[4] <= 0.016 * 2000 * (1 + 2 * 0.35) + 4


def test_the_best_person_is_on_top():
    skeleton = Skeleton(
        "cross", ("left_hip", "left_knee", "right_hip", "right_knee"),
        limbs=(("left_hip", "left_knee"), ("right_hip", "right_knee")), oks_sigmas=(0.1,) * 4,
    )  # fmt: skip
    keypoints = np.array([[[20, 50], [180, 50], [0, 0], [0, 0]], [[0, 0], [0, 0], [100, 5], [100, 95]]], float)
    found = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], float)
    for scores, colour in (((1, 2), "right"), ((2, 1), "left")):
        drawn = draw(grey(), Poses(skeleton, keypoints, found, np.array(scores)))
        np.testing.assert_array_equal(drawn[50, 100], COLOURS[colour])


@pytest.mark.parametrize(
    "place", [(-500, -500), (1e6, 1e6), (199, 99), (-3, 50), (np.nan, 5), (np.inf, -np.inf), (-1e30, 0)]
)
def test_keypoints_anywhere_are_no_trouble(place):
    drawn = draw(grey(), arm([[20, 50], [100, 50], place]), boxes=True, scores=True)
    assert drawn.shape == (100, 200, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 3)])
def test_tiny_pictures_are_no_trouble(size):
    keypoints = [[0, 0], [size[0] - 1, size[1] - 1], [size[0] / 2, 0]]
    assert draw(grey(size), arm(keypoints), boxes=True, scores=True).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14, MPII16, OPENPOSE18])
def test_every_limb_of_every_skeleton_is_drawn(skeleton):
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(20, 380, (1, skeleton.num_keypoints, 2))
    ones = np.ones((1, skeleton.num_keypoints))
    image = grey((400, 400))
    mask = changed(image, draw(image, Poses(skeleton, keypoints, ones, np.ones(1))))
    for a, b in skeleton.limb_indices:
        x, y = np.round(keypoints[0, [a, b]].mean(axis=0)).astype(int)
        assert mask[y, x]


def test_sides_follow_the_names():
    assert side_of("left_knee") == side_of("left_hip", "left_knee") == side_of("neck", "left_shoulder") == "left"
    assert side_of("right_eye", "nose") == "right"
    assert side_of("left_hip", "right_hip") == side_of("neck", "nose") == "centre"


def test_visible_keypoints_are_found_sure_and_finite():
    poses = arm([[1, 1], [2, 2], [np.nan, 3]], scores=(0.3, 0.05, 0.9))
    assert visible_keypoints(poses, 0).tolist() == [True, False, False]
    assert visible_keypoints(poses, 0, 0.0).tolist() == [True, True, False]


def test_boxes_and_scores_appear_where_they_are_asked_for():
    image = grey()
    poses = arm([[60, 30], [100, 50], [140, 80]], score=0.53)
    plain, boxed, scored = (
        changed(image, draw(image, poses, **more)).sum() for more in ({}, {"boxes": True}, {"scores": True})
    )
    assert boxed > plain + 200 and scored > plain + 50


def test_heat_lies_where_the_warp_says():
    image = grey((400, 300), level=90)
    warp = Warp.letterbox((400, 300), (256, 256))
    heatmap = np.zeros((64, 64), np.float32)
    x, y = warp.points(np.array([100.0, 200.0])) / 4
    cv2.circle(heatmap, (round(float(x)), round(float(y))), 2, 1.0, -1)
    difference = np.abs(draw_heatmap(image, heatmap, warp).astype(int) - image).sum(axis=-1)
    rows, columns = np.nonzero(difference > difference.max() / 2)
    assert abs(columns.mean() - 100) < 4 and abs(rows.mean() - 200) < 4  # half a cell: 400 / 256 * 4 / 2
    assert difference[:150].max() == 0


def test_drawing_stays_within_the_persons_rectangle():
    image = grey((400, 400))
    mask = changed(image, draw(image, arm([[100, 100], [150, 120], [200, 100]])))
    rows, columns = np.nonzero(mask)
    margin = 3 * drawing.MAX_WIDTH_SHARE * 400
    assert columns.min() > 100 - margin and columns.max() < 200 + margin
    assert rows.min() > 100 - margin and rows.max() < 120 + margin
