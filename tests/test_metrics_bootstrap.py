"""Comparing two evaluations picture by picture: AP of weighted pictures, intervals, what a report carries for it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litepose.errors import AnnotationError, SettingError
from litepose.metrics.bootstrap import Measures, compare, resampled
from litepose.metrics.matching import coco_tables, in_order, match
from litepose.metrics.per_picture import Outcomes, PerPicture, Sums, oks_sums
from litepose.metrics.truth import PictureTruth, Truth
from litepose.poses import Poses
from litepose.skeleton import COCO17

pytest.importorskip("hotcoco")

SIGMAS = COCO17.oks_sigmas
MEASURES = ("AP", "AP50", "AP75", "AR")


def draw(
    seed: int, *, pictures: int = 6, noise: float | None = None, ties: bool = True
) -> tuple[Truth, dict[int, Poses]]:
    """People near the true ones, twice, missed and false, crowds; with ties, many equal scores."""
    rng = np.random.default_rng(seed)
    truth, found = [], {}
    for key in (rng.permutation(100)[:pictures] + 1).tolist():
        people = int(rng.integers(0, 4))
        keypoints = np.zeros((people, 17, 3))
        sides = rng.uniform(30, 200, people)
        keypoints[..., :2] = (
            rng.uniform(0, 300, (people, 1, 2)) + rng.uniform(0, 1, (people, 17, 2)) * sides[:, None, None]
        )
        keypoints[..., 2] = rng.choice([0, 2], (people, 17), p=[0.3, 0.7])
        keypoints[:, [5, 12], 2] = 2
        crowd = rng.random(people) < 0.15
        boxes = np.column_stack([keypoints[..., :2].min(axis=1), sides, sides]) if people else np.zeros((0, 4))
        truth.append(PictureTruth(key, keypoints, boxes, sides**2 / 2, crowd))
        near = np.repeat(np.arange(people), rng.integers(0, 3, people))
        spread = rng.choice([0.0, 0.02, 0.08, 0.3], len(near)) if noise is None else np.full(len(near), noise)
        places = keypoints[near, :, :2] + (spread * sides[near])[:, None, None] * rng.normal(0, 1, (len(near), 17, 2))
        places = np.concatenate([places, rng.uniform(0, 300, (int(rng.integers(0, 3)), 17, 2))])
        scores = rng.integers(1, 6, len(places)) / 8 if ties else rng.random(len(places))
        found[key] = Poses(COCO17, places, np.ones(places.shape[:2]), scores)
    return Truth(COCO17, tuple(truth)), found


def measured(truth: Truth, found: dict[int, Poses]) -> PerPicture:
    ids = tuple(picture.id for picture in in_order(truth))
    outcomes = Outcomes.from_matches(match(truth, found, SIGMAS))
    return PerPicture(ids, outcomes, {"OKS": oks_sums(truth, found, COCO17)})


def values_of(pictures: PerPicture, weights: list[int] | None = None) -> dict[str, float]:
    given = np.ones(len(pictures)) if weights is None else np.array(weights)
    return {name: float(values[0]) for name, values in Measures(pictures)(given[None].astype(np.int32)).items()}


def official(truth: Truth, found: dict[int, Poses]) -> list[float]:
    tables = coco_tables(truth, found, SIGMAS)
    return [tables.AP(), tables.AP(threshold=0), tables.AP(threshold=5), tables.AR()]


def through_json(pictures: PerPicture) -> PerPicture:
    return PerPicture.from_json(json.loads(json.dumps(pictures.to_json())))


def shares(hits: np.ndarray, of: int = 20) -> PerPicture:
    return PerPicture(tuple(range(len(hits))), None, {"PCK": Sums(np.asarray(hits, float), np.full(len(hits), of))})


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), pictures=st.integers(1, 8))
def test_ap_from_what_a_report_carries_is_the_official_one_to_the_last_bit(seed, pictures):
    truth, found = draw(seed, pictures=pictures)
    values = values_of(through_json(measured(truth, found)))
    wanted = [np.nan if value == -1 else value for value in official(truth, found)]
    np.testing.assert_array_equal([values[name] for name in MEASURES], wanted)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_weight_counts_as_so_many_copies_of_the_picture(seed):
    truth, found = draw(seed, pictures=5, ties=False)  # whose order among copies would be anybody's choice
    weights = np.random.default_rng(seed + 1).integers(0, 4, 5).tolist()
    copies, found_again = [], {}
    for picture, weight in zip(in_order(truth), weights, strict=True):
        for _ in range(weight):
            number = len(copies) + 1
            one = PictureTruth(number, picture.keypoints, picture.boxes_xywh, picture.areas, picture.crowd)
            copies.append(one)
            found_again[number] = found[picture.id]
    values = values_of(measured(truth, found), weights)
    repeated = official(Truth(COCO17, tuple(copies)), found_again) if copies else [-1] * 4
    np.testing.assert_array_equal(
        [values[name] for name in MEASURES], [np.nan if value == -1 else value for value in repeated]
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_ap_of_some_pictures_is_that_of_an_evaluation_of_these(seed):
    truth, found = draw(seed, pictures=7)
    ids = [picture.id for picture in in_order(truth)][1::2]
    values = values_of(measured(truth, found).only(ids))
    wanted = official(truth.only(ids), {key: found[key] for key in ids})
    np.testing.assert_array_equal(
        [values[name] for name in MEASURES], [np.nan if value == -1 else value for value in wanted]
    )


def test_many_weights_at_once_give_what_each_gives_alone():
    pictures = measured(*draw(4, pictures=30))
    weights = np.concatenate(list(resampled(30, 40, 0, at_once=40)))
    together = Measures(pictures)(weights)
    for row, one in enumerate(weights):
        alone = values_of(pictures, one.tolist())
        assert alone.pop("OKS") == pytest.approx(together["OKS"][row], rel=1e-12)  # summed in another order
        assert alone == {name: together[name][row] for name in MEASURES}


def test_mean_oks_is_1_for_the_truth_itself_0_for_nobody_and_known_in_between():
    truth, _ = draw(3)
    itself = {one.id: Poses(COCO17, one.keypoints[..., :2], np.ones(one.labelled.shape), np.ones(len(one.areas)))
              for one in truth.pictures}  # fmt: skip
    sums = oks_sums(truth, itself, COCO17)
    np.testing.assert_allclose(sums.sum, sums.of, rtol=1e-6)  # poses are float32
    assert sums.of.sum() == sum(picture.scored.sum() for picture in truth.pictures) > 0
    assert oks_sums(truth, {}, COCO17).sum.sum() == 0
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, 0] = 100, 100, 2  # the nose alone, sigma 0.026; moved by d: exp(-d^2 / (2 area (2 sigma)^2))
    one = Truth(
        COCO17, (PictureTruth(1, keypoints, np.array([[0, 0, 50, 50.0]]), np.array([2500.0]), np.zeros(1, bool)),)
    )
    far_and_near = np.zeros((2, 17, 2)) + 100
    far_and_near[:, 0, 0] += 30, 2
    found = {1: Poses(COCO17, far_and_near, np.ones((2, 17)), np.ones(2))}
    assert oks_sums(one, found, COCO17).sum[0] == pytest.approx(np.exp(-4 / (2 * 2500 * 0.052**2)))


def test_identical_evaluations_have_no_difference():
    pictures = measured(*draw(1, pictures=40))
    for one in compare(pictures, through_json(pictures), resamples=200):
        assert one.low <= 0 <= one.high
        assert one.difference == pytest.approx(0, abs=1e-6)  # sums are written with six digits
        assert not one.is_real
    (ap, *_) = compare(pictures, pictures, resamples=200)
    assert (ap.difference, ap.low, ap.high, ap.p) == (0, 0, 0, 1)


def test_a_model_that_is_better_in_every_picture_is_better():
    truth, worse = draw(2, pictures=40, noise=0.12)
    _, better = draw(2, pictures=40, noise=0.02)
    differences = {one.measure: one for one in compare(measured(truth, worse), measured(truth, better))}
    assert set(differences) == {*MEASURES, "OKS"}
    for one in differences.values():
        assert one.is_real
        assert 0 < one.low < one.difference < one.high
        assert one.p == pytest.approx(2 / 1001)
    turned = {one.measure: one for one in compare(measured(truth, better), measured(truth, worse))}
    assert turned["AP"].difference == -differences["AP"].difference
    assert turned["AP"].high == pytest.approx(-differences["AP"].low)
    assert turned["AP"].is_real


def test_the_same_seed_draws_the_same_whatever_is_drawn_at_once_and_another_seed_others():
    at_once = [np.concatenate(list(resampled(17, 30, 5, at_once=size))) for size in (1, 7, 30, 1000)]
    for draws in at_once:
        np.testing.assert_array_equal(draws, at_once[0])
    assert (at_once[0].sum(axis=1) == 17).all()
    pictures = measured(*draw(1, pictures=20)), measured(draw(1, pictures=20)[0], draw(1, pictures=20, noise=0.05)[1])
    first, again, other = (compare(*pictures, resamples=100, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_intervals_hold_the_true_difference_about_as_often_as_they_say():
    """200 made-up pairs of models, right with chance 0.60 and 0.63 a keypoint, pictures of unequal difficulty."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        difficulty = rng.normal(0, 0.1, 120)
        pair = [shares(rng.binomial(20, chance + difficulty.clip(-0.3, 0.3))) for chance in (0.60, 0.63)]
        (one,) = compare(*pair, resamples=300, seed=seed)
        held += one.low <= 0.03 <= one.high
    assert 180 <= held <= 198  # 190 expected; a standard deviation is 3


