"""Why AP is what it is: each error by its name, what it costs, for whom."""

import json

import numpy as np
import pytest

import made_people as made
from litepose.errors import AnnotationError
from litepose.metrics.diagnosis import diagnose
from litepose.metrics.keypoint_errors import KINDS, SAME_PERSON, find_errors
from litepose.metrics.matching import coco_tables, match
from litepose.metrics.pairing import pair_people, similarities
from litepose.metrics.slices import ALL
from litepose.poses import Poses
from litepose.skeleton import COCO17, CROWDPOSE14

pytest.importorskip("hotcoco")

WRIST = COCO17.index("left_wrist")
RIGHT_WRIST = COCO17.index("right_wrist")
CAUSES = ("jitter", "inversion", "swap", "miss", "false people", "missed people", "score order")


def diagnosed(truth, found, **options):
    return diagnose(truth, found, COCO17, **options)


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("good", made.place(0)[WRIST] + [2.9, 0]),
        ("jitter", made.place(0)[WRIST] + [5, 0]),
        ("inversion", made.place(0)[RIGHT_WRIST] + [2, 0]),
        ("swap", made.place(1)[WRIST] + [2, 0]),
        ("swap", made.place(1)[RIGHT_WRIST] - [0, 2]),
        ("miss", made.place(0)[WRIST] + [30, 0]),
        ("miss", made.place(0)[COCO17.index("nose")]),
    ],
)
def test_one_wrong_keypoint_is_named_and_nothing_else(kind, to):
    found = {1: made.found(made.moved(made.place(0), "left_wrist", to=to), made.place(1))}
    diagnosis = diagnosed(made.truth(made.true_people(2)), found)
    counts = {name: {one.name: getattr(one.counts, name) for one in diagnosis.keypoints} for name in KINDS}
    wrong = {name: sum(of.values()) for name, of in counts.items()}
    assert counts[kind]["left_wrist"] == (2 if kind == "good" else 1)
    assert wrong == {**dict.fromkeys(KINDS, 0), "good": 33, kind: 34 if kind == "good" else 1}


def test_a_keypoint_that_mirrors_to_itself_is_never_inverted_and_an_unlabelled_one_never_wrong():
    visible = np.full((1, 17), 2)
    visible[0, WRIST] = 0
    wild = made.moved(made.moved(made.place(), "left_wrist", by=(80, 80)), "nose", by=(1.9, 0))
    (errors,) = find_errors(made.truth(made.true_people(visible=visible)), {1: made.found(wild)})
    assert KINDS[errors.kinds[0, 0]] == "jitter"
    assert errors.kinds[0, WRIST] == -1


def test_a_keypoint_on_an_unlabelled_mirror_is_a_miss():
    visible = np.full((1, 17), 2)
    visible[0, RIGHT_WRIST] = 0
    crossed = made.moved(made.place(), "left_wrist", to=made.place()[RIGHT_WRIST])
    (errors,) = find_errors(made.truth(made.true_people(visible=visible)), {1: made.found(crossed)})
    assert KINDS[errors.kinds[0, WRIST]] == "miss"


def test_people_are_counted_as_found_missed_false_and_ignored():
    truth = made.truth(made.true_people(4, crowd=[0, 0, 0, 1]))
    nowhere, again, on_a_crowd = made.place(-1), made.place(0) + 1, made.place(3)
    people = diagnosed(truth, {1: made.found(made.place(0), made.place(1), again, nowhere, on_a_crowd)}).people
    assert (people.true, people.found) == (3, 5)
    assert (people.paired, people.missed, people.false, people.ignored) == (2, 1, 2, 1)


def test_who_is_not_chosen_is_neither_missed_nor_are_those_found_on_him_false():
    truth = made.truth(made.true_people(2, chosen=[True, False]))
    alone = diagnosed(truth, {1: made.found(made.place(0))})
    both = diagnosed(truth, {1: made.found(made.place(1), made.place(0))})
    assert alone.people.missed == both.people.missed == 0
    assert (both.people.false, both.people.ignored) == (0, 1)
    assert pytest.approx((1, 1)) == (alone.losses.AP, both.losses.AP)


