"""Associative-embedding targets against LitePose (HigherHRNet's generators)."""

import numpy as np
import pytest

from litepose.codecs.ae import AECodec
from litepose.codecs.maps import auto_sigma, box_sigmas, cells_of, draw_gaussians, gaussian_patch
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton
from parity.fixtures import load_case

ATOL = 3e-7  # float32 of values up to 1; exp() of another library
STRIDE = 4


def sample_of(people: np.ndarray, size: int, skeleton: Skeleton) -> Sample:
    """People of an output map as a sample of the input that is STRIDE times larger."""
    keypoints = people[..., :3] * (STRIDE, STRIDE, 1)
    count = len(people)
    image = np.zeros((size * STRIDE, size * STRIDE, 3), np.uint8)
    return Sample(skeleton, image, keypoints, np.zeros((count, 4)), np.ones(count))


def skeleton_of(num_keypoints: int) -> Skeleton:
    for skeleton in (COCO17, CROWDPOSE14):
        if skeleton.num_keypoints == num_keypoints:
            return skeleton
    return Skeleton("plain", tuple(f"k{i}" for i in range(num_keypoints)), oks_sigmas=(0.1,) * num_keypoints)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("resolution", [32, 64])
@pytest.mark.parametrize("case", ["coco", "crowdpose", "crowdpose-centre"])
def test_targets_equal_the_reference(case, resolution, shared):
    _, a = load_case("ae-targets", case)
    people = a[f"people_{resolution}"]
    sample = sample_of(people, resolution, skeleton_of(people.shape[1]))
    codec = AECodec(tag_per_keypoint=not shared)
    targets = codec.encode(sample, (resolution * STRIDE, resolution * STRIDE))
    np.testing.assert_allclose(targets.heatmaps[0], a[f"heatmaps_{resolution}"], atol=ATOL, rtol=0)
    np.testing.assert_array_equal(targets.tag_indices, a[f"joints{'shared' * shared}_{resolution}"])
    assert [mask.shape for mask in targets.masks] == [(1, resolution, resolution), (1, 2 * resolution, 2 * resolution)]
    assert all(mask.min() == 1 for mask in targets.masks)


@pytest.mark.parametrize("sigma", ["2", "1.5", "3", "0.8"])
def test_every_sigma_gives_the_reference_patch_and_places_it_alike(sigma):
    _, a = load_case("ae-targets", "sigmas")
    np.testing.assert_allclose(gaussian_patch(float(sigma)), a[f"kernel_{sigma}"], atol=1e-15)
    sample = sample_of(a[f"people_{sigma}"], 48, CROWDPOSE14)
    targets = AECodec(sigma=float(sigma)).encode(sample, (192, 192))
    np.testing.assert_allclose(targets.heatmaps[0], a[f"heatmaps_{sigma}"], atol=ATOL, rtol=0)


def test_sigma_below_zero_means_a_64th_of_the_map():
    _, a = load_case("ae-targets", "sigmas")
    np.testing.assert_allclose(gaussian_patch(auto_sigma((128, 128))), a["kernel_auto128"], atol=1e-15)


def test_sigma_of_each_person_gives_the_reference_heatmaps():
    _, a = load_case("ae-targets", "scale-aware")
    heatmaps = np.zeros(a["heatmaps"].shape, np.float32)
    cells, inside = cells_of(a["people"][..., :2], (64, 64))
    draw_gaussians(heatmaps, cells, inside & (a["people"][..., 2] > 0), a["people"][:, 0, 3])
    np.testing.assert_allclose(heatmaps, a["heatmaps"], atol=ATOL, rtol=0)


def test_sigma_from_boxes_and_the_centre_equal_the_reference():
    about, a = load_case("ae-targets", "coco-mask-and-centre")
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in about["bboxes"]])
    np.testing.assert_allclose(box_sigmas(boxes), a["joints_centre_sigma"][:, 0, 3], rtol=1e-12)
    np.testing.assert_array_equal(box_sigmas(boxes, whole=True), a["joints_centre_intsigma"][:, 0, 3])
    with_center = AECodec(center_keypoint=True)._with_center(a["keypoints"])
    np.testing.assert_allclose(with_center, a["joints_centre_sigma"][..., :3], rtol=1e-12)
