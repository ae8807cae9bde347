"""`litepose data check`: labels that are probably wrong are found, sound ones are not."""

import json
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import browser
import coco_files as made
import mpii_files
from litepose import cli
from litepose.datasets import check_swaps
from litepose.datasets.check import KINDS, SWAP, TWICE, check
from litepose.datasets.check_page import write_check_page
from litepose.errors import AnnotationError
from litepose.skeleton import COCO17, CROWDPOSE14


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(one) for one in arguments])
    return stop.value.code or 0


def moved(**places):
    """The standing person's keypoints with some at other places."""
    points = np.array(made.keypoints()).reshape(-1, 3)
    for name, place in places.items():
        points[COCO17.index(name), :2] = place
    return points.ravel().tolist()


def exchanged(*pairs):
    points = np.array(made.keypoints()).reshape(-1, 3)
    return points[order(*pairs)].ravel().tolist()


def order(*pairs):
    places = np.arange(17)
    for pair in pairs:
        left, right = COCO17.index(f"left_{pair}"), COCO17.index(f"right_{pair}")
        places[left], places[right] = right, left
    return places


def found(folder, *people, **fields):
    """Return the suspicions about a file of these people."""
    data = made.coco(1, list(people), **fields)
    return check(made.write(folder, data)).suspicions


def test_nothing_is_suspected_of_a_sound_file(tmp_path):
    people = [made.person(), made.person(2, 2, keypoints=made.keypoints((3, 2)), bbox=[33, 7, 40, 95])]
    report = check(made.write(tmp_path, made.coco(2, people)))
    assert report.suspicions == () and report.left_out == ()
    assert report.counts == {"pictures": 2, "people": 2, "people with keypoints": 2, "keypoints": 34}