@pytest.mark.parametrize("likeness", [0.7, 0.6])
def test_where_everything_is_jitter_correcting_it_gives_back_all_that_is_lost(likeness):
    pictures = [made.true_people(2, id=number) for number in (1, 2)]
    shaken = made.found(*(made.at_similarity(made.place(n), likeness) for n in (0, 1)))
    losses = diagnosed(made.truth(*pictures), {1: shaken, 2: shaken}).losses
    assert pytest.approx({0.7: 0.4, 0.6: 0.2}[likeness], abs=0.11) == losses.AP  # a threshold may round either way
    assert pytest.approx(1 - losses.AP, abs=1e-9) == losses.causes["jitter"].AP
    assert losses.causes["jitter"].AP50 == 1 - losses.AP50 == 0
    others = [losses.causes[name].AP for name in CAUSES if name not in ("jitter", "score order")]
    assert others == pytest.approx([0] * len(others), abs=1e-9)
    assert losses.everything.AP == losses.all_keypoints.AP == losses.causes["jitter"].AP


def only(cause):
    """A truth and people found that suffer from one cause only."""
    mirrored, elsewhere = made.place(0)[COCO17.mirror_indices], made.place(0, by=(0, 40))
    legs = made.place(0).copy()
    legs[11:] = made.place(1)[11:]
    people = {
        "inversion": [mirrored, made.place(1)],
        "swap": [legs, made.place(1)],
        "miss": [np.concatenate([made.place(0)[:9], elsewhere[9:]]), made.place(1)],
        "false people": [made.place(7), made.place(0), made.place(1)],
        "missed people": [made.place(0)],
    }[cause]
    return made.truth(made.true_people(2)), {1: made.found(*people)}


@pytest.mark.parametrize("cause", ["inversion", "swap", "miss", "false people", "missed people"])
def test_correcting_the_only_cause_gives_back_all_and_correcting_others_nothing(cause):
    losses = diagnosed(*only(cause)).losses
    assert losses.AP < 1
    assert pytest.approx(1 - losses.AP, abs=1e-9) == losses.causes[cause].AP
    assert pytest.approx(1 - losses.AP50, abs=1e-9) == losses.causes[cause].AP50
    rest = set(CAUSES) - {cause, "score order"}
    assert {name: losses.causes[name].AP for name in rest} == pytest.approx(dict.fromkeys(rest, 0), abs=1e-9)
    assert pytest.approx(1 - losses.AP, abs=1e-9) == losses.everything.AP


def test_a_perfect_ranking_puts_false_people_last():
    truth = made.truth(made.true_people(1))
    found = {1: made.found(made.place(5), made.place(0), made.place(0) + 1)}
    losses = diagnosed(truth, found).losses
    assert pytest.approx(0.5) == losses.AP
    assert pytest.approx(0.5) == losses.causes["score order"].AP


def test_of_two_found_on_one_person_a_perfect_ranking_prefers_the_better_one():
    truth = made.truth(made.true_people(1))
    worse, better = made.at_similarity(made.place(0), 0.6), made.place(0)
    losses = diagnosed(truth, {1: made.found(worse, better)}).losses
    assert pytest.approx(0.65, abs=0.06) == losses.AP  # the worse one is right up to 0.6, then the better one's 1/2
    assert pytest.approx(1) == losses.AP + losses.causes["score order"].AP


@pytest.mark.parametrize("seed", range(6))
def test_with_exact_good_keypoints_correcting_everything_gives_an_AP_of_1(seed):
    rng = np.random.default_rng(seed)
    pictures = [made.true_people(3, id=number) for number in range(4)]
    found = {}
    for number in range(4):
        people = []
        for n in rng.permutation(3)[: rng.integers(1, 4)]:
            points = made.place(n)
            for k in np.flatnonzero(rng.random(17) < 0.4):
                where = [
                    made.place(n)[k] + [0, 25],
                    made.place(n)[COCO17.mirror_indices[k]],
                    made.place((n + 1) % 3)[k],
                ]
                points = made.moved(points, COCO17.keypoints[k], to=where[rng.integers(3)])
            people.append(points)
        people += [made.place(9)] * int(rng.integers(0, 2))
        found[number] = made.found(*people, scores=rng.random(len(people)))
    losses = diagnosed(made.truth(*pictures), found).losses
    assert losses.AP < 0.9
    assert pytest.approx(1, abs=1e-9) == losses.AP + losses.everything.AP
    assert pytest.approx(1, abs=1e-9) == losses.AP50 + losses.everything.AP50


