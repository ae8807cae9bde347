"""MPII's protocol over a predictor of known faults: one prediction for each record, whatever else is in the picture."""

import json

import numpy as np
import pytest

import mpii_files as made
from litepose.datasets import open_dataset
from litepose.datasets.mpii import MpiiDataset
from litepose.detectors import truth_boxes
from litepose.errors import AnnotationError, SkeletonError
from litepose.metrics import MpiiProtocol, Report, evaluate
from litepose.metrics.pckh import read_truth_mat, truth_beside
from litepose.poses import Poses
from litepose.skeleton import COCO17, MPII16, Skeleton

HEAD_SIZE = 0.6 * np.hypot(20, 20)
WIDER = Skeleton("wider", ("nose", *MPII16.keypoints), mirror=MPII16.mirror, oks_sigmas=(0.1,) * 17)
WRISTS = [MPII16.index("left_wrist"), MPII16.index("right_wrist")]
OFFSETS = [(0, 0), (7, 1), (1, 0), (30, 20)]  # the first and the third are nearly the same person, in one picture
NUM_MEAN = 14  # of the 16 keypoints


@pytest.fixture
def mpii(tmp_path) -> MpiiDataset:
    """Four records of two pictures, mixed, with their .mat file."""
    images = ["b.jpg", "a.jpg", "b.jpg", "b.jpg"]
    records = [made.record(image, offset) for image, offset in zip(images, OFFSETS, strict=True)]
    path = made.write(tmp_path, records)
    made.write_mat(path.with_name("gt_valid.mat"), records)
    return open_dataset(path)


def protocol_of(dataset: MpiiDataset, folder, skeleton: Skeleton = MPII16) -> MpiiProtocol:
    truth = read_truth_mat(truth_beside(folder / "annot" / "valid.json"))
    records = {image: dataset.records(index) for index, image in enumerate(dataset.ids)}
    return MpiiProtocol(truth, records, skeleton=skeleton, boxes=truth_boxes)


class Annotator:
    """Answers each box with the annotated person in it, changed by `faults`: number of the record -> (16, 2) px to
    add, or None for nobody."""

    def __init__(self, dataset: MpiiDataset, faults=None, *, skeleton: Skeleton = MPII16) -> None:
        self.faults, self.skeleton, self.calls = faults or {}, skeleton, []
        self.boxes = np.zeros((dataset.num_records, 4))
        for index in range(len(dataset)):
            self.boxes[dataset.records(index)] = dataset[index].boxes

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        assert boxes.shape == (1, 5)
        record = int(np.argmin(np.abs(self.boxes - boxes[0, :4]).sum(axis=1)))
        self.calls.append(record)
        fault = self.faults.get(record, np.zeros((16, 2)))
        if fault is None:
            return Poses.empty(self.skeleton)
        person = Poses(MPII16, (made.POSE + OFFSETS[record] + fault)[None], np.ones((1, 16)), np.ones(1))
        return person.mapped_to(self.skeleton)


def score(dataset, folder, predict, **options) -> Report:
    return evaluate(predict, dataset, protocol=protocol_of(dataset, folder, predict.skeleton), **options)


@pytest.mark.parametrize("skeleton", [MPII16, WIDER], ids=["mpii16", "wider"])
def test_a_perfect_predictor_scores_one_and_is_asked_once_for_each_record(mpii, tmp_path, skeleton):
    predict = Annotator(mpii, skeleton=skeleton)
    report = score(mpii, tmp_path, predict, settings={"model": "perfect"})
    assert sorted(predict.calls) == [0, 1, 2, 3]
    data = json.loads(json.dumps(report.to_json()))
    assert data["protocol"] == "mpii-pckh"
    assert set(data["stats"].values()) == {1}
    assert list(data["stats"])[-3:] == ["Mean", "Mean@0.1 (as published: at 0.11)", "Mean@0.10"]
    assert data["settings"]["model"] == "perfect" and data["settings"]["threshold"] == 0.5
    assert (data["settings"]["people"], data["settings"]["pictures"], data["settings"]["unreadable"]) == (4, 2, [])


def test_faults_count_for_their_own_record_and_nobody_found_is_all_missed(mpii, tmp_path):
    slightly, wrists_off = np.zeros((16, 2)), np.zeros((16, 2))
    slightly[:, 0] = 0.105 * HEAD_SIZE
    wrists_off[WRISTS] = 100
    stats = score(mpii, tmp_path, Annotator(mpii, {1: slightly, 2: None, 3: wrists_off})).to_json()["stats"]
    groups = {"Wrist": 2 / 4, **dict.fromkeys(("Head", "Shoulder", "Elbow", "Hip", "Knee", "Ankle"), 3 / 4)}
    assert {name: stats[name] for name in groups} == groups
    right = 3 * NUM_MEAN - 2
    assert stats["Mean"] == right / (4 * NUM_MEAN)
    assert stats["Mean@0.1 (as published: at 0.11)"] == right / (4 * NUM_MEAN)
    assert stats["Mean@0.10"] == (right - NUM_MEAN) / (4 * NUM_MEAN)


def test_pictures_that_are_not_looked_at_or_cannot_be_read_are_not_in_the_numbers(mpii, tmp_path):
    report = score(mpii, tmp_path, Annotator(mpii, {1: None}), limit=1)
    assert (report.num_pictures, report.scores.num_people, report.scores.pckh.mean) == (1, 3, 1)
    predict = Annotator(mpii, {1: None})
    (tmp_path / "images" / "b.jpg").write_bytes(b"no picture")
    report = score(mpii, tmp_path, predict)
    assert (report.scores.num_people, report.scores.pckh.mean) == (1, 0)
    assert [name for name, _ in report.unreadable] == ["b.jpg"]


def test_a_box_with_nothing_of_the_picture_is_a_person_missed(tmp_path):
    records = [made.record("a.jpg"), made.record("a.jpg", center=[900.0, 900.0])]
    path = made.write(tmp_path, records)
    made.write_mat(path.with_name("gt_valid.mat"), records)
    dataset = open_dataset(path)
    predict = Annotator(dataset)
    assert score(dataset, tmp_path, predict).scores.pckh.mean == 0.5
    assert predict.calls == [0]


def test_a_skeleton_without_all_sixteen_keypoints_is_refused(mpii, tmp_path):
    with pytest.raises(SkeletonError, match=r"coco17; it lacks pelvis, thorax, neck, head_top .* on mpii16"):
        protocol_of(mpii, tmp_path, COCO17)


def test_the_truth_of_a_shorter_list_is_refused_before_anybody_is_looked_for(mpii, tmp_path):
    made.write_mat(tmp_path / "annot" / "gt_valid.mat", [made.record()])
    with pytest.raises(AnnotationError, match=r"4 records or more; the truth has 1 people.*belongs to"):
        protocol_of(mpii, tmp_path)
