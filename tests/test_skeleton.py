"""Skeletons: the built-in ones are consistent, custom ones are checked, names match across them."""

import json
import warnings

import numpy as np
import pytest

from litepose.errors import SkeletonError
from litepose.skeleton import (
    COCO17,
    CROWDPOSE14,
    DEFAULT_OKS_SIGMA,
    MPII16,
    OPENPOSE18,
    SKELETONS,
    Skeleton,
    canonical_name,
    keypoint_side,
    load_skeleton,
    mirror_pairs,
    one_sided,
)

ALL = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)


@pytest.mark.parametrize(
    ("skeleton", "count", "first", "last"),
    [
        (COCO17, 17, "nose", "right_ankle"),
        (CROWDPOSE14, 14, "left_shoulder", "neck"),
        (MPII16, 16, "right_ankle", "left_wrist"),
        (OPENPOSE18, 18, "nose", "left_ear"),
    ],
    ids=SKELETONS,
)
def test_built_in_skeletons_have_their_published_order(skeleton, count, first, last):
    assert skeleton.num_keypoints == len(skeleton.oks_sigmas) == count
    assert (skeleton.keypoints[0], skeleton.keypoints[-1]) == (first, last)


@ALL
def test_left_mirrors_to_right_and_twice_is_nothing(skeleton):
    order = skeleton.mirror_indices
    np.testing.assert_array_equal(order[order], np.arange(skeleton.num_keypoints))
    for here, there in enumerate(order):
        name = skeleton.keypoints[here]
        swapped = name.replace("left_", "right_") if name.startswith("left_") else name.replace("right_", "left_")
        assert skeleton.keypoints[there] == swapped


@ALL
def test_limbs_join_all_keypoints_into_one_body(skeleton):
    reached, waiting = set(), {0}
    while waiting:
        here = waiting.pop()
        reached.add(here)
        neighbours = {end for limb in skeleton.limb_indices if here in limb for end in limb}
        waiting |= neighbours - reached
    assert reached == set(range(skeleton.num_keypoints))
    assert len(set(map(frozenset, skeleton.limbs))) == len(skeleton.limbs)


@ALL
def test_a_skeleton_survives_json(skeleton):
    assert Skeleton.from_json(json.loads(json.dumps(skeleton.to_json()))) == skeleton


def test_the_same_keypoint_has_the_same_name_in_every_skeleton():
    shared = set.intersection(*(set(skeleton.keypoints) for skeleton in SKELETONS.values()))
    parts = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert shared == {f"{side}_{part}" for side in ("left", "right") for part in parts}


def test_positions_map_keypoints_by_name():
    positions = CROWDPOSE14.positions_in(COCO17)
    assert positions[CROWDPOSE14.index("left_wrist")] == COCO17.index("left_wrist")
    assert positions[CROWDPOSE14.index("neck")] == -1
    assert (positions >= 0).sum() == 12


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Head", "head_top"),
        ("top_head", "head_top"),
        ("upper neck", "neck"),
        ("L_Knee", "left_knee"),
        ("left knee", "left_knee"),
        ("Left-Knee", "left_knee"),
        ("head top", "head_top"),
        (" nose ", "nose"),
        ("LShoulder", "left_shoulder"),
        ("leftAnkle", "left_ankle"),
        ("shoulder_r", "right_shoulder"),
        ("Hip Left", "left_hip"),
        ("handL", "hand_l"),
        ("MidHip", "mid_hip"),
        ("l_5", "l_5"),
    ],
)
def test_spellings_of_datasets_are_understood(spelling, name):
    assert canonical_name(spelling) == name


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_hand", "right_hand"),
        ("hand_left", "hand_right"),
        ("l_hand", "r_hand"),
        ("hand_l", "hand_r"),
        ("front_left_paw", "front_right_paw"),
        ("lefthand", "righthand"),
        ("handleft", "handright"),
    ],
)
def test_names_that_differ_in_the_side_alone_mirror(left, right):
    assert mirror_pairs((right, "tail", left)) == ((left, right),)
    assert mirror_pairs((left, "right_tail", "l_tail")) == ()
    assert mirror_pairs(COCO17.keypoints) == COCO17.mirror


def test_names_with_a_side_and_no_partner_are_one_sided():
    names = ("nose", "left_hand", "right_hand", "tail_r", "front_left_paw", "upright", "bright_spot")
    assert one_sided(names) == ("tail_r", "front_left_paw")
    assert keypoint_side("tail_r") == "right" and keypoint_side("upright") is None


def test_index_accepts_aliases_and_suggests_the_nearest_name():
    assert CROWDPOSE14.index("head") == 12
    with pytest.raises(SkeletonError, match="Did you mean 'left_elbow'"):
        COCO17.index("left_elbo")


def test_a_skeleton_without_sigmas_gets_the_default_and_a_warning():
    with pytest.warns(UserWarning, match=r"'hand' states no OKS sigmas"):
        hand = Skeleton("hand", ("wrist", "thumb"))
    assert hand.oks_sigmas == (DEFAULT_OKS_SIGMA, DEFAULT_OKS_SIGMA)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keypoints": ()}, "has no keypoints"),
        ({"keypoints": ("a", "a")}, "more than once"),
        ({"limbs": (("a", "z"),)}, "names 'z', which is no keypoint"),
        ({"mirror": (("a", "z"),)}, "names 'z'"),
        ({"oks_sigmas": (0.1,)}, "one positive sigma for each"),
        ({"oks_sigmas": (0.1, 0.0)}, "one positive sigma for each"),
    ],
)
def test_parts_that_contradict_each_other_are_explained(change, words):
    with pytest.raises(SkeletonError, match=words):
        Skeleton(**{"name": "two", "keypoints": ("a", "b"), "oks_sigmas": (0.1, 0.1), **change})


def test_a_skeleton_file_is_read_and_its_names_are_made_canonical(tmp_path):
    path = tmp_path / "torso.json"
    path.write_text(json.dumps({"name": "torso", "keypoints": ["Head", "upper neck"], "limbs": [["head", "neck"]],
                                "oks_sigmas": [0.1, 0.2]}))  # fmt: skip
    torso = load_skeleton(path)
    assert torso.keypoints == ("head_top", "neck")
    assert torso.limb_indices == ((0, 1),)


def test_built_in_skeletons_load_by_name_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_skeleton("mpii16") is MPII16


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "needs at least"),
        ('{"name": "x"}', "needs at least"),
        ('{"keypoints": ["a"], "bones": []}', "no field 'bones'"),
        ('{"keypoints": ["a"], "limbs": [["a"]]}', "pairs of keypoint names"),
        ('{"keypoints": ["a"], "oks_sigmas": ["b"]}', "oks_sigmas are numbers"),
        ('{"keypoints": ["a"], "oks_sigmas": 3}', "cannot be read"),
    ],
)
def test_broken_skeleton_files_are_explained(tmp_path, text, words):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(SkeletonError, match=words):
        load_skeleton(path)


def test_unknown_skeleton_names_are_suggested():
    with pytest.raises(SkeletonError, match="Did you mean 'coco17'"):
        load_skeleton("coco")
