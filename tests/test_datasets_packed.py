"""Packed shards: the same samples, smaller pictures, the same bytes each time; splitting and verifying files."""

import io
import json
import pickle
import tarfile

import numpy as np
import pytest

import coco_files as made
from litepose.cli import main
from litepose.datasets import open_dataset
from litepose.datasets.masks import encode_runs
from litepose.datasets.packed import PackedDataset, pack, shrunk
from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.skeleton import COCO17, CROWDPOSE14
from litepose.transforms import Photometric, RandomWarp


def rich_file(folder):
    crowd = np.zeros((110, 120), bool)
    crowd[80:100, 5:20] = True
    people = [
        made.person(1, segmentation=[[30, 5, 70, 5, 70, 100, 30, 100]]),
        made.person(2, keypoints=[0] * 51, iscrowd=1, segmentation=encode_runs(crowd)),
        made.person(3, image=3, segmentation=[[10, 10, 50, 10, 50, 50]]),
    ]
    return made.write(folder, made.coco(3, people))


def test_packed_samples_are_the_originals_at_the_short_side(tmp_path):
    original = open_dataset(rich_file(tmp_path), person_masks=True)
    report = pack([original], tmp_path / "packed", short_side=55, person_masks=True)
    packed = open_dataset(tmp_path / "packed", person_masks=True)
    assert (report.pictures, report.people, report.left_out) == (3, 2, ())
    assert list(packed.ids) == [1, 2, 3] and packed.skeleton == COCO17
    one, half = original[0], packed[0]
    assert half.size == (60, 55)
    # Pixel edges stay on pixel edges: x' = (x + 0.5) / 2 - 0.5; stored to a hundredth.
    np.testing.assert_allclose(half.keypoints[..., :2], (one.keypoints[..., :2] + 0.5) / 2 - 0.5, atol=0.01)
    np.testing.assert_allclose(half.areas, one.areas / 4, atol=0.01)
    np.testing.assert_array_equal(half.keypoints[..., 2], one.keypoints[..., 2])
    assert abs(half.ignore.sum() * 4 - one.ignore.sum()) <= 80, "half a pixel along the border"
    assert abs(half.person_masks[0].sum() * 4 - one.person_masks[0].sum()) <= 4 * 135
    assert abs(half.image.mean() - one.image.mean()) < 2  # JPEG at quality 90
    assert packed[1].ignore is None and len(packed[1]) == 0


def test_small_pictures_are_not_enlarged(tmp_path):
    original = open_dataset(rich_file(tmp_path))
    pack([original], tmp_path / "packed", short_side=384)
    packed = open_dataset(tmp_path / "packed")
    np.testing.assert_array_equal(packed[2].keypoints, original[2].keypoints)
    assert packed[2].size == (120, 110) and packed[2].person_masks is None


