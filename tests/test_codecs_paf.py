"""What `PafCodec` does beyond the numbers of its reference."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from litepose.codecs import PafCodec, Pass
from litepose.codecs.paf_limbs import limbs_of
from litepose.codecs.paf_maps import PafMaps, enlarged_peaks, enlarging, mirror_order
from litepose.errors import ModelError, SettingError, SkeletonError
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14, OPENPOSE18, SKELETONS, Skeleton

SIZE = (320, 240)
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NOSE, NECK, RIGHT_HIP, LEFT_HIP = (OPENPOSE18.index(name) for name in ("nose", "neck", "right_hip", "left_hip"))


def sample_of(keypoints, skeleton=OPENPOSE18, **settings):
    keypoints = np.asarray(keypoints, np.float32)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return Sample(skeleton, image, keypoints, np.zeros((len(keypoints), 4)), np.ones(len(keypoints)), **settings)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import paf

    yield paf
    sys.modules.pop("paf")


def people(*places, height=200.0):
    """Standing people, drawn for the benchmark, at (x, y) of their heads."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from paf import FIGURE
    finally:
        sys.path.pop(0)
    points = FIGURE[None] * height + np.asarray(places, float)[:, None]
    return np.concatenate([points, np.full((*points.shape[:2], 1), 2.0)], axis=-1)


def found(codec, keypoints):
    targets = codec.encode(sample_of(keypoints), SIZE)
    outputs = (targets.heatmaps, targets.pafs)
    return codec.decode(codec.aggregate([Pass(outputs)], SIZE, OPENPOSE18), OPENPOSE18)


@pytest.mark.parametrize("count", [0, 1, 4, 9])
def test_exact_people_are_those_of_maps_enlarged_as_a_whole(bench, count):
    outputs = bench.scene(count, np.random.default_rng([3, count]))
    bench.check_equal(bench.reference_style(bench.enlarged_as_a_whole(outputs, 4)), bench.found("exact", outputs))
    slow = bench.reference_style(bench.evaluated_as_a_whole(outputs))
    bench.check_equal(slow, PafCodec().match(bench.evaluated(outputs), OPENPOSE18))
    assert (len(slow[1]) > 0) == (count > 0)


def test_the_benchmark_prints_ratios_of_equal_work(bench, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paf.py", "--rounds", "2", "--people", "1"])
    bench.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[1].strip(",") for line in lines] == ["exact", "exact", "fast"]


