"""Warps and photometric changes: one lit pixel stays under its keypoint, draws stay in their ranges."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from litepose.errors import SettingError
from litepose.geometry import Warp
from litepose.poses import Sample
from litepose.skeleton import COCO17
from litepose.transforms import Photometric, RandomWarp, WarpDraw, chain, warp_sample

LEFT, RIGHT = COCO17.index("left_wrist"), COCO17.index("right_wrist")


def one_person(size=(160, 120), lit=True):
    """A person whose left wrist is a bright spot."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    keypoints = np.zeros((1, 17, 3), np.float32)
    keypoints[0, LEFT], keypoints[0, RIGHT] = (90, 50, 2), (60, 70, 1)
    if lit:
        cv2.circle(image, (90, 50), 2, (255, 255, 255), -1)
    box = np.array([[50, 40, 100, 90]], np.float32)
    return Sample(COCO17, image, keypoints, box, np.array([1000.0], np.float32))


def brightest(image):
    y, x = np.nonzero(image[..., 0] > 0.8 * image.max())
    return np.array([x.mean(), y.mean()])


@pytest.mark.parametrize("seed", range(12))
def test_a_lit_pixel_stays_under_its_keypoint(seed):
    sample = one_person()
    warped = RandomWarp((128, 128), translate_px=10, zoom=(0.6, 0.9))(sample, np.random.default_rng(seed))
    draw = RandomWarp((128, 128), translate_px=10, zoom=(0.6, 0.9)).draw(sample, np.random.default_rng(seed))
    here = RIGHT if draw.mirrored else LEFT
    if warped.keypoints[0, here, 2] == 0:
        pytest.skip("the wrist left the input in this draw")
    # A 5 px spot, bilinear: its centre of mass is known to a third of a pixel.
    np.testing.assert_allclose(brightest(warped.image), warped.keypoints[0, here, :2], atol=0.35)


def test_a_mirror_swaps_the_sides_and_what_is_known_of_them():
    weights = np.ones((1, 17), np.float32)
    weights[0, LEFT] = 0
    labelled = np.ones(17, bool)
    labelled[LEFT] = False
    sample = replace(one_person(), keypoint_weights=weights, labelled=labelled)
    mirrored = warp_sample(sample, Warp.mirror(sample.size))
    np.testing.assert_array_equal(mirrored.keypoints[0, RIGHT], [159 - 90, 50, 2])
    np.testing.assert_array_equal(mirrored.keypoints[0, LEFT], [159 - 60, 70, 1])
    assert mirrored.keypoint_weights[0, RIGHT] == 0 and mirrored.keypoint_weights[0, LEFT] == 1
    assert not mirrored.labelled[RIGHT] and mirrored.labelled[LEFT]
    np.testing.assert_array_equal(mirrored.image, sample.image[:, ::-1])
    assert mirrored.ignore is None, "nothing came from outside"


def test_keypoints_that_leave_the_input_are_not_labelled():
    shift = Warp(np.array([[1, 0, -75], [0, 1, 0]]), (160, 120))
    moved = warp_sample(one_person(), shift)
    assert moved.keypoints[0, LEFT].tolist() == [15, 50, 2] and moved.keypoints[0, RIGHT].tolist() == [0, 0, 0]


def test_what_lies_outside_the_picture_is_ignored():
    moved = warp_sample(one_person(), Warp(np.array([[1, 0, 40], [0, 1, 0]]), (160, 120)))
    assert moved.ignore[:, :40].all() and not moved.ignore[:, 41:].any()


def test_ignored_regions_and_person_masks_move_along():
    region = np.zeros((120, 160), bool)
    region[20:60, 30:70] = True
    sample = replace(one_person(), ignore=region, person_masks=(region,))
    moved = warp_sample(sample, Warp(np.array([[2, 0, -20], [0, 2, -10]]), (160, 120)), person_masks=True)
    assert moved.ignore[35, 45] and not moved.ignore[25, 30] and abs(moved.ignore.mean() - 80 * 80 / 19200) < 0.02
    # A border pixel that is exactly half covered may be learned from, and is the person's.
    border = moved.person_masks[0] & ~moved.ignore
    assert not (moved.ignore & ~moved.person_masks[0]).any() and border.sum() <= 4 * 80
    assert warp_sample(sample, Warp.identity(sample.size)).person_masks is None