def test_packing_twice_gives_the_same_bytes(tmp_path):
    dataset = open_dataset(rich_file(tmp_path), person_masks=True)
    for name in ("a", "b"):
        pack([dataset], tmp_path / name, person_masks=True)
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("a", "b"))
    assert [p.name for p in first] == ["0000.tar", "index.json"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_shards_are_cut_at_their_size_and_any_tar_reads_them(tmp_path):
    data = made.coco(6)
    report = pack([open_dataset(made.write(tmp_path, data))], tmp_path / "packed", shard_mb=0.02)
    assert report.shards >= 2
    names = []
    for shard in sorted((tmp_path / "packed").glob("*.tar")):
        with tarfile.open(shard) as tar:
            names += tar.getnames()
    assert names == [f"{n:08d}.{kind}" for n in range(6) for kind in ("jpg", "json")]
    packed = open_dataset(tmp_path / "packed")
    assert [packed[i].id for i in (5, 0, 3)] == [6, 1, 4]
    assert pickle.loads(pickle.dumps(packed))[2].id == 3, "as loader processes get it"


def test_several_sets_keep_their_skeletons_and_tell_their_ids_apart(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    coco = open_dataset(made.write(tmp_path / "a", made.coco()))
    crowd = open_dataset(made.write(tmp_path / "b", made.coco()), skeleton="crowdpose14")
    pack([coco, crowd], tmp_path / "packed")
    with pytest.raises(AnnotationError, match="coco17, crowdpose14"):
        open_dataset(tmp_path / "packed")
    packed = open_dataset(tmp_path / "packed", skeleton="crowdpose14")
    assert list(packed.ids) == ["a/people.json:1", "b/people.json:1"]
    assert packed.skeleton == CROWDPOSE14 and packed[0].skeleton == CROWDPOSE14
    np.testing.assert_array_equal(packed[0].keypoints, packed[1].keypoints)


def test_unknown_channels_survive_packing(tmp_path):
    points = made.keypoints()
    points[0:3] = [0, 0, 0]
    data = made.coco(annotations=[made.person(keypoints=points)])
    pack([open_dataset(made.write(tmp_path, data), missing_unlabelled=True)], tmp_path / "packed")
    assert open_dataset(tmp_path / "packed")[0].labelled.tolist() == [False] + [True] * 16


def test_an_unreadable_picture_is_left_out_and_named(tmp_path):
    path = made.write(tmp_path, made.coco(2))
    (tmp_path / "images" / "1.jpg").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"1\.jpg"):
        report = pack([open_dataset(path)], tmp_path / "packed")
    assert report.pictures == 1 and "1.jpg" in report.left_out[0]
    (tmp_path / "images" / "2.jpg").write_bytes(b"nothing")
    with pytest.warns(UserWarning), pytest.raises(AnnotationError, match="none of the 2 pictures"):
        pack([open_dataset(path)], tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "packed", "people.json"], "nothing half-written"


def test_packing_refuses_an_existing_folder_and_impossible_settings(tmp_path):
    dataset = open_dataset(made.write(tmp_path, made.coco()))
    with pytest.raises(SettingError, match="exists already"):
        pack([dataset], tmp_path)
    with pytest.raises(SettingError, match="quality"):
        pack([dataset], tmp_path / "new", quality=0)


def test_a_damaged_packed_folder_is_one_clear_error(tmp_path):
    folder = tmp_path / "packed"
    pack([open_dataset(made.write(tmp_path, made.coco()))], folder)
    index, shard = folder / "index.json", folder / "0000.tar"
    whole, tar = index.read_text(), shard.read_bytes()
    shard.write_bytes(tar[:-100])
    with pytest.raises(AnnotationError, match=r"0000\.tar has"):
        PackedDataset(folder)
    shard.write_bytes(tar)
    for text in ("{", "[]", '{"format": "other", "version": 1}', whole.replace('"version":1', '"version":9')):
        index.write_text(text)
        with pytest.raises(AnnotationError, match="index"):
            PackedDataset(folder)


def test_a_damaged_description_is_a_picture_that_cannot_be_read(tmp_path):
    folder = tmp_path / "packed"
    pack([open_dataset(made.write(tmp_path, made.coco()))], folder)
    shard = folder / "0000.tar"
    for broken in (b'{"id":?', b'{"ID":1'):
        tar = shard.read_bytes()
        shard.write_bytes(tar.replace(b'{"id":1', broken))
        with pytest.raises(PictureError, match="damaged"):
            PackedDataset(folder)[0]
        shard.write_bytes(tar)


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    dataset = open_dataset(made.write(tmp_path, made.coco()))
    with pytest.raises(SettingError, match="Choose another place"):
        pack([dataset], tmp_path / "people.json" / "packed")


# The commands -----------------------------------------------------------------------------------


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return end.value.code


def test_the_pack_command_says_what_it_wrote(tmp_path, capsys):
    path = made.write(tmp_path, made.coco(2))
    assert run("data", "pack", path, "-o", tmp_path / "packed", "--short-side", 64) == 0
    assert "2 pictures with 1 person in 1 shard," in capsys.readouterr().out
    assert open_dataset(tmp_path / "packed")[0].size == (70, 64)


def test_pack_for_a_recipe_keeps_what_its_nearest_zoom_sees(tmp_path, capsys):
    path = made.write(tmp_path, made.coco(1), size=(1000, 900))
    assert run("data", "pack", path, "-o", tmp_path / "xs", "--for", "litepose_xs_coco") == 0
    assert open_dataset(tmp_path / "xs")[0].size == (380, 342)  # 256 px / 0.75, rounded up
    assert "short side 342 px: " in capsys.readouterr().out
    assert run("data", "pack", path, "-o", tmp_path / "m", "--for", "litepose_m_coco") == 0
    assert min(open_dataset(tmp_path / "m")[0].size) == 598
    assert run("data", "pack", path, "-o", tmp_path / "plain") == 0
    assert min(open_dataset(tmp_path / "plain")[0].size) == 384


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--for", "lpn_50_coco"], "cuts people out"), (["--for", "openpose_light_1_coco"], "cuts people out"),
     (["--for", "litepose_xs_coco", "--short-side", "300"], "give one")],
)  # fmt: skip
def test_pack_for_a_recipe_that_needs_no_certain_side_is_refused(tmp_path, capsys, more, said):
    assert run("data", "pack", made.write(tmp_path, made.coco(1)), "-o", tmp_path / "packed", *more) == 2
    assert said in capsys.readouterr().err


