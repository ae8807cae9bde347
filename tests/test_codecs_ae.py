"""The associative-embedding codec beyond the reference's fixtures: masks, holes, crowds, shapes, tag layouts."""

import dataclasses
import itertools

import numpy as np
import pytest

from litepose.codecs.ae import AECodec
from litepose.codecs.ae_maps import AEMaps, fill_in, fill_in_coarsely
from litepose.codecs.base import Pass
from litepose.codecs.maps import find_peaks, quarter_shift
from litepose.errors import SettingError
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14

SIZE = (128, 96)
K = COCO17.num_keypoints


def sample_of(keypoints, **fields):
    keypoints = np.asarray(keypoints, np.float32)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    count = len(keypoints)
    fields = {"boxes": np.zeros((count, 4), np.float32), "areas": np.ones(count, np.float32), **fields}
    return Sample(COCO17, image, keypoints, **fields)


def one_keypoint(*places, keypoint=0):
    """One person for each place, with nothing but that keypoint."""
    people = np.zeros((len(places), K, 3))
    for person, place in enumerate(places):
        people[person, keypoint] = (*place, 2)
    return people


@pytest.mark.parametrize("per_keypoint", [True, False])
@pytest.mark.parametrize("center", [False, True])
def test_channels_are_heatmaps_then_tags_for_every_combination(per_keypoint, center):
    heatmaps = K + center
    tags = heatmaps if per_keypoint else 1
    for with_heatmaps, with_tags in itertools.product(itertools.product([False, True], repeat=2), repeat=2):
        if not any(with_heatmaps) or not any(with_tags):
            with pytest.raises(SettingError, match="at least one output"):
                AECodec(heatmap_outputs=with_heatmaps, tag_outputs=with_tags)
            continue
        codec = AECodec(
            heatmap_outputs=with_heatmaps,
            tag_outputs=with_tags,
            tag_per_keypoint=per_keypoint,
            center_keypoint=center,
        )
        wanted = tuple(heatmaps * heat + tags * tag for heat, tag in zip(with_heatmaps, with_tags, strict=True))
        assert codec.channels(COCO17) == wanted
        targets = codec.encode(sample_of(one_keypoint((40, 40))), SIZE)
        assert [len(maps) for maps in targets.heatmaps] == [heatmaps * heat for heat in with_heatmaps]


def test_indices_of_tags_count_rows_of_a_map_that_is_wider_than_high():
    targets = AECodec().encode(sample_of(one_keypoint((50, 30), keypoint=2)), SIZE)
    width, height = SIZE[0] // 4, SIZE[1] // 4
    np.testing.assert_array_equal(targets.tag_indices[0, 0], [2 * width * height + 7 * width + 12, 1])
    assert targets.tag_indices.sum() == targets.tag_indices[0, 0].sum()
    assert targets.heatmaps[0][2].argmax() == 7 * width + 12


def test_ignored_area_is_masked_at_both_strides():
    ignore = np.zeros((SIZE[1], SIZE[0]), bool)
    ignore[:48, 64:] = True
    targets = AECodec().encode(sample_of(one_keypoint((20, 20)), ignore=ignore), SIZE)
    for mask, stride in zip(targets.masks, (4, 2), strict=True):
        np.testing.assert_array_equal(mask[0] == 0, ignore[::stride, ::stride])


def test_unknown_keypoints_lose_their_whole_channel_and_no_other():
    labelled = np.ones(K, bool)
    labelled[[1, 2]] = False
    targets = AECodec(center_keypoint=True).encode(sample_of(one_keypoint((20, 20)), labelled=labelled), SIZE)
    for mask in targets.masks:
        assert mask.shape[0] == K + 1
        np.testing.assert_array_equal(mask.max(axis=(1, 2)), [1, 0, 0, *[1] * (K - 2)])


