"""What every dataset promises.

Each class in `litepose.datasets` with a length and items is found by itself and needs an example below.
"""

import importlib
import inspect
import json
import pickle
import pkgutil
import tarfile

import numpy as np
import pytest

import coco_files as made
import mpii_files
from litepose import datasets
from litepose.datasets import Dataset, Remapped, SkipUnreadable, open_dataset
from litepose.datasets.composite import Composites
from litepose.datasets.packed import pack
from litepose.datasets.people import People
from litepose.datasets.pictures import Pictures
from litepose.skeleton import CROWDPOSE14
from litepose.transforms import RandomWarp


def coco(folder):
    people = [made.person(1), made.person(2, image=3), made.person(3, image=3, keypoints=made.keypoints((30, 5), 1))]
    return open_dataset(made.write(folder, made.coco(3, people)))


def packed(folder):
    pack([coco(folder)], folder / "packed", short_side=80)
    return open_dataset(folder / "packed")


def tar(folder):
    people = [{k: v for k, v in made.person().items() if k not in ("id", "image_id")}]
    dataset = coco(folder)
    with tarfile.open(folder / "people.tar", "w") as file:
        for number in range(3):
            file.add(dataset.path(number), f"{number}.jpg")
            (folder / "one.json").write_text(json.dumps(people))
            file.add(folder / "one.json", f"{number}.json")
    return open_dataset(folder / "people.tar", skeleton="coco17")


def mpii(folder):
    records = [mpii_files.record(f"{name}.jpg", missing=range(2)) for name in "abac"]
    return open_dataset(mpii_files.write(folder, records))


def unannotated(folder):
    files = coco(folder)
    return Pictures([(number, files.path(number)) for number in range(3)], skeleton=CROWDPOSE14, name="three")


EXAMPLES = {
    "CocoDataset": coco,
    "MpiiDataset": mpii,
    "PackedDataset": packed,
    "TarDataset": tar,
    "People": lambda folder: People(coco(folder)),
    "Pictures": unannotated,
    "Remapped": lambda folder: Remapped(coco(folder), CROWDPOSE14),
    "SkipUnreadable": lambda folder: SkipUnreadable(coco(folder)),
    "Composites": lambda folder: Composites(coco(folder), coco(folder), length=3),
    "SyntheticPeople": lambda folder: open_dataset("synthetic:people=1-2,seed=3"),
}


def dataset_classes():
    found = {}
    for info in pkgutil.walk_packages(datasets.__path__, "litepose.datasets."):
        for name, value in vars(importlib.import_module(info.name)).items():
            own = inspect.isclass(value) and value.__module__ == info.name
            if own and value is not Dataset and {"__getitem__", "__len__"} <= set(dir(value)):
                found[name] = value
    return found


def test_every_dataset_has_an_example():
    assert set(dataset_classes()) == set(EXAMPLES)


@pytest.fixture(params=sorted(EXAMPLES))
def dataset(request, tmp_path):
    opened = EXAMPLES[request.param](tmp_path)
    assert type(opened).__name__ == request.param
    return opened


def test_ids_are_as_many_as_pictures_and_different(dataset):
    assert len(dataset.ids) == len(dataset) > 0
    some = [dataset.ids[i] for i in range(min(50, len(dataset)))]
    assert dataset.name and (len(set(some)) == len(some) or isinstance(dataset, People)), "people share their picture's"


def test_samples_have_the_promised_arrays(dataset):
    for index in range(min(3, len(dataset))):
        sample = dataset[index]
        people, count, (width, height) = len(sample), dataset.skeleton.num_keypoints, sample.size
        assert sample.skeleton == dataset.skeleton and sample.id == dataset.ids[index]
        assert sample.image.dtype == np.uint8 and sample.image.shape == (height, width, 3)
        assert sample.keypoints.dtype == np.float32 and sample.keypoints.shape == (people, count, 3)
        assert set(np.unique(sample.keypoints[..., 2])) <= {0, 1, 2}
        assert sample.boxes.dtype == np.float32 and sample.boxes.shape == (people, 4)
        assert (sample.boxes[:, 2:] >= sample.boxes[:, :2]).all()
        assert sample.areas.dtype == np.float32 and sample.areas.shape == (people,) and (sample.areas > 0).all()
        for region in [sample.ignore, *(sample.person_masks or ())]:
            assert region is None or (region.dtype == bool and region.shape == (height, width))
        assert sample.labelled is None or (sample.labelled.dtype == bool and sample.labelled.shape == (count,))
        weights = sample.keypoint_weights
        assert weights is None or (weights.dtype == np.float32 and weights.shape == (people, count))


def test_a_sample_is_the_same_each_time(dataset):
    one, again = dataset[1], dataset[1]
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.keypoints, again.keypoints)


def test_a_sample_may_be_changed_without_changing_the_dataset(dataset):
    sample = dataset[0]
    before = sample.keypoints.copy()
    sample.keypoints[:] = -1
    sample.boxes[:] = -1
    np.testing.assert_array_equal(dataset[0].keypoints, before)


def test_a_dataset_travels_to_loader_processes(dataset):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset))[0].image, dataset[0].image)


def test_samples_can_be_warped(dataset):
    warped = RandomWarp((64, 64))(dataset[0], np.random.default_rng(0))
    assert warped.size == (64, 64) and warped.keypoints.shape == dataset[0].keypoints.shape
