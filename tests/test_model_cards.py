"""Every shipped model has a card that is about the weights which ship, and a figure small enough for a repository."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from litepose import weights
from litepose.errors import SettingError
from litepose.metrics.keypoint_errors import INVERSION, find_errors
from litepose.metrics.truth import truth_from_coco
from litepose.poses import Poses
from litepose.runtimes import open_runtime
from litepose.skeleton import COCO17

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "docs" / "models"
DATA = os.environ.get("LITEPOSE_DATA")
AGAIN = "make it again: python benchmarks/model_cards.py {} --coco VAL.json --lspet VAL.json --write docs/models"
MAX_FIGURE_BYTES = 15_000
MODULES = ("model_cards", "card_text", "card_notes", "card_figure", "card_measures")


@pytest.fixture
def cards(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import model_cards

    yield model_cards
    for name in MODULES:
        sys.modules.pop(name, None)


def words_of(name: str) -> str:
    path = CARDS / f"{name}.md"
    assert path.exists(), AGAIN.format(name)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", weights.names())
def test_a_card_is_about_the_weights_that_ship(name):
    path = weights.path_of(name)
    facts = open_runtime(path, threads=1).spec.provenance
    text = words_of(name)
    assert hashlib.sha256(path.read_bytes()).hexdigest() in text, AGAIN.format(name)
    assert facts["weights_sha256"] in text, AGAIN.format(name)
    assert f"AP {facts['metrics']['AP']:.3f} ({facts['measured_on']})" in text, AGAIN.format(name)
    measured = re.search(r"^\| (?:as it is|annotated boxes) \| ([\d.]+) \|", text, flags=re.M)
    assert measured is not None and abs(float(measured[1]) - facts["metrics"]["AP"]) < 0.001  # rounded twice
    assert f"{path.stat().st_size:,} bytes" in text
    for part in facts["data"]:
        assert part in text.replace("\n  ", " ")


@pytest.mark.parametrize("name", weights.names())
def test_a_card_shows_failures_without_photographs(name):
    figure = CARDS / f"{name}.svg"
    assert f"]({figure.name})" in words_of(name)
    drawn = figure.read_text(encoding="utf-8")
    assert figure.stat().st_size <= MAX_FIGURE_BYTES
    assert "<image" not in drawn and "data:" not in drawn
    assert drawn.count('overflow="hidden"') >= 3  # panels


def test_the_list_names_every_model_and_nothing_else():
    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\)", (CARDS / "README.md").read_text(encoding="utf-8"), flags=re.M)
    assert [name for name, _ in listed] == weights.names()
    assert {path.stem for path in CARDS.glob("*.md")} == {*weights.names(), "README"}
    assert {path.stem for path in (CARDS / "notes").glob("*.md")} <= set(weights.names())
    for path in CARDS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (CARDS / link).exists(), (path.name, link)


def test_notes_are_put_in_and_said_to_be_old_where_they_are(cards, tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("<!-- weights: 0123abcd -->\n\n## In short\n\nGood.\n\n## Looked at\n\nTwo lines\nof it.\n")
    notes = cards.read_notes(path)
    assert notes.sections == {"In short": "Good.", "Looked at": "Two lines\nof it."}
    from card_text import _aged

    assert _aged(notes, "0123abcdef") == "" and _aged(None, "0123") == ""
    assert "earlier weights (0123abcd)" in _aged(notes, "ffff")
    assert cards.read_notes(tmp_path / "none.md") is None
    path.write_text("<!-- weights: 0123abcd -->\n\n## Summary\n\nGood.\n")
    with pytest.raises(SettingError, match="In short"):
        cards.read_notes(path)


POSE = np.array([(50, 12), (53, 10), (47, 10), (56, 12), (44, 12), (60, 25), (40, 25), (66, 40), (34, 40), (68, 55),
                 (32, 55), (56, 55), (44, 55), (56, 75), (44, 75), (56, 95), (44, 95)], dtype=float)  # fmt: skip


def annotated(number: int, offset: tuple[float, float]) -> dict:
    points = np.column_stack([POSE + offset, np.full(17, 2)])
    return {"id": number, "image_id": number // 10, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
            "keypoints": points.ravel().tolist(), "bbox": [30.0 + offset[0], 5.0 + offset[1], 40.0, 95.0],
            "area": 3000.0}  # fmt: skip


def made_errors():
    """Picture 1: one exact, one mirrored; 2: one missed, one found on nobody; 3: a wrist far off; 4: exact."""
    people = [annotated(10, (0, 0)), annotated(11, (100, 0)), annotated(20, (0, 0)), annotated(30, (0, 0)),
              annotated(40, (0, 0))]  # fmt: skip
    data = {"images": [{"id": n} for n in (1, 2, 3, 4)], "annotations": people,
            "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}]}  # fmt: skip
    truth = truth_from_coco(data, COCO17)
    far = POSE.copy()
    far[COCO17.index("left_wrist")] += 60
    found = {1: np.stack([POSE, POSE[COCO17.mirror_indices] + (100, 0)]), 2: POSE[None] + 400}
    found |= {3: far[None], 4: POSE[None]}
    poses = {
        key: Poses(COCO17, points.astype(np.float32), np.ones(points.shape[:2]), np.ones(len(points)))
        for key, points in found.items()
    }
    return find_errors(truth, poses)


def test_cases_are_one_of_each_kind_that_occurs(cards):
    errors = made_errors()
    cases = {case.title: case for case in cards.choose_cases(errors, COCO17)}
    assert list(cases) == ["Typical: the median OKS", "Left and right exchanged", "A wrist far off", "Missed",
                           "Found on nobody, or twice"]  # fmt: skip
    assert cases["Left and right exchanged"].errors.id == 1 and cases["Left and right exchanged"].true == 1
    assert (cases["Left and right exchanged"].errors.kinds[cases["Left and right exchanged"].found] == INVERSION).any()
    assert cases["A wrist far off"].text.startswith("picture 3, OKS 0.94, 17 keypoints: 1 far off")
    assert cases["Missed"].errors.id == cases["Found on nobody, or twice"].errors.id == 2
    assert cases["Missed"].found == -1 and cases["Found on nobody, or twice"].true == -1


def test_the_figure_draws_truth_and_found_and_the_way_between(cards):
    cases = [case for case in cards.choose_cases(made_errors(), COCO17) if case.title == "A wrist far off"]
    drawn = cards.draw_cases(cases, label="a < b")
    assert 'aria-label="a &lt; b"' in drawn and drawn.count("<svg") == 2
    red = re.findall(r'<path d="([^"]*)" stroke="#d0021b"', drawn)
    assert len(red) == 1 and red[0].count("M") == 1
    x, y = map(int, re.search(r"l(-?\d+)(?: ?)(-?\d+)$", red[0]).groups())
    assert x == y < 0  # back to where the wrist is, as far to the left as up
    assert drawn.count('stroke="#f5c48f"') == drawn.count('stroke="#b35900"') == 2  # limbs and dots of the left


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
def test_what_the_cards_say_of_the_training_photographs_is_so(cards):
    from card_text import FROM_VAL2017, WITHOUT_LICENCE

    images = json.loads((Path(str(DATA)) / "coco" / "train.json").read_text(encoding="utf-8"))["images"]
    assert sum(image["coco_split"] == "val2017" for image in images) == FROM_VAL2017
    assert sum(image["license"] is None for image in images) == WITHOUT_LICENCE
