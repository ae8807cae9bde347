"""Boxes and warps against HRNet, mmpose (UDP) and LitePose's test-time resize."""

import numpy as np
import pytest

from litepose.geometry import (
    Warp,
    clean_coco_boxes,
    mpii_center_scale,
    xywh_to_center_scale,
)
from litepose.skeleton import COCO17
from parity.fixtures import load_case

SIZES = [(192, 256), (288, 384), (256, 256)]
GREY_LEVELS = 2  # OpenCV 4 and 5 round bilinear warps differently


def close_pictures(found: np.ndarray, wanted: np.ndarray) -> bool:
    return int(np.abs(found.astype(int) - wanted.astype(int)).max()) <= GREY_LEVELS


@pytest.mark.parametrize("size", SIZES)
def test_box_to_crop_matrix_equals_mmpose(size):
    _, a = load_case("affine", "boxes")
    tag = f"{size[0]}x{size[1]}"
    center, scale = xywh_to_center_scale(a["boxes"], size)
    np.testing.assert_array_equal(center, a[f"center_{tag}"])
    np.testing.assert_allclose(scale, a[f"scale_{tag}"], rtol=2e-7)  # float32, one rounding
    for i, rotation in enumerate(a["rot"]):
        warp = Warp.hrnet(center[i], scale[i], rotation, size)
        np.testing.assert_allclose(warp.matrix, a[f"trans_{tag}"][i], rtol=1e-4, atol=2e-3)  # float32 solve there
        np.testing.assert_allclose(warp.inverse.matrix, a[f"inv_{tag}"][i], rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose(warp.points(a["boxes"][i, :2]), a[f"corner_{tag}"][i], rtol=1e-4, atol=2e-3)
        udp = Warp.udp(center[i], scale[i], rotation, size)
        np.testing.assert_allclose(udp.matrix, a[f"udp_{tag}"][i], rtol=1e-4, atol=2e-3)


def test_warped_picture_equals_mmpose():
    _, a = load_case("affine", "boxes")
    plain = Warp.hrnet(a["warp_center"], a["warp_scale"], 20, (48, 64))
    unbiased = Warp.udp(a["warp_center"], a["warp_scale"], 20, (48, 64))
    assert close_pictures(plain.image(a["img"]), a["warped"])
    assert close_pictures(unbiased.image(a["img"]), a["warped_udp"])


def test_training_matrices_equal_litepose():
    _, a = load_case("affine", "matrices")
    for row in a["table"]:
        warp = Warp.hrnet(row[:2], row[2], row[3], (row[4], row[4]))
        np.testing.assert_allclose(warp.matrix.ravel(), row[5:11], atol=1e-9, rtol=1e-12)
        np.testing.assert_allclose(warp.matrix.ravel(), row[11:], atol=1e-3, rtol=1e-4)


def test_test_time_sizes_and_matrices_equal_litepose():
    _, a = load_case("affine", "resize-align")
    for row in a["table"]:
        warp = Warp.higherhrnet((int(row[0]), int(row[1])), int(row[2]), scale=row[3], min_scale=row[4])
        assert warp.size == (int(row[5]), int(row[6]))
        np.testing.assert_allclose(warp.matrix.ravel(), row[11:17], atol=2e-2, rtol=1e-4)
        np.testing.assert_allclose(warp.inverse.matrix.ravel(), row[17:], atol=2e-2, rtol=1e-4)


@pytest.mark.parametrize(("way", "image"), [("land", "image"), ("port", "image_t")])
def test_picture_to_input_and_back_equals_litepose(way, image):
    _, a = load_case("affine", "image-and-back")
    height, width = a[image].shape[:2]
    warp = Warp.higherhrnet((width, height), 128)
    assert close_pictures(warp.image(a[image]), a[f"{way}_resized"])
    back = warp.inverse.points(a[f"{way}_points"][..., :2])
    np.testing.assert_allclose(back, a[f"{way}_preds"][..., :2], atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_coco_boxes_to_center_and_scale_equal_hrnet(size):
    _, a = load_case("topdown-center-scale", "coco-xywh2cs")
    center, scale = xywh_to_center_scale(a["boxes_xywh"], size)
    np.testing.assert_array_equal(center, a[f"center_{size[0]}x{size[1]}"])
    np.testing.assert_allclose(scale, a[f"scale_{size[0]}x{size[1]}"], rtol=2e-7)


def test_coco_boxes_are_cleaned_as_hrnet_does():
    about, a = load_case("topdown-center-scale", "coco-box-sanitise")
    boxes, kept = clean_coco_boxes(a["raw_xywh"], np.ones(len(a["raw_xywh"])), tuple(about["image_wh"]))
    np.testing.assert_array_equal(kept, a["kept"])
    np.testing.assert_allclose(boxes[kept], a["clean_xywh"][kept])


def test_mpii_centres_and_scales_equal_hrnet():
    _, a = load_case("topdown-center-scale", "mpii-center-scale")
    center, scale = mpii_center_scale(a["ann_center"], a["ann_scale"])
    np.testing.assert_allclose(center, a["center"])
    np.testing.assert_allclose(scale, a["scale"])


def test_hrnet_matrices_equal_the_reference():
    _, a = load_case("topdown-affine", "get-affine-transform")
    for i in range(len(a["center"])):
        warp = Warp.hrnet(a["center"][i], a["scale"][i], a["rot_deg"][i], a["output_wh"][i])
        np.testing.assert_allclose(warp.matrix, a["matrix"][i], rtol=1e-4, atol=5e-3)
        np.testing.assert_allclose(warp.inverse.matrix, a["matrix_inv"][i], rtol=1e-4, atol=5e-3)
        np.testing.assert_allclose(warp.points(a["points"][i]), a["points_transformed"][i], rtol=1e-4, atol=1e-2)


def test_hrnet_crops_equal_the_reference():
    _, a = load_case("topdown-affine", "warp")
    crops = {
        "a": ((80, 60), (0.6, 0.8), 0),
        "b": ((70, 50), (0.45, 0.6), 30),
        "c": ((10, 110), (0.9, 1.2), -45),
    }
    for name, (center, scale, rotation) in crops.items():
        crop = Warp.hrnet(np.array(center), np.array(scale), rotation, (48, 64)).image(a["image"])
        assert close_pictures(crop, a[f"crop_{name}"]), name


def test_a_mirrored_person_has_its_keypoints_where_mmpose_puts_them():
    _, a = load_case("flip", "coco17")
    turned = Warp.mirror((192, 256)).points(a["joints"][:, :2])[COCO17.mirror_indices]
    visible = a["visible"][COCO17.mirror_indices]
    np.testing.assert_array_equal(visible, a["visible_flipped"])
    seen = visible[:, 0] > 0  # the others are at (0, 0) there
    np.testing.assert_allclose(turned[seen], a["joints_flipped"][seen, :2], rtol=1e-6)
