"""Names of files as others may read them."""

import pytest

from litepose.files import short_name, without_folders


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
