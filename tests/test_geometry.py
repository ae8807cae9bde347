"""Where a pixel is: the named warps, mirrors, boxes."""

import numpy as np
import pytest

from litepose.errors import InputSizeError
from litepose.geometry import (
    Warp,
    boxes_of_keypoints,
    check_input_size,
    round_up,
    xywh_to_center_scale,
    xywh_to_xyxy,
    xyxy_to_xywh,
)

POINTS = np.random.default_rng(0).uniform(-50, 700, (20, 2))
WARPS = {
    "mirror": Warp.mirror((640, 480)),
    "resize": Warp.resize((640, 480), (256, 320)),
    "letterbox": Warp.letterbox((640, 480), (256, 256)),
    "hrnet": Warp.hrnet(np.array([300.0, 200.0]), 2.5, 30.0, (192, 256)),
    "udp": Warp.udp(np.array([300.0, 200.0]), np.array([1.5, 2.0]), 30.0, (192, 256)),
    "higherhrnet": Warp.higherhrnet((640, 480), 256),
}


@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS)
def test_a_warp_and_its_inverse_cancel(warp):
    np.testing.assert_allclose(warp.inverse.points(warp.points(POINTS)), POINTS, atol=1e-9)  # float64
    np.testing.assert_allclose(warp.then(warp.inverse).matrix, np.eye(2, 3), atol=1e-10)


@pytest.mark.parametrize("warp", WARPS.values(), ids=WARPS)
def test_a_bright_pixel_lands_where_its_point_lands(warp):
    image = np.zeros((480, 640), np.uint8)
    image[196:205, 296:305] = 255
    moved = warp.image(image)
    rows, columns = np.nonzero(moved > 127)
    np.testing.assert_allclose(
        [columns.mean(), rows.mean()], warp.points(np.array([300.0, 200.0])), atol=0.75
    )  # a 9-px spot, smaller in the target, is centred to a fraction of a pixel


def test_mirror_maps_x_to_width_minus_one_minus_x():
    assert Warp.mirror((10, 4)).points(np.array([[0.0, 2.0], [9.0, 2.0]])).tolist() == [[9, 2], [0, 2]]
    assert Warp.mirror((10, 4)).mirrors
    assert not Warp.identity((10, 4)).mirrors


def test_mirrored_picture_is_exactly_numpys_flip():
    image = np.random.default_rng(0).integers(0, 255, (7, 10, 3), dtype=np.uint8)
    np.testing.assert_array_equal(Warp.mirror((10, 7)).image(image), image[:, ::-1])


def test_resize_aligns_outer_edges_of_pixels():
    corners = np.array([[-0.5, -0.5], [639.5, 479.5]])
    np.testing.assert_allclose(Warp.resize((640, 480), (64, 96)).points(corners), [[-0.5, -0.5], [63.5, 95.5]])


def test_letterbox_keeps_proportions_and_centre():
    warp = Warp.letterbox((640, 480), (256, 256))
    np.testing.assert_allclose(warp.zoom, 0.4)
    np.testing.assert_allclose(warp.points(np.array([319.5, 239.5])), [127.5, 127.5])


@pytest.mark.parametrize(
    ("source", "wanted"),
    [((640, 480), (384, 256)), ((480, 640), (256, 384)), ((256, 256), (256, 256)), ((1920, 1080), (512, 256))],
)
def test_bottom_up_sizes_are_multiples_of_64_with_the_short_side_at_256(source, wanted):
    assert Warp.higherhrnet(source, 256).size == wanted


def test_points_keep_their_dtype_and_shape():
    moved = WARPS["resize"].points(np.zeros((2, 3, 2), np.float32))
    assert (moved.dtype, moved.shape) == (np.float32, (2, 3, 2))


def test_outside_of_the_picture_is_filled_with_the_border_value():
    image = np.full((10, 10, 3), 200, np.uint8)
    moved = Warp.letterbox((10, 10), (30, 10)).image(image, border=7)
    assert (moved[:, 0] == 7).all()
    assert (moved[:, 15] == 200).all()


def test_boxes_convert_there_and_back():
    boxes = np.array([[10.0, 20.0, 30.0, 60.0]])
    np.testing.assert_array_equal(xyxy_to_xywh(boxes), [[10, 20, 20, 40]])
    np.testing.assert_array_equal(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes)


def test_a_box_grows_to_the_aspect_of_the_input_and_by_a_quarter():
    center, scale = xywh_to_center_scale(np.array([100.0, 50.0, 100.0, 100.0]), (192, 256))
    np.testing.assert_allclose(center, [150, 100])
    np.testing.assert_allclose(scale * 200, [125, 125 * 256 / 192], rtol=1e-6)  # float32


def test_boxes_of_keypoints_ignore_what_was_not_found():
    keypoints = np.array([[[1, 2], [3, 9], [100, 100]], [[5, 5], [5, 5], [5, 5]]])
    found = np.array([[True, True, False], [False, False, False]])
    assert boxes_of_keypoints(keypoints, found).tolist() == [[1, 2, 3, 9], [0, 0, 0, 0]]
    assert boxes_of_keypoints(np.zeros((0, 3, 2)), np.zeros((0, 3))).shape == (0, 4)


def test_round_up_gives_the_next_multiple():
    assert [round_up(value, 64) for value in (1, 64, 65)] == [64, 64, 128]


@pytest.mark.parametrize("size", [(100, 128), (128, 100), (0, 64), (8, 64)])
def test_input_sizes_off_the_stride_are_refused_with_the_next_good_one(size):
    with pytest.raises(InputSizeError, match=rf"asked for an input of {size[0]}x{size[1]}; .* Use "):
        check_input_size(size, 16, name="litepose_xs")


def test_good_input_sizes_pass():
    check_input_size((256, 320), 16, name="litepose_xs")