def test_boxes_and_areas_follow_the_zoom():
    moved = warp_sample(one_person(), Warp(np.array([[0.5, 0, 0], [0, 0.5, 0]]), (80, 60)))
    np.testing.assert_allclose(moved.boxes, [[25, 20, 50, 45]])
    np.testing.assert_allclose(moved.areas, [250])


def test_draws_stay_in_their_ranges_and_repeat_with_the_generator():
    sample, warp = one_person(lit=False), RandomWarp((128, 128))
    draws = [warp.draw(sample, np.random.default_rng(seed)) for seed in range(300)]
    again = [warp.draw(sample, np.random.default_rng(seed)) for seed in range(300)]
    assert draws == again
    scales = np.array([draw.scale for draw in draws]) / (120 / 200)  # the short side fills the input
    assert 0.75 <= scales.min() < 0.8 and 1.42 < scales.max() <= 1.5
    assert 27 < max(abs(draw.rotation_deg) for draw in draws) <= 30
    shifts = np.array([draw.center for draw in draws]) - (80, 60)
    assert (np.abs(shifts) <= 40 * 1.5 * 0.6).all() and (shifts == np.rint(shifts)).all() and np.abs(shifts).max() > 25
    assert 0.4 < np.mean([draw.mirrored for draw in draws]) < 0.6


@pytest.mark.parametrize(("fit", "scale"), [("short", 120 / 200), ("long", 160 / 200)])
def test_fit_chooses_the_side_that_fills_the_input(fit, scale):
    draw = RandomWarp((128, 128), fit=fit, zoom=(1, 1)).draw(one_person(), np.random.default_rng(0))
    assert draw.scale == pytest.approx(scale)


def test_an_input_that_is_not_square_is_covered_or_shows_all():
    sample = one_person(lit=False)
    still = {"zoom": (1, 1), "rotation_deg": 0, "translate_px": 0, "mirror": 0}
    covered = RandomWarp((256, 128), **still)(sample, np.random.default_rng(0))
    whole = RandomWarp((256, 128), fit="long", **still)(sample, np.random.default_rng(0))
    assert covered.ignore is None or covered.ignore.mean() < 0.01
    assert whole.ignore.mean() == pytest.approx(1 - (128 / 120 * 160) / 256, abs=0.01)


def test_people_can_be_brought_to_a_wanted_size():
    warp = RandomWarp((128, 128), person_probability=1, person_share=(0.5, 0.8), rotation_deg=0, max_zoom=10)
    for seed in range(40):
        warped = warp(one_person(), np.random.default_rng(seed))
        draw = warp.draw(one_person(), np.random.default_rng(seed))
        share = 50 * 128 / (draw.scale * 200) / 128
        assert 0.5 <= share <= 0.8
        assert warped.visible.sum() == 2, "the person stays in the input"


def test_small_people_are_not_blown_up_beyond_the_limit():
    sample = replace(one_person(), boxes=np.array([[80, 50, 84, 54]], np.float32))
    warp = RandomWarp((128, 128), person_probability=1, max_zoom=3)
    scales = [warp.draw(sample, np.random.default_rng(seed)).warp((128, 128)).zoom for seed in range(20)]
    assert max(scales) <= 3 + 1e-9


def test_one_draw_means_the_same_map_for_every_output_size():
    draw = WarpDraw((70.0, 55.0), 0.6, 20.0, mirrored=False)
    point = np.array([90.0, 50.0])
    large, small = draw.warp((128, 128)).points(point), draw.warp((32, 32)).points(point)
    np.testing.assert_allclose(small, large / 4)


@pytest.mark.parametrize("settings", [{"fit": "wide"}, {"zoom": (1.5, 0.5)}, {"person_share": (0, 1)}])
def test_impossible_warps_are_refused(settings):
    with pytest.raises(SettingError):
        RandomWarp((64, 64), **settings)


# Photometric ------------------------------------------------------------------------------------

