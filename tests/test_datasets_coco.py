"""COCO and CrowdPose files: who counts, what is ignored, and what is said about a bad file."""

import multiprocessing
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as reference

import coco_files as made
from litepose.datasets import open_dataset
from litepose.datasets.base import SkipUnreadable
from litepose.datasets.coco_checks import skeleton_of
from litepose.datasets.masks import decode_runs, encode_runs, limb_mask, mask_from_segmentation
from litepose.errors import AnnotationError, PictureError
from litepose.skeleton import COCO17, CROWDPOSE14

DATA = os.environ.get("LITEPOSE_DATA")
SQUARE = [[70, 20, 100, 20, 100, 60, 70, 60]]


def opened(folder, data, **options):
    return open_dataset(made.write(folder, data), **options)


def test_a_person_comes_with_keypoints_box_area_and_picture(tmp_path):
    dataset = opened(tmp_path, made.coco(2))
    sample = dataset[0]
    assert dataset.skeleton is COCO17 and len(dataset) == 2 and list(dataset.ids) == [1, 2]
    np.testing.assert_array_equal(sample.keypoints[0, :, :2], made.POSE)
    np.testing.assert_array_equal(sample.boxes, [[30, 5, 70, 100]])
    assert sample.areas == [2000] and sample.size == (120, 110) and sample.id == 1 and sample.ignore is None


def test_a_picture_without_people_stays_as_a_negative(tmp_path):
    sample = opened(tmp_path, made.coco(2))[1]
    assert sample.keypoints.shape == (0, 17, 3) and sample.boxes.shape == (0, 4) and sample.areas.shape == (0,)


def test_crowds_and_people_without_keypoints_are_ignored_by_their_segments(tmp_path):
    crowd = np.zeros((110, 120), bool)
    crowd[80:100, 5:20] = True
    people = [
        made.person(1),
        made.person(2, keypoints=[0] * 51, segmentation=SQUARE),
        made.person(3, keypoints=[0] * 51, iscrowd=1, segmentation=encode_runs(crowd)),
    ]
    sample = opened(tmp_path, made.coco(annotations=people))[0]
    assert len(sample) == 1
    assert sample.ignore[40, 85] and sample.ignore[90, 10] and sample.ignore.sum() == 30 * 40 + crowd.sum()


def test_a_crowd_with_keypoints_is_a_person_and_its_region_is_ignored(tmp_path):
    crowd = np.zeros((110, 120), bool)
    crowd[50:90, 60:110] = True
    people = [made.person(1, iscrowd=1, segmentation=encode_runs(crowd))]
    sample = opened(tmp_path, made.coco(annotations=people))[0]
    assert len(sample) == 1 and (sample.ignore == crowd).all()


def test_a_person_without_keypoints_and_segment_is_ignored_by_its_box_but_not_over_others_limbs(tmp_path):
    people = [made.person(1), made.person(2, keypoints=[0] * 51, bbox=[50, 20, 65, 80])]
    sample = opened(tmp_path, made.coco(annotations=people))[0]
    assert sample.ignore[60, 105] and not sample.ignore[40, 66], "the left elbow of the other lies in the box"


def test_boxes_of_other_people_are_ignored_unless_they_are_the_annotated_person(tmp_path):
    others = tmp_path / "others.json"
    others.write_text('{"boxes": {"1": [[30, 5, 41, 94, 0.9], [85, 10, 30, 60, 0.8], [0, 0, 20, 20, 0.1]]}}')
    sample = opened(tmp_path, made.coco(), other_people=others)[0]
    assert sample.ignore[30, 100] and not sample.ignore[50, 50] and not sample.ignore[5, 5]


def test_what_a_single_person_lacks_can_unlabel_the_channel(tmp_path):
    points = made.keypoints()
    points[9 * 3 : 9 * 3 + 3] = [0, 0, 0]
    data = made.coco(annotations=[made.person(keypoints=points)])
    assert opened(tmp_path, data)[0].labelled is None
    labelled = opened(tmp_path, data, missing_unlabelled=True)[0].labelled
    assert not labelled[9] and labelled.sum() == 16


def test_seen_on_crowdpose_the_neck_lies_between_the_shoulders_and_the_head_top_is_unknown(tmp_path):
    sample = opened(tmp_path, made.coco(), skeleton="crowdpose14")[0]
    neck, head = CROWDPOSE14.index("neck"), CROWDPOSE14.index("head_top")
    np.testing.assert_array_equal(sample.keypoints[0, neck], [50, 25, 2])
    assert sample.labelled[neck] and not sample.labelled[head] and sample.keypoints[0, head, 2] == 0
    np.testing.assert_array_equal(sample.keypoints[0, 0, :2], made.POSE[5])