def test_pairing_makes_the_interval_many_times_narrower():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 18, 150)  # pictures differ much, models little
    second = first + rng.integers(0, 3, 150)
    (paired,) = compare(shares(first), shares(second))
    (unpaired,) = compare(shares(first), shares(rng.permutation(second)))
    assert unpaired.difference == pytest.approx(paired.difference)
    assert paired.is_real
    assert not unpaired.is_real
    assert unpaired.high - unpaired.low > 4 * (paired.high - paired.low)


def test_the_interval_of_a_mean_is_the_textbook_one():
    rng = np.random.default_rng(1)
    gained = rng.integers(-3, 6, 400)
    (one,) = compare(shares(np.full(400, 10)), shares(10 + gained), resamples=4000)
    error = gained.std() / 20 / np.sqrt(400)
    middle = gained.mean() / 20
    assert one.low == pytest.approx(middle - 1.96 * error, abs=0.1 * error)
    assert one.high == pytest.approx(middle + 1.96 * error, abs=0.1 * error)
    (narrower,) = compare(shares(np.full(400, 10)), shares(10 + gained), resamples=4000, level=0.5)
    assert narrower.high - narrower.low == pytest.approx(2 * 0.6745 * error, rel=0.1)


def test_resamples_without_anybody_do_not_count():
    nobody = PerPicture((1, 2), None, {"PCK": Sums(np.array([4.0, 0]), np.array([8.0, 0]))})
    better = PerPicture((1, 2), None, {"PCK": Sums(np.array([6.0, 0]), np.array([8.0, 0]))})
    (one,) = compare(nobody, better, resamples=100)
    assert (one.low, one.high) == (0.25, 0.25)


