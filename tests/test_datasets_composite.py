"""Composites of hand-made people: what is pasted, covered and known."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from litepose.datasets.composite import Composites
from litepose.errors import PictureError, SettingError
from litepose.poses import Sample
from litepose.skeleton import COCO17, CROWDPOSE14

STANDING = {  # x, y as shares of a person's height
    "nose": (0.50, 0.08), "left_eye": (0.52, 0.06), "right_eye": (0.48, 0.06), "left_ear": (0.55, 0.07),
    "right_ear": (0.45, 0.07), "left_shoulder": (0.60, 0.2), "right_shoulder": (0.40, 0.2),
    "left_elbow": (0.65, 0.35), "right_elbow": (0.35, 0.35), "left_wrist": (0.68, 0.5), "right_wrist": (0.32, 0.5),
    "left_hip": (0.56, 0.5), "right_hip": (0.44, 0.5), "left_knee": (0.56, 0.73), "right_knee": (0.44, 0.73),
    "left_ankle": (0.56, 0.96), "right_ankle": (0.44, 0.96), "head_top": (0.5, 0.01), "neck": (0.5, 0.18),
}  # fmt: skip


class Figures:
    """One red figure a picture, on grey; its mask is the red."""

    name = "figures"

    def __init__(self, skeleton=COCO17, count=4, masks=True):
        self.skeleton, self.count, self.masks = skeleton, count, masks

    ids = property(lambda self: range(self.count))

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = np.full((240, 200, 3), 90, np.uint8)
        points = np.array([STANDING[name] for name in self.skeleton.keypoints]) * (180, 200) + (10, 20)
        for a, b in self.skeleton.limb_indices:
            cv2.line(image, tuple(int(v) for v in points[a]), tuple(int(v) for v in points[b]), (20, 20, 200), 26)
        mask = image[..., 2] > 150
        keypoints = np.concatenate([points, np.full((len(points), 1), 2.0)], axis=1)[None].astype(np.float32)
        box = np.array([[10, 10, 190, 220]], np.float32)
        return Sample(
            self.skeleton, image, keypoints, box, np.array([5000.0], np.float32),
            person_masks=(mask,) if self.masks else None, id=index,
        )  # fmt: skip


class Blank:
    """Green pictures without people."""

    name = "blank"
    skeleton = COCO17
    ids = (0,)

    def __len__(self):
        return 1

    def __getitem__(self, index):
        k = self.skeleton.num_keypoints
        image = np.full((200, 300, 3), (40, 160, 40), np.uint8)
        return Sample(self.skeleton, image, np.zeros((0, k, 3), np.float32), np.zeros((0, 4), np.float32),
                      np.zeros(0, np.float32))  # fmt: skip


def test_a_composite_is_a_function_of_seed_and_index():
    one, again, other = (Composites(Figures(), Blank(), seed=seed, count=(2, 4)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one[5].image, again[5].image)
    np.testing.assert_array_equal(one[5].keypoints, again[5].keypoints)
    assert not np.array_equal(one[5].image, other[5].image)
    assert not np.array_equal(one[5].image, one[6].image)


def test_pasted_keypoints_lie_on_the_pasted_person():
    scenes = Composites(Figures(), Blank(), seed=1, count=(1, 1), overlap=0.0)
    on_red = []
    for index in range(8):
        scene = scenes[index]
        assert len(scene) == 1 and min(scene.size) == 384
        x, y = np.rint(scene.keypoints[0, scene.visible[0], :2]).astype(int).T
        pixels = scene.image[np.clip(y, 0, 383), np.clip(x, 0, scene.size[0] - 1)].astype(int)
        on_red += list(pixels[:, 2] > pixels[:, 1])
    assert np.mean(on_red) > 0.97  # a point may fall on the soft edge


def test_what_a_later_person_covers_has_weight_zero_and_is_not_seen():
    scenes = Composites(Figures(), Blank(), seed=2, count=(6, 6), overlap=0.4, share=(0.6, 0.9))
    covered = 0
    for index in range(6):
        scene = scenes[index]
        hidden = scene.keypoint_weights == 0
        covered += int(hidden.sum())
        assert (scene.keypoints[hidden][:, 2] <= 1).all()
        assert (scene.keypoint_weights[-1] == 1).all(), "the nearest person covers and is not covered"
    assert covered >= 10


def test_people_of_the_canvas_stay_annotated():
    scene = Composites(Figures(), Figures(), seed=0, count=(1, 1), share=(0.25, 0.25))[0]
    assert len(scene) == 2
    assert scene.visible[0].sum() >= 12


def test_a_set_that_lacks_keypoints_unlabels_them_for_the_scene():
    scene = Composites(Figures(CROWDPOSE14), Blank(), skeleton=COCO17, count=(1, 1))[0]
    known = dict(zip(COCO17.keypoints, scene.labelled, strict=True))
    assert known["left_knee"] and not known["nose"] and scene.labelled.sum() == 12


def test_people_without_masks_are_cut_out_along_their_limbs():
    scene = Composites(Figures(masks=False), Blank(), seed=1, count=(1, 1), share=(0.9, 0.9))[0]
    red = (scene.image[..., 2] > 110) & (scene.image[..., 1] < 110)
    grey = np.ptp(scene.image.astype(int), axis=-1) < 25
    assert red.sum() > 2000 and grey.sum() < 0.25 * red.sum(), "the figure came along, its grey background did not"


def test_ignored_parts_of_the_canvas_are_known_again_where_someone_stands_in_front():
    class Crowd(Blank):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return replace(sample, ignore=np.ones(sample.image.shape[:2], bool))

    scene = Composites(Figures(), Crowd(), seed=1, count=(1, 1), share=(0.9, 0.9))[0]
    red = (scene.image[..., 2] > 150) & (scene.image[..., 1] < 90)
    assert scene.ignore.mean() > 0.5 and (~scene.ignore)[red].mean() > 0.95


@pytest.mark.parametrize("settings", [{"count": (3, 1)}, {"share": (0.0, 1.0)}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(SettingError):
        Composites(Figures(), Blank(), **settings)
    with pytest.raises(SettingError):
        Composites([], Blank())


def test_unreadable_pictures_are_replaced_and_listed():
    class Torn(Figures):
        def __getitem__(self, index):
            if index == 0:
                raise PictureError("figure 0 is torn")
            return super().__getitem__(index)

    scenes = Composites(Torn(), Blank(), count=(4, 4))
    with pytest.warns(UserWarning, match="figure 0 is torn"):
        people = [len(scenes[index]) for index in range(4)]
    assert people == [4, 4, 4, 4] and scenes.unreadable == [0]
