"""Crops of one person: lit pixels stay under their keypoints, draws stay in their ranges, bad boxes are named."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from litepose.crops import CropDraw, RandomCrop, crop_person, half_body, upper_body
from litepose.errors import AnnotationError, SettingError
from litepose.geometry import Warp
from litepose.poses import Sample
from litepose.skeleton import COCO17, Skeleton

LEFT, RIGHT = COCO17.index("left_wrist"), COCO17.index("right_wrist")
SIZE = (96, 128)
STILL = {"scale_factor": 0.0, "rotation_deg": 0.0, "mirror": 0.0}


def standing(lit=(90, 50), size=(160, 120)):
    """A person whose left wrist is one bright pixel; every keypoint but an ear is labelled."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    image[lit[1], lit[0]] = 255
    rng = np.random.default_rng(0)
    keypoints = np.concatenate([rng.uniform((50, 40), (100, 90), (17, 2)), np.full((17, 1), 2)], axis=1)
    keypoints[LEFT, :2] = lit
    keypoints[4] = 0
    boxes = np.array([[50, 40, 100, 90]], np.float32)
    return Sample(COCO17, image, keypoints[None].astype(np.float32), boxes, np.array([1000.0], np.float32), id=7)


def middle_of_light(image):
    light = image[..., 0].astype(float)
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return np.array([(x * light).sum(), (y * light).sum()]) / light.sum()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lit=st.tuples(st.integers(60, 95), st.integers(45, 85)),
    udp=st.booleans(),
    mirror=st.sampled_from([0.0, 1.0]),
    half=st.sampled_from([0.0, 1.0]),
)
def test_a_lit_pixel_stays_under_its_keypoint(seed, lit, udp, mirror, half):
    crop = RandomCrop(SIZE, rotation_probability=1, mirror=mirror, half_body_probability=half,
                      center_jitter_probability=0.5, udp=udp)  # fmt: skip
    found = crop(standing(lit), np.random.default_rng(seed))
    place = found.keypoints[0, RIGHT if mirror else LEFT, :2]
    assume((place > 5).all() and (place < np.array(SIZE) - 6).all())
    # OpenCV places samples to 1/32 px of the source, which the zoom (up to about 3) enlarges.
    np.testing.assert_allclose(middle_of_light(found.image), place, atol=0.15)


def test_all_keypoints_move_with_the_warp_and_the_sides_swap():
    sample = standing()
    warp = CropDraw((75, 65), (0.5, 0.5 / 0.75), 20, mirrored=True).warp(sample.size, SIZE)
    found = crop_person(sample, 0, warp)
    order = COCO17.mirror_indices
    wanted = warp.points(sample.keypoints[0, :, :2])[order]
    labelled = sample.visible[0, order]
    np.testing.assert_allclose(found.keypoints[0, labelled, :2], wanted[labelled], atol=1e-4)
    np.testing.assert_array_equal(found.visible[0], labelled)
    np.testing.assert_array_equal(found.keypoints[0, ~labelled], [[0, 0, 0]])


def test_a_keypoint_outside_the_crop_stays_labelled():
    sample = standing()
    found = crop_person(sample, 0, Warp.box(np.array([50, 40, 60, 50]), SIZE))
    outside = (found.keypoints[0, :, 0] > SIZE[0]) & (found.keypoints[0, :, 2] > 0)
    assert outside.any() and found.visible.sum() == 16


def test_what_belongs_to_one_person_is_carried_over_and_the_rest_dropped():
    one = standing()
    weights, labelled = np.ones((2, 17), np.float32), np.ones(17, bool)
    weights[1, LEFT], labelled[LEFT] = 0, False
    sample = replace(
        one,
        keypoints=np.concatenate([one.keypoints * 0, one.keypoints]),
        boxes=np.array([[0, 0, 9, 9], [50, 40, 100, 90]], np.float32),
        areas=np.array([5, 1000], np.float32),
        keypoint_weights=weights,
        labelled=labelled,
        ignore=np.ones((120, 160), bool),
        person_masks=(np.ones((120, 160), bool),) * 2,
    )
    warp = Warp.mirror(sample.size).then(Warp.resize(sample.size, (320, 240)))
    found = crop_person(sample, 1, warp)
    assert len(found) == 1 and found.id == 7 and found.ignore is None and found.person_masks is None
    assert found.keypoint_weights.shape == (1, 17) and found.keypoint_weights[0, RIGHT] == 0
    assert found.keypoint_weights.sum() == 16
    assert not found.labelled[RIGHT] and found.labelled.sum() == 16
    np.testing.assert_allclose(found.areas, [4000])
    np.testing.assert_allclose(found.boxes, [[2 * (159 - 100) + 0.5, 80.5, 2 * (159 - 50) + 0.5, 180.5]])
    assert (sample.keypoints[1] == one.keypoints[0]).all(), "the sample itself is left alone"