@pytest.mark.parametrize("sizes", [(46, 184), (46, 368), (82, 656, 1280), (7, 7)])
def test_enlarging_is_what_opencv_does(sizes):
    column = np.random.default_rng(0).normal(size=(sizes[0], 5)).astype(np.float32)
    wanted = column
    for length in sizes[1:]:
        wanted = cv2.resize(wanted, (5, length), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(enlarging(*sizes) @ column, wanted, atol=5e-6)


def test_peaks_are_found_on_every_border_and_across_tiles():
    heatmaps = np.zeros((1, 20, 30), np.float32)
    places = [(0, 0), (0, 29), (19, 0), (19, 29), (8, 16), (15, 7)]
    for y, x in places:
        heatmaps[0, y, x] = 0.5
        inwards = (y + 1 if y < 10 else y - 1, x + 1 if x < 20 else x - 1)
        heatmaps[0, inwards[0], x] = heatmaps[0, y, inwards[1]] = 0.2  # else four enlarged cells are the top
    down, across = enlarging(20, 80), enlarging(30, 120)
    maps = PafMaps(heatmaps, np.zeros((2, 20, 30), np.float32), (240, 160), down, across)
    lazy = enlarged_peaks(maps, above=0.1, distance=6)
    whole = PafMaps((down @ heatmaps @ across.T), np.zeros((2, 80, 120), np.float32), (240, 160))
    np.testing.assert_array_equal(lazy.xy, enlarged_peaks(whole, above=0.1, distance=6).xy)
    assert len(lazy) == len(places)


def test_a_later_peak_that_is_too_near_goes_whatever_its_height():
    heatmaps = np.zeros((1, 12, 30), np.float32)
    for x, heat in ((2, 0.3), (7, 0.9), (13, 0.4)):  # 5 and 6 cells apart
        heatmaps[0, 5, x] = heat
    peaks = enlarged_peaks(PafMaps(heatmaps, np.zeros((2, 12, 30), np.float32), (30, 12)), above=0.1, distance=6)
    np.testing.assert_array_equal(peaks.xy[:, 0], [2, 13])


@pytest.mark.parametrize(("mode", "wanted", "off"), [("exact", 1.5, 0.5), ("fast", 0.6, 0.0)])
def test_keypoints_lie_where_they_were_drawn(mode, wanted, off):
    truth = people((100, 20), (220, 15))
    truth[..., :2] += np.random.default_rng(2).uniform(-1, 1, truth[..., :2].shape)
    poses = found(PafCodec(mode=mode), truth)
    assert len(poses) == 2 and poses.found.mean() > 0.9  # eyes are half a cell from the nose
    order = np.argsort(poses.keypoints[:, 1, 0])
    error = (poses.keypoints[order] - truth[..., :2])[poses.found[order]]
    assert np.abs(error).max() < wanted + off
    np.testing.assert_allclose(error.mean(axis=0), off, atol=0.25)  # the reference's half cell in "exact"


def broken_in_two():
    """A person whose neck is not seen: head, and the arms and legs in four pieces, as no other limb connects them."""
    person = people((150, 20))
    person[0, NECK, 2] = 0
    return person


def test_exact_leaves_a_person_without_neck_in_pieces_and_fast_joins_what_the_limbs_connect():
    exact, fast = (found(PafCodec(mode=mode), broken_in_two()) for mode in ("exact", "fast"))
    counts = [sorted(poses.found.sum(axis=1).tolist()) for poses in (exact, fast)]
    # Shoulders are connected to ears: in "fast" by these the head and both arms are one person.
    assert counts[1] == [3, 3, 11]
    assert max(counts[0]) < 11 and len(counts[0]) > 3


def test_fast_gives_no_keypoint_to_two_people():
    keypoints = people((140, 20), (152, 24))  # nearly on top of each other
    codec = PafCodec(mode="fast")
    targets = codec.encode(sample_of(keypoints), SIZE)
    maps = codec.aggregate([Pass((targets.heatmaps, targets.pafs))], SIZE, OPENPOSE18)
    _, entries = codec.match(maps, OPENPOSE18)
    used = entries[:, :-2][entries[:, :-2] >= 0]
    assert len(used) == len(np.unique(used)) > 0


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_another_scale_and_the_mirror_change_nobody(mode):
    codec, truth = PafCodec(mode=mode), people((100, 20), (220, 15))
    larger = truth * (1.5, 1.5, 1)
    image = np.zeros((360, 480, 3), np.uint8)
    of_larger = codec.encode(Sample(OPENPOSE18, image, larger, np.zeros((2, 4)), np.ones(2)), (480, 360))
    turned = truth[:, OPENPOSE18.mirror_indices].copy()
    turned[..., 0] = SIZE[0] - 1 - turned[..., 0]
    plain, of_turned = (codec.encode(sample_of(one), SIZE) for one in (truth, turned))
    passes = [
        Pass((of_larger.heatmaps, of_larger.pafs), scale=1.5),
        Pass((plain.heatmaps, plain.pafs)),
        Pass((of_turned.heatmaps, of_turned.pafs), mirrored=True),
    ]
    poses = codec.decode(codec.aggregate(passes, SIZE, OPENPOSE18), OPENPOSE18)
    assert len(poses) == 2 and poses.found.all()
    order = np.argsort(poses.keypoints[:, 0, 0])
    assert np.abs(poses.keypoints[order] - truth[..., :2]).max() < 3


def test_the_limbs_of_a_mirrored_picture_are_the_other_side_s():
    limbs = limbs_of(OPENPOSE18)
    _, order = mirror_order(OPENPOSE18.mirror_indices, limbs.ends)
    to_right_hip, to_left_hip = limbs.ends.index((NECK, RIGHT_HIP)), limbs.ends.index((NECK, LEFT_HIP))
    np.testing.assert_array_equal(order[to_right_hip], [to_left_hip, 1])
    assert (order[:, 1] == 1).all()
    _, order = mirror_order(COCO17.mirror_indices, limbs_of(COCO17).ends)
    turned = [limbs_of(COCO17).ends[i] for i in np.flatnonzero(order[:, 1] == -1)]
    assert {frozenset(COCO17.keypoints[k] for k in pair) for pair in turned} == {
        frozenset(pair)
        for pair in (
            ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("left_eye", "right_eye"),
            ("left_eye", "nose"), ("nose", "right_eye"),
        )
    }  # fmt: skip


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_every_limb_but_the_closing_ones_begins_where_a_person_already_is(skeleton):
    limbs = limbs_of(skeleton)
    reached: set[int] = set()
    for number in limbs.order:
        first, second = limbs.ends[number]
        assert number not in limbs.closing or {first, second} <= reached
        assert not reached or first in reached
        reached |= {first, second}
    assert len(reached) == skeleton.num_keypoints


def test_a_skeleton_without_limbs_is_a_chain_and_one_keypoint_is_an_error():
    with pytest.warns(UserWarning, match="no OKS sigmas"):
        assert limbs_of(Skeleton("three", ("a", "b", "c"))).ends == ((1, 0), (1, 2))
        with pytest.raises(SkeletonError, match="one keypoint"):
            PafCodec().channels(Skeleton("one", ("a",)))


def test_what_must_not_be_learned_is_masked_and_nothing_else():
    keypoints = people((150, 20))
    weights = np.ones((1, 18), np.float32)
    weights[0, NOSE] = 0
    plain = PafCodec().encode(sample_of(keypoints), SIZE)
    assert plain.heatmap_mask.shape == (1, 30, 40) and plain.heatmap_mask.min() == plain.paf_mask.min() == 1
    masked = PafCodec().encode(sample_of(keypoints, keypoint_weights=weights), SIZE)
    assert masked.heatmaps[NOSE].max() == 0 < plain.heatmaps[NOSE].max()
    assert (masked.heatmap_mask[NOSE][plain.heatmaps[NOSE] > 0.02] == 0).all()
    assert masked.heatmap_mask[NECK].min() == 1
    for limb, pair in enumerate(limbs_of(OPENPOSE18).ends):
        planes = slice(2 * limb, 2 * limb + 2)
        if NOSE in pair:
            assert (masked.paf_mask[planes][plain.pafs[planes] != 0] == 0).all()
        else:
            assert masked.paf_mask[planes].min() == 1
            np.testing.assert_array_equal(masked.pafs[planes], plain.pafs[planes])


def test_channels_that_an_annotation_does_not_know_carry_no_weight():
    labelled = np.ones(18, bool)
    labelled[NOSE] = False
    targets = PafCodec().encode(sample_of(people((150, 20)), labelled=labelled), SIZE)
    assert np.flatnonzero(targets.heatmap_mask.max(axis=(1, 2)) == 0).tolist() == [NOSE, 18]
    unknown = [limb for limb, pair in enumerate(limbs_of(OPENPOSE18).ends) if NOSE in pair]
    silent = np.flatnonzero(targets.paf_mask.reshape(19, 2, 30, 40).max(axis=(1, 2, 3)) == 0)
    assert silent.tolist() == unknown


def test_an_ignored_part_of_a_cell_counts_by_its_share():
    ignore = np.zeros(SIZE[::-1], bool)
    ignore[:, :12] = True  # one cell and a half
    targets = PafCodec().encode(sample_of(people((150, 20)), ignore=ignore), SIZE)
    np.testing.assert_allclose(targets.heatmap_mask[0, 3, :3], [0, 0.5, 1])
    assert targets.paf_mask is targets.heatmap_mask


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mode": "fastest"}, "fast"),
        ({"upsample": 0}, "upsample 0"),
        ({"limb_samples": 1}, "limb_samples 1"),
        ({"sigma_px": float("nan")}, "sigma_px nan"),
        ({"detection_threshold": 0.0}, "detection_threshold"),
        ({"sample_share": 1.0}, "sample_share"),
    ],
)
def test_impossible_settings_are_named(settings, says):
    with pytest.raises(SettingError, match=says):
        PafCodec(**settings)


def test_fields_that_are_not_finite_are_an_error():
    codec = PafCodec(mode="fast")
    targets = codec.encode(sample_of(people((150, 20))), SIZE)
    fields = targets.pafs.copy()
    fields[3, 2, 2] = np.nan
    with pytest.raises(ModelError, match="part affinity fields"):
        codec.decode(codec.aggregate([Pass((targets.heatmaps, fields))], SIZE, OPENPOSE18), OPENPOSE18)


def test_two_outputs_of_another_skeleton_are_an_error():
    outputs = tuple(np.zeros((channels, 30, 40), np.float32) for channels in PafCodec().channels(CROWDPOSE14))
    with pytest.raises(ModelError, match="channels"):
        PafCodec().aggregate([Pass(outputs)], SIZE, OPENPOSE18)