def test_a_keypoint_not_to_be_learned_from_leaves_a_hole_and_nothing_else():
    weights = np.ones((1, K), np.float32)
    weights[0, 0] = 0
    targets = AECodec().encode(sample_of(one_keypoint((60, 40)), keypoint_weights=weights), SIZE)
    assert targets.tag_indices.sum() == 0
    for maps, mask, stride in zip(targets.heatmaps, targets.masks, (4, 2), strict=True):
        assert maps.max() == 0
        rows, columns = np.nonzero(mask[0] == 0)
        radius = np.hypot(columns - 60 // stride, rows - 40 // stride)
        assert radius.max() == 6  # 3 sigma, and all of it:
        assert len(rows) == sum(x * x + y * y <= 36 for x in range(-6, 7) for y in range(-6, 7))
        assert mask[1:].min() == 1


def test_a_hole_never_covers_the_top_of_somebody_elses_keypoint():
    weights = np.ones((2, K), np.float32)
    weights[0, 0] = 0
    for other in ((60, 40), (64, 40), (68, 48), (80, 40)):
        sample = sample_of(one_keypoint((60, 40), other), keypoint_weights=weights)
        targets = AECodec().encode(sample, SIZE)
        for maps, mask in zip(targets.heatmaps, targets.masks, strict=True):
            y, x = np.unravel_index(maps[0].argmax(), maps[0].shape)
            assert maps[0, y, x] == 1
            assert mask[0, y, x] == 1
        coincide = other == (60, 40)
        assert (targets.masks[0][0].min() == 1) == coincide


def test_of_a_crowd_the_largest_get_tags_and_everybody_gets_heat():
    places = [(8 + 14 * (i % 8), 8 + 18 * (i // 8)) for i in range(40)]
    areas = np.arange(40, dtype=np.float32)[::-1]
    sample = sample_of(one_keypoint(*places), areas=areas)
    targets = AECodec(sigma=1).encode(sample, SIZE)
    width = SIZE[0] // 4
    assert targets.tag_indices.shape == (30, K, 2)
    wanted = [(y // 4) * width + x // 4 for x, y in places[:30]]
    np.testing.assert_array_equal(targets.tag_indices[:, 0, 0], wanted)
    for x, y in places:
        assert targets.heatmaps[0][0, y // 4, x // 4] == 1
    assert all(mask.min() == 1 for mask in targets.masks)


def test_people_out_of_sight_take_no_place_in_a_crowd():
    inside = [(8 + 14 * (i % 8), 8 + 18 * (i // 8)) for i in range(25)]
    sample = sample_of(one_keypoint(*[(-50, 5)] * 10, *inside))
    assert AECodec().encode(sample, SIZE).tag_indices[..., 1].sum() == 25


def test_nobody_gives_blank_targets():
    targets = AECodec().encode(sample_of(np.zeros((0, K, 3))), SIZE)
    assert all(maps.max() == 0 for maps in targets.heatmaps)
    assert targets.tag_indices.sum() == 0


def test_keypoints_that_are_nan_are_out_of_sight():
    targets = AECodec().encode(sample_of(one_keypoint((np.nan, 10), (np.inf, 10))), SIZE)
    assert all(maps.max() == 0 for maps in targets.heatmaps)
    assert targets.tag_indices.sum() == 0


@pytest.mark.parametrize("bad", [
    {"nms_kernel": 4}, {"max_people": 0}, {"sigma": 0}, {"detection_threshold": -0.1}, {"nms_threshold": 0},
])  # fmt: skip
def test_impossible_settings_are_errors(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        AECodec(**bad)


def test_peaks_at_borders_and_row_ends_are_found():
    maps = np.zeros((2, 8, 10), np.float32)
    peaks = [(0, 0, 0), (0, 0, 9), (0, 3, 9), (0, 4, 4), (0, 7, 0), (1, 0, 0), (1, 4, 0), (1, 7, 9)]
    for height, (channel, y, x) in enumerate(peaks):
        maps[channel, y, x] = 0.5 + 0.01 * height
    maps[0, 4, 0] = 0.9  # follows (3, 9) in memory, but does not lie beside it
    channels, cells = find_peaks(maps, kernel=5, most=30, above=0.1)
    found = {(c, *divmod(cell, 10)) for c, cell in zip(channels.tolist(), cells.tolist(), strict=True)}
    assert found == {*peaks, (0, 4, 0)}
    heats = maps.reshape(2, -1)[channels, cells]
    assert all((np.diff(heats[channels == channel]) <= 0).all() for channel in (0, 1))


def test_quarter_shift_points_to_the_higher_neighbour():
    maps = np.zeros((1, 5, 5), np.float32)
    maps[0, 2, 2], maps[0, 2, 3], maps[0, 1, 2] = 1, 0.5, 0.5
    np.testing.assert_array_equal(quarter_shift(maps, np.array([0]), np.array([[2, 2]])), [[0.25, -0.25]])
    np.testing.assert_array_equal(quarter_shift(maps, np.array([0]), np.array([[4, 4]])), [[-0.25, -0.25]])


def outputs_of_people(num_keypoints, places, tags, *, shared_tags=False):
    """Raw outputs for `SIZE` with a gaussian and a square of tags at each place (input px)."""
    heat = [np.zeros((num_keypoints, SIZE[1] // s, SIZE[0] // s), np.float32) for s in (4, 2)]
    tag_map = np.zeros((1 if shared_tags else num_keypoints, SIZE[1] // 4, SIZE[0] // 4), np.float32)
    for person, tag in zip(places, tags, strict=True):
        for keypoint, (x, y) in enumerate(person):
            for maps, stride in zip(heat, (4, 2), strict=True):
                rows, columns = np.ogrid[: maps.shape[1], : maps.shape[2]]
                square = (columns + 0.5 - x / stride) ** 2 + (rows + 0.5 - y / stride) ** 2
                maps[keypoint] = np.maximum(maps[keypoint], 0.9 * np.exp(-square / 8))
            x, y = int(x) // 4, int(y) // 4
            tag_map[0 if shared_tags else keypoint, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = tag
    return np.concatenate([heat[0], tag_map]), heat[1]


def two_people(rng, num_keypoints):
    left = rng.uniform((15, 15), (45, 80), (num_keypoints, 2))
    return np.stack([left, left + np.array([60, 0])])


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("project", [True, False])
@pytest.mark.parametrize("shared_tags", [True, False])
def test_two_people_are_told_apart_by_their_tags(mode, project, shared_tags):
    places = two_people(np.random.default_rng(0), K)
    outputs = outputs_of_people(K, places, (1.0, 4.0), shared_tags=shared_tags)
    codec = AECodec(mode=mode, project=project, tag_per_keypoint=not shared_tags)
    poses = codec.decode(codec.aggregate([Pass(outputs)], SIZE, COCO17), COCO17)
    assert len(poses) == 2
    order = np.argsort(poses.keypoints[..., 0].mean(axis=1))
    np.testing.assert_allclose(poses.keypoints[order], places, atol=2)  # px: a cell of the finer map
    np.testing.assert_allclose(poses.scores, 0.9, atol=0.1)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_who_is_found_twice_stays_once_where_the_setting_says_so(mode):
    place = np.random.default_rng(3).uniform((15, 15), (110, 80), (K, 2))
    heat, finer = outputs_of_people(K, place[None], (1.0,))
    heat[K + 5 :] = 4.0  # the last keypoints' tags tell of somebody else
    maps = AECodec(mode=mode).aggregate([Pass((heat, finer))], SIZE, COCO17)
    doubled = AECodec(mode=mode).decode(maps, COCO17)
    assert len(doubled) == 2 and doubled.found.all()  # both are filled in by refine
    once = AECodec(mode=mode, nms_threshold=0.5).decode(maps, COCO17)
    assert len(once) == 1
    best = doubled.sorted()[0]
    np.testing.assert_array_equal(once.keypoints, best.keypoints)
    apart = AECodec(mode=mode, nms_threshold=0.5, refine=False).decode(maps, COCO17)
    assert len(apart) == 2 and not (apart.found[0] & apart.found[1]).any()  # no keypoint is of both


def test_fast_and_exact_find_the_same_people():
    for seed in range(5):
        places = two_people(np.random.default_rng(seed), CROWDPOSE14.num_keypoints)
        outputs = outputs_of_people(CROWDPOSE14.num_keypoints, places, (1.0, 4.0))
        found = [
            codec.decode(codec.aggregate([Pass(outputs)], SIZE, CROWDPOSE14), CROWDPOSE14)
            for codec in (AECodec(), AECodec(mode="fast"))
        ]
        assert len(found[0]) == len(found[1]) == 2
        np.testing.assert_allclose(found[1].keypoints, found[0].keypoints, atol=2)  # px: a cell of the finer map


@pytest.mark.parametrize("ignore_center", [True, False])
def test_the_centre_channel_never_becomes_a_keypoint(ignore_center):
    places = two_people(np.random.default_rng(1), K)
    places = np.concatenate([places, places.mean(axis=1, keepdims=True)], axis=1)
    outputs = outputs_of_people(K + 1, places, (1.0, 4.0))
    codec = AECodec(center_keypoint=True, ignore_center=ignore_center)
    poses = codec.decode(codec.aggregate([Pass(outputs)], SIZE, COCO17), COCO17)
    assert poses.keypoints.shape == (2, K, 2)
    order = np.argsort(poses.keypoints[..., 0].mean(axis=1))
    np.testing.assert_allclose(poses.keypoints[order], places[:, :K], atol=2)


def test_a_centre_alone_is_nobody():
    outputs = outputs_of_people(K + 1, np.full((1, K + 1, 2), 50.0), (1.0,))
    for output in outputs:
        output[:K] = 0
    codec = AECodec(center_keypoint=True, ignore_center=False)
    assert len(codec.decode(codec.aggregate([Pass(outputs)], SIZE, COCO17), COCO17)) == 0


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_refine_fills_in_a_keypoint_with_little_heat_and_keeps_the_score(mode):
    places = two_people(np.random.default_rng(2), K)
    outputs = outputs_of_people(K, places, (1.0, 4.0))
    for output in outputs:
        output[5, :, output.shape[2] // 2 :] *= 0.05  # of the right person: below the threshold
    without, refined = (
        codec.decode(codec.aggregate([Pass(outputs)], SIZE, COCO17), COCO17)
        for codec in (AECodec(mode=mode, refine=False), AECodec(mode=mode))
    )
    right = int(without.keypoints[..., 0].mean(axis=1).argmax())
    np.testing.assert_array_equal(np.argwhere(~without.found), [[right, 5]])
    assert refined.found.all()
    np.testing.assert_allclose(refined.keypoints[right, 5], places[1, 5], atol=3)
    np.testing.assert_array_equal(refined.scores, without.scores)


@pytest.mark.parametrize("num_tags", [1, 2])
@pytest.mark.parametrize("shared_tags", [True, False])
def test_fast_refine_finds_the_best_of_the_cells_that_it_looks_at(num_tags, shared_tags):
    rng = np.random.default_rng(4)
    heatmaps = rng.uniform(-0.1, 0.1, (3, 40, 60)).astype(np.float32)
    tags = rng.normal(0, 2, (num_tags, 1 if shared_tags else 3, 20, 15)).astype(np.float32)
    maps = AEMaps(heatmaps, tags, (120, 80))
    people = rng.uniform(1, 3, (50, 3, 3 + num_tags)).astype(np.float32)
    people[rng.random((50, 3)) < 0.4] = 0
    people = people[people[..., 2].any(axis=1)]
    filled = fill_in_coarsely(maps, people)
    # `fill_in` on maps that consist of these cells alone; float32 sums in another order never change a rounding here
    coarse = AEMaps(np.ascontiguousarray(heatmaps[:, ::2, ::4]), tags, (120, 80))
    wanted = fill_in(coarse, people)
    wanted[..., :2][people[..., 2] == 0] *= (4, 2)
    np.testing.assert_array_equal(filled, wanted)
    assert (filled[..., 2] > 0).sum() > (people[..., 2] > 0).sum()


def test_tags_of_a_coarser_map_are_read_as_if_it_had_been_enlarged():
    rng = np.random.default_rng(3)
    maps = AEMaps(np.zeros((4, 30, 42), np.float32), rng.normal(size=(2, 4, 11, 13)).astype(np.float32), (84, 60))
    keypoints = np.sort(rng.integers(0, 4, 50))
    cells = np.stack([rng.integers(0, 42, 50), rng.integers(0, 30, 50)], axis=1)
    wanted = np.stack([maps.tag_map(k)[:, y, x] for k, (x, y) in zip(keypoints, cells, strict=True)])
    np.testing.assert_allclose(maps.tags_at(keypoints, cells), wanted, atol=1e-6)  # float32 weights
    by_way = dataclasses.replace(maps, tag_step=(26, 22))
    wanted = np.stack([by_way.tag_map(k)[:, y, x] for k, (x, y) in zip(keypoints, cells, strict=True)])
    np.testing.assert_array_equal(by_way.tags_at(keypoints, cells), wanted)
