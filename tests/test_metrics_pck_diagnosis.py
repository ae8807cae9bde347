"""Why PCK and PCKh are what they are."""

import json

import numpy as np
import pytest

import made_people as made
import mpii_files
from litepose.metrics.pck import evaluate_pck
from litepose.metrics.pck_diagnosis import KINDS, diagnose_pck, kinds_of, measured_pck, measured_pckh
from litepose.metrics.pckh import PckhTruth, evaluate_pckh
from litepose.skeleton import COCO17, MPII16

ANKLE, OTHER_ANKLE = MPII16.index("left_ankle"), MPII16.index("right_ankle")
HEAD_PX = 10.0  # so a keypoint is right up to 5 px from its place


def pckh_people(predictions):
    count = len(predictions)
    truth = PckhTruth(np.tile(mpii_files.POSE, (count, 1, 1)), np.ones((count, 16)), np.full(count, HEAD_PX))
    return truth, measured_pckh(truth, np.array(predictions), [f"{n}.jpg" for n in range(count)])


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("right", mpii_files.POSE[ANKLE] + (4, 0)),
        ("near", mpii_files.POSE[ANKLE] + (9, 0)),
        ("inversion", mpii_files.POSE[OTHER_ANKLE] - (4, 0)),
        ("far", mpii_files.POSE[ANKLE] + (11, 0)),
        ("not found", np.array([np.nan, np.nan])),
    ],
)
def test_one_wrong_keypoint_is_named(kind, to):
    points = mpii_files.POSE.copy()
    points[ANKLE] = to
    truth, people = pckh_people([points])
    assert KINDS[kinds_of(people)[0, ANKLE]] == kind
    diagnosis = diagnose_pck(people)
    assert sum(one.right for one in diagnosis.keypoints) == (16 if kind == "right" else 15)
    assert diagnosis.pck == evaluate_pckh(truth, people.predictions).mean


def test_the_shares_are_those_of_pckh_and_the_counts_add_up():
    rng = np.random.default_rng(0)
    points = mpii_files.POSE + rng.normal(0, 6, (30, 16, 2))
    points[rng.random((30, 16)) < 0.1] = np.nan
    truth, people = pckh_people(points)
    diagnosis, stats = diagnose_pck(people), evaluate_pckh(truth, points)
    assert {one.name: one.pck for one in diagnosis.keypoints} == stats.per_keypoint
    assert diagnosis.pck == stats.mean
    assert dict(diagnosis.curve)[0.5] == pytest.approx(stats.mean)
    for one in diagnosis.keypoints:
        assert one.labelled == 30 == one.right + one.near + one.inversion + one.far + one.not_found
    shares = [share for _, share in diagnosis.curve]
    assert shares == sorted(shares) and diagnosis.curve[-1][0] == 1
    json.dumps(diagnosis.to_json())


def test_pck_of_many_people_is_that_of_the_evaluation():
    truth, found = made.random_pictures(np.random.default_rng(3))
    diagnosis, stats = diagnose_pck(measured_pck(truth, found, COCO17)), evaluate_pck(truth, found, COCO17)
    assert diagnosis.pck == stats.mean and diagnosis.num_people == stats.num_people
    assert {one.name: one.pck for one in diagnosis.keypoints} == stats.per_keypoint


def test_slices_and_the_worst_people():
    truth = made.truth(made.true_people(2, id="a"), made.true_people(1, id="b"))
    small = made.truth(
        truth.pictures[0], made.true_people(1, id="c", visible=[[2] * 5 + [2, 0] * 2 + [0] * 3 + [2] + [0] * 4])
    )
    upside_down = made.place(0)[::-1]
    found = {"a": made.found(upside_down), "b": made.found(made.place(0))}
    worst = diagnose_pck(measured_pck(truth, found, COCO17)).worst
    assert [one.id for one in worst] == ["a", "a"]  # the one of b is found exactly
    assert all(one.num_labelled == 17 for one in worst)
    parts = diagnose_pck(measured_pck(small, {"c": made.found(made.place(0))}, COCO17)).slices
    by_name = {one.name: (one.num_people, one.pck) for one in parts if one.kind in ("everybody", "labelled keypoints")}
    assert by_name == {"everybody": (3, 8 / 42), "6 to 10": (1, 1.0), "16 or more": (2, 0.0)}


def test_nobody_measured_gives_no_share():
    diagnosis = diagnose_pck(measured_pck(made.truth(made.true_people(0)), {}, COCO17))
    assert diagnosis.pck == -1 and diagnosis.num_people == 0 and diagnosis.worst == ()
