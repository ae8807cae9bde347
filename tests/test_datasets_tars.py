"""Tars in webdataset's layout: others' are read as a data set, ours are laid out so that others read them."""

import io
import json
import pickle
import tarfile

import cv2
import numpy as np
import pytest

import coco_files as made
from litepose.datasets import open_dataset
from litepose.datasets.packed import pack
from litepose.errors import AnnotationError, PictureError
from litepose.skeleton import COCO17
from litepose.training.recipe import Recipe
from tiny_recipe import tiny_recipe

CATEGORIES = [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints)}]


def picture(side=60, value=90, kind="png"):
    return cv2.imencode(f".{kind}", np.full((side, side, 3), value, np.uint8))[1].tobytes()


def one_person(**changes):
    return {key: value for key, value in made.person(**changes).items() if key not in ("id", "image_id")}


def write_tar(path, files, **settings):
    """files: name -> bytes, or a value for JSON."""
    with tarfile.open(path, "w", **settings) as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def two_pictures(**changes):
    return {
        "a/one.png": picture(60, 90), "a/one.json": {"annotations": [one_person()], "categories": CATEGORIES, "id": 7},
        "a/one.cls": b"3", "readme": b"text",
        "two.json": [one_person(), one_person(keypoints=made.keypoints((3, 2), 1))], "two.jpg": picture(64, 30, "jpg"),
        **changes,
    }  # fmt: skip


def test_a_tar_of_others_is_a_data_set(tmp_path):
    dataset = open_dataset(write_tar(tmp_path / "people.tar", two_pictures()))
    assert (dataset.skeleton, list(dataset.ids), len(dataset)) == (COCO17, [7, "two"], 2)
    first, second = dataset[0], dataset[1]
    assert first.size == (60, 60) and first.image.mean() == 90
    assert second.size == (64, 64) and len(second) == 2
    np.testing.assert_array_equal(first.keypoints[0].ravel(), made.keypoints())
    np.testing.assert_array_equal(second.keypoints[1].ravel(), made.keypoints((3, 2), 1))
    assert len(dataset.people_table()) == 3
    assert pickle.loads(pickle.dumps(dataset))[1].id == "two", "as loader processes get it"


def test_a_folder_of_tars_is_read_in_the_order_of_the_names(tmp_path):
    for name, key in (("b.tar", "same"), ("a.tar", "other")):
        write_tar(tmp_path / name, {f"{key}.png": picture(), f"{key}.json": [one_person()]})
    dataset = open_dataset(tmp_path, skeleton="coco17")
    assert list(dataset.ids) == ["other", "same"]
    assert dataset[1].size == (60, 60)


def test_names_longer_than_a_header_holds_are_found(tmp_path):
    key = "folder/" + "long" * 60
    dataset = open_dataset(
        write_tar(tmp_path / "t.tar", {f"{key}.png": picture(), f"{key}.json": [one_person()]}), skeleton="coco17"
    )
    assert dataset.ids == [key] and dataset[0].image.mean() == 90


def test_a_training_takes_a_tar_by_its_path(tmp_path):
    pytest.importorskip("torch")
    from litepose.spec import InputSpec
    from litepose.training.sources import open_sources

    write_tar(tmp_path / "t.tar", two_pictures())
    recipe: Recipe = tiny_recipe(data={"root": str(tmp_path), "train": [{"source": "t.tar", "weight": 1}]})
    (source,), _ = open_sources(recipe, InputSpec(size=(64, 64)))
    assert source.draw(1, (64, 64), np.random.default_rng(0)).image.shape == (64, 64, 3)


def test_our_shards_keep_the_rules_of_webdataset(tmp_path):
    """Files of a sample follow each other, have one key, and no key comes twice, in any shard."""
    pack([open_dataset(made.write(tmp_path, made.coco(6)))], tmp_path / "packed", shard_mb=0.02)
    keys = []
    for shard in sorted((tmp_path / "packed").glob("*.tar")):
        with tarfile.open(shard) as tar:
            members = tar.getmembers()
            for jpg, text in zip(members[::2], members[1::2], strict=True):
                (key, kind), (other, other_kind) = (one.name.split(".", 1) for one in (jpg, text))
                assert (key, kind, other_kind) == (other, "jpg", "json")
                keys.append(key)
                shape = json.loads(tar.extractfile(text).read())["size"]
                image = cv2.imdecode(np.frombuffer(tar.extractfile(jpg).read(), np.uint8), cv2.IMREAD_COLOR)
                assert image.shape[1::-1] == tuple(shape)
    assert len(set(keys)) == len(keys) == 6


def test_our_shards_without_their_index_are_refused_with_what_is_missing(tmp_path):
    pack([open_dataset(made.write(tmp_path, made.coco(1)))], tmp_path / "packed")
    (tmp_path / "packed" / "index.json").unlink()
    with pytest.raises(AnnotationError, match=r"index\.json beside the tars"):
        open_dataset(tmp_path / "packed")


def test_what_has_no_partner_is_left_out_with_a_warning(tmp_path):
    path = write_tar(tmp_path / "t.tar", two_pictures(**{"alone.png": picture(), "text.json": []}))
    with pytest.warns(UserWarning, match="2 keys .* alone"):
        assert len(open_dataset(path)) == 2


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.txt": b"x"}, "none of its files"),
        ({"a.png": picture(), "a.json": b"{"}, r"a\.json .* no \(complete\) JSON"),
        ({"a.png": picture(), "a.json": {"people": 3}}, r"\['people'\].*annotations"),
        ({"a.png": picture(), "a.json": [one_person()]}, "skeleton"),
        ({"a.png": picture(), "a.json": [one_person(keypoints=[1, 2, 2])], "b.png": picture(),
          "b.json": {"annotations": [], "categories": CATEGORIES}}, "3 keypoint values; coco17 needs 51"),
    ],
)  # fmt: skip
def test_a_tar_that_is_no_data_set_says_why(tmp_path, files, words):
    with pytest.raises(AnnotationError, match=words):
        open_dataset(write_tar(tmp_path / "t.tar", files))


def test_damaged_compressed_and_missing_tars_are_named(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", two_pictures()).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    (tmp_path / "text.tar").write_bytes(b"no tar at all")
    with tarfile.open(tmp_path / "packed.tar", "w:gz"):
        pass
    for name in ("cut", "text", "packed", "missing"):
        with pytest.raises(AnnotationError, match=f"{name}.tar"):
            open_dataset(tmp_path / f"{name}.tar")


def test_a_broken_picture_is_named_with_its_tar(tmp_path):
    dataset = open_dataset(write_tar(tmp_path / "t.tar", two_pictures(**{"a/one.png": b"no picture"})))
    with pytest.raises(PictureError, match=r"a/one\.png in .*t\.tar"):
        dataset[0]