def test_without_changes_the_crop_is_that_of_the_box():
    sample = standing()
    for udp in (False, True):
        draw = RandomCrop(SIZE, **STILL, udp=udp).draw(sample, np.random.default_rng(0))
        wanted = Warp.box(sample.boxes[0], SIZE, udp=udp)
        np.testing.assert_allclose(draw.warp(sample.size, SIZE, udp=udp).matrix, wanted.matrix, rtol=1e-6)


def test_a_padded_box_lies_in_the_middle_of_the_crop():
    box = np.array([20, 30, 50, 110])
    for padding in (1.0, 1.25):
        x1, y1, x2, y2 = Warp.box(box, SIZE, padding=padding).points(box.reshape(2, 2).astype(float)).ravel()
        np.testing.assert_allclose([x1 + x2, y1 + y2], SIZE, atol=1e-4)
        np.testing.assert_allclose(y2 - y1, SIZE[1] / padding, rtol=1e-6)
    corners = Warp.box(box, SIZE, udp=True, padding=1.0).points(box.reshape(2, 2).astype(float))
    np.testing.assert_allclose(corners[:, 1], [0, SIZE[1] - 1], atol=1e-4)  # outer pixel centres


def test_draws_stay_in_their_ranges_and_come_as_often_as_asked():
    sample = standing()
    crop = RandomCrop(SIZE, half_body_probability=0.0, center_jitter_probability=0.3)
    rng = np.random.default_rng(1)
    draws = [crop.draw(sample, rng) for _ in range(2000)]
    zoom = np.array([draw.scale[1] for draw in draws]) / (50 / 0.75 * 1.25 / 200)
    rotation = np.array([draw.rotation_deg for draw in draws])
    moved = np.array([draw.center for draw in draws]) - (75, 65)
    assert zoom.min() == pytest.approx(0.75) and zoom.max() == pytest.approx(1.25)
    assert 10 <= np.abs(rotation[rotation != 0]).mean() <= 30 and np.abs(rotation).max() == 60
    # Shares of 2000 draws, to four standard deviations.
    assert np.mean(rotation != 0) == pytest.approx(0.6, abs=0.045)
    assert np.mean([draw.mirrored for draw in draws]) == pytest.approx(0.5, abs=0.045)
    assert np.mean(moved[:, 0] != 0) == pytest.approx(0.3, abs=0.041)
    assert 9.5 < np.abs(moved[:, 0]).max() <= 10 and 9.5 < np.abs(moved[:, 1]).max() <= 10, "a fifth of 50 x 50 px"


def test_half_bodies_come_as_often_as_asked_and_only_for_whole_people():
    sample = standing()
    crop = RandomCrop(SIZE, **STILL, half_body_probability=0.3)
    rng = np.random.default_rng(2)
    centers = np.array([crop.draw(sample, rng).center for _ in range(2000)])
    halves = [half_body(sample.keypoints[0], upper_body(COCO17), SIZE, wants_upper=up)[0] for up in (True, False)]
    shares = [np.mean(np.all(np.isclose(centers, half, atol=1e-3), axis=1)) for half in halves]
    assert shares[0] == pytest.approx(0.3 * 0.69, abs=0.037) and shares[1] == pytest.approx(0.3 * 0.31, abs=0.026)
    few = replace(sample, keypoints=sample.keypoints * (np.arange(17) >= 9)[None, :, None])  # eight are left
    assert {crop.draw(few, rng).center for _ in range(50)} == {(75.0, 65.0)}


