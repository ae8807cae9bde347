"""Targets drawn for a batch at once are those that the codec's own drawing gives, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose.codecs import HeatmapCodec  # noqa: E402
from litepose.codecs.ae import AECodec  # noqa: E402
from litepose.codecs.heatmap_targets import ENCODINGS, HeatmapPlan  # noqa: E402
from litepose.poses import Sample  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.training import points  # noqa: E402
from litepose.training.data import Batch, collate  # noqa: E402

SIZE = (96, 64)
K = COCO17.num_keypoints
CODECS = {
    "plain": AECodec(),
    "fractional sigma": AECodec(sigma=1.37),
    "sigma by map": AECodec(sigma=-1),
    "sigma by box": AECodec(scale_aware_sigma=True, base_size=100),
    "whole sigma by box": AECodec(scale_aware_sigma=True, whole_sigma=True),
    "centre": AECodec(center_keypoint=True),
    "one tag map": AECodec(tag_per_keypoint=False, max_people=5),
    "heatmaps at one output": AECodec(heatmap_outputs=(False, True)),
}


def random_sample(rng: np.random.Generator) -> Sample:
    """Return people in and out of sight, up to 40, some without extent, with every kind of thing not to be learned."""
    count = int(rng.choice([0, 1, 3, 40]))
    places = rng.uniform(-12, max(SIZE) + 12, (count, K, 2)).round(int(rng.integers(0, 4)))
    keypoints = np.concatenate([places, rng.integers(0, 3, (count, K, 1))], axis=-1).astype(np.float32)
    keypoints[rng.random((count, K)) < 0.02] = (np.nan, 5, 2)
    corners = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + rng.choice([0.0, 5.0, 30.0, 77.3], (count, 2))], axis=1)
    ignore = np.zeros((SIZE[1], SIZE[0]), bool)
    ignore[:40, 10:51] = True
    return Sample(
        COCO17,
        rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8),
        keypoints,
        boxes,
        rng.uniform(1, 99, count),
        ignore=ignore if rng.random() < 0.4 else None,
        labelled=rng.random(K) < 0.8 if rng.random() < 0.3 else None,
        keypoint_weights=(rng.random((count, K)) < 0.7).astype(np.float32) if rng.random() < 0.4 else None,
    )


def both_ways(codec: AECodec, samples: list[Sample]) -> tuple[Batch, Batch]:
    """Return the batch with targets of the codec's own drawing, and the one with points."""
    drawn = collate([(sample.image, codec.encode(sample, SIZE)) for sample in samples])
    return drawn, collate([(sample.image, codec.plan(sample, SIZE)) for sample in samples])


def assert_same_targets(drawn: Batch, planned: Batch) -> None:
    wanted, found = drawn.targets, planned.drawn_targets()
    assert torch.equal(drawn.images, planned.images)
    assert torch.equal(wanted.tag_indices, found.tag_indices)
    for a, b in zip(wanted.heatmaps, found.heatmaps, strict=True):
        # float32 exp of float32 distances against float64 rounded at the end; heats are at most 1
        torch.testing.assert_close(b, a, atol=1e-6, rtol=0)
    for a, b in zip(wanted.masks, found.masks, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert torch.equal(a, b)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", CODECS)
def test_a_batch_drawn_from_points_equals_the_codecs_own_drawing(name):
    for seed in range(4):
        rng = np.random.default_rng([seed, len(name)])
        samples = [random_sample(rng) for _ in range(rng.integers(1, 5))]
        assert_same_targets(*both_ways(CODECS[name], samples))


def test_the_random_samples_hold_every_case():
    samples = [random_sample(np.random.default_rng([seed, 5])) for seed in range(12)]
    plans = [AECodec().plan(sample, SIZE) for sample in samples]
    assert any(len(sample) > 30 for sample in samples) and any(len(sample) == 0 for sample in samples)
    assert any(plan.maps[0].unlearned.any() for plan in plans)
    assert any(plan.maps[0].known is not None for plan in plans)
    assert any(plan.maps[0].ignore is not None for plan in plans)


def test_nobody_in_the_whole_batch_gives_blank_targets():
    nobody = Sample(
        COCO17, np.zeros((SIZE[1], SIZE[0], 3), np.uint8), np.zeros((0, K, 3)), np.zeros((0, 4)), np.zeros(0)
    )
    drawn, planned = both_ways(AECodec(), [nobody, nobody])
    assert_same_targets(drawn, planned)
    assert planned.drawn_targets().heatmaps[0].shape == (2, K, 16, 24)


def test_wide_patches_are_drawn_in_parts_to_the_same_maps(monkeypatch):
    monkeypatch.setattr(points, "MOST_CELLS", 100)  # less than a single patch
    samples = [random_sample(np.random.default_rng(seed)) for seed in range(4)]
    assert_same_targets(*both_ways(AECodec(scale_aware_sigma=True), samples))


def test_points_take_a_tenth_of_the_maps():
    samples = [random_sample(np.random.default_rng(seed)) for seed in range(8)]
    blank = [Sample(s.skeleton, s.image, s.keypoints[:6], s.boxes[:6], s.areas[:6]) for s in samples]
    drawn, planned = both_ways(AECodec(), blank)
    # Both share the pictures and the tag indices.
    common = drawn.images.nbytes + drawn.targets.tag_indices.nbytes
    sizes = [batch.images.untyped_storage().nbytes() - common for batch in (drawn, planned)]
    assert sizes[1] < sizes[0] / 10


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_top_down_targets_drawn_from_profiles_are_exactly_the_codecs(encoding):
    rng = np.random.default_rng(5)
    paired = encoding in ("udp_combined", "megvii")
    codec = HeatmapCodec(encoding=encoding, **({"refinement": encoding} if paired else {}))
    samples = [random_sample(rng) for _ in range(12)]
    drawn, planned = both_ways(codec, samples)
    wanted, found = drawn.targets, planned.drawn_targets()
    assert torch.equal(drawn.images, planned.images)
    assert torch.equal(wanted.heatmaps, found.heatmaps) and wanted.heatmaps.max() > 0.5
    assert torch.equal(wanted.weights, found.weights) and 0 < wanted.weights.mean() < 1
    assert isinstance(planned.targets, HeatmapPlan) != paired
    if not paired:
        travelling = planned.targets.down.numel() + planned.targets.across.numel()
        assert travelling < wanted.heatmaps.numel() / 9


def test_a_batch_of_profiles_is_cut_into_parts_of_drawn_targets():
    samples = [random_sample(np.random.default_rng(seed)) for seed in range(4)]
    drawn, planned = both_ways(HeatmapCodec(), samples)
    parts = planned.parts(2)
    assert torch.equal(torch.cat([part.targets.heatmaps for part in parts]), drawn.targets.heatmaps)
