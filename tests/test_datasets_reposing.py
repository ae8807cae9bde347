"""A painted figure, each limb in a colour of its own, put into other poses: the colours say where every limb went."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from litepose.datasets.composite import Composites
from litepose.datasets.reposing import LIMBS, Cutout, repose
from litepose.datasets.synthetic.pose_files import PoseFile
from litepose.errors import AnnotationError, SettingError
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14
from test_datasets_composite import STANDING, Blank, Figures

COLOURS = {lower: (40 + 25 * n, 230 - 25 * n, 90 * (n % 3)) for n, (_, lower) in enumerate(LIMBS)}
TORSO, HEAD = (255, 255, 255), (0, 120, 255)
WAVING = {**STANDING, "left_elbow": (0.80, 0.2), "left_wrist": (0.85, 0.04), "right_ankle": (0.36, 0.94)}


def at(name, pose=STANDING):
    return np.array(pose[name]) * (180, 200) + (10, 20)


def figure(skeleton=COCO17):
    image = np.full((240, 200, 3), 60, np.uint8)

    def pixel(name):
        return tuple(int(v) for v in np.rint(at(name)))

    for a, b in LIMBS:
        cv2.line(image, pixel(a), pixel(b), COLOURS[b], 8)
    corners = [pixel(name) for name in ("left_shoulder", "right_shoulder", "right_hip", "left_hip")]
    cv2.fillConvexPoly(image, np.array(corners), TORSO)
    cv2.circle(image, pixel("nose"), 14, HEAD, -1)
    points = np.array([[*at(name), 2.0] for name in skeleton.keypoints], np.float32)[None]
    sample = Sample(skeleton, image, points, np.array([[10, 10, 190, 220]], np.float32), np.array([5000.0], np.float32))
    return Cutout(sample, (image != 60).any(axis=-1).astype(np.float32))


def poses(pose, hidden=()):
    people = np.array([[*at(n, pose), 1.0 if n in hidden else 2.0] for n in COCO17.keypoints], np.float32)[None]
    return PoseFile(people, np.array([0, 1]), np.array([[300.0, 300.0]], np.float32))


def moved(pose, *, hidden=(), cutout=None):
    return repose(cutout or figure(), poses(pose, hidden), np.random.default_rng(0))


def colour_of(cutout, lower, share=0.7):
    """The colour on the way to a limb's lower joint, where no other part lies over it."""
    names = list(cutout.sample.skeleton.keypoints)
    upper = next(a for a, b in LIMBS if b == lower)
    ends = [cutout.sample.keypoints[0, names.index(name), :2] for name in (upper, lower)]
    x, y = np.rint((1 - share) * ends[0] + share * ends[1]).astype(int)
    assert cutout.alpha[y, x] > 0.9
    return cutout.sample.image[y, x].astype(int)


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14])
def test_every_limb_lies_where_its_labels_say(skeleton):
    waving = moved(WAVING, cutout=figure(skeleton))
    for lower, colour in COLOURS.items():
        np.testing.assert_allclose(colour_of(waving, lower), colour, atol=12, err_msg=lower)


def test_limbs_take_the_lengths_and_directions_of_the_pose():
    waving = moved(WAVING)
    names = list(COCO17.keypoints)
    for a, b in LIMBS:
        found = waving.sample.keypoints[0, names.index(b), :2] - waving.sample.keypoints[0, names.index(a), :2]
        np.testing.assert_allclose(found, at(b, WAVING) - at(a, WAVING), atol=0.01, err_msg=b)


def test_the_pose_it_already_has_changes_next_to_nothing():
    before, after = figure(), moved(STANDING)
    shift = after.sample.keypoints[0, 0, :2] - before.sample.keypoints[0, 0, :2]
    np.testing.assert_allclose(
        after.sample.keypoints[0, :, :2] - before.sample.keypoints[0, :, :2], [shift] * 17, atol=0.01
    )
    assert abs(float(after.alpha.sum()) / float(before.alpha.sum()) - 1) < 0.05
    assert after.sample.areas[0] == (after.alpha > 0.5).sum()


def test_the_torso_keeps_its_length_whatever_the_size_of_the_pose():
    small = {name: (0.4 * x, 0.4 * y) for name, (x, y) in WAVING.items()}
    lengths = [np.ptp(moved(pose).sample.keypoints[0, [5, 11], 1]) for pose in (WAVING, small)]
    np.testing.assert_allclose(lengths, np.ptp([at("left_shoulder")[1], at("left_hip")[1]]), rtol=0.03)