def test_progress_counts_the_resamples():
    seen = []
    compare(shares(np.arange(9)), shares(np.arange(9)), resamples=50, progress=lambda *now: seen.append(now))
    assert seen[-1] == (50, 50)


def test_what_cannot_be_compared_is_explained():
    with pytest.raises(AnnotationError, match="3 and 4 pictures"):
        compare(shares(np.arange(3)), shares(np.arange(4)))
    with pytest.raises(AnnotationError, match="no measure has a value in both"):
        compare(shares(np.arange(3), of=0), shares(np.arange(3)))
    with pytest.raises(SettingError, match="0 resamples"):
        compare(shares(np.arange(3)), shares(np.arange(3)), resamples=0)
    with pytest.raises(SettingError, match="level 1"):
        compare(shares(np.arange(3)), shares(np.arange(3)), level=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("ids"),
        lambda data: data["ids"].append(5000),
        lambda data: data["ids"].__setitem__(0, data["ids"][1]),
        lambda data: data["AP"]["scores"].pop(),
        lambda data: data["AP"]["scores"].__setitem__(0, "x"),
        lambda data: data["AP"]["right"].__setitem__(0, 1024),
        lambda data: data["AP"]["right"].__setitem__(0, -1),
        lambda data: data["AP"]["ignored"].pop(),
        lambda data: data["AP"]["num_found"].__setitem__(0, 10**30),
        lambda data: data["AP"].__setitem__("thresholds", [0.5]),
        lambda data: data["OKS"]["of"].pop(),
        lambda data: data.__setitem__("PCK", 3),
        lambda data: data.__setitem__("AP", [3]),
    ],
)
def test_a_section_with_a_broken_part_is_explained(change):
    data = measured(*draw(1, pictures=8)).to_json()
    change(data)
    with pytest.raises(AnnotationError, match=r"per_picture.*Evaluate again"):
        PerPicture.from_json(data)
