"""What `HeatmapCodec` does beyond the numbers of its references."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from litepose.codecs import Found, HeatmapCodec, Pass
from litepose.codecs.heatmap_peaks import PeakReader, highest_cells, soft_argmax
from litepose.codecs.maps import blur_matrix
from litepose.errors import SettingError
from litepose.poses import Poses, Sample
from litepose.skeleton import COCO17

SIZE = (192, 256)
MAP = (48, 64)
# Encoding, refinement -> how far decoded keypoints may lie from those encoded, input px: mean over both axes, farthest.
# A nearest cell is up to 2 px off on an axis and 1 in the mean; a quarter cell is 1 px; the others find the place.
PAIRS = {
    ("gaussian", "none"): (1.2, 2.01),
    ("gaussian", "quarter"): (1.2, 2.01),
    ("gaussian", "dark"): (1.2, 2.01),
    ("gaussian", "soft_argmax"): (1.2, 2.01),
    ("dark", "quarter"): (0.6, 1.01),
    ("dark", "dark"): (0.01, 0.05),
    ("udp", "udp"): (0.02, 0.1),
    ("udp_combined", "udp_combined"): (0.01, 0.05),
    ("megvii", "megvii"): (1.2, 2.51),
}


def codec_for(encoding: str, refinement: str, **settings) -> HeatmapCodec:
    if refinement == "udp_combined":
        settings = {"kernel": 3, **settings}
    if encoding == "megvii":  # whole cells mirror onto each other
        settings = {"shift_mirrored": False, **settings}
    return HeatmapCodec(encoding=encoding, refinement=refinement, **settings)


def sample_of(keypoints: np.ndarray, **settings) -> Sample:
    """keypoints: (N, 17, 3)."""
    count = len(keypoints)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return Sample(COCO17, image, np.asarray(keypoints, np.float32), np.zeros((count, 4)), np.ones(count), **settings)


def person(seed: int = 0, margin: float = 30) -> np.ndarray:
    """One person with all keypoints in sight, `margin` px from the border: (1, 17, 3)."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(margin, np.array(SIZE) - margin, (1, 17, 2))
    return np.concatenate([xy, np.full((1, 17, 1), 2.0)], axis=-1)


def maps_of(codec: HeatmapCodec, keypoints: np.ndarray) -> np.ndarray:
    return codec.encode(sample_of(keypoints), SIZE).heatmaps


def decoded(codec: HeatmapCodec, *passes: Pass) -> Poses:
    return codec.decode(codec.aggregate(passes, SIZE, COCO17), COCO17)


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("pair", PAIRS)
def test_every_encoding_is_decoded_by_its_refinements(pair, mode):
    codec, (mean, farthest) = codec_for(*pair, mode=mode), PAIRS[pair]
    wanted = person()
    poses = decoded(codec, Pass((maps_of(codec, wanted),)))
    distance = np.abs(poses.keypoints - wanted[..., :2])
    assert distance.mean() < mean
    assert distance.max() < farthest
    assert poses.found.all()


@pytest.mark.parametrize("pair", PAIRS)
def test_a_mirrored_pass_lands_where_the_plain_one_does(pair):
    codec, (_, farthest) = codec_for(*pair), PAIRS[pair]
    wanted = person(1)
    turned = wanted[:, COCO17.mirror_indices] * (-1, 1, 1) + (SIZE[0] - 1, 0, 0)
    mirrored = decoded(codec, Pass((maps_of(codec, turned),), mirrored=True))
    distance = np.abs(mirrored.keypoints - wanted[..., :2])
    # HRNet's grid is moved by a whole cell where it should be moved by three quarters, 1 px; and a place between two
    # pixels may belong to another whole cell in the mirror.
    assert distance.max() < farthest + (not codec.udp)


def test_maps_of_another_scale_are_averaged_where_they_belong():
    for codec in (codec_for("dark", "dark"), codec_for("udp", "udp")):
        wanted = person(2)
        plain = maps_of(codec, wanted)
        grown = wanted.copy()
        # Warp.hrnet crops of twice the size put a point at twice the place, Warp.udp's keep first and last centres.
        grown[..., :2] *= (2 * np.array(SIZE) - 1) / (np.array(SIZE) - 1) if codec.udp else 2
        double = dataclasses.replace(codec, sigma=4.0).encode(sample_of(grown), (384, 512)).heatmaps
        both = decoded(codec, Pass((plain,)), Pass((double,), scale=2.0))
        np.testing.assert_allclose(both.keypoints, wanted[..., :2], atol=0.15)  # cv2 interpolates at 1/32 cell
        assert codec.aggregate([Pass((double,), scale=2.0)], SIZE, COCO17).shape == plain.shape


