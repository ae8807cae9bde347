"""Random crops against HRNet's data pipeline (LPN's copy of it) with recorded draws, half bodies against mmpose too."""

import numpy as np
import pytest

from litepose.crops import CropDraw, RandomCrop, crop_person, half_body, upper_body
from litepose.datasets.people import select_centred
from litepose.geometry import Warp
from litepose.poses import Sample
from litepose.skeleton import COCO17, MPII16
from parity.fixtures import load_case
from parity.test_geometry import close_pictures

SIZE = (48, 64)
CASES = ["val", "plain", "rotflip", "clip", "halfbody"]
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Recorded:
    """A generator that gives the draws of the reference, and fails where one more is asked for."""

    def __init__(self, uniform, normal):
        self.uniform_draws, self.normal_draws = list(uniform), list(normal)

    def random(self):
        return self.uniform_draws.pop(0)

    def standard_normal(self):
        return self.normal_draws.pop(0)


def sample_of(a):
    keypoints = a["joints"].copy()
    keypoints[..., 2] = a["joints_vis"][..., 0]
    half = np.array([0.8, 0.8 / 0.75]) * 200 / 1.25 / 2
    center = np.array([165, 120])
    box = np.concatenate([center - half, center + half])
    return Sample(COCO17, a["image_bgr"], keypoints[None].astype(np.float32), box[None].astype(np.float32), np.ones(1))


def cropped(case):
    about, a = load_case("topdown-lpn-targets", "sample")
    draws = about["draws"][case]
    crop = RandomCrop(SIZE, scale_factor=0.3, rotation_deg=40, half_body_probability=draws["prob_half_body"])
    sample = sample_of(a)
    if not draws["train"]:
        return a, sample, CropDraw((165, 120), (0.8, 0.8 / 0.75))
    rng = Recorded(draws["np.random.rand"] + draws["random.random"], draws["np.random.randn"])
    draw = crop.draw(sample, rng)
    assert not rng.uniform_draws and not rng.normal_draws, "every draw of the reference is used"
    return a, sample, draw


@pytest.mark.parametrize("case", CASES)
def test_recorded_draws_mean_the_reference_centre_scale_and_rotation(case):
    a, sample, draw = cropped(case)
    center = np.array(draw.center)
    if draw.mirrored:
        center[0] = sample.size[0] - 1 - center[0]  # the reference keeps that of the mirrored picture
    np.testing.assert_allclose(center, a[f"{case}_center"], atol=2e-5)  # float32
    np.testing.assert_allclose(draw.scale, a[f"{case}_scale"], rtol=2e-6)
    np.testing.assert_allclose(draw.rotation_deg, a[f"{case}_rotation"], rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_one_warp_gives_the_reference_picture_and_keypoints(case):
    a, sample, draw = cropped(case)
    found = crop_person(sample, 0, draw.warp(sample.size, SIZE))
    wanted = (a[f"{case}_input"].transpose(1, 2, 0) * STD + MEAN) * 255
    assert close_pictures(found.image, np.round(wanted))
    visible = a[f"{case}_vis"][:, 0] > 0
    np.testing.assert_array_equal(found.visible[0], visible)
    np.testing.assert_allclose(found.keypoints[0, visible, :2], a[f"{case}_joints"][visible, :2], atol=1e-4)


def test_the_upright_crop_of_the_box_is_the_validation_crop():
    a, sample, draw = cropped("val")
    warp = Warp.box(sample.boxes[0], SIZE)
    np.testing.assert_allclose(warp.matrix, draw.warp(sample.size, SIZE).matrix, atol=1e-5)  # float32 box
    assert close_pictures(warp.image(sample.image), np.round((a["val_input"].transpose(1, 2, 0) * STD + MEAN) * 255))


def test_half_bodies_equal_hrnet():
    about, a = load_case("topdown-lpn-targets", "half-body")
    upper = upper_body(COCO17)
    np.testing.assert_array_equal(np.flatnonzero(upper), about["upper_ids"])
    for i, draw in enumerate(a["draw"]):
        keypoints = np.concatenate([a["joints"][i, :, :2], a["joints_vis"][i, :, :1]], axis=-1).astype(np.float32)
        center, scale = half_body(keypoints, upper, (192, 256), wants_upper=draw < 0.5)
        np.testing.assert_allclose(center, a["center"][i], rtol=2e-6)  # float32
        np.testing.assert_allclose(scale, a["scale"][i], rtol=2e-6)


@pytest.mark.parametrize("half", ["upper", "lower"])
def test_half_bodies_equal_mmpose(half):
    _, a = load_case("half-body", "coco17")
    keypoints = np.concatenate([a["joints"][:, :2], a["visible"][:, :1]], axis=-1)
    center, scale = half_body(keypoints, upper_body(COCO17), (192, 256), wants_upper=half == "upper")
    np.testing.assert_allclose(center, a[f"{half}_center"], rtol=2e-6)  # float32
    np.testing.assert_allclose(scale, a[f"{half}_scale"], rtol=2e-6)


def test_mpii_upper_bodies_are_those_of_hrnet():
    np.testing.assert_array_equal(np.flatnonzero(upper_body(MPII16)), np.arange(7, 16))


def test_mirrored_keypoints_equal_hrnet():
    _, a = load_case("topdown-lpn-targets", "fliplr-joints-coco")
    keypoints = np.concatenate([a["joints"][:, :2], a["joints_vis"][:, :1]], axis=-1)[None].astype(np.float32)
    sample = Sample(COCO17, np.zeros((240, 320, 3), np.uint8), keypoints, np.ones((1, 4), np.float32), np.ones(1))
    found = crop_person(sample, 0, Warp.mirror(sample.size))
    np.testing.assert_allclose(found.keypoints[0, :, :2], a["flipped"][:, :2], atol=1e-4)  # float32
    np.testing.assert_array_equal(found.keypoints[0, :, 2], a["flipped_vis"][:, 0])


def test_the_same_people_are_selected_as_in_hrnet():
    _, a = load_case("topdown-lpn-targets", "select-data")
    keypoints = np.concatenate([a["joints"][..., :2], a["vis"][..., :1]], axis=-1)
    count = len(keypoints)
    chosen = select_centred(keypoints, np.full((count, 2), 200.0), np.tile([1, 1.333], (count, 1)))
    np.testing.assert_array_equal(np.flatnonzero(chosen), a["selected"])
