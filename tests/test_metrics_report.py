"""Evaluation as a whole: a predictor over annotated pictures."""

import json
import sys

import numpy as np
import pytest

from litepose.errors import AnnotationError, MissingPackageError, PictureError
from litepose.metrics import CocoProtocol, evaluate
from litepose.metrics.truth import truth_from_samples
from litepose.poses import Poses, Sample
from litepose.skeleton import COCO17, Skeleton

pytest.importorskip("hotcoco")


class Pictures:
    """Four grey pictures whose grey says which they are; those in `broken` cannot be read."""

    def __init__(self, skeleton: Skeleton = COCO17, broken: tuple[int, ...] = ()) -> None:
        self.skeleton, self.name, self.ids, self.broken = skeleton, "four", [10, 11, 12, 13], broken

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        if index in self.broken:
            raise PictureError(f"Picture {index}.jpg is truncated.")
        keypoints = np.random.default_rng(index).uniform(0, 120, (1, self.skeleton.num_keypoints, 3))
        keypoints[..., 2] = 2
        image = np.full((128, 128, 3), index, np.uint8)
        return Sample(self.skeleton, image, keypoints, np.array([[0, 0, 120, 120]]), np.array([9000.0]), id=10 + index)


def truthful(dataset: Pictures):
    def predict(image: np.ndarray) -> Poses:
        sample = dataset[int(image[0, 0, 0])]
        return Poses(sample.skeleton, sample.keypoints[..., :2], np.ones(sample.keypoints.shape[:2]), np.ones(1))

    return predict


def test_a_perfect_predictor_scores_one_everywhere():
    dataset = Pictures()
    report = evaluate(truthful(dataset), dataset, settings={"model": "perfect"})
    data = json.loads(json.dumps(report.to_json()))
    assert data["protocol"] == "coco-keypoints"
    assert list(data["stats"]) == ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL", "PCK"]
    assert (data["stats"]["AP"], data["stats"]["PCK"], data["stats"]["APL"]) == (1, 1, -1)
    assert data["settings"] == {
        "max_people": 20, "pictures_with_more": 0, "model": "perfect", "pictures": 4, "people": 4, "unreadable": [],
    }  # fmt: skip
    assert data["pck"]["settings"]["people"] == 4


def test_boxes_of_each_sample_go_to_the_predictor_beside_its_picture():
    dataset, given = Pictures(broken=(1,)), []

    def predict(image, boxes):
        given.append(boxes)
        return truthful(dataset)(image)

    report = evaluate(predict, dataset, protocol=CocoProtocol(boxes=lambda sample: sample.boxes + sample.id))
    assert report.scores.coco.AP == 1
    assert [boxes.tolist() for boxes in given] == [[[i, i, 120 + i, 120 + i]] for i in (10, 12, 13)]


def test_unreadable_pictures_are_named_and_left_out_of_the_numbers():
    dataset = Pictures(broken=(1, 3))
    report = evaluate(truthful(dataset), dataset)
    assert report.num_pictures == 2
    assert report.scores.coco.AP == 1
    assert report.unreadable == ((11, "Picture 1.jpg is truncated."), (13, "Picture 3.jpg is truncated."))
    assert report.to_json()["settings"]["unreadable"][0] == {"id": 11, "error": "Picture 1.jpg is truncated."}


def test_truth_of_a_file_is_cut_to_the_pictures_looked_at():
    dataset = Pictures()
    truth = truth_from_samples(dataset[i] for i in range(4))
    report = evaluate(truthful(dataset), dataset, protocol=CocoProtocol(truth=truth), limit=3)
    assert (report.num_pictures, report.scores.coco.AR) == (3, 1)


def test_progress_counts_every_picture_once():
    calls = []
    dataset = Pictures(broken=(0,))
    evaluate(truthful(dataset), dataset, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_skeleton_without_torso_has_no_pck():
    dataset = Pictures(Skeleton("hand", ("wrist", "thumb"), oks_sigmas=(0.1, 0.1)))
    report = evaluate(truthful(dataset), dataset)
    assert report.scores.pck is None
    assert "PCK" not in report.to_json()["stats"]
    assert report.scores.coco.AP == 1


def test_nothing_readable_is_an_error():
    dataset = Pictures(broken=(0, 1, 2, 3))
    with pytest.raises(AnnotationError, match=r"four.*none of 4 could be read.*0\.jpg is truncated"):
        evaluate(truthful(dataset), dataset)


def test_a_missing_package_is_named_before_the_first_picture_is_looked_at(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    looked_at = []
    with pytest.raises(MissingPackageError, match=r"litepose\[eval\]"):
        evaluate(looked_at.append, Pictures())
    assert looked_at == []