def test_a_negative_on_another_skeleton_knows_that_nobody_is_there(tmp_path):
    assert opened(tmp_path, made.coco(2), skeleton="crowdpose14")[1].labelled is None


def test_crowdpose_files_are_known_by_their_index_and_read_without_area(tmp_path):
    points = [v for x, y in made.POSE[:14] for v in (x, y, 1)]
    records = [{"id": 1, "file_name": "1.jpg", "width": 110, "height": 120, "crowdIndex": 0.4}]
    category = [{"id": 1, "name": "person", "keypoints": [*CROWDPOSE14.keypoints[:12], "head", "neck"],
                 "skeleton": [[16, 14]]}]  # fmt: skip
    people = [
        made.person(1, keypoints=points, area=None, num_keypoints=12),
        made.person(2, keypoints=[0] * 42, area=None, num_keypoints=0, bbox=[80, 10, 30, 30]),
    ]
    dataset = opened(tmp_path, made.coco(records, people, categories=category))
    with pytest.warns(UserWarning, match=r"1\.jpg is 120x110, listed as 110x120"):
        sample = dataset[0]
    assert dataset.skeleton is CROWDPOSE14 and sample.size == (120, 110) and sample.ignore is None
    assert sample.areas[0] == pytest.approx(0.53 * 40 * 95) and sample.visible.sum() == 14


def test_any_skeleton_that_the_category_names_is_read(tmp_path):
    category = [{"id": 1, "name": "hand", "keypoints": ["Left Wrist", "tip"], "skeleton": [[1, 2]]}]
    dataset = opened(tmp_path, made.coco(annotations=[made.person(keypoints=[5, 6, 2, 7, 8, 1])], categories=category))
    assert dataset.skeleton.keypoints == ("left_wrist", "tip") and dataset.skeleton.limb_indices == ((0, 1),)
    assert dataset.skeleton.oks_sigmas == (0.062, 0.079)
    assert dataset[0].keypoints[0].tolist() == [[5, 6, 2], [7, 8, 1]]


def test_person_masks_come_from_polygons(tmp_path):
    dataset = opened(tmp_path, made.coco(annotations=[made.person(segmentation=SQUARE)]), person_masks=True)
    assert dataset[0].person_masks[0].sum() == 30 * 40
    assert opened(tmp_path, made.coco(), person_masks=True)[0].person_masks is None


def test_published_layouts_find_their_pictures(tmp_path):
    for annotations, images in (("coco/annotations/person_keypoints_val2017.json", "coco/images/val2017"),
                                ("plain/annotations/person_keypoints_val2017.json", "plain/val2017"),
                                ("crowd_pose/json/crowdpose_val.json", "crowd_pose/images")):  # fmt: skip
        path, folder = tmp_path / annotations, tmp_path / images
        path.parent.mkdir(parents=True)
        folder.mkdir(parents=True)
        written = made.write(path.parent, made.coco())
        (path.parent / "images" / "1.jpg").rename(folder / "1.jpg")
        (path.parent / "images").rmdir()
        written.rename(path)
        assert open_dataset(path)[0].size == (120, 110)


# Masks ------------------------------------------------------------------------------------------


def test_polygons_equal_the_coco_api_pixel_by_pixel():
    rng = np.random.default_rng(0)
    for _ in range(200):
        polygon = rng.uniform(-10, 60, (rng.integers(3, 9), 2)).round(2).ravel().tolist()
        if len(polygon) == 4:
            continue  # two points would be a box there
        wanted = reference.decode(reference.merge(reference.frPyObjects([polygon], 45, 50)))
        np.testing.assert_array_equal(mask_from_segmentation([polygon], (50, 45)), wanted.astype(bool))


def test_compressed_and_plain_run_lengths_come_back_as_the_same_mask():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.03, 0.5, 1.0):
        mask = rng.random((37, 53)) < share
        np.testing.assert_array_equal(decode_runs(encode_runs(mask)), mask)
        compressed = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        np.testing.assert_array_equal(decode_runs(compressed), mask)