@pytest.mark.parametrize("seed", range(8))
def test_counts_add_up_and_the_AP_is_the_evaluations_own(seed):
    truth, found = made.random_pictures(np.random.default_rng(seed))
    diagnosis, people = diagnosed(truth, found), diagnosed(truth, found).people
    scored = [(picture, picture.scored) for picture in truth.pictures]
    labelled = sum(picture.labelled[mask].sum(axis=0) for picture, mask in scored)
    for one, count in zip(diagnosis.keypoints, labelled, strict=True):
        values = one.counts
        assert values.labelled == count
        assert sum(getattr(values, kind) for kind in KINDS) + values.person_missed == count
    assert people.true == people.paired + people.missed == sum(int(mask.sum()) for _, mask in scored)
    assert people.found == people.paired + people.false + people.ignored == sum(map(len, found.values()))
    assert coco_tables(truth, found, COCO17.oks_sigmas).AP() == diagnosis.losses.AP
    assert sum(diagnosis.curves.best_oks) == people.true
    assert sum(diagnosis.curves.surplus.values()) == len(truth)
    for kind in {one.kind for one in diagnosis.slices} - {ALL, "torso"}:
        assert sum(one.num_people for one in diagnosis.slices if one.kind == kind) == people.true, kind
    assert json.loads(json.dumps(diagnosis.to_json()))["people"]["true"] == people.true


@pytest.mark.parametrize("seed", range(10))
def test_pairing_at_half_is_the_evaluations_matching(seed):
    truth, found = made.random_pictures(np.random.default_rng(seed))
    theirs, ours = match(truth, found, COCO17.oks_sigmas), pair_people(truth, found, threshold=0.5)
    assert [one.truth.id for one in ours] == list(theirs.ids)
    for number, one in enumerate(ours):
        mine = theirs.picture == number
        assert one.rows.tolist() == theirs.person[mine].tolist()
        assert one.partner.tolist() == theirs.truth[mine, 0].tolist()
        assert one.ignored.tolist() == theirs.ignored[mine, 0].tolist()


def test_only_the_twenty_best_people_of_a_picture_are_looked_at():
    crowd = [made.place(50 + n) for n in range(20)]
    diagnosis = diagnosed(made.truth(made.true_people(1)), {1: made.found(*crowd, made.place(0))})
    assert (diagnosis.people.found, diagnosis.people.missed) == (20, 1)


def test_near_a_person_without_keypoints_its_box_counts_three_times_as_wide():
    truth = made.true_people(1, visible=0)
    poses = made.found(made.place(0, by=(35, 0)), made.place(0, by=(400, 0)))
    assert similarities(poses, truth)[:, 0] == pytest.approx([1, 0])


def test_the_own_AP_of_a_part_sees_that_part_only():
    wrong = made.moved(made.moved(made.place(), "left_wrist", by=(60, 60)), "right_wrist", by=(-60, 60))
    parts = {
        one.part: one.part_AP for one in diagnosed(made.truth(made.true_people(1)), {1: made.found(wrong)}).keypoints
    }
    assert parts == pytest.approx({name: (0 if name == "wrist" else 1) for name in parts})


def test_people_of_a_slice_count_alone_and_false_people_in_none():
    picture = made.true_people(2, areas=[2000, 20000])
    found = {1: made.found(made.place(0), made.place(8))}
    parts = {(one.kind, one.name): one for one in diagnosed(made.truth(picture), found).slices}
    medium, large = (
        parts["size (square root of the area)", name] for name in ("medium: 32 to 96 px", "large: from 96 px")
    )
    assert (medium.num_people, medium.AP, medium.oks, medium.missed) == pytest.approx((1, 1, 1, 0))
    assert (large.num_people, large.AP, large.AR, large.oks, large.missed) == (1, 0, 0, 0, 1)
    assert pytest.approx(0.5, abs=0.01) == parts[ALL, ALL].AP  # 51 of 101 steps of recall


