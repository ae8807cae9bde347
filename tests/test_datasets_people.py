"""A dataset person by person: who counts, whose picture comes, and what happens where one cannot be read."""

import copy
import json
import pickle
import warnings

import cv2
import numpy as np
import pytest

import coco_files as made
from litepose.datasets import Remapped, SkipUnreadable, open_dataset
from litepose.datasets.base import people_table
from litepose.datasets.packed import pack
from litepose.datasets.people import People
from litepose.errors import AnnotationError, PictureError
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton
from litepose.training.sources import Subset

NOBODY = [0] * 51


def only(*names):
    """A person of whom only these keypoints are labelled."""
    values = np.array(made.keypoints()).reshape(17, 3)
    for k, name in enumerate(COCO17.keypoints):
        values[k] = values[k] if name in names else 0
    return values.ravel().tolist()


def crowded_file(folder, **options):
    """Picture 1 with two people and one without keypoints, 2 with nobody, 3 with a crowd, a face and a nose."""
    people = [
        made.person(1),
        made.person(2, keypoints=NOBODY),
        made.person(3, keypoints=made.keypoints((20, 3)), bbox=[50, 8, 40, 95]),
        made.person(4, image=3, iscrowd=1),
        made.person(5, image=3, keypoints=only("nose", "left_eye"), bbox=[40, 8, 20, 10]),
        made.person(6, image=3, keypoints=only("nose"), bbox=[45, 8, 20, 10]),
    ]
    return made.write(folder, made.coco(3, people), **options)


def test_everybody_with_a_labelled_keypoint_comes_once(tmp_path):
    people = People(open_dataset(crowded_file(tmp_path)))
    assert people.ids == [1, 1, 3, 3], "no crowd and nobody without keypoints"
    np.testing.assert_array_equal(people.person, [0, 1, 1, 2])
    for i, left in enumerate([30, 50, 40, 45]):
        sample = people[i]
        assert len(sample) == 1 and sample.id == people.ids[i] and sample.size == (120, 110)
        np.testing.assert_array_equal(sample.boxes[0, 0], left)
    np.testing.assert_array_equal(
        people[1].keypoints[0, :, :2], np.array(made.keypoints((20, 3))).reshape(17, 3)[:, :2]
    )
    assert people[1].areas.tolist() == [2000]


def test_boxes_are_cleaned_as_hrnet_cleans_them_where_asked(tmp_path):
    data = open_dataset(made.write(tmp_path, made.coco(1, [made.person(bbox=[100, 5, 40, 95])])))
    # Clipped to the picture's last pixel centre, one px less wide and high.
    np.testing.assert_array_equal(People(data, clean_boxes=True)[0].boxes, [[100, 5, 119, 99]])
    np.testing.assert_array_equal(People(data)[0].boxes, [[100, 5, 120, 100]])


def test_people_without_a_keypoint_on_the_target_skeleton_do_not_count(tmp_path):
    dataset = open_dataset(crowded_file(tmp_path), skeleton="crowdpose14")  # which has neither eyes nor a nose
    assert isinstance(dataset, Remapped)
    people = People(dataset)
    assert people.ids == [1, 1] and people.skeleton == CROWDPOSE14
    assert people[0].keypoints.shape == (1, 14, 3)
    middle = Skeleton("middle", ("neck", "nose"), oks_sigmas=(0.1, 0.1))
    assert len(People(open_dataset(tmp_path / "people.json", skeleton=middle))) == 4, "two necks are computed"


def test_a_subset_has_the_people_of_its_pictures(tmp_path):
    people = People(Subset(open_dataset(crowded_file(tmp_path)), np.array([2, 1, 0, 2])))
    assert people.ids == [3, 3, 1, 1, 3, 3]
    np.testing.assert_array_equal(people.picture, [0, 0, 2, 2, 3, 3])
    assert [people[i].boxes[0, 0] for i in range(6)] == [40, 45, 30, 50, 40, 45]


def test_packed_people_are_those_of_the_files(tmp_path):
    original = open_dataset(crowded_file(tmp_path))
    (tmp_path / "other").mkdir()
    other = open_dataset(crowded_file(tmp_path / "other"), skeleton=CROWDPOSE14)
    pack([original, other], tmp_path / "packed", short_side=110)
    packed = open_dataset(tmp_path / "packed", skeleton=CROWDPOSE14)
    wanted, found = people_table(open_dataset(tmp_path / "people.json", skeleton=CROWDPOSE14)), people_table(packed)
    assert len(found) == 2 * len(wanted)
    np.testing.assert_array_equal(found.picture[: len(wanted)], wanted.picture)
    np.testing.assert_array_equal(found.sizes, np.tile([120, 110], (len(found), 1)))
    for name in ("person", "keypoints", "boxes", "areas"):
        for half in (slice(0, len(wanted)), slice(len(wanted), None)):
            np.testing.assert_allclose(getattr(found, name)[half], getattr(wanted, name), atol=0.01)  # stored so
    ids = People(packed).ids
    assert [str(one)[-6:] for one in ids] == ["json:1", "json:1", "json:3"] * 2, "a packed crowd is a person"


def test_a_damaged_description_in_a_packed_folder_costs_its_people_only(tmp_path):
    pack([open_dataset(crowded_file(tmp_path))], tmp_path / "packed")
    shard = tmp_path / "packed" / "0000.tar"
    shard.write_bytes(shard.read_bytes().replace(b'{"id":1,', b'{"id":1;'))
    assert People(open_dataset(tmp_path / "packed")).ids == [3, 3, 3]  # crowds with keypoints are packed as people


