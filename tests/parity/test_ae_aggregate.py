"""Merging of flipped and multi-scale passes against LitePose."""

import numpy as np
import pytest

from litepose.codecs.ae import AECodec
from litepose.codecs.base import Pass
from litepose.skeleton import COCO17, CROWDPOSE14
from parity.fixtures import cases, load_case

ATOL = 2e-6  # float32 bilinear weights of another library, sums in another order


def passes_of(about: dict, a: dict[str, np.ndarray]) -> list[Pass]:
    scales = about.get("scales", [None])
    passes = []
    for scale in scales:
        prefix = "" if scale is None else f"s{scale}_"
        for kind in ("out", "flip") if about["flip"] else ("out",):
            outputs = tuple(a[f"{prefix}{kind}_{i}"][0] for i in range(2))
            passes.append(Pass(outputs, mirrored=kind == "flip", scale=scale or 1.0))
    return passes


@pytest.mark.parametrize("case", cases("ae-aggregate"))
def test_merged_maps_equal_the_reference(case):
    about, a = load_case("ae-aggregate", case)
    skeleton = COCO17 if case.startswith("coco") else CROWDPOSE14
    codec = AECodec(project=about["project2image"])
    maps = codec.aggregate(passes_of(about, a), tuple(about["base_size_wh"]), skeleton)
    np.testing.assert_allclose(maps.heatmaps, a["heatmaps"][0], atol=ATOL, rtol=0)
    tags = np.stack([maps.tag_map(keypoint) for keypoint in range(skeleton.num_keypoints)])  # (K, T, h, w)
    np.testing.assert_allclose(np.moveaxis(tags, 1, -1), a["tags"][0], atol=ATOL, rtol=0)


def test_order_of_passes_does_not_matter():
    about, a = load_case("ae-aggregate", "crowdpose-twoscale-project0")
    passes, size = passes_of(about, a), tuple(about["base_size_wh"])
    codec = AECodec(project=False)
    forward, backward = (codec.aggregate(order, size, CROWDPOSE14) for order in (passes, passes[::-1]))
    np.testing.assert_allclose(forward.heatmaps, backward.heatmaps, atol=ATOL, rtol=0)
    np.testing.assert_array_equal(forward.tags, backward.tags)
