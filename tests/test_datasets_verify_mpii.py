"""`litepose data verify` on an MPII list: what is wrong with it, and what is in it."""

import json

import pytest

import mpii_files as made
from litepose import cli
from litepose.datasets.verify import verify


def kinds(path) -> dict[str, bool]:
    return {one.kind: one.broken for one in verify(path).findings}


def test_a_good_list_is_counted_and_nothing_is_found(tmp_path):
    records = [made.record("b.jpg"), made.record("a.jpg", (3, 0)), made.record("b.jpg", (9, 2), missing=[0, 5])]
    report = verify(made.write(tmp_path, records))
    assert report.findings == ()
    assert report.counts == {"pictures": 2, "people": 3, "people with keypoints": 3, "keypoints": 46}


NAN_JOINT = [[float("nan"), 3.0], *made.record()["joints"][1:]]
CASES = {
    "not 16 joints with 16 marks": ({"joints": [[1, 2]]}, True),
    "keypoints with NaN or infinity": ({"joints": NAN_JOINT}, True),
    "person without keypoints": ({"joints_vis": [0] * 16}, False),
    "keypoint outside the picture": ({"joints": [[500.0, 3.0], *made.record()["joints"][1:]]}, False),
    "centre and scale are not two numbers and one": ({"center": [1.0]}, True),
    "centre or scale cannot be used": ({"scale": float("nan")}, False),
    "no centre": ({"center": [-1.0, -1.0]}, False),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_thing_that_is_wrong_is_named_with_its_record(tmp_path, kind):
    fields, broken = CASES[kind]
    report = verify(made.write(tmp_path, [made.record("a.jpg"), made.record("a.jpg", **fields)]))
    assert [(one.kind, one.broken) for one in report.findings] == [(kind, broken)]
    assert report.findings[0].where == "record number 1 of a.jpg"


def test_a_record_without_joints_is_broken_and_a_list_without_any_is_the_test_split(tmp_path):
    assert kinds(made.write(tmp_path, [made.record(), made.record(joints=None)])) == {
        "not 16 joints with 16 marks": True
    }
    split = [made.record(joints=None, joints_vis=None), made.record(joints=None, scale=-1.0)]
    assert kinds(made.write(tmp_path, split)) == {"no keypoints at all": False, "centre or scale cannot be used": True}


def test_missing_and_unreadable_pictures_are_named_by_the_command_which_ends_with_two(tmp_path, capsys):
    path = made.write(tmp_path, [made.record("a.jpg"), made.record("b.jpg"), made.record("c.jpg")])
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "images" / "b.jpg").write_bytes(b"no picture")
    path.write_text(json.dumps([*json.loads(path.read_text()), {"center": [1, 2]}]))
    with pytest.raises(SystemExit) as stop:
        cli.main(["data", "verify", str(path), "--json", str(tmp_path / "report.json")])
    assert stop.value.code == 2
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kinds"] == {"record without image": 1, "picture missing": 1, "picture unreadable": 1}
    assert report["counts"]["people"] == 3
    assert "picture missing" in capsys.readouterr().out