def test_the_same_generator_gives_the_same_crop():
    once, again = (RandomCrop(SIZE)(standing(), np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(once.image, again.image)
    np.testing.assert_array_equal(once.keypoints, again.keypoints)


def test_a_half_of_keypoints_on_one_point_is_no_half():
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[:5] = (30, 30, 2)
    upper = upper_body(COCO17)
    assert half_body(keypoints, upper, SIZE, wants_upper=True) is None
    keypoints[4] = (34, 30, 2)
    center, scale = half_body(keypoints, upper, SIZE, wants_upper=False)  # no lower keypoints: the upper ones
    np.testing.assert_allclose(center, [30.8, 30])
    np.testing.assert_allclose(scale * 200, [6, 8])
    assert half_body(keypoints * 0, upper, SIZE, wants_upper=True) is None


def test_upper_bodies_of_custom_skeletons_go_by_name():
    names = ("nose", "left_hip", "left_big_toe", "left_hand_root", "pelvis", "tail")
    np.testing.assert_array_equal(upper_body(Skeleton("own", names, oks_sigmas=(0.1,) * 6)), [1, 0, 0, 1, 0, 1])


def test_a_skeleton_of_one_half_has_no_half_bodies():
    crop = RandomCrop(SIZE, **STILL, half_body_probability=1.0, half_body_min_keypoints=2)
    face = on_skeleton(Skeleton("face", ("nose", "mouth", "chin"), oks_sigmas=(0.1,) * 3))
    assert crop.draw(face, np.random.default_rng(0)).center == (75.0, 65.0)


# Bad input --------------------------------------------------------------------------------------


def on_skeleton(skeleton):
    keypoints = np.full((1, skeleton.num_keypoints, 3), 60, np.float32)
    return replace(standing(), skeleton=skeleton, keypoints=keypoints)


def test_a_mirror_without_pairs_for_the_sides_is_refused():
    sided = Skeleton("own", ("nose", "left_wrist", "right_wrist"), oks_sigmas=(0.1,) * 3)
    with pytest.raises(SettingError, match=r"'own', whose keypoints left_wrist, right_wrist .* mirror = 0"):
        RandomCrop(SIZE, mirror=0.01)(on_skeleton(sided), np.random.default_rng(0))
    with pytest.raises(SettingError, match="no mirror pair"):
        crop_person(on_skeleton(sided), 0, Warp.mirror((160, 120)))
    assert RandomCrop(SIZE, mirror=0)(on_skeleton(sided), np.random.default_rng(0)).visible.all()


def test_an_object_without_sides_may_be_mirrored():
    cup = Skeleton("cup", ("rim", "handle", "base"), oks_sigmas=(0.1,) * 3)
    found = crop_person(on_skeleton(cup), 0, Warp.mirror((160, 120)))
    np.testing.assert_array_equal(found.keypoints[0, :, 0], [99, 99, 99])


@pytest.mark.parametrize(
    "box",
    [(50, 40, 50, 90), (50, 40, 40, 90), (170, 10, 200, 60), (-30, 10, -1, 60), (10, 130, 40, 160), (np.nan, 1, 5, 9)],
)
def test_a_box_that_holds_nothing_of_the_picture_is_named(box):
    sample = replace(standing(), boxes=np.array([box], np.float32))
    with pytest.raises(AnnotationError, match=r"Picture 7 \(160x120\): the person's box .* holds nothing"):
        RandomCrop(SIZE)(sample, np.random.default_rng(0))


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 9, 6, 5), (np.nan, 0, 1, 1), (0, 0, np.inf, 1)])
def test_a_crop_of_a_box_without_area_is_refused(box):
    with pytest.raises(SettingError, match="A crop was asked of the box"):
        Warp.box(np.array(box), SIZE)


@pytest.mark.parametrize("count", [0, 2])
def test_a_sample_must_have_one_person(count):
    one = standing()
    sample = replace(one, keypoints=np.repeat(one.keypoints, count, 0), boxes=np.repeat(one.boxes, count, 0))
    with pytest.raises(SettingError, match=f"picture 7 with {count} people"):
        RandomCrop(SIZE)(sample, np.random.default_rng(0))


@pytest.mark.parametrize(
    "fields",
    [{"mirror": 1.5}, {"rotation_probability": -0.1}, {"half_body_probability": 2}, {"scale_factor": 1.0},
     {"padding": 0.0}, {"rotation_deg": -3.0}, {"center_jitter": -0.1}, {"size": (0, 10)}],
)  # fmt: skip
def test_impossible_crops_are_refused(fields):
    with pytest.raises(SettingError, match="random crop"):
        RandomCrop(**{"size": SIZE} | fields)