HALF = [value if n < 15 or n >= 33 else 0.0 for n, value in enumerate(made.keypoints())]
CASES = {
    "keypoints unusable": ({"keypoints": [1.0, 2.0, 2.0]}, ()),
    "no listed picture": ({"image_id": 99}, ()),
    "limb too long": (
        {"keypoints": moved(left_wrist=(108, 100)), "bbox": [30, 5, 80, 96]},
        ("left_elbow", "left_wrist"),
    ),
    "left and right limb differ": (
        {"keypoints": moved(left_ankle=(56, 76), right_ankle=(44, 105)), "bbox": [30, 5, 40, 102]},
        ("left_knee", "left_ankle", "right_knee", "right_ankle"),
    ),
    "keypoints at one place": ({"keypoints": moved(left_wrist=(56, 55))}, ("left_wrist", "left_hip")),
    "keypoints outside their box": ({"bbox": [30, 5, 40, 75]}, ("left_ankle", "right_ankle")),
    "keypoints outside the picture": ({"keypoints": made.keypoints((0, 20)), "bbox": [30, 15, 40, 95]}, None),
    "box empty": ({"bbox": [30, 5, 0, 95], "area": None}, None),
    "box outside the picture": ({"bbox": [30, 5, 200, 95]}, ()),
    "area larger than the box": ({"area": 5000.0}, ()),
    "num_keypoints differs": ({"num_keypoints": 12}, ()),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_found_in_the_person_whose_label_is_wrong(tmp_path, kind):
    fields, keypoints = CASES[kind]
    suspicions = found(tmp_path, made.person(), made.person(2, **{"keypoints": made.keypoints((3, 0)), **fields}))
    mine = [one for one in suspicions if one.kind == kind]
    assert [one.annotation for one in mine] == [2]
    assert mine[0].text.endswith(".") and mine[0].badness > 0
    if keypoints is not None:
        assert mine[0].keypoints == keypoints


def test_a_box_much_larger_than_the_person_is_found(tmp_path):
    data = made.coco(
        [{"id": 1, "file_name": "1.jpg", "width": 500, "height": 500}], [made.person(bbox=[5, 5, 400, 400])]
    )
    assert [one.kind for one in check(made.write(tmp_path, data)).suspicions] == ["box much larger than the keypoints"]


def test_a_hidden_keypoint_may_lie_outside_of_what_is_seen(tmp_path):
    hidden = np.array(made.keypoints()).reshape(-1, 3)
    hidden[15:, 2] = 1
    assert found(tmp_path, made.person(keypoints=hidden.ravel().tolist(), bbox=[30, 5, 40, 75])) == ()


def test_the_same_person_twice_is_found_once_and_a_neighbour_is_not(tmp_path):
    twin = made.person(7, keypoints=made.keypoints((1, 0)))
    neighbour = made.person(3, keypoints=made.keypoints((25, 0)), bbox=[55, 5, 40, 95])
    suspicions = found(tmp_path, made.person(), twin, neighbour)
    assert [(one.kind, one.annotation, one.others) for one in suspicions] == [(TWICE, 1, (7,))]


def test_pictures_missing_or_listed_twice_and_repeated_ids_are_found(tmp_path):
    records = [{"id": n, "file_name": name, "width": 120, "height": 110} for n, name in ((1, "1.jpg"), (2, "1.jpg"))]
    records += [{"id": 3, "file_name": "3.jpg", "width": 120, "height": 110}]
    path = made.write(tmp_path, made.coco(records, [made.person(5), made.person(5, 3)]))
    (tmp_path / "images" / "3.jpg").unlink()
    kinds = {one.kind: (one.picture, one.annotation) for one in check(path).suspicions}
    assert kinds == {"picture missing": (3, None), "picture listed twice": (2, None), "id repeated": (1, 5)}


def test_without_pictures_the_report_says_what_was_left_out(tmp_path):
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "people.json"
    path.write_text(json.dumps(made.coco(1)))
    report = check(path)
    assert report.suspicions == ()
    assert len(report.left_out) == 1 and "--images" in report.left_out[0]
    with pytest.raises(AnnotationError, match="is no folder"):
        check(path, images=tmp_path / "none")


EXCHANGES = {one.name: one for one in check_swaps.EXCHANGES}


@pytest.mark.parametrize("name", ["eyes", "ears", "face", "shoulders", "hips", "whole person", "shoulders and arms"])
def test_an_exchange_is_named_with_its_keypoints(tmp_path, name):
    one = EXCHANGES[name]
    suspicions = found(tmp_path, made.person(keypoints=exchanged(*one.pairs)))
    assert [(s.kind, s.text.split(" (")[0]) for s in suspicions] == [(SWAP, f"Probably exchanged: {name}")]
    assert set(suspicions[0].keypoints) == {f"{side}_{pair}" for pair in one.pairs for side in ("left", "right")}


FRONTAL = np.array(made.keypoints()).reshape(-1, 3)
STRADDLED = moved(left_knee=(66, 72), right_knee=(34, 72), left_ankle=(74, 90), right_ankle=(26, 90))
STRADDLED = np.array(STRADDLED).reshape(-1, 3)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["whole person", "body", "face", "arms", "legs", "hips", "shoulders", "knees", "elbows"]),
    turn=st.floats(-180, 180),
    size=st.floats(0.5, 8),
    seed=st.integers(0, 1000),
)
def test_an_exchange_made_in_a_frontal_person_is_found_at_any_size_and_turn(name, turn, size, seed):
    angle = np.deg2rad(turn)
    matrix = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    person = STRADDLED.copy()
    person[:, :2] = (person[:, :2] + np.random.default_rng(seed).normal(0, 0.4, (17, 2))) @ matrix.T
    people = np.stack([person, person[order(*EXCHANGES[name].pairs)]])
    swaps = check_swaps.find_swaps(people, COCO17)
    assert swaps.exchange[0] == -1
    assert swaps.exchange[1] >= 0 and swaps.evidence[1] > 1


def test_of_a_person_without_face_a_part_is_judged_and_the_whole_is_not():
    places = CROWDPOSE14.positions_in(COCO17)
    person = np.where((places >= 0)[:, None], STRADDLED[places], 0)
    mirrored = person[CROWDPOSE14.mirror_indices]
    hips = person.copy()
    left, right = CROWDPOSE14.index("left_hip"), CROWDPOSE14.index("right_hip")
    hips[[left, right]] = hips[[right, left]]
    exchange = check_swaps.find_swaps(np.stack([person, mirrored, hips]), CROWDPOSE14).exchange
    assert exchange[:2].tolist() == [-1, -1]
    assert check_swaps.EXCHANGES[exchange[2]].name == "hips"


