"""Top-down targets against mmpose 0.13 (as HRNet/Lite-HRNet@7b9049d uses it) and zhang943/lpn-pytorch@f397525."""

from __future__ import annotations

import numpy as np
import pytest

from litepose.codecs import HeatmapCodec
from litepose.poses import Sample
from litepose.skeleton import COCO17, MPII16, Skeleton
from parity.fixtures import load_case

ATOL = 3e-7  # float32 of values up to 1; exp() of another library
CODECS = {
    "msra_s2_256x192": HeatmapCodec(),
    "msra_s2_mpii_256x256": HeatmapCodec(),
    "msra_s3_384x288": HeatmapCodec(sigma=3),
    "dark_unbiased_s2_256x192": HeatmapCodec(encoding="dark"),
    "udp_gaussian_s2_256x192": HeatmapCodec(encoding="udp"),
    "udp_combined_256x192": HeatmapCodec(encoding="udp_combined", refinement="udp_combined"),
    "megvii_k11_256x192": HeatmapCodec(encoding="megvii", refinement="megvii", kernel=11),
}
LPN_CODECS = {
    "coco-48x64": HeatmapCodec(),
    "mpii-64x64": HeatmapCodec(),
    "coco-72x96-sigma3": HeatmapCodec(sigma=3),
}
# zhang943/lpn-pytorch@f397525, COCO: elbows and knees 1.2, wrists and ankles 1.5.
LPN_WEIGHTS = (*(1.0,) * 7, 1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5)


def sample_of(keypoints: np.ndarray, visible: np.ndarray, size: tuple[int, int]) -> Sample:
    skeleton: Skeleton = COCO17 if len(keypoints) == 17 else MPII16
    person = np.column_stack([keypoints[:, :2], 2 * visible[:, 0]])[None]
    image = np.zeros((size[1], size[0], 3), np.uint8)
    return Sample(skeleton, image, person, np.zeros((1, 4)), np.ones(1))


@pytest.mark.parametrize("case", CODECS)
def test_targets_equal_mmpose(case):
    _, a = load_case("topdown-targets", case)
    size = tuple(int(side) for side in a["image_size"])
    targets = CODECS[case].encode(sample_of(a["joints"], a["visible"], size), size)
    np.testing.assert_array_equal(targets.weights, a["target_weight"][:, 0])
    height = a["target"].max()  # 1, or around 255
    np.testing.assert_allclose(targets.heatmaps, a["target"], atol=ATOL * height, rtol=0)


@pytest.mark.parametrize("case", LPN_CODECS)
def test_targets_equal_lpn(case):
    about, a = load_case("topdown-lpn-targets", case)
    size = {"coco-48x64": (192, 256), "mpii-64x64": (256, 256), "coco-72x96-sigma3": (288, 384)}[case]
    assert list(size) == about["input_wh"]
    targets = LPN_CODECS[case].encode(sample_of(a["joints"], a["joints_vis"], size), size)
    np.testing.assert_array_equal(targets.weights, a["target_weight"][:, 0])
    np.testing.assert_allclose(targets.heatmaps, a["target"], atol=ATOL, rtol=0)


def test_weights_of_single_keypoints_equal_lpn():
    _, a = load_case("topdown-lpn-targets", "coco-48x64")
    sample = sample_of(a["joints"], a["joints_vis"], (192, 256))
    targets = HeatmapCodec(keypoint_weights=LPN_WEIGHTS).encode(sample, (192, 256))
    np.testing.assert_array_equal(targets.weights, a["target_weight_different_joints_weight"][:, 0])
