"""Grouping and the two orders that decide ties, against the libraries whose order they keep."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from litepose.codecs.grouping import Candidates, _accepted, _obvious, _Person, assign, group, keypoint_order
from litepose.codecs.topk import topk_order

SETTINGS = {"max_people": 30, "tag_threshold": 1.0, "use_detection_val": True, "ignore_too_much": False}


@st.composite
def cost_matrices(draw):
    """Matrices with at least as many columns as rows; small whole numbers, so that ties abound."""
    columns = draw(st.integers(1, 9))
    rows = draw(st.integers(1, columns))
    whole = draw(arrays.arrays(np.float64, (rows, columns), elements=st.integers(0, 5).map(float)))
    scores = draw(arrays.arrays(np.float32, (rows, 1), elements=st.floats(0, 1, width=32)))
    return whole * 100 - scores


@given(cost_matrices())
@settings(max_examples=300, deadline=None)
def test_assignment_costs_as_little_as_scipys(costs):
    optimize = pytest.importorskip("scipy.optimize")
    columns = assign(costs)
    assert len(set(columns)) == len(columns)
    best = costs[optimize.linear_sum_assignment(costs)].sum()
    assert costs[np.arange(len(costs)), columns].sum() == pytest.approx(best, abs=1e-9)  # sums in another order


@given(cost_matrices())
@settings(max_examples=300, deadline=None)
def test_ties_are_broken_as_munkres_breaks_them(costs):
    munkres = pytest.importorskip("munkres")
    assert munkres.__version__ == "1.1.4", "another munkres scans in another order"
    wanted = munkres.Munkres().compute(costs.tolist())
    assert assign(costs) == [column for _, column in sorted(wanted)]


@pytest.mark.parametrize("seed", range(4))
def test_ties_of_thirty_people_are_broken_as_munkres_breaks_them(seed):
    munkres = pytest.importorskip("munkres")
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 8, (30, 30)) * 100.0 - rng.random((30, 1)).astype(np.float32)
    costs[:, 24:] = 1e10 if seed % 2 else costs[:, 24:]
    assert assign(costs) == [column for _, column in sorted(munkres.Munkres().compute(costs.tolist()))]


@pytest.mark.parametrize("highest", [1.0, 30.0, 500.0])
def test_what_is_obvious_is_what_the_assignment_gives(highest):
    rng = np.random.default_rng(int(highest))
    easy = leftover = 0
    for _ in range(3000):
        num_people, num_candidates = rng.integers(1, 8, 2)
        means = rng.permutation(8)[:num_people] * 1.1
        tags = (rng.permutation(8) * 1.1 + rng.normal(0, 0.2, 8))[:num_candidates]
        distances = np.abs(tags[:, None] - means)
        scores = -np.sort(-rng.uniform(0.1, highest, (num_candidates, 1)).astype(np.float32), axis=0)
        columns = _obvious(distances, scores, 0.7)
        if columns is not None:
            assert columns == _accepted(distances, np.rint(distances) * 100 - scores, 0.7)
            easy += 1
            leftover += num_candidates > num_people
    assert easy > 100 and (leftover > 50 or highest > 100)


@given(st.integers(1, 40), st.sampled_from([40, 700, 1919, 1920, 3000]), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_equal_values_keep_the_order_of_torch_topk(k, n, levels, seed):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(seed).integers(-levels, levels, n).astype(np.float32)
    values = np.maximum(values, 0) if seed % 2 else values
    assert topk_order(values, k) == torch.topk(torch.from_numpy(values), k).indices.tolist()


@pytest.mark.parametrize("num_tags", [1, 2])
def test_mean_tags_are_the_float32_means_of_numpy(num_tags):
    rng = np.random.default_rng(num_tags)
    for _ in range(50):
        tags = rng.normal(size=(20, num_tags)).astype(np.float32)
        person = _Person()
        for count, tag in enumerate(tags if num_tags > 1 else tags[:, 0], start=1):
            person.put(0, [], tag)
            np.testing.assert_array_equal(np.ravel(person.mean_tag), np.mean(list(tags[:count]), axis=0))


def candidates_of(*rows):
    """rows: keypoint, x, y, score, tag."""
    rows = np.array(sorted(rows, key=lambda row: (row[0], -row[3])), dtype=np.float32).reshape(-1, 5)
    return Candidates(rows[:, 0].astype(np.int64), rows[:, 1:3].astype(np.int64), rows[:, 3], rows[:, 4:])


def test_without_candidates_there_is_nobody():
    assert group(candidates_of(), 3, order=(0, 1, 2), **SETTINGS).shape == (0, 3, 4)


def test_candidates_join_the_person_with_their_tag_and_people_stay_in_founding_order():
    people = group(
        candidates_of((0, 1, 1, 0.9, 5.0), (0, 9, 1, 0.8, 1.0), (1, 2, 2, 0.7, 1.2), (1, 8, 2, 0.9, 4.8)),
        2, order=(0, 1), **SETTINGS,
    )  # fmt: skip
    np.testing.assert_allclose(people[:, :, 0], [[1, 8], [9, 2]])


def test_a_tag_far_from_everybody_founds_a_person_even_beyond_the_cap():
    rows = [(0, person, 0, 0.9 - 0.01 * person, 3.0 * person) for person in range(3)]
    crowd = candidates_of(*rows, (1, 50, 0, 0.9, 100.0))
    assert len(group(crowd, 2, order=(0, 1), **{**SETTINGS, "max_people": 2})) == 4
    assert len(group(crowd, 2, order=(0, 1), **{**SETTINGS, "max_people": 2, "ignore_too_much": True})) == 3


def test_equal_tags_are_one_person_and_the_last_one_counts():
    people = group(candidates_of((0, 1, 1, 0.9, 2.0), (0, 7, 7, 0.8, 2.0)), 1, order=(0,), **SETTINGS)
    np.testing.assert_allclose(people, [[[7, 7, 0.8, 2.0]]])


def test_distance_at_the_threshold_is_too_far():
    people = group(candidates_of((0, 1, 1, 0.9, 0.0), (1, 2, 2, 0.9, 1.0)), 2, order=(0, 1), **SETTINGS)
    assert len(people) == 2


def test_keypoints_are_grouped_from_the_head_down_and_every_one_once():
    assert keypoint_order(14) == (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13)
    for count in (1, 14, 16, 17, 18, 21):
        assert sorted(keypoint_order(count)) == list(range(count))
