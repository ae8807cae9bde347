"""People from maps against LitePose, ties included."""

import dataclasses

import numpy as np
import pytest

from litepose.codecs.ae import AECodec
from litepose.codecs.ae_maps import AEMaps
from litepose.skeleton import COCO17, CROWDPOSE14
from parity.fixtures import cases, load_case

# All numbers are copies of map values, multiples of a quarter, or one float32 mean over at most 17.
SCORE_RTOL = 2e-7


def maps_of(a: dict[str, np.ndarray]) -> AEMaps:
    heatmaps = a["det"][0]
    # The fixtures' picture is twice the map.
    return AEMaps(heatmaps, np.moveaxis(a["tag"][0], -1, 0), (2 * heatmaps.shape[2], 2 * heatmaps.shape[1]))


def codec_of(about: dict) -> AECodec:
    asked = about["params"]
    names = ("max_people", "detection_threshold", "tag_threshold", "use_detection_val", "ignore_too_much", "nms_kernel")
    return AECodec(**{name: asked[name] for name in names})


@pytest.mark.parametrize("case", cases("ae-decode"))
def test_candidates_equal_the_reference(case):
    about, a = load_case("ae-decode", case)
    found = codec_of(about).candidates(maps_of(a))
    wanted = a["val_k"][0] > about["params"]["detection_threshold"]  # the reference drops the others later
    np.testing.assert_array_equal(found.keypoints, np.nonzero(wanted)[0])
    np.testing.assert_array_equal(found.scores, a["val_k"][0][wanted])
    np.testing.assert_array_equal(found.cells, a["loc_k"][0][wanted])
    np.testing.assert_array_equal(found.tags, a["tag_k"][0][wanted])


@pytest.mark.parametrize("case", cases("ae-decode"))
def test_groups_equal_the_reference(case):
    about, a = load_case("ae-decode", case)
    np.testing.assert_array_equal(codec_of(about).match(maps_of(a)), a["matched"])


@pytest.mark.parametrize("adjust", [False, True])
@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("case", cases("ae-decode"))
def test_decoded_poses_equal_the_reference(case, refine, adjust):
    about, a = load_case("ae-decode", case)
    skeleton = COCO17 if about["params"]["num_joints"] == 17 else CROWDPOSE14
    codec = dataclasses.replace(codec_of(about), adjust=adjust, refine=refine)
    poses = codec.decode(maps_of(a), skeleton)
    step = f"adjust{adjust:d}_refine{refine:d}"
    np.testing.assert_array_equal(poses.keypoint_scores, a[f"people_{step}"][..., 2])
    np.testing.assert_array_equal(poses.keypoints, 2 * a[f"people_{step}"][..., :2])
    np.testing.assert_allclose(poses.scores, a[f"scores_{step}"], rtol=SCORE_RTOL)
    if adjust and refine:
        # The reference's inverse affine comes from three float32 points; it also moves missing keypoints, at (0, 0).
        np.testing.assert_allclose(poses.keypoints, a["final_preds"][..., :2], atol=2e-4, rtol=0)
