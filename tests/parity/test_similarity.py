"""OKS and OKS-NMS against mmpose 0.13."""

import numpy as np
import pytest

from litepose.similarity import oks, oks_nms, soft_oks_nms
from litepose.skeleton import COCO17
from parity.fixtures import load_case


def test_pairwise_oks_equals_mmpose():
    _, a = load_case("oks-nms", "coco17")
    areas = (a["area"][:, None] + a["area"][None]) / 2
    found = oks(a["keypoints"][..., :2], a["keypoints"][..., :2], areas=areas, sigmas=COCO17.oks_sigmas)
    np.testing.assert_allclose(found, a["oks"], atol=1e-6)  # float32 there


@pytest.mark.parametrize("threshold", [0.9, 0.7, 0.5, 0.3])
def test_oks_nms_keeps_the_same_people_as_mmpose(threshold):
    _, a = load_case("oks-nms", "coco17")
    kept = oks_nms(a["keypoints"][..., :2], a["score"], areas=a["area"], sigmas=COCO17.oks_sigmas, threshold=threshold)
    np.testing.assert_array_equal(kept, a[f"keep_{threshold}"])


@pytest.mark.parametrize("threshold", [0.9, 0.7, 0.5, 0.3])
def test_soft_oks_nms_keeps_people_in_the_order_of_mmpose(threshold):
    _, a = load_case("oks-nms", "coco17")
    kept = soft_oks_nms(
        a["keypoints"][..., :2], a["score"], areas=a["area"], sigmas=COCO17.oks_sigmas, threshold=threshold, most=20
    )
    np.testing.assert_array_equal(kept, a[f"soft_keep_{threshold}"])
