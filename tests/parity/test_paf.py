"""Part affinity fields against Lightweight OpenPose: targets, loss, peaks, entries, COCO records."""

import numpy as np
import pytest

from litepose.codecs.paf import PafCodec
from litepose.codecs.paf_limbs import limbs_of
from litepose.codecs.paf_maps import PafMaps, enlarging
from litepose.poses import Sample
from litepose.skeleton import COCO17, OPENPOSE18
from parity.fixtures import cases, load_case

ATOL = 3e-7  # float32 of values up to 1; exp() of another library
CUBIC = 2e-5  # float32 sums in another order than cv2's
ABSENT = 2  # the reference's mark in the column where COCO has "visible"


def sample_of(people: np.ndarray, size: tuple[int, int]) -> Sample:
    keypoints = np.array(people, dtype=np.float64)
    keypoints[..., 2] = np.where(people[..., 2] == ABSENT, 0, 2 - (people[..., 2] == 0))
    image = np.zeros((size[1], size[0], 3), np.uint8)
    return Sample(OPENPOSE18, image, keypoints, np.zeros((len(people), 4)), np.ones(len(people)))


@pytest.mark.parametrize("case", cases("paf-targets"))
def test_targets_equal_the_reference(case):
    about, a = load_case("paf-targets", case)
    assert [list(pair) for pair in limbs_of(OPENPOSE18).ends] == about["limbs_train_order"]
    size = tuple(about["image_size_wh"])
    targets = PafCodec().encode(sample_of(a["people"], size), size)
    np.testing.assert_allclose(targets.heatmaps, a["heatmaps"], atol=ATOL, rtol=0)
    np.testing.assert_allclose(targets.pafs, a["pafs"], atol=ATOL, rtol=0)


@pytest.mark.parametrize("case", cases("paf-targets"))
def test_the_loss_of_a_zero_prediction_equals_the_reference(case):
    torch = pytest.importorskip("torch")
    from litepose.codecs.paf_targets import PafTargets
    from litepose.losses import PafLoss

    about, a = load_case("paf-targets", case)
    maps = {name: torch.from_numpy(np.stack([a[name]] * 2)) for name in ("heatmaps", "pafs", "mask")}
    mask = maps["mask"][:, None]
    targets = PafTargets(maps["heatmaps"], maps["pafs"], mask, mask)
    outputs = [torch.zeros_like(maps[name]) for name in ("heatmaps", "pafs")]
    parts = PafLoss()(outputs, targets)
    assert float(parts["heatmaps"]) == pytest.approx(about["loss_heatmaps_of_zero_prediction_batch2"], rel=1e-6)
    assert float(parts["pafs"]) == pytest.approx(about["loss_pafs_of_zero_prediction_batch2"], rel=1e-6)


def raw_maps(a: dict[str, np.ndarray], upsample: int) -> PafMaps:
    heatmaps, pafs = a["heatmaps"].astype(np.float32), a["pafs"].astype(np.float32)
    height, width = heatmaps.shape[1:]
    down, across = (enlarging(length, length * upsample) for length in (height, width))
    return PafMaps(heatmaps[:-1], pafs, (width * 8, height * 8), down, across)


@pytest.mark.parametrize("upsample", [1, 4, 8])
@pytest.mark.parametrize("case", cases("paf-decode"))
def test_enlarged_maps_sum_up_to_the_reference_s(case, upsample):
    _, a = load_case("paf-decode", case)
    maps = raw_maps(a, upsample)
    for name, found in (("hm", maps.heatmaps), ("paf", maps.pafs)):
        sums = (maps.down @ found @ maps.across.T).sum(axis=(1, 2))
        wanted = a[f"up{upsample}_{name}_sum"][: len(sums)]
        np.testing.assert_allclose(sums, wanted, rtol=1e-4, atol=1e-2 * upsample**2)


@pytest.mark.parametrize("upsample", [1, 4, 8])
@pytest.mark.parametrize("case", cases("paf-decode"))
def test_people_equal_the_reference(case, upsample):
    _, a = load_case("paf-decode", case)
    codec = PafCodec(upsample=upsample)
    maps = raw_maps(a, upsample)
    peaks, entries = codec.match(maps, OPENPOSE18)
    wanted = a[f"up{upsample}_keypoints"]
    np.testing.assert_array_equal(peaks.xy, wanted[:, :2])
    np.testing.assert_allclose(peaks.heats, wanted[:, 2], atol=CUBIC)
    np.testing.assert_array_equal(entries[:, :-2], a[f"up{upsample}_entries"][:, :-2])
    np.testing.assert_allclose(entries[:, -2:], a[f"up{upsample}_entries"][:, -2:], atol=1e-3)

    poses = codec.decode(maps, OPENPOSE18)
    cell = 8 / upsample
    demo = np.where(poses.found[..., None], ((poses.keypoints / cell - 0.5) * cell).astype(np.int64), -1)
    np.testing.assert_array_equal(demo, a[f"up{upsample}_demo_xy"])
    coco = poses.mapped_to(COCO17)
    triples = np.concatenate([coco.keypoints / cell, coco.found[..., None]], axis=-1) * coco.found[..., None]
    np.testing.assert_allclose(triples.reshape(len(poses), 51), a[f"up{upsample}_coco_keypoints"], atol=1e-4)
    np.testing.assert_allclose(poses.scores, a[f"up{upsample}_coco_scores"], rtol=1e-4)
