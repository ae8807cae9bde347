"""The compiled decoder finds what numpy finds: its loops as Python runs them, and compiled where numba is installed."""

from __future__ import annotations

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from litepose.codecs import ae_assignment, ae_compiled
from litepose.codecs.ae import AECodec
from litepose.codecs.base import Pass
from litepose.codecs.grouping import assign, group
from litepose.errors import MissingPackageError, ModelError
from litepose.skeleton import CROWDPOSE14

K, SIZE = CROWDPOSE14.num_keypoints, (64, 48)
HAS_NUMBA = importlib.util.find_spec("numba") is not None
NAMES = ("merge_doubled", "find_peaks", "read_tags", "group", "finish")


@pytest.fixture(params=["python", pytest.param("numba", marks=pytest.mark.slow)])
def codec(request, monkeypatch):
    if request.param == "numba" and not HAS_NUMBA:
        pytest.skip("numba is not installed")
    if request.param == "python":
        plain = SimpleNamespace(**{name: getattr(ae_compiled, name) for name in NAMES})
        monkeypatch.setattr(ae_compiled, "loops", lambda: plain)
        monkeypatch.setattr(ae_compiled, "check_installed", lambda: None)
    return AECodec(mode="compiled")


def outputs_of(count, seed, *, apart=2.0, hidden=0.2):
    """Return (2 K, 12, 16) and (K, 24, 32) maps with blobs for `count` people, whose tags are `apart` from another."""
    rng = np.random.default_rng(seed)
    width, height = SIZE[0] // 4, SIZE[1] // 4
    coarse = rng.normal(0, 0.02, (2 * K, height, width)).astype(np.float32)
    fine = rng.normal(0, 0.02, (K, 2 * height, 2 * width)).astype(np.float32)
    for person in range(count):
        for keypoint in np.flatnonzero(rng.random(K) > hidden):
            place, heat = rng.uniform(0, (width, height)), rng.uniform(0.3, 0.9)
            for maps, scale in ((coarse[keypoint], 1), (fine[keypoint], 2)):
                y, x = np.mgrid[: maps.shape[0], : maps.shape[1]]
                blob = heat * np.exp(-((x - scale * place[0]) ** 2 + (y - scale * place[1]) ** 2) / 3)
                np.maximum(maps, blob, out=maps, casting="same_kind")
            x, y = place.astype(int)
            coarse[K + keypoint, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = apart * person
    return coarse, fine


def decoded(codec, *passes):
    maps = codec.aggregate(passes, SIZE, CROWDPOSE14)
    poses = codec.decode(maps, CROWDPOSE14)
    return maps, poses


def assert_same_people(codec, *passes):
    (wanted_maps, wanted), (maps, poses) = (
        decoded(one, *passes) for one in (dataclasses.replace(codec, mode="fast"), codec)
    )
    np.testing.assert_allclose(maps.heatmaps, wanted_maps.heatmaps, rtol=0, atol=1e-6)  # OpenCVs round differently
    np.testing.assert_array_equal(poses.keypoints, wanted.keypoints)
    np.testing.assert_allclose(poses.keypoint_scores, wanted.keypoint_scores, rtol=0, atol=1e-6)
    np.testing.assert_allclose(poses.scores, wanted.scores, rtol=0, atol=1e-6)
    return poses


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_the_people_are_those_of_the_fast_mode(codec, count, seed):
    assert len(assert_same_people(codec, Pass(outputs_of(count, seed)))) >= count


@pytest.mark.parametrize("settings", [{"adjust": False}, {"refine": False}, {"max_people": 1}, {"tag_threshold": 0.01},
                                      {"nms_kernel": 3}, {"ignore_too_much": True}, {"use_detection_val": False},
                                      {"detection_threshold": 0.0}])  # fmt: skip
def test_every_setting_is_heeded(codec, settings):
    assert_same_people(dataclasses.replace(codec, **settings), Pass(outputs_of(3, 7)))


def test_mirrored_passes_and_crowds_with_close_tags_are_the_same(codec):
    plain = outputs_of(3, 1)
    mirrored = tuple(np.ascontiguousarray(maps[:, :, ::-1]) for maps in plain)
    assert_same_people(codec, Pass(plain), Pass(mirrored, mirrored=True))
    assert_same_people(codec, Pass(outputs_of(6, 2, apart=0.3)))


def test_disputed_candidates_are_assigned_as_the_fast_mode_does(codec):
    maps = codec.aggregate([Pass(outputs_of(6, 2, apart=0.3))], SIZE, CROWDPOSE14)
    found = ae_compiled.match(maps, range(K), kernel=5, above=0.1, max_people=30, tag_threshold=1.0)
    wanted = group(
        codec.candidates(maps), K, order=range(K), max_people=30, tag_threshold=1.0, use_detection_val=True,
        ignore_too_much=False,
    )  # fmt: skip
    np.testing.assert_array_equal(found, wanted)


def test_the_assignment_is_that_of_grouping_with_ties():
    rng = np.random.default_rng(5)
    for _ in range(300):
        rows, columns = np.sort(rng.integers(1, 9, 2))
        costs = 100.0 * rng.integers(0, 3, (rows, columns)) - rng.integers(0, 3, (rows, 1)) / 4
        square = np.zeros((columns, columns))
        square[:rows] = costs
        stars = np.empty(columns, dtype=np.int64)
        ae_assignment.assign(square, stars)
        assert stars[:rows].tolist() == assign(costs)


def test_equal_peaks_come_in_the_order_of_the_fast_mode(codec):
    coarse, fine = outputs_of(3, 4)
    assert_same_people(codec, Pass((np.round(coarse * 4) / 4, np.round(fine * 4) / 4)))


def test_nobody_is_found_in_empty_maps_and_maps_that_are_not_finite_are_refused(codec):
    coarse, fine = (np.zeros_like(maps) for maps in outputs_of(0, 0))
    assert len(assert_same_people(codec, Pass((coarse, fine)))) == 0
    fine[0, 5, 5] = np.inf
    with pytest.raises(ModelError, match="heatmaps"):
        decoded(codec, Pass((coarse, fine)))
    fine[0, 5, 5], coarse[K:] = 1, np.nan
    with pytest.raises(ModelError, match="tags"):
        decoded(codec, Pass((coarse, fine)))


def test_a_sum_is_added_in_numpys_order():
    rng = np.random.default_rng(0)
    for count in range(1, 40):
        values = rng.normal(size=count).astype(np.float32)
        assert ae_compiled._sum_of(values) == np.add.reduce(values)


def test_without_numba_the_mode_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"litepose\[fast\]"):
        AECodec(mode="compiled")