def test_hidden_limbs_go_behind_the_torso():
    folded = {**STANDING, "left_elbow": (0.62, 0.36), "left_wrist": (0.5, 0.36)}
    wrist = COCO17.keypoints.index("left_wrist")
    before, behind = moved(folded), moved(folded, hidden=("left_wrist",))
    assert before.sample.keypoints[0, wrist, 2] == 2 and behind.sample.keypoints[0, wrist, 2] == 1
    np.testing.assert_allclose(colour_of(before, "left_wrist", 0.9), COLOURS["left_wrist"], atol=12)
    np.testing.assert_allclose(colour_of(behind, "left_wrist", 0.9), TORSO, atol=12)


def test_a_raised_arm_leaves_no_hole_in_the_torso():
    crossed = figure()
    across = np.rint([at("left_elbow"), at("right_hip") - (0, 40)]).astype(int)
    cv2.line(crossed.sample.image, tuple(across[0].tolist()), tuple(across[1].tolist()), COLOURS["left_wrist"], 8)
    keypoints = crossed.sample.keypoints.copy()
    keypoints[0, COCO17.keypoints.index("left_wrist"), :2] = across[1]
    solid = (crossed.sample.image != 60).any(axis=-1).astype(np.float32)
    crossed = Cutout(replace(crossed.sample, keypoints=keypoints), solid)
    waving = moved(WAVING, cutout=crossed)
    corners = waving.sample.keypoints[0, [5, 6, 11, 12], :2]
    x, y = np.rint(corners.mean(axis=0)).astype(int)
    assert (waving.alpha[y - 20 : y + 20, x - 6 : x + 6] > 0.95).all()
    assert (waving.sample.image[y - 20 : y + 20, x - 6 : x + 6].min(axis=-1) > 150).mean() > 0.9, "filled from around"


SIDES = {"left": "right", "right": "left"}
MIRRORED = {"_".join(SIDES.get(word, word) for word in name.split("_")): place for name, place in STANDING.items()}
SIDEWAYS = {**STANDING, "left_shoulder": (0.51, 0.2), "right_shoulder": (0.49, 0.2)}
POINTING = {**STANDING, "left_wrist": (0.655, 0.36)}
BENT_NECK = {**STANDING, **dict.fromkeys(("nose", "left_eye", "right_eye", "left_ear", "right_ear"), (0.75, 0.2))}


@pytest.mark.parametrize("pose", [MIRRORED, SIDEWAYS, POINTING, BENT_NECK], ids=["back", "side", "to us", "neck"])
def test_poses_seen_from_elsewhere_do_not_fit(pose):
    assert moved(pose) is None


def test_incomplete_and_folded_people_stay_as_they_are():
    legless = figure()
    keypoints = legless.sample.keypoints.copy()
    keypoints[0, COCO17.keypoints.index("left_ankle"), 2] = 0
    assert moved(WAVING, cutout=Cutout(replace(legless.sample, keypoints=keypoints), legless.alpha)) is None
    keypoints = legless.sample.keypoints.copy()
    keypoints[0, COCO17.keypoints.index("left_ankle"), :2] = at("left_hip")  # the shin lies on the thigh
    assert moved(WAVING, cutout=Cutout(replace(legless.sample, keypoints=keypoints), legless.alpha)) is None


def test_composites_take_their_poses_from_a_file(tmp_path):
    path = tmp_path / "poses.npz"
    one = poses(WAVING)
    np.savez(
        path, kpt_xy_norm=one.keypoints[..., :2] / 300, kpt_v=one.keypoints[..., 2], offset=one.offset,
        size_wh=one.size_wh,
    )  # fmt: skip
    settings = {"seed": 3, "count": (1, 1), "share": (0.9, 0.9)}
    plain = Composites(Figures(), Blank(), **settings)[0]
    scene = Composites(Figures(), Blank(), reposed=1.0, poses=str(path), **settings)[0]
    again = Composites(Figures(), Blank(), reposed=1.0, poses=str(path), **settings)[0]
    np.testing.assert_array_equal(scene.image, again.image)

    def arm(sample):
        shoulder, elbow = sample.keypoints[0, [5, 7], :2]
        return abs(elbow[1] - shoulder[1]) / np.hypot(*(elbow - shoulder))

    assert arm(plain) > 0.6 > 0.2 > arm(scene), "the left upper arm is level now"


@pytest.mark.parametrize("settings", [{"reposed": 0.5}, {"poses": "poses.npz"}])
def test_a_share_and_a_file_belong_together(settings):
    with pytest.raises(SettingError, match="give both or neither"):
        Composites(Figures(), Blank(), **settings)


def test_a_missing_file_of_poses_is_named(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        Composites(Figures(), Blank(), reposed=0.5, poses=str(tmp_path / "none.npz"))
