"""Names of files as others may read them."""

import json

import pytest

from litepose.files import short_name, without_folders, write_report


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/ann/sets/val/people.json", "val/people.json"),
        ("people.json", "people.json"),
        ("./people.json", "people.json"),
        ("../people.json", "people.json"),
        ("/people.json", "people.json"),
        ("C:\\sets\\val\\people.json", "val/people.json"),
        ("C:\\people.json", "people.json"),
    ],
)
def test_a_short_name_is_the_file_and_its_folder(path, name):
    assert short_name(path) == name


def test_paths_in_settings_are_cut_down_and_nothing_else_is():
    given = {"a": ["/x/y/z.json", 3, None], "b": {"c": "synthetic:seed=3,poses=/x/y/p.json,size=64"}, "d": "coco17"}
    cut = {"a": ["y/z.json", 3, None], "b": {"c": "synthetic:seed=3,poses=y/p.json,size=64"}, "d": "coco17"}
    assert without_folders(given) == cut
    assert without_folders(cut) == cut


def test_a_report_is_json_with_its_lists_of_plain_values_on_one_line(tmp_path):
    content = {"a": [1, 2.5, "x", None], "b": {"c": [], "d": {}}, "e": [{"f": [[1, 2], [3]]}, True], "g": "[ 1,\n2 ]"}
    write_report(tmp_path / "report.json", content)
    text = (tmp_path / "report.json").read_text()
    assert json.loads(text) == content
    assert '  "a": [1, 2.5, "x", null],\n  "b": {\n    "c": [],\n' in text
    assert text.startswith("{\n") and text.endswith("}\n")
