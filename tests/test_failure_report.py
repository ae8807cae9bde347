"""The page that says why a model fails."""

import base64
import json
import re
import sys

import cv2
import numpy as np
import pytest

import browser
import made_people as made
import mpii_files
from litepose.errors import AnnotationError, MissingPackageError, SettingError
from litepose.failure_report import write_coco_report, write_pck_report, write_pckh_report
from litepose.failure_report.pictures import FRAME, INVERTED, LONGEST_PX, cut_out, draw_errors
from litepose.metrics.coco import evaluate_poses
from litepose.metrics.keypoint_errors import find_errors
from litepose.metrics.pckh import PckhTruth
from litepose.skeleton import COCO17

for package in ("hotcoco", "jinja2", "matplotlib"):
    pytest.importorskip(package)

MANY = 640  # px, a side of the pictures


def picture(_=None):
    return np.random.default_rng(0).integers(0, 255, (MANY // 2, MANY, 3), dtype=np.uint8)


def scores(truth, found):
    stats = evaluate_poses(truth, found, COCO17).to_json()
    settings = {"model": "tiny & <b>", "data": "made.json", "flip": True, "scales": [0.5, 1], "unreadable": []}
    return {"protocol": "coco-keypoints", "stats": stats, "settings": settings}


def case():
    """Two pictures: somebody missed, somebody false, a left-right inversion."""
    truth = made.truth(made.true_people(2, id=1), made.true_people(1, id=2))
    found = {1: made.found(made.place(0)[COCO17.mirror_indices], scores=[0.9]),
             2: made.found(made.place(0), made.place(1), scores=[0.9, 0.95])}  # fmt: skip
    return truth, found


def write(folder, *, image_of=picture, **options):
    truth, found = case()
    diagnosis = write_coco_report(folder, scores(truth, found), truth, found, COCO17, image_of=image_of, **options)
    return diagnosis, (folder / "index.html").read_text()


def words_of(text):
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<style.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))


def test_the_page_and_its_numbers_are_written_and_nothing_else(tmp_path):
    diagnosis, text = write(tmp_path / "why")
    assert sorted(one.name for one in (tmp_path / "why").iterdir()) == ["diagnosis.json", "index.html"]
    assert json.loads((tmp_path / "why" / "diagnosis.json").read_text()) == json.loads(json.dumps(diagnosis.to_json()))
    assert text.count("<svg") == 6 and text.count("data:image/jpeg") == 2 * len(diagnosis.worst) == 4
    assert len(text) < 3e6


def test_the_words_say_what_the_numbers_say(tmp_path):
    diagnosis, text = write(tmp_path)
    words, losses = words_of(text), diagnosis.losses
    assert f"Of the {1 - losses.AP:.3f} of AP lost" in words
    dearest = max(losses.causes.values(), key=lambda one: one.AP)
    assert f"{dearest.AP:.3f} would come back if" in words
    assert "1 of 3 true people were found by nobody (33%); 1 of 3 people found are on nobody" in words
    for name, value in scores(*case())["stats"].items():
        assert name in words and (value < 0 or f"{value:.3f}" in words)
    assert "scales 0.5, 1" in words and "flip yes" in words and "unreadable none" in words


def test_names_from_outside_are_escaped(tmp_path):
    _, text = write(tmp_path)
    assert "Why tiny &amp; &lt;b&gt; fails on made.json" in text and "<b>" not in text


def test_the_order_is_from_the_causes_to_the_settings(tmp_path):
    _, text = write(tmp_path)
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["What each error costs", "Keypoints", "Curves", "For whom", "The worst pictures", "Settings"]


def test_only_the_pictures_shown_are_read_and_an_unreadable_one_is_left_out(tmp_path):
    asked = []
    fine = made.true_people(1, id=3)
    truth, found = case()
    truth = made.truth(*truth.pictures, fine)
    found[3] = made.found(made.place(0), scores=[0.99])

    def image_of(key):
        asked.append(key)
        return picture() if key == 1 else None

    write_coco_report(tmp_path, scores(truth, found), truth, found, COCO17, image_of=image_of)
    assert sorted(asked) == [1, 2]
    text = (tmp_path / "index.html").read_text()
    assert text.count("data:image/jpeg") == 2 and 'alt="Truth of picture 1"' in text and "picture 2" not in text


def test_levels_and_sizes_make_slices_of_the_page(tmp_path):
    _, text = write(tmp_path, levels={1: "hard", 2: "easy"}, sizes={1: (640, 320), 2: (60, 320)})
    assert "CrowdPose&#39;s level of the picture" in text and "cut off by its border" in text