def test_slices_sort_people_by_what_they_say():
    visible = np.full((3, 17), 2)
    visible[0, :13], visible[1, :2] = 0, 1
    picture = made.true_people(3, visible=visible)
    picture.keypoints[2, :, 1] = 100 - picture.keypoints[2, :, 1]  # head down
    picture.boxes_xywh[1, 0] = picture.boxes_xywh[0, 0] + 10  # IoU 0.6
    sizes, levels = {1: (2000, 96)}, {1: "hard"}
    found = {1: made.found(made.place(0))}
    parts = {(one.kind.split(" (")[0], one.name): one.num_people
             for one in diagnosed(made.truth(picture, made.true_people(1, id=2)), found,
                                  sizes={**sizes, 2: (2000, 2000)}, levels={**levels, 2: "easy"}).slices}  # fmt: skip
    assert parts["labelled keypoints", "1 to 5"] == 1 and parts["labelled keypoints", "16 or more"] == 3
    assert parts["hidden keypoints", "up to a third"] == 1 and parts["hidden keypoints", "none"] == 3
    assert parts["torso", "head down: from 135"] == 1 and parts["torso", "upright: within 45 degrees"] == 2
    assert parts["crowding", "IoU above 0.2"] == 2 and parts["crowding", "touches nobody's box"] == 2
    assert parts["picture border", "cut off by its border"] == 3 and parts["picture border", "inside the picture"] == 1
    assert parts["CrowdPose's level of the picture", "hard"] == 3


def test_a_sorting_that_knows_one_kind_only_is_left_out():
    kinds = {one.kind for one in diagnosed(made.truth(made.true_people(2)), {1: made.found(made.place(0))}).slices}
    assert kinds == {ALL}


def test_the_best_threshold_and_the_worth_of_scores():
    truth = made.truth(made.true_people(2))
    found = {1: made.found(made.place(0), made.place(1), made.place(5), made.place(6), scores=[0.9, 0.6, 0.5, 0.4])}
    curves = diagnosed(truth, found).curves
    assert (curves.threshold.score, curves.threshold.precision, curves.threshold.recall) == (pytest.approx(0.6), 1, 1)
    assert [one.precision for one in curves.scores] == [0, 0, 1, 1]
    assert curves.surplus == {0: 1}
    assert curves.best_oks[-1] == 2 and curves.precision_at_50 == pytest.approx([1.0] * 101)


def test_the_worst_pictures_are_named_by_what_is_wrong_and_none_comes_twice():
    pictures = [made.true_people(3, id="missed"), made.true_people(1, id="false"), made.true_people(1, id="inverted"),
                made.true_people(1, id="fine")]  # fmt: skip
    mirrored = made.place(0)[COCO17.mirror_indices]
    found = {
        "false": made.found(made.place(0), *(made.place(5 + n) for n in range(2)), scores=[0.9, 0.95, 0.95]),
        "inverted": made.found(mirrored, scores=[0.99]),
        "fine": made.found(made.place(0), scores=[0.9]),
    }
    worst = diagnosed(made.truth(*pictures), found).worst
    assert [one.id for one in worst] == ["missed", "false", "inverted"]
    lost = {one.id: one.lost for one in worst}
    assert (lost["missed"], lost["false"]) == (3, 2) and 0 < lost["inverted"] < 1
    by_id = {one.id: one for one in worst}
    assert (by_id["missed"].num_missed, by_id["false"].num_false, by_id["inverted"].num_inverted) == (3, 2, 16)


def test_where_nobody_is_or_nobody_is_found_there_are_numbers_all_the_same():
    nobody = diagnosed(made.truth(made.true_people(0)), {1: made.found(made.place(0))})
    assert nobody.losses.AP == -1 and nobody.people.false == 1 and nobody.worst
    unseen = diagnosed(made.truth(made.true_people(2)), {})
    assert unseen.losses.AP == 0 and unseen.losses.causes["missed people"].AP == 1
    assert unseen.curves.threshold is None and unseen.people.missed == 2
    json.dumps([nobody.to_json(), unseen.to_json()])


def test_a_skeleton_without_a_torso_diagonal_has_no_pck_and_people_of_unknown_pictures_are_an_error():
    assert CROWDPOSE14.num_keypoints == 14
    with pytest.raises(AnnotationError, match="does not list"):
        diagnosed(made.truth(made.true_people(1)), {99: made.found(made.place(0))})


def test_somebody_less_alike_than_a_tenth_is_nobody():
    truth = made.truth(made.true_people(1))
    for likeness, missed in ((1.2 * SAME_PERSON, 0), (0.8 * SAME_PERSON, 1)):
        found = {1: made.found(made.at_similarity(made.place(0), likeness))}
        assert diagnosed(truth, found).people.missed == missed


def test_correcting_leaves_what_was_given_as_it_is():
    found = {1: made.found(made.moved(made.place(0), "left_wrist", by=(30, 0)))}
    before = found[1].keypoints.copy()
    diagnosed(made.truth(made.true_people(1)), found)
    assert isinstance(found[1], Poses) and (found[1].keypoints == before).all()
