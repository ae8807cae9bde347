"""The training warp against LitePose: recorded draws, each output size by its own matrix."""

import numpy as np
import pytest

from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14
from litepose.transforms import WarpDraw, warp_sample
from parity.fixtures import load_case

CASES = ["transform-coco-long", "transform-crowdpose-short", "transform-crowdpose-noflip"]
GREY_LEVELS = 2  # OpenCV 4 and 5 round bilinear warps differently
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def opened(case):
    description, a = load_case("ae-targets", case)
    skeleton = COCO17 if "coco" in case else CROWDPOSE14
    people = a["people"].astype(np.float32)
    boxes, areas = np.zeros((len(people), 4), np.float32), np.ones(len(people), np.float32)
    draws = description["draws"]
    draw = WarpDraw(tuple(draws["centre"]), draws["scale"], draws["rotation_deg"], draws["flipped"])
    return description, a, Sample(skeleton, a["image"], people, boxes, areas, ignore=~a["mask"]), draw


@pytest.mark.parametrize("case", CASES)
def test_matrices_of_input_and_outputs_equal_litepose(case):
    description, a, _, draw = opened(case)
    plain = WarpDraw(draw.center, draw.scale, draw.rotation_deg, mirrored=False)
    np.testing.assert_allclose(plain.warp((64, 64)).matrix, a["matrix_input"], atol=1e-12)
    for k, size in enumerate(description["output_sizes"]):
        np.testing.assert_allclose(plain.warp((size, size)).matrix, a[f"matrix_out_{k}"], atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_warped_picture_equals_litepose(case):
    _, a, sample, draw = opened(case)
    wanted = (a["out_image"].transpose(1, 2, 0) * STD + MEAN) * 255
    found = warp_sample(sample, draw.warp((64, 64))).image
    assert np.abs(found - wanted).max() <= GREY_LEVELS + 1e-3  # the fixture is normalised float32


@pytest.mark.parametrize("case", CASES)
def test_masks_and_people_of_every_output_equal_litepose(case):
    description, a, sample, draw = opened(case)
    for k, size in enumerate(description["output_sizes"]):
        found = warp_sample(sample, draw.warp((size, size)))
        people = a[f"out_people_{k}"]
        np.testing.assert_array_equal(~found.ignore, a[f"out_mask_{k}"] > 0)
        # float32 coordinates of up to 130 px
        np.testing.assert_allclose(found.keypoints[found.visible], people[found.visible], atol=1e-5)
        inside = ((people[..., :2] >= -0.5) & (people[..., :2] < size - 0.5)).all(axis=-1) & (people[..., 2] > 0)
        np.testing.assert_array_equal(found.visible, inside)