def test_split_gives_two_files_without_a_common_picture(tmp_path):
    people = [made.person(n, image=n) for n in range(1, 11)]
    path = made.write(tmp_path, made.coco(10, people))
    assert run("data", "split", path, "--val", "0.3", "--seed", 4) == 0
    train, val = (open_dataset(tmp_path / f"people_{part}.json") for part in ("train", "val"))
    assert len(train) == 7 and len(val) == 3 and not set(train.ids) & set(val.ids)
    before = (tmp_path / "people_val.json").read_bytes()
    run("data", "split", path, "--val", "0.3", "--seed", 4)
    assert (tmp_path / "people_val.json").read_bytes() == before
    assert run("data", "split", path, "--val", "0.01") == 2


def test_verify_passes_a_sound_file(tmp_path, capsys):
    assert run("data", "verify", made.write(tmp_path, made.coco(2)), "--json", tmp_path / "r.json") == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["counts"] == {"pictures": 2, "pictures without people": 1, "people": 1, "people with keypoints": 1,
                                "keypoints": 17}  # fmt: skip
    assert report["findings"] == [] and not report["broken"]


def test_verify_lists_everything_that_is_wrong_at_once(tmp_path, capsys):
    nan = made.keypoints()
    nan[0] = float("nan")
    people = [
        made.person(1), made.person(1), made.person(2, image=99), made.person(3, keypoints=[1, 2, 2]),
        made.person(4, keypoints=nan), made.person(5, bbox=[100, 5, 90, 95]), made.person(6, bbox="wide"),
        made.person(7, keypoints=made.keypoints((80, 0))), made.person(8, num_keypoints=3),
        made.person(9, image_id=None), made.person(10, keypoints=[0] * 51),
    ]  # fmt: skip
    data = made.coco(4, people)
    data["images"][1] |= {"width": 110, "height": 120}
    data["images"].append(data["images"][0])
    path = made.write(tmp_path, data)
    (tmp_path / "images" / "3.jpg").unlink()
    (tmp_path / "images" / "4.jpg").write_bytes((tmp_path / "images" / "1.jpg").read_bytes()[:-200])
    assert run("data", "verify", path, "--json", tmp_path / "r.json") == 2
    kinds = json.loads((tmp_path / "r.json").read_text())["kinds"]
    assert kinds == {
        "image id repeated": 1, "picture listed more than once": 1, "picture missing": 1, "picture unreadable": 1,
        "width and height swapped": 1, "annotation without image_id": 1, "annotation of no listed picture": 1,
        "annotation id repeated": 1, "wrong number of keypoint values": 1, "keypoints with NaN or infinity": 1,
        "box outside the picture": 1, "box is not four numbers": 1, "keypoint outside the picture": 1,
        "num_keypoints differs": 1, "person without keypoints": 1,
    }  # fmt: skip
    assert "broken" in capsys.readouterr().out


def test_raw_pixels_are_the_shrunk_picture_itself_and_any_tar_reads_them(tmp_path):
    original = open_dataset(rich_file(tmp_path))
    pack([original], tmp_path / "jpegs", short_side=55, quality=100)
    pack([original], tmp_path / "raw", short_side=55, raw=True)
    jpegs, raw = open_dataset(tmp_path / "jpegs"), open_dataset(tmp_path / "raw")
    for index in range(3):
        wanted = shrunk(original[index], 55)
        np.testing.assert_array_equal(raw[index].image, wanted.image)
        np.testing.assert_array_equal(raw[index].keypoints, jpegs[index].keypoints)
        assert not raw[index].image.flags.writeable, "it lies in the file"
    assert pickle.loads(pickle.dumps(raw))[2].id == 3
    with tarfile.open(tmp_path / "raw" / "0000.tar") as tar:
        assert tar.getnames()[:2] == ["00000000.npy", "00000000.json"]
        stored = np.load(io.BytesIO(tar.extractfile("00000001.npy").read()))
    np.testing.assert_array_equal(stored, raw[1].image)


def test_raw_pixels_are_varied_like_any_picture(tmp_path):
    pack([open_dataset(rich_file(tmp_path))], tmp_path / "raw", raw=True)
    sample = open_dataset(tmp_path / "raw")[0]
    varied = Photometric(cutout=1.0, noise=1.0)(RandomWarp(size=(64, 64))(sample, rng := np.random.default_rng(0)), rng)
    assert varied.image.shape == (64, 64, 3)


def test_a_raw_picture_that_is_cut_off_is_named(tmp_path):
    pack([open_dataset(rich_file(tmp_path))], tmp_path / "raw", raw=True)
    index = json.loads((tmp_path / "raw" / "index.json").read_text())
    index["pictures"][1][3] = 500
    (tmp_path / "raw" / "index.json").write_text(json.dumps(index))
    with pytest.raises(PictureError, match="Picture 2 in"):
        open_dataset(tmp_path / "raw")[1]
