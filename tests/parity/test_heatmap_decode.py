"""Keypoints from the maps of one person against mmpose 0.13 and zhang943/lpn-pytorch@f397525; the flip test too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from litepose.codecs import HeatmapCodec, Pass
from litepose.codecs.heatmap_peaks import PeakReader, highest_cells, soft_argmax
from litepose.geometry import Warp
from litepose.skeleton import COCO17, MPII16, Skeleton
from parity.fixtures import load_case

STRIDE = 4
ATOL_PX = 2e-4  # picture px: the references compute in float32 at coordinates of up to some 600
CODECS = {
    "default_64x48": HeatmapCodec(),
    "default_64x64": HeatmapCodec(),
    "none_64x48": HeatmapCodec(refinement="none"),
    "unbiased_k11_64x48": HeatmapCodec(refinement="dark", kernel=11),
    "unbiased_k17_96x72": HeatmapCodec(refinement="dark", kernel=17),
    "udp_gaussian_k11_64x48": HeatmapCodec(encoding="udp", refinement="udp", kernel=11),
    "udp_combined_k3_64x48": HeatmapCodec(encoding="udp_combined", refinement="udp_combined", kernel=3),
    "megvii_k11_64x48": HeatmapCodec(encoding="megvii", refinement="megvii", kernel=11),
}


def skeleton_of(num_keypoints: int) -> Skeleton:
    known = {17: COCO17, 16: MPII16}
    names = tuple(f"k{i}" for i in range(num_keypoints))
    return known.get(num_keypoints) or Skeleton("plain", names, oks_sigmas=(0.1,) * num_keypoints)


def stretched_crop(center: np.ndarray, scale: np.ndarray, size: tuple[int, int]) -> Warp:
    """`Warp.hrnet` where both extents count: one fixture has the box of another aspect than its maps."""
    zoom = np.array(size) / (200 * scale.astype(np.float64))
    return Warp(np.column_stack([np.diag(zoom), np.array(size) / 2 - zoom * center]), size)


def decoded(codec: HeatmapCodec, maps: np.ndarray, center: np.ndarray, scale: np.ndarray):
    """Return keypoints (K, 2) in picture px and scores (K,) of one crop."""
    skeleton = skeleton_of(len(maps) // codec.maps_per_keypoint)
    size = (maps.shape[2] * STRIDE, maps.shape[1] * STRIDE)
    warp = Warp.udp(center, scale, 0, size) if codec.udp else stretched_crop(center, scale, size)
    poses = codec.decode(codec.aggregate([Pass((maps,))], size, skeleton), skeleton).warped(warp.inverse)
    assert len(poses) == 1
    return poses.keypoints[0], poses.keypoint_scores[0]


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("case", CODECS)
def test_keypoints_equal_mmpose(case, mode):
    _, a = load_case("topdown-decode", case)
    codec = dataclasses.replace(CODECS[case], mode=mode)
    for maps, center, scale, wanted, scores in zip(
        a["heatmaps"], a["center"], a["scale"], a["preds"], a["maxvals"][..., 0], strict=True
    ):
        keypoints, found = decoded(codec, maps, center, scale)
        np.testing.assert_allclose(keypoints, wanted, atol=ATOL_PX, rtol=0)
        np.testing.assert_allclose(found, np.maximum(scores, 0), rtol=1e-6)  # ours are never below 0


LPN_CASES = ["coco-64x48", "mpii-64x64"]


@pytest.mark.parametrize("post", [0, 1])
@pytest.mark.parametrize("method", ["argmax", "softargmax"])
@pytest.mark.parametrize("case", LPN_CASES)
def test_keypoints_equal_lpn(case, method, post):
    _, a = load_case("topdown-lpn-decode", case)
    soft = method == "softargmax"
    refinement = "soft_argmax" if soft else ("none", "quarter")[post]
    codec = HeatmapCodec(refinement=refinement, soft_quarter=bool(post))
    wanted, scores = a[f"{method}_post{post}_preds"], a[f"{method}_post{post}_maxvals"][..., 0]
    for n, maps in enumerate(a["heatmaps"]):
        keypoints, found = decoded(codec, maps, a["center"][n], a["scale"][n])
        same = np.ones(len(keypoints), dtype=bool)
        if soft and post and n == 0:
            same[6] = False  # a plateau of two cells: which of them is nearest hangs on the last bit
        if not soft:
            same = found > 0  # keypoints that are not found lie at cell (0, 0) there, at (-1, -1) in mmpose and here
        np.testing.assert_allclose(keypoints[same], wanted[n][same], atol=ATOL_PX, rtol=0)
        np.testing.assert_allclose(found[same], np.maximum(scores[n], 0)[same], rtol=1e-6)


@pytest.mark.parametrize("case", LPN_CASES)
def test_peaks_in_cells_equal_lpn(case):
    _, a = load_case("topdown-lpn-decode", case)
    for n, maps in enumerate(a["heatmaps"]):
        points, heats = PeakReader("none")(maps)
        found = heats > 0
        np.testing.assert_array_equal(points[found], a["max_preds"][n][found])
        np.testing.assert_array_equal(highest_cells(maps)[1], a["maxvals"][n, :, 0])
        for beta in (160, 100):
            points, heats = soft_argmax(maps, beta=beta, quarter=False)
            np.testing.assert_allclose(points, a[f"softargmax{beta}_heatmap_coords"][n], atol=1e-4, rtol=0)
            if beta == 160:
                np.testing.assert_allclose(heats, np.maximum(a["softargmax160_maxvals"][n, :, 0], 0), rtol=1e-6)


def merged(codec: HeatmapCodec, plain: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    size = (plain.shape[2] * STRIDE, plain.shape[1] * STRIDE)
    return codec.aggregate([Pass((plain,)), Pass((mirrored,), mirrored=True)], size, COCO17)


def turned_back(codec: HeatmapCodec, mirrored: np.ndarray) -> np.ndarray:
    size = (mirrored.shape[2] * STRIDE, mirrored.shape[1] * STRIDE)
    return codec.aggregate([Pass((mirrored,), mirrored=True)], size, COCO17)


def test_the_flip_test_equals_lpn():
    _, a = load_case("topdown-lpn-decode", "flip-test-coco")
    still, shifted = HeatmapCodec(shift_mirrored=False), HeatmapCodec()
    for n in range(len(a["output"])):
        plain, mirrored = a["output"][n], a["output_of_flipped_input"][n]
        np.testing.assert_array_equal(turned_back(still, mirrored), a["flipped_back"][n])
        np.testing.assert_array_equal(turned_back(shifted, mirrored), a["flipped_back_shifted"][n])
        np.testing.assert_array_equal(merged(still, plain, mirrored), a["merged_noshift"][n])
        np.testing.assert_array_equal(merged(shifted, plain, mirrored), a["merged_shift"][n])


def test_the_flip_test_equals_mmpose():
    _, a = load_case("flip", "coco17")
    for n, mirrored in enumerate(a["flipped_output"]):
        np.testing.assert_array_equal(turned_back(HeatmapCodec(encoding="udp"), mirrored), a["flip_back"][n])
        np.testing.assert_array_equal(turned_back(HeatmapCodec(), mirrored), a["flip_back_shifted"][n])
        np.testing.assert_array_equal(merged(HeatmapCodec(), mirrored, mirrored), a["averaged"][n])


def test_mirrored_offsets_are_turned_back_as_in_mmpose():
    _, a = load_case("flip", "coco17")
    codec = HeatmapCodec(encoding="udp_combined", refinement="udp_combined")
    np.testing.assert_array_equal(turned_back(codec, a["combined_in"][0]), a["combined_back"][0])