def test_a_skeleton_of_its_own_and_no_truth_at_all_still_make_a_page(tmp_path):
    truth = made.truth(made.true_people(0))
    write_coco_report(tmp_path, {}, truth, {}, COCO17, image_of=picture)
    assert "nobody in the truth who counts" in words_of((tmp_path / "index.html").read_text())


def share_of(uri, colour):
    """The share of a drawn picture's pixels that are about of a BGR colour."""
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    return float((np.abs(drawn.astype(int) - colour).max(axis=-1) < 60).mean())


def test_a_missed_person_is_framed_in_the_truth_and_inverted_keypoints_are_ringed_where_they_were_found():
    truth, found = case()
    first, second = find_errors(truth, found)
    black = np.zeros((MANY // 2, MANY, 3), np.uint8)
    missed, false = draw_errors(first, black), draw_errors(second, black)
    assert share_of(missed.truth, FRAME) > 0.001 > share_of(missed.found, FRAME)
    assert share_of(missed.found, INVERTED) > 3 * share_of(missed.truth, INVERTED)  # limbs have some such pixels
    assert share_of(false.found, FRAME) > 0.001 > share_of(false.truth, FRAME)


def test_a_cut_out_shows_the_boxes_in_full():
    part, warp = cut_out(picture(), np.array([[340.0, 5, 370, 95]]))
    (left, top), (right, bottom) = warp.points(np.array([[340.0, 5], [370, 95]]))
    assert 0 < left < right < part.shape[1] and 0 < top < bottom < part.shape[0]
    assert bottom - top > 0.5 * part.shape[0] and max(part.shape[:2]) <= LONGEST_PX


def test_a_cut_out_stays_within_the_picture_wherever_the_boxes_lie():
    for boxes in ([], [[-900, -900, -800, -800]], [[5000, 10, 6000, 20]], [[10, 10, 10, 10]]):
        part, _ = cut_out(picture(), np.array(boxes, dtype=float).reshape(-1, 4))
        assert part.size and max(part.shape[:2]) <= LONGEST_PX


def test_people_of_foreign_pictures_are_an_error_and_no_page_is_left(tmp_path):
    truth, found = case()
    with pytest.raises(AnnotationError, match="does not list"):
        write_coco_report(tmp_path / "x", {}, truth, {**found, 99: found[1]}, COCO17, image_of=picture)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_made_and_a_missing_package_are_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Cannot write"):
        write(tmp_path / "file")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match="jinja2"):
        write(tmp_path / "why")


def pckh_case(folder, image_of=picture):
    truth = PckhTruth(np.tile(mpii_files.POSE, (2, 1, 1)), np.ones((2, 16)), np.full(2, 10.0))
    points = np.tile(mpii_files.POSE, (2, 1, 1))
    points[1, :8] += 30
    points[1, 8] = np.nan
    data = {"protocol": "mpii-pckh", "stats": {"Mean": 0.5}, "settings": {"model": "tiny", "data": "valid.json"}}
    return write_pckh_report(folder, data, truth, points, ["a.jpg", "b.jpg"], image_of=image_of)


def test_pckh_and_pck_have_a_page_of_their_own(tmp_path):
    diagnosis = pckh_case(tmp_path / "mpii")
    text = (tmp_path / "mpii" / "index.html").read_text()
    assert [one.id for one in diagnosis.worst] == ["b.jpg"] and text.count("data:image/jpeg") == 2
    assert "7 of 16 keypoints right; 1 not found." in words_of(text)
    assert "PCKh@0.5" in text and json.loads((tmp_path / "mpii" / "diagnosis.json").read_text())["measure"] == "PCKh"
    truth, found = case()
    write_pck_report(tmp_path / "pck", {"protocol": "pck"}, truth, found, COCO17, image_of=lambda _: None)
    assert "PCK@0.2" in (tmp_path / "pck" / "index.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_browser_shows_both_pages_and_asks_for_nothing(tmp_path, width, dark):
    write(tmp_path / "ap", levels={1: "hard", 2: "easy"})
    pckh_case(tmp_path / "mpii")
    for name, pictures, says in (("ap", 4, "What each error costs"), ("mpii", 2, "At which distance")):
        seen = browser.visit(tmp_path / name / "index.html", width=width, dark=dark)
        assert (seen.console, seen.errors, seen.requests) == ((), (), ())
        assert (seen.num_pictures, seen.broken_pictures, seen.overflow_px) == (pictures, 0, 0)
        assert says in seen.text and seen.title.startswith("Why tiny")