def test_people_too_small_to_judge_are_left_alone():
    small = FRONTAL[order("shoulder")] * (0.2, 0.2, 1)
    assert check_swaps.find_swaps(small[None], COCO17).exchange.tolist() == [-1]


def test_an_mpii_list_is_checked_by_record_number(tmp_path):
    wrong = mpii_files.record("b.jpg", center=[400.0, 47.0])
    report = check(mpii_files.write(tmp_path, [mpii_files.record("a.jpg"), wrong]))
    assert {(one.kind, one.picture, one.annotation) for one in report.suspicions} == {
        ("keypoints outside their box", "b.jpg", 1)
    }
    assert report.left_out == ("what lies outside of the picture: the file lists no sizes",)


RESULT = [{"image_id": 1, "category_id": 1, "keypoints": made.keypoints(), "score": 0.9}]
BAD = {
    "a results file": (json.dumps(RESULT), "COCO results"),
    "a list": ("[1, 2]", "a list of something else"),
    "no categories": (json.dumps({"images": [{"id": 1}], "annotations": []}), "--skeleton|give the skeleton"),
    "nothing": ("", "no \\(complete\\) JSON"),
    "no pictures": (json.dumps(made.coco([], [])), "list of images is empty"),
    "no annotations": (json.dumps({"images": []}), "'annotations' is missing"),
    "pictures that are no records": (json.dumps(made.coco([3], [])), "no usable id"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_is_none_ends_with_two_and_one_message(tmp_path, capsys, what):
    content, message = BAD[what]
    (tmp_path / "bad.json").write_text(content)
    assert run("data", "check", tmp_path / "bad.json", "-o", tmp_path / "page") == 2
    said = capsys.readouterr().err
    assert said.startswith("litepose: ") and re.search(message, said) and "Traceback" not in said
    assert not (tmp_path / "page").exists()


def suspicious(folder, count=1):
    people = [made.person(n, n, keypoints=exchanged("hip")) for n in range(1, count + 1)]
    return made.write(folder, made.coco(count, people))


def test_the_command_prints_a_table_writes_all_findings_and_ends_with_zero(tmp_path, capsys):
    assert run("data", "check", suspicious(tmp_path), "--json", tmp_path / "r.json") == 0
    assert "exchanged" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["kinds"] == {SWAP: {"count": 1, "share": 1.0, "of": "people"}}
    assert report["suspicions"][0]["keypoints"] == ["left_hip", "right_hip"]


def test_a_file_without_categories_is_checked_on_the_skeleton_given(tmp_path):
    data = {**made.coco(1, [made.person(keypoints=exchanged("hip"))]), "categories": []}
    assert run("data", "check", made.write(tmp_path, data), "--skeleton", "coco17", "--json", tmp_path / "r.json") == 0
    assert list(json.loads((tmp_path / "r.json").read_text())["kinds"]) == [SWAP]


def test_the_page_shows_the_worst_says_where_it_stops_and_needs_no_pictures(tmp_path):
    pytest.importorskip("jinja2")
    path = suspicious(tmp_path, 4)
    (tmp_path / "images" / "2.jpg").unlink()
    cards = []
    write_check_page(check(path), tmp_path / "page.html", most=3, on_card=lambda: cards.append(1))
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/jpeg") == len(cards) - 1 == 3  # a missing picture's card has none
    assert "The worst 3 of 4 are shown" in text


def test_every_kind_has_its_sentence():
    assert all(about.endswith(".") for about in KINDS.values())
    assert set(CASES) < set(KINDS)


def test_the_page_without_jinja2_is_refused_before_anything_is_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert run("data", "check", suspicious(tmp_path), "-o", tmp_path / "page") == 2
    assert "pip install 'litepose[eval]'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_browser_shows_the_written_page(tmp_path, width, dark):
    pytest.importorskip("jinja2")
    assert run("data", "check", suspicious(tmp_path, 30), "-o", tmp_path / "page") == 0
    seen = browser.visit(tmp_path / "page" / "index.html", width=width, dark=dark)
    assert (seen.console, seen.errors, seen.requests) == ((), (), ())
    assert (seen.num_pictures, seen.broken_pictures, seen.overflow_px) == (24, 0, 0)
    assert "Probably exchanged: hips" in seen.text and "The worst 24 of 30 are shown" in seen.text
