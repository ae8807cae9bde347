"""The failure page of each protocol, from an evaluation."""

import json

import cv2
import numpy as np
import pytest

import made_people as made
import mpii_files
from litepose.datasets import open_dataset
from litepose.failure_report import reader_of, sizes_in, write_failure_report
from litepose.metrics.crowdpose import CrowdTruth
from litepose.metrics.pckh import PckhTruth
from litepose.metrics.protocols import CocoProtocol, CrowdPoseProtocol, MpiiProtocol, PckProtocol
from litepose.metrics.report import Report
from litepose.metrics.truth import Truth
from litepose.poses import Poses
from litepose.skeleton import COCO17, MPII16

for package in ("hotcoco", "jinja2", "matplotlib"):
    pytest.importorskip(package)


def blank(_):
    return np.zeros((300, 640, 3), np.uint8)


def written(folder, protocol, found, *, seen=None, skeleton=COCO17):
    """Return what the page's numbers are and what the page is."""
    scores = protocol.score(found, Truth(skeleton, ()) if seen is None else seen)
    report = Report(scores, len(found), settings={"model": "tiny", "data": "made"})
    write_failure_report(folder, report, protocol, found, image_of=blank, seen=seen or Truth(skeleton, ()))
    return json.loads((folder / "diagnosis.json").read_text()), (folder / "index.html").read_text()


def case():
    truth = made.truth(made.true_people(2, id=1), made.true_people(1, id=2), made.true_people(1, id=3))
    return truth, {1: made.found(made.place(0)), 2: made.found(made.place(0))}


def test_coco_counts_the_pictures_that_were_looked_at_only(tmp_path):
    truth, found = case()
    numbers, text = written(tmp_path, CocoProtocol(truth=truth), found)
    assert (numbers["people"]["true"], numbers["people"]["missed"]) == (3, 1)
    assert "Why tiny fails on made" in text and "coco-keypoints" in text and "per_picture" not in text


def test_without_an_annotation_file_the_samples_own_truth_counts(tmp_path):
    truth, found = case()
    numbers, _ = written(tmp_path, CocoProtocol(), found, seen=truth.only(found))
    assert numbers["people"]["true"] == 3


def test_crowdpose_has_its_levels_among_the_slices(tmp_path):
    truth, found = case()
    levels = {1: "easy", 2: "hard", 3: "hard"}
    numbers, _ = written(tmp_path, CrowdPoseProtocol(CrowdTruth(truth, levels)), found)
    kinds = {(one["kind"], one["name"]): one["num_people"] for one in numbers["slices"]}
    title = "CrowdPose's level of the picture"
    assert kinds[title, "easy"] == 2 and kinds[title, "hard"] == 1


def test_pck_has_its_own_page(tmp_path):
    truth, found = case()
    numbers, text = written(tmp_path, PckProtocol(COCO17, truth=truth), found)
    assert numbers["measure"] == "PCK" and "At which distance" in text
    assert numbers["pck"] == 2 / 3  # the one found in picture 1 stands for both true people there


def test_mpii_finds_the_picture_of_each_record(tmp_path):
    truth = PckhTruth(np.tile(mpii_files.POSE, (3, 1, 1)), np.ones((3, 16)), np.full(3, 10.0))
    records = {"b.jpg": np.array([0, 2]), "a.jpg": np.array([1])}
    wrong = np.stack([mpii_files.POSE, mpii_files.POSE + 50])
    found = {"b.jpg": Poses(MPII16, wrong, np.ones((2, 16)), np.ones(2))}
    protocol = MpiiProtocol(truth, records, skeleton=MPII16, boxes=lambda sample: (np.zeros((0, 5)), np.zeros(0)))
    numbers, text = written(tmp_path, protocol, found, skeleton=MPII16)
    assert numbers["num_people"] == 2
    assert [(one["id"], one["number"]) for one in numbers["worst"]] == [("b.jpg", 1)]
    assert "mpii-pckh" in text


def test_pictures_are_read_by_id_and_sizes_come_from_the_file(tmp_path):
    import coco_files

    path = coco_files.write(tmp_path, coco_files.coco(images=2))
    dataset = open_dataset(path, images=tmp_path / "images", skeleton=COCO17)
    image_of = reader_of(dataset)
    assert (image_of(2) == cv2.imread(str(tmp_path / "images" / "2.jpg"))).all()
    (tmp_path / "images" / "1.jpg").write_bytes(b"no picture")
    assert image_of(1) is None and image_of(77) is None
    assert sizes_in(json.loads(path.read_text())) == {1: (120, 110), 2: (120, 110)}
    assert sizes_in([1]) == sizes_in(None) == sizes_in({"images": [{"id": 1, "width": None}]}) == {}
