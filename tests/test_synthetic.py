"""Synthetic people: deterministic, complete, and their labels agree with what was drawn."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from litepose.datasets import open_dataset
from litepose.datasets.synthetic import SyntheticPeople, from_options, scene
from litepose.datasets.synthetic.body import Figure, look_at, pose_body, random_proportions
from litepose.datasets.synthetic.layout import Layout
from litepose.datasets.synthetic.lifting import lift_person
from litepose.datasets.synthetic.limbs import PART
from litepose.datasets.synthetic.painting import Limb
from litepose.datasets.synthetic.pose_files import read_poses
from litepose.datasets.synthetic.priors import PRIORS, random_figure, random_pose
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.skeleton import COCO17, CROWDPOSE14, MPII16, OPENPOSE18, SKELETONS, Skeleton

DIGEST = """
import hashlib
from litepose.datasets.synthetic import SyntheticPeople
sample = SyntheticPeople(seed=5)[3]
print(hashlib.sha256(sample.image.tobytes() + sample.keypoints.tobytes()).hexdigest())
"""


def standing_figure(yaw: float, *, seed: int = 0) -> Figure:
    """Return somebody of 200 px who stands in the middle of a 320 x 320 picture."""
    rng = np.random.default_rng(seed)
    body = random_proportions(rng)
    figure = look_at(pose_body(body, random_pose(rng, PRIORS["standing"])), body, yaw, 5.0, 0.0, 0.1)
    return figure.moved(200.0, np.array([160.0, 160.0]))


def draw(*figures: Figure, skeleton: Skeleton = COCO17, turned_faces: bool = False, seed: int = 0):
    rng = np.random.default_rng(seed)
    return scene.draw_scene(rng, skeleton, (320, 320), Layout(figures, 0.5), turned_faces=turned_faces)


def test_the_same_seed_and_index_give_the_same_scene() -> None:
    first, second = SyntheticPeople(seed=5)[3], SyntheticPeople(seed=5)[3]
    assert first.image.tobytes() == second.image.tobytes()
    assert first.keypoints.tobytes() == second.keypoints.tobytes()
    assert first.image.tobytes() != SyntheticPeople(seed=6)[3].image.tobytes()
    assert first.image.tobytes() != SyntheticPeople(seed=5)[4].image.tobytes()


def test_another_process_draws_the_same_scene() -> None:
    source = str(Path(__file__).parents[1] / "src")
    code = f"import sys; sys.path.insert(0, {source!r})\n{DIGEST}"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = SyntheticPeople(seed=5)[3]
    assert there == hashlib.sha256(here.image.tobytes() + here.keypoints.tobytes()).hexdigest()


def test_seen_keypoints_lie_on_the_persons_own_mask() -> None:
    people = SyntheticPeople(people=(3, 8), seed=1)
    seen = 0
    for i in range(8):
        sample = people[i]
        assert sample.person_masks is not None
        for keypoints, mask in zip(sample.keypoints, sample.person_masks, strict=True):
            x, y = np.floor(keypoints[keypoints[:, 2] == 2, :2].T + 0.5).astype(int)
            assert mask[y, x].all()
            seen += len(x)
    assert seen > 200


def test_boxes_areas_and_masks_say_the_same() -> None:
    people = SyntheticPeople(people=(2, 6), seed=2)
    for i in range(5):
        sample = people[i]
        assert sample.person_masks is not None
        assert len(sample.person_masks) == len(sample) == len(sample.areas)
        for box, area, mask in zip(sample.boxes, sample.areas, sample.person_masks, strict=True):
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert area == mask.sum()
        assert sum(mask.astype(int) for mask in sample.person_masks).max() <= 1  # a pixel belongs to one person


def test_keypoints_outside_the_picture_are_not_labelled() -> None:
    sample = draw(standing_figure(0.0).moved(1.0, np.array([0.0, 120.0])))
    ankles = sample.keypoints[0, [COCO17.index("left_ankle"), COCO17.index("right_ankle")]]
    assert ankles.tolist() == [[0, 0, 0], [0, 0, 0]]
    inside = sample.keypoints[sample.keypoints[..., 2] > 0][:, :2]
    assert inside.min() >= -0.5 and inside.max() < 319.5


@pytest.mark.parametrize("seed", range(4))
def test_from_the_front_the_left_shoulder_is_on_the_right_and_from_behind_on_the_left(seed: int) -> None:
    left, right = COCO17.index("left_shoulder"), COCO17.index("right_shoulder")
    front = draw(standing_figure(0.0, seed=seed)).keypoints[0]
    behind = draw(standing_figure(180.0, seed=seed)).keypoints[0]
    assert front[left, 0] > front[right, 0] + 15
    assert behind[left, 0] < behind[right, 0] - 15


def test_a_face_turned_away_is_left_out_as_in_coco_or_labelled_hidden_on_request() -> None:
    eyes = [COCO17.index("left_eye"), COCO17.index("right_eye")]
    figure = standing_figure(180.0, seed=3)
    assert draw(figure).keypoints[0, eyes, 2].tolist() == [0, 0]
    assert draw(figure, turned_faces=True).keypoints[0, eyes, 2].tolist() == [1, 1]


def test_what_somebody_nearer_covers_is_labelled_hidden() -> None:
    behind, before = standing_figure(0.0, seed=1), standing_figure(0.0, seed=2).moved(1.3, np.array([-48.0, -40.0]))
    alone, pair = draw(behind), draw(behind, before)
    assert (alone.keypoints[0, :, 2] == 2).sum() >= 12
    assert (pair.keypoints[0, :, 2] == 1).sum() > (alone.keypoints[0, :, 2] == 1).sum() + 3
    np.testing.assert_array_equal(
        pair.keypoints[0, 5:, :2], alone.keypoints[0, 5:, :2]
    )  # hidden, but in the same place
    assert pair.areas[0] < 0.8 * alone.areas[0]


def test_somebody_covered_completely_is_ignored_ground_or_gone() -> None:
    small = standing_figure(0.0, seed=1).moved(0.3, np.array([112.0, 90.0]))
    large = standing_figure(0.0, seed=2).moved(2.5, np.array([-240.0, -240.0]))
    assert len(draw(small, large)) == 1


@pytest.mark.parametrize("people", [(0, 0), (1, 1), (2, 5)])
def test_the_number_of_people_keeps_its_range(people: tuple[int, int]) -> None:
    scenes = SyntheticPeople(people=people, seed=4)
    counts = [len(scenes[i]) for i in range(6)]
    assert max(counts) <= people[1]
    assert sum(counts) >= 6 * people[0] - 2  # one or two may be buried under others or outside the picture


def test_a_scene_without_people_has_no_rows() -> None:
    sample = SyntheticPeople(people=(0, 0))[0]
    assert sample.keypoints.shape == (0, 17, 3)
    assert sample.boxes.shape == (0, 4)
    assert sample.image.std() > 5  # something is drawn all the same


@pytest.mark.parametrize("name", sorted(SKELETONS))
def test_every_built_in_skeleton_is_labelled_completely(name: str) -> None:
    sample = SyntheticPeople(people=(4, 4), skeleton=SKELETONS[name], seed=2)[0]
    assert sample.labelled is None
    assert (sample.keypoints[..., 2] > 0).any(axis=0).all()


def test_skeletons_agree_on_common_keypoints_and_mpii_has_the_upper_neck() -> None:
    figure = standing_figure(0.0)
    coco, crowd, mpii, openpose = (draw(figure, skeleton=one).keypoints[0] for one in
                                   (COCO17, CROWDPOSE14, MPII16, OPENPOSE18))  # fmt: skip
    for name in ("left_wrist", "right_knee", "left_hip"):
        np.testing.assert_array_equal(coco[COCO17.index(name)], crowd[CROWDPOSE14.index(name)])
        np.testing.assert_array_equal(coco[COCO17.index(name)], mpii[MPII16.index(name)])
    neck = openpose[OPENPOSE18.index("neck")]
    np.testing.assert_array_equal(neck, mpii[MPII16.index("thorax")])
    assert mpii[MPII16.index("head_top"), 1] < mpii[MPII16.index("neck"), 1] < neck[1] - 5


def test_a_keypoint_that_bodies_lack_counts_as_not_labelled() -> None:
    skeleton = Skeleton("tailed", ("nose", "tail"), oks_sigmas=(0.05, 0.05))
    sample = draw(standing_figure(0.0), skeleton=skeleton)
    assert sample.labelled is not None
    assert sample.labelled.tolist() == [True, False]
    assert sample.keypoints[0, :, 2].tolist() == [2, 0]


def test_props_hide_people_and_belong_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = standing_figure(0.0)
    nose = figure.point("nose")
    disc = Limb(PART["prop"], nose, nose + np.array([0, 0.1, 0]), (9.0, 9.0, 9.0, 9.0), np.zeros(3), depth=1e6)
    monkeypatch.setattr(scene, "random_props", lambda rng, figure: [disc])
    sample = draw(figure)
    x, y, visible = sample.keypoints[0, COCO17.index("nose")]
    assert visible == 1
    assert sample.person_masks is not None
    assert not sample.person_masks[0][round(float(y)) - 4 : round(float(y)) + 5, round(float(x))].any()


@pytest.mark.parametrize("seed", range(12))
def test_figures_bend_their_bones_without_stretching_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    body = random_proportions(rng)
    posed = pose_body(body, random_pose(rng, list(PRIORS.values())[seed]))
    figure = look_at(posed, body, 0.0, 0.0, 0.0, 0.0)
    for side in ("left", "right"):
        for a, b, bone in (("shoulder", "elbow", body.upper_arm), ("elbow", "wrist", body.forearm),
                           ("hip", "knee", body.thigh), ("knee", "ankle", body.calf)):  # fmt: skip
            length = np.linalg.norm(figure.point(f"{side}_{a}") - figure.point(f"{side}_{b}"))
            assert length == pytest.approx(bone, rel=1e-6)


def test_lifting_goes_through_the_given_keypoints_and_completes_the_rest() -> None:
    rng = np.random.default_rng(0)
    figure = random_figure(rng, random_proportions(rng))[1].moved(200.0, np.array([160.0, 160.0]))
    given = np.array([[*figure.point(name)[:2], 2.0] for name in COCO17.keypoints], np.float32)
    missing = [COCO17.index(name) for name in ("left_wrist", "right_ankle", "left_knee", "right_hip")]
    given[missing] = 0
    lifted = lift_person(rng, given)
    assert lifted is not None
    for name in ("left_shoulder", "right_elbow", "left_hip", "left_ankle"):
        np.testing.assert_allclose(lifted.point(name)[:2], figure.point(name)[:2], atol=1e-3)  # float32 input
    assert 0.6 < lifted.height / figure.height < 1.4
    for name in ("left_wrist", "right_ankle", "left_knee"):
        assert np.linalg.norm(lifted.point(name)[:2] - lifted.point("pelvis")[:2]) < 1.1 * figure.height


def test_a_person_without_any_bone_is_not_lifted() -> None:
    keypoints = np.zeros((17, 3), np.float32)
    keypoints[0] = (10, 10, 2)
    assert lift_person(np.random.default_rng(0), keypoints) is None


@pytest.fixture
def pose_json(tmp_path: Path) -> Path:
    """Write a COCO file of two pictures with two people each."""
    rng = np.random.default_rng(1)
    annotations = []
    for number in range(4):
        figure = random_figure(rng, random_proportions(rng))[1].moved(
            150.0, np.array([100.0 + 90 * (number % 2), 160.0])
        )
        keypoints = np.array([[*figure.point(name)[:2], 2] for name in COCO17.keypoints]).ravel().tolist()
        annotations.append({"image_id": number // 2, "keypoints": keypoints, "iscrowd": 0})
    images = [{"id": number, "width": 300, "height": 320} for number in range(2)]
    path = tmp_path / "poses.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}), encoding="utf-8")
    return path


def test_poses_are_read_from_json_and_npz_alike(pose_json: Path, tmp_path: Path) -> None:
    from_json = read_poses(pose_json)
    size = np.array([[300, 320], [300, 320], [50, 50]], np.int16)
    shares = from_json.keypoints[..., :2] / np.float32([300, 320])
    path = tmp_path / "poses.npz"
    np.savez(path, kpt_xy_norm=np.concatenate([shares, shares[:1]]), size_wh=size, offset=np.array([0, 2, 4, 5]),
             kpt_v=np.full((5, 17), 2, np.uint8), is_val=np.array([False, False, True]))  # fmt: skip
    from_npz = read_poses(path)
    np.testing.assert_allclose(from_npz.keypoints, from_json.keypoints, atol=1e-3)  # shares in float32
    assert from_json.offset.tolist() == [0, 2, 4]
    assert from_npz.offset.tolist() == [0, 2, 4, 4]  # the validation picture's person is left out


def test_scenes_with_given_poses_show_their_people(pose_json: Path) -> None:
    scenes = SyntheticPeople(people=(2, 2), seed=1, poses=pose_json, size=(300, 320))
    assert sum(len(scenes[i]) for i in range(6)) >= 10
    assert (
        scenes[0].image.tobytes()
        == SyntheticPeople(people=(2, 2), seed=1, poses=pose_json, size=(300, 320))[0].image.tobytes()
    )


@pytest.mark.parametrize("content", ["", "[]", '{"images": []}', '{"images": [], "annotations": []}',
                                     '{"images": [{"id": 1, "width": 9, "height": 9}], "annotations": '
                                     '[{"image_id": 1, "keypoints": [1, 1, 2]}]}'])  # fmt: skip
def test_a_pose_file_without_usable_people_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"broken\.json"):
        SyntheticPeople(poses=path)


def test_missing_pose_files_and_background_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="nowhere"):
        SyntheticPeople(poses=tmp_path / "nowhere.npz")
    with pytest.raises(PictureError, match=r"Backgrounds.*holds no pictures"):
        SyntheticPeople(backgrounds=tmp_path)
    (tmp_path / "broken.png").write_bytes(b"hello")
    with pytest.warns(UserWarning, match=r"broken\.png"), pytest.raises(PictureError, match="none of the 1"):
        SyntheticPeople(backgrounds=tmp_path)


def test_given_backgrounds_are_used() -> None:
    blue = np.full((80, 60, 3), (255, 0, 0), np.uint8)
    scenes = SyntheticPeople(people=(0, 0), backgrounds=[blue])
    blues = [scenes[i].image.reshape(-1, 3).mean(axis=0) for i in range(8)]
    assert sum(mean[0] > 150 and mean[1:].max() < 60 for mean in blues) >= 4  # 3 in 4, but some are turned grey


def test_options_are_read_and_unknown_ones_are_named() -> None:
    people = from_options("people=2-4,seed=3,size=128x96,length=7", COCO17)
    assert (people.people, people.seed, people.size, len(people)) == ((2, 4), 3, (128, 96), 7)
    assert people[0].size == (128, 96)
    assert from_options("people=3", CROWDPOSE14).people == (3, 3)
    with pytest.raises(SettingError, match="Did you mean 'people'"):
        from_options("peoples=3", COCO17)


@pytest.mark.parametrize(("option", "said"), [("people=many", "people=0-12 or 4"), ("people=5-2", "Swap"),
                                              ("size=4x4", "32 to 4096"), ("length=0", "at least one"),
                                              ("seed=-1", "seed"), ("people", "KEY=VALUE")])  # fmt: skip
def test_an_impossible_option_is_explained(option: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        from_options(option, COCO17)


def test_open_dataset_opens_synthetic_people() -> None:
    dataset = open_dataset("synthetic:people=1-2,seed=9,size=96x96", skeleton="crowdpose14")
    assert dataset.skeleton == CROWDPOSE14
    assert dataset[0].image.shape == (96, 96, 3)


def test_the_example_draws_a_scene_and_its_truth(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "synthetic_scene.py"
    environment = {**os.environ, "PYTHONPATH": str(example.parents[1] / "src")}
    command = [sys.executable, str(example), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert "people drawn" in said
    scene_picture, truth = (cv2.imread(str(tmp_path / name)) for name in ("scene.jpg", "scene-truth.jpg"))
    assert scene_picture.shape == truth.shape == (448, 640, 3)
    assert 0.005 < (np.abs(scene_picture.astype(int) - truth).max(axis=2) > 60).mean() < 0.2  # limbs were drawn


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(SettingError, match="seed=-1"):
        SyntheticPeople(seed=-1)


def test_an_index_beyond_the_end_is_an_index_error() -> None:
    scenes = SyntheticPeople(length=3, size=(64, 64))
    assert scenes[-1].id == 2
    with pytest.raises(IndexError):
        scenes[3]