def test_boxes_without_an_area_are_left_out_with_a_warning_that_names_the_first(tmp_path):
    flat = made.person(2, keypoints=only("nose"), bbox=None)  # one keypoint has a box without extent
    dataset = open_dataset(made.write(tmp_path, made.coco(1, [made.person(1), flat])))
    with pytest.warns(UserWarning, match=r"1 people are left out.*person number 1 of picture 1, box \[50"):
        people = People(dataset)
    assert len(people) == 1


def test_a_file_with_nobody_to_crop_is_one_clear_error(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = open_dataset(made.write(tmp_path, made.coco(2, [made.person(keypoints=NOBODY)])))
    with pytest.raises(AnnotationError, match=r"nobody in its 2 pictures can be cropped.*coco17"):
        People(dataset)


def test_a_listed_size_that_is_wrong_is_found_when_the_picture_is_opened(tmp_path):
    data = made.coco([{"id": 7, "file_name": "7.jpg", "width": 400, "height": 110}],
                     [made.person(image=7, keypoints=made.keypoints((300, 0)), bbox=[330, 5, 40, 95])])  # fmt: skip
    people = People(open_dataset(made.write(tmp_path, data)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(AnnotationError, match=r"picture 7 is 120x110; the box.*person number 0"):
            people[0]


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": "x", "height": None}])
def test_pictures_of_unknown_size_have_people_too(tmp_path, size):
    data = made.coco([{"id": 1, "file_name": "1.jpg", **size}], [made.person()])
    assert people_table(open_dataset(made.write(tmp_path, data))).sizes.tolist() == [[np.inf, np.inf]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert People(open_dataset(tmp_path / "people.json"))[0].boxes.tolist() == [[30, 5, 70, 100]]


def test_a_size_listed_the_wrong_way_round_costs_nobody(tmp_path):
    data = made.coco([{"id": 1, "file_name": "1.jpg", "width": 110, "height": 120}],
                     [made.person(keypoints=made.keypoints((50, 0)), bbox=[111, 5, 8, 95])])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert People(open_dataset(made.write(tmp_path, data)))[0].boxes.tolist() == [[111, 5, 119, 100]]


def test_boxes_of_mpii_may_leave_the_picture(tmp_path):
    record = {"image": "1.jpg", "center": [15, 40], "scale": 0.5, "joints": [[20.0, 30.0]] * 16, "joints_vis": [1] * 16}
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "1.jpg"), np.zeros((110, 120, 3), np.uint8))
    records = [record, {**record, "joints_vis": [0] * 16}, {**record, "center": [300, 40]}]
    (tmp_path / "train.json").write_text(json.dumps(records))
    people = People(open_dataset(tmp_path / "train.json"))
    assert people.ids == ["1.jpg", "1.jpg"] and people.person.tolist() == [0, 2]
    # HRNet: y moves down by 15 * 0.5, 1-based to 0-based; 100 px across.
    np.testing.assert_allclose(people[0].boxes, [[14 - 50, 46.5 - 50, 14 + 50, 46.5 + 50]])
    with pytest.raises(AnnotationError, match=r"picture 1.jpg is 120x110; the box .* of its person number 2"):
        people[1]


# Pictures that cannot be read --------------------------------------------------------------------


def test_an_unreadable_picture_raises_and_is_replaced_outside(tmp_path):
    path = crowded_file(tmp_path)
    (tmp_path / "images" / "1.jpg").write_bytes(b"no picture")
    people = People(open_dataset(path))
    with pytest.raises(PictureError):
        people[0]
    safe = SkipUnreadable(people)
    with pytest.warns(UserWarning, match="picture left out"):
        assert safe[0].id == 3
    assert safe.unreadable[0] == 1


def test_where_the_dataset_itself_gives_another_picture_one_of_its_people_comes(tmp_path):
    path = crowded_file(tmp_path)
    (tmp_path / "images" / "1.jpg").write_bytes(b"no picture")
    people = People(SkipUnreadable(open_dataset(path)))
    with pytest.warns(UserWarning, match="picture left out"):
        first = people[0]
    assert first.id == 3 and len(first) == 1 and people.unreadable == [1]
    np.testing.assert_array_equal(people[0].keypoints, first.keypoints)


# Datasets that cannot say who is in their pictures -----------------------------------------------


def test_drawn_pictures_give_one_person_each_always_the_same():
    drawn = open_dataset("synthetic:people=0-3,seed=4")
    people = People(drawn)
    assert people_table(drawn) is None and len(people) == len(drawn)
    counts = [len(drawn[i]) for i in range(8)]
    assert 0 in counts and max(counts) > 1, "pictures without people are among them"
    for i in range(8):
        sample = people[i]
        assert len(sample) == 1 and sample.visible.any()
        np.testing.assert_array_equal(sample.keypoints, People(drawn)[i].keypoints)
        first = next(n for n in range(i, len(drawn)) if len(drawn[n]))
        assert sample.id == drawn[first].id or not drawn[first].visible.any()


def test_drawn_pictures_without_people_are_an_error():
    people = People(open_dataset("synthetic:people=0-0"))
    with pytest.raises(AnnotationError, match="20 pictures in a row, from number 3 on, show nobody"):
        people[3]


def test_people_travel_to_loader_processes_as_arrays(tmp_path):
    people = People(open_dataset(crowded_file(tmp_path)))
    again = pickle.loads(pickle.dumps(people))
    np.testing.assert_array_equal(again[2].keypoints, people[2].keypoints)
    own = {key: value for key, value in vars(copy.copy(people)).items() if key != "dataset"}
    assert not [key for key, value in own.items() if isinstance(value, list | dict)]