def test_fast_and_exact_dark_agree_on_noisy_maps():
    rng = np.random.default_rng(3)
    exact = codec_for("gaussian", "dark")
    maps = maps_of(exact, person(3)) * 0.7 + rng.normal(0, 0.02, (17, 64, 48)).astype(np.float32)
    fast = dataclasses.replace(exact, mode="fast")
    np.testing.assert_allclose(
        decoded(fast, Pass((maps,))).keypoints, decoded(exact, Pass((maps,))).keypoints, atol=1e-3
    )


def test_a_person_is_scored_by_the_keypoints_above_the_threshold():
    maps = np.zeros((17, 64, 48), np.float32)
    maps[:3, 30, 20] = (0.9, 0.5, 0.1)
    poses = decoded(HeatmapCodec(), Pass((maps,)))
    assert poses.scores.tolist() == pytest.approx([0.7])
    assert poses.found[0].tolist() == [True] * 3 + [False] * 14
    assert decoded(HeatmapCodec(score_threshold=0.95), Pass((maps,))).scores.tolist() == [0]


def test_a_keypoint_without_positive_heat_is_not_found():
    maps = np.full((17, 64, 48), -0.5, np.float32)
    maps[0, 30, 20] = 0.5
    for refinement in ("none", "quarter", "dark", "udp"):
        poses = decoded(HeatmapCodec(refinement=refinement), Pass((maps,)))
        assert poses.found[0].tolist() == [True] + [False] * 16
        np.testing.assert_array_equal(poses.keypoints[0, 1:], -4)
        assert np.isfinite(poses.keypoints).all()


def test_two_far_peaks_of_one_height_are_no_keypoint_to_soft_argmax():
    maps = np.zeros((1, 64, 48), np.float32)
    maps[0, 10, 10] = maps[0, 40, 30] = 0.5
    points, heats = soft_argmax(maps, beta=160, quarter=False)
    np.testing.assert_allclose(points, [[20, 25]], atol=1e-4)
    assert heats.tolist() == [0]


@pytest.mark.parametrize("encoding", ["gaussian", "dark", "udp", "megvii"])
def test_only_labelled_keypoints_that_reach_the_map_have_weight(encoding):
    codec = codec_for(encoding, "megvii" if encoding == "megvii" else "quarter")
    keypoints = person()
    keypoints[0, 0, 2] = 0  # not labelled
    keypoints[0, 1, :2] = (-100, 100)  # far outside
    keypoints[0, 2, :2] = np.nan
    keypoints[0, 3, :2] = (1e12, 1e12)
    weights = np.ones((1, 17), np.float32)
    weights[0, 4] = 0
    labelled = np.ones(17, bool)
    labelled[5] = False
    targets = codec.encode(sample_of(keypoints, keypoint_weights=weights, labelled=labelled), SIZE)
    assert targets.weights.tolist() == [0] * 6 + [1] * 11
    assert targets.heatmaps[:6].any() == np.False_
    assert (targets.heatmaps[6:].max(axis=(1, 2)) > 0.8).all()


def test_a_keypoint_just_outside_is_learned_from_what_is_inside():
    keypoints = person()
    keypoints[0, 0, :2] = (-8, 100)  # two cells outside, which rounding towards zero makes one
    targets = HeatmapCodec().encode(sample_of(keypoints), SIZE)
    assert targets.weights[0] == 1
    assert targets.heatmaps[0].max() == pytest.approx(np.exp(-1 / 8))


def test_only_the_first_person_is_encoded():
    both = np.concatenate([person(0), person(1)])
    np.testing.assert_array_equal(maps_of(HeatmapCodec(), both), maps_of(HeatmapCodec(), person(0)))


def test_a_sample_with_nobody_teaches_nothing():
    targets = HeatmapCodec().encode(sample_of(np.zeros((0, 17, 3))), SIZE)
    assert targets.heatmaps.shape == (17, 64, 48) and not targets.heatmaps.any()
    assert targets.weights.tolist() == [0] * 17