@pytest.mark.parametrize("counts", ["P", "`", [0, 10**30], [0, -3, 12]])
def test_run_lengths_that_end_too_early_or_cannot_be_are_one_error(counts):
    with pytest.raises(AnnotationError, match="run-length"):
        decode_runs({"size": [3, 3], "counts": counts})


def test_a_limb_mask_covers_the_keypoints_and_little_else():
    mask = limb_mask(made.POSE, np.ones(17, bool), COCO17, (120, 110))
    x, y = made.POSE.astype(int).T
    assert mask[y, x].all() and mask[40, 50], "keypoints and the middle of the torso"
    assert 0.1 < mask.mean() < 0.35


# Bad files --------------------------------------------------------------------------------------

BROKEN = {
    "no images": (lambda d: d.pop("images"), "'images' is missing"),
    "no annotations": (lambda d: d.pop("annotations"), "'annotations' is missing"),
    "images empty": (lambda d: d.update(images=[]), "list of images is empty"),
    "images no list": (lambda d: d.update(images={}), "'images' is a dict"),
    "image without id": (lambda d: d["images"][0].pop("id"), "no usable 'id'"),
    "image without file name": (lambda d: d["images"][0].pop("file_name"), "no usable 'file_name'"),
    "image id twice": (lambda d: d["images"].append(d["images"][0]), "image id 1 occurs more than once"),
    "annotation id twice": (lambda d: d["annotations"].append(d["annotations"][0]), "annotation id 1 occurs"),
    "no image_id": (lambda d: d["annotations"][0].pop("image_id"), "no usable 'image_id'"),
    "image_id a list": (lambda d: d["annotations"][0].update(image_id=[1]), "no usable 'image_id'"),
    "wrong count": (lambda d: d["annotations"][0].update(keypoints=[1, 2, 2] * 14), "has 42 keypoint values"),
    "keypoints text": (lambda d: d["annotations"][0].update(keypoints=["a"] * 51), "a list of numbers"),
    "box of three": (lambda d: d["annotations"][0].update(bbox=[1, 2, 3]), "four numbers"),
    "no category": (lambda d: d.update(categories=[]), "order is unknown"),
    "category no object": (lambda d: d.update(categories=[1]), "'categories' must be"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_clear_error_that_names_it(case, tmp_path):
    data = made.coco(2)
    path = made.write(tmp_path, data)
    breaking, message = BROKEN[case]
    breaking(data)
    made.write(tmp_path, data, pictures=False) if "images" in data else path.write_text(made.json.dumps(data))
    with pytest.raises(AnnotationError, match=message) as error:
        open_dataset(path)
    assert "people.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "nonsense"])
def test_a_file_that_is_no_json_object_is_one_error(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"x\.json"):
        open_dataset(path)


def test_sources_that_are_not_there_say_so(tmp_path):
    with pytest.raises(AnnotationError, match="neither a file nor a folder"):
        open_dataset(tmp_path / "nothing.json")
    with pytest.raises(AnnotationError, match="no packed dataset"):
        open_dataset(tmp_path)
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "x.json"
    path.write_text(made.json.dumps(made.coco()))
    with pytest.raises(AnnotationError, match="were not found"):
        open_dataset(path)


def test_values_that_cannot_be_used_are_said_and_the_rest_goes_on(tmp_path):
    points = made.keypoints()
    points[0] = float("nan")
    people = [made.person(1, keypoints=points), made.person(2, bbox=[float("nan"), 0, 1, 1])]
    with pytest.warns(UserWarning) as said:
        sample = opened(tmp_path, made.coco(annotations=people))[0]
    texts = " ".join(str(one.message) for one in said)
    assert "1 keypoints are NaN" in texts and "1 boxes are NaN" in texts and "annotation 2 of picture 1" in texts
    assert sample.visible.sum() == 16 + 17 and np.isfinite(sample.boxes).all()
    np.testing.assert_array_equal(sample.boxes[1], [32, 10, 68, 95])


def test_a_box_outside_the_picture_becomes_that_of_the_keypoints(tmp_path):
    sample = opened(tmp_path, made.coco(annotations=[made.person(bbox=[500, 500, 40, 40])]))[0]
    np.testing.assert_array_equal(sample.boxes, [[32, 10, 68, 95]])


def test_missing_pictures_are_named_and_left_out(tmp_path):
    path = made.write(tmp_path, made.coco(3))
    (tmp_path / "images" / "2.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 of 3 pictures .*2\.jpg"):
        dataset = open_dataset(path)
    assert list(dataset.ids) == [1, 3]
    for name in ("1.jpg", "3.jpg"):
        (tmp_path / "images" / name).unlink()
    with pytest.raises(AnnotationError, match="none of its 3 pictures"):
        open_dataset(path)


def test_a_file_without_people_is_said_and_serves_as_negatives(tmp_path):
    with pytest.warns(UserWarning, match="no person has keypoints"):
        dataset = opened(tmp_path, made.coco(annotations=[]))
    assert len(dataset[0]) == 0


def test_unreadable_pictures_do_not_end_a_training_and_are_listed(tmp_path):
    path = made.write(tmp_path, made.coco(4))
    (tmp_path / "images" / "2.jpg").write_bytes(b"no picture")
    plain = open_dataset(path)
    with pytest.raises(PictureError, match=r"2\.jpg"):
        plain[1]
    dataset = SkipUnreadable(plain)
    with pytest.warns(UserWarning, match=r"2\.jpg"):
        instead = dataset[1]
    assert instead.id != 2 and dataset.unreadable == [2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset[1].id == instead.id


def test_marks_of_unreadable_pictures_are_shared_with_loader_processes(tmp_path):
    path = made.write(tmp_path, made.coco(3))
    (tmp_path / "images" / "3.jpg").write_bytes(b"no picture")
    dataset = SkipUnreadable(open_dataset(path))
    process = multiprocessing.get_context("spawn").Process(target=touch_all, args=(dataset,))
    process.start()
    process.join(60)
    assert process.exitcode == 0 and dataset.unreadable == [3]


def touch_all(dataset):
    warnings.simplefilter("ignore")
    for index in range(len(dataset)):
        dataset[index]


def test_a_set_of_nothing_but_broken_pictures_is_an_error(tmp_path):
    path = made.write(tmp_path, made.coco(2))
    for name in ("1.jpg", "2.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(PictureError, match="data verify"):
        SkipUnreadable(open_dataset(path))[0]


@pytest.mark.parametrize("length", [1, 2, 4, 6, 10, 20])
def test_the_last_good_picture_is_found_whatever_their_number(tmp_path, length):
    path = made.write(tmp_path, made.coco(length))
    for number in range(1, length):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(b"")
    dataset = SkipUnreadable(open_dataset(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {dataset[index].id for index in range(length)} == {length}


# Real pictures ----------------------------------------------------------------------------------


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
def test_training_and_validation_share_no_picture():
    train, val = (open_dataset(Path(DATA) / "coco" / f"{part}.json") for part in ("train", "val"))
    assert len(train) > 1000 and len(val) > 100
    assert not set(train.ids) & set(val.ids)
    files = [{train.path(i).name.removesuffix("_fv.jpg") for i in range(len(train))},
             {val.path(i).name.removesuffix("_fv.jpg") for i in range(len(val))}]  # fmt: skip
    assert not {Path(name).stem for name in files[0]} & {Path(name).stem for name in files[1]}


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
@pytest.mark.parametrize("source", ["coco/val.json", "lspet/val.json", "samples/crowdpose/test_crowdpose.json"])
def test_real_samples_hold_their_seen_keypoints_inside_their_boxes(source):
    path = Path(DATA) / source
    dataset = open_dataset(path, images=path.parent if "samples" in source else None)
    outside = total = 0
    for index in range(min(25, len(dataset))):
        sample = dataset[index]
        for points, box in zip(sample.keypoints, sample.boxes, strict=True):
            seen = points[points[:, 2] == 2, :2]  # hidden ones (1) may lie outside: boxes hold what is seen
            total += len(seen)
            outside += int(((seen < box[:2] - 5) | (seen > box[2:] + 5)).any(axis=1).sum())
    assert total >= 30 and outside == 0


@pytest.mark.filterwarnings("ignore:.*OKS sigmas")
@pytest.mark.parametrize("pairs", [[[1, 2], [2, 3]], [[0, 1], [1, 2]]])
def test_a_category_s_own_skeleton_mirrors_by_names_and_counts_limbs_from_one_or_from_zero(pairs):
    category = {"name": "dancer", "keypoints": ["crown", "hand_l", "hand_r"], "skeleton": [*pairs, "nonsense", [1]]}
    dancer = skeleton_of({"categories": [category]}, "dancers.json", None)
    assert dancer.limbs == (("crown", "hand_l"), ("hand_l", "hand_r"))
    assert dancer.mirror == (("hand_l", "hand_r"),)