STILL = {"brightness": 0, "contrast": 0, "gamma": 0, "saturation": 0, "hue_deg": 0,
         "grey": 0, "blur": 0, "noise": 0, "jpeg": 0, "cutout": 0}  # fmt: skip


def coloured():
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_NEAREST)
    return replace(one_person(), image=image)


def test_without_changes_the_picture_stays():
    sample = coloured()
    changed = Photometric(**STILL)(sample, np.random.default_rng(0))
    assert np.abs(changed.image.astype(int) - sample.image).max() <= 1  # one rounding


@pytest.mark.parametrize(
    "change",
    [{"brightness": 0.3}, {"contrast": 0.5}, {"gamma": 0.5}, {"saturation": 0.9}, {"hue_deg": 40.0}, {"grey": 1.0},
     {"blur": 1.0}, {"noise": 1.0}, {"jpeg": 1.0}, {"cutout": 1.0}],
)  # fmt: skip
def test_each_change_changes_the_picture_and_repeats_with_the_generator(change):
    sample = coloured()
    once, again = (Photometric(**STILL | change)(sample, np.random.default_rng(8)) for _ in range(2))
    assert np.abs(once.image.astype(int) - sample.image).max() > 3
    np.testing.assert_array_equal(once.image, again.image)
    assert once.image.dtype == np.uint8 and once.image.shape == sample.image.shape
    np.testing.assert_array_equal(once.keypoints[..., :2], sample.keypoints[..., :2])
    np.testing.assert_array_equal(once.visible, sample.visible)


def test_grey_has_one_value_for_all_channels():
    image = Photometric(**STILL | {"grey": 1.0})(coloured(), np.random.default_rng(0)).image.astype(int)
    assert np.ptp(image, axis=-1).max() <= 1


def test_hue_turns_keep_grey_grey():
    sample = replace(coloured(), image=np.full((20, 20, 3), 130, np.uint8))
    image = Photometric(**STILL | {"hue_deg": 90.0, "saturation": 0.9})(sample, np.random.default_rng(1)).image
    assert np.abs(image.astype(int) - 130).max() <= 1


def test_a_blot_hides_the_keypoint_beneath_it():
    sample = replace(coloured(), image=np.full((20, 20, 3), 130, np.uint8))
    x, y = np.meshgrid(np.arange(20), np.arange(20))
    keypoints = np.stack([x, y, np.full_like(x, 2)], axis=-1).reshape(1, 400, 3)[:, :391].reshape(23, 17, 3)
    sample = replace(sample, keypoints=keypoints.astype(np.float32))
    blotted = Photometric(**STILL | {"cutout": 1.0})(sample, np.random.default_rng(2))
    painted = (blotted.image != 130).any(axis=-1)
    points = blotted.keypoints.reshape(-1, 3)
    under = painted[points[:, 1].astype(int), points[:, 0].astype(int)]
    assert under.any()
    np.testing.assert_array_equal(points[:, 2], np.where(under, 1, 2))


def test_a_chain_applies_all_in_order():
    both = chain([RandomWarp((64, 64)), Photometric()])
    sample = both(coloured(), np.random.default_rng(0))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(sample.image, Photometric()(RandomWarp((64, 64))(coloured(), rng), rng).image)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("mirrored", [False, True])
def test_picture_and_ignored_area_are_those_of_a_warp_each(ignored, mirrored):
    rng = np.random.default_rng(3)
    ignore = np.zeros((120, 160), dtype=bool)
    ignore[30:60, 20:90] = True
    sample = replace(
        one_person(),
        image=rng.integers(0, 256, (120, 160, 3), dtype=np.uint8),
        ignore=ignore if ignored else None,
    )
    warp = WarpDraw((83.0, 51.5), 0.9, 24.0, mirrored).warp((96, 96))
    moved = warp_sample(sample, warp)
    usable = np.where(ignore, 0, 255).astype(np.uint8) if ignored else np.full((120, 160), 255, np.uint8)
    np.testing.assert_array_equal(moved.image, warp.image(sample.image))
    np.testing.assert_array_equal(moved.ignore, warp.image(usable) <= 127)