def test_keypoint_weights_multiply_the_weights_and_must_be_one_each():
    weights = tuple(0.5 + 0.1 * k for k in range(17))
    targets = HeatmapCodec(keypoint_weights=weights).encode(sample_of(person()), SIZE)
    np.testing.assert_allclose(targets.weights, weights, rtol=1e-6)
    with pytest.raises(SettingError, match="2 numbers; coco17 has 17"):
        HeatmapCodec(keypoint_weights=(1.0, 2.0)).encode(sample_of(person()), SIZE)


def found_at(shift: float, score: float, *, box_score: float = 1.0) -> Found:
    keypoints = person()[..., :2] + shift
    poses = Poses(COCO17, keypoints, np.full((1, 17), score), np.array([score]))
    return Found(poses, area=40_000.0, score=box_score)


def test_joined_people_are_scored_by_box_too_and_found_once():
    found = [found_at(0, 0.9, box_score=0.5), found_at(0.5, 0.8), found_at(500, 0.3, box_score=0.1)]
    joined = HeatmapCodec().join(found, COCO17)
    np.testing.assert_allclose(joined.scores, [0.8, 0.03], rtol=1e-6)  # the first is the second, and lower: 0.45
    np.testing.assert_allclose(joined.keypoints[0, 0], person()[0, 0, :2] + 0.5, rtol=1e-6)


def test_the_suppression_can_be_soft_or_left_out():
    found = [found_at(0, 0.9), found_at(0.5, 0.8), found_at(500, 0.3)]
    scores = {nms: HeatmapCodec(nms=nms, max_people=2).join(found, COCO17).scores for nms in ("soft", "none")}
    np.testing.assert_allclose(scores["soft"], [0.9, 0.3], rtol=1e-6)  # 0.8 counts as 0.26 once 0.9 is taken
    np.testing.assert_allclose(scores["none"], [0.9, 0.8, 0.3], rtol=1e-6)


def test_the_bias_is_taken_off_in_picture_pixels():
    joined = HeatmapCodec(bias_px=1.0).join([found_at(0, 0.9)], COCO17)
    np.testing.assert_allclose(joined.keypoints, person()[..., :2] - 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"encoding": "gausian"}, "Did you mean 'gaussian'"),
        ({"refinement": "quater"}, "Did you mean 'quarter'"),
        ({"nms": "sotf"}, "Did you mean 'soft'"),
        ({"encoding": "udp_combined"}, "Give both the same name"),
        ({"refinement": "megvii"}, "Give both the same name"),
        ({"kernel": 10}, "kernel 10.*odd"),
        ({"output_stride": 0}, "output_stride 0"),
        ({"max_people": 0}, "max_people 0"),
        ({"sigma": 0.0}, "sigma 0.0: it must be positive"),
        ({"nms_threshold": 0.0}, "nms_threshold 0.0"),
        ({"keypoint_weights": (1.0, -1.0)}, "0 or more"),
    ],
)
def test_impossible_settings_are_explained(settings, words):
    with pytest.raises(SettingError, match=words):
        HeatmapCodec(**settings)


def test_peaks_near_the_border_get_no_quarter_step():
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 3, 1], maps[0, 3, 2] = 1, 0.5  # column 1: HRNet steps from column 2 on
    maps[1, 3, 2], maps[1, 3, 3] = 1, 0.5
    points, _ = PeakReader("quarter")(maps)
    np.testing.assert_array_equal(points, [[1, 3], [2.25, 3]])


def test_the_first_of_equal_peaks_is_taken_row_by_row():
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 5, 2] = maps[0, 3, 6] = 1
    cells, heats = highest_cells(maps)
    assert cells.tolist() == [[6, 3]] and heats.tolist() == [1]


@pytest.mark.parametrize("kernel", [3, 5, 11])
def test_the_matrix_of_a_blur_is_the_blur(kernel):
    picture = np.random.default_rng(0).random((12, 9)).astype(np.float32)
    for border in (cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT):
        wanted = cv2.GaussianBlur(picture, (kernel, kernel), 0, borderType=border)
        found = blur_matrix(12, kernel, border) @ picture @ blur_matrix(9, kernel, border).T
        np.testing.assert_allclose(found, wanted, atol=1e-6)
