"""Fine-tuning on one's own annotated people in one command: from a JSON file and a model to drawn people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, cli, images  # noqa: E402
from litepose.codecs import HeatmapCodec  # noqa: E402
from litepose.datasets import open_dataset  # noqa: E402
from litepose.errors import LiteposeError  # noqa: E402
from litepose.models.litepose import arch_from_json  # noqa: E402
from litepose.skeleton import COCO17, OPENPOSE18  # noqa: E402
from litepose.training.own_data import own_recipe  # noqa: E402
from litepose.training.recipe import load_recipe  # noqa: E402
from litepose.training.sources import open_sources  # noqa: E402
from litepose.training.start import make_spec  # noqa: E402
from own_people import DANCER, NAMES, write_dancers  # noqa: E402
from tiny_model import ARCH, tiny_network, write_tiny_checkpoint  # noqa: E402

QUICK = ("run.epochs=1", "run.epoch_samples=4", "run.batch=2", "run.workers=0", "run.threads=1", "optim.warmup_steps=1",
         "run.log_steps=1", "run.fast_depthwise=false")  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """The working folder, with dancers.json, images/ and the smallest model, tiny.safetensors."""
    write_dancers(tmp_path)
    write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def quick(*more: str) -> list[str]:
    return [part for change in (*QUICK, *more) for part in ("--set", change)]


def test_one_command_trains_and_the_weights_predict_with_the_file_s_keypoints(place, capsys):
    command = ("train", "--data", "dancers.json", "--images", "images", "--from", "tiny.safetensors", *quick())
    assert litepose(*command) == 0
    run = place / "runs" / "dancers_tiny"
    out = capsys.readouterr().out
    for said in (
        "Recipe own_data_bottom_up: litepose_xs from tiny.safetensors, 64x64.",
        "Skeleton 'dancer': 8 keypoints, 7 limbs.",
        "Mirror pairs, inferred by name: left_shoulder - right_shoulder, hand_l - hand_r, foot_l - foot_r.",
        "OKS sigmas of crown, hand_l, hand_r, foot_l, foot_r are the default, 0.079",
        "19 pictures with",
        "5 others, drawn with seed 1, are for validation",
        "people have no box: that of their keypoints is taken.",
        "2 of 8 heatmap channels kept by name, made anew: crown, neck, hand_l, hand_r, foot_l, foot_r.",
    ):
        assert said in out
    spec = checkpoints.load(run / "best.safetensors")[1]
    assert spec.skeleton.keypoints == DANCER
    assert [output.channels for output in spec.outputs] == [16, 8]
    assert arch_from_json(spec.network["arch"]) == arch_from_json(ARCH)
    judged = run / "validation.json"
    assert (
        litepose("eval", "-m", run / "best.safetensors", "--data", judged, "--images", "images", "--json", "r.json")
        == 0
    )
    assert json.loads((place / "r.json").read_text())["settings"]["pictures"] == 5
    assert litepose("predict", "images/000.png", "-m", run / "best.safetensors", "-o", "out") == 0
    assert (place / "out" / "000.png").is_file()

    # The written recipe is a recipe: it goes on without the file's and the model's names, and begins again by its own.
    capsys.readouterr()
    assert litepose("train", "--resume", "-o", run) == 0
    assert litepose("train", "--data", "dancers.json", "--from", "tiny.safetensors", "--resume") == 0
    assert litepose("train", "--data", "dancers.json", "--from", "tiny.safetensors") == 2
    assert "already holds a training" in capsys.readouterr().err
    again = load_recipe(str(run / "recipe.toml"))
    assert make_spec(again).skeleton == spec.skeleton


def test_a_top_down_model_learns_people_that_have_no_boxes(place, capsys):
    torch.manual_seed(0)
    spec = checkpoints.default_spec("litehrnet_18", COCO17, size=(64, 64))
    checkpoints.save(place / "lite.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    command = ("train", "--data", "dancers.json", "--from", "lite.safetensors", "-o", "run", *quick())
    assert litepose(*command) == 0
    out = capsys.readouterr().out
    assert "Recipe own_data_top_down: litehrnet_18" in out and "people have no box" in out and "no area" in out
    assert "2 of 8 heatmap channels kept by name" in out
    assert checkpoints.load(place / "run" / "last.safetensors")[1].skeleton.keypoints == DANCER


def test_what_the_model_says_of_itself_is_what_is_trained(place):
    network, spec = tiny_network()
    pixels = replace(spec.input, colour="BGR", mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), size=(96, 64))
    spec = replace(spec, input=pixels, codec=replace(spec.codec, sigma=1.5, tag_threshold=0.7))
    checkpoints.save(place / "other.safetensors", network.state_dict(), spec)
    trained = make_spec(own_recipe("dancers.json", place / "run", model="other.safetensors").recipe)
    assert trained.input == spec.input
    assert trained.codec == spec.codec
    assert {**trained.network, "num_keypoints": 17} == dict(spec.network)


def test_weights_of_keypoints_move_with_their_names(place):
    factors = tuple(1 + k / 10 for k in range(17))
    spec = checkpoints.default_spec("litehrnet_18", COCO17, codec=HeatmapCodec(keypoint_weights=factors))
    checkpoints.save(place / "w.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    codec = own_recipe("dancers.json", place / "run", model="w.safetensors").recipe.codec
    left, right = (factors[COCO17.index(name)] for name in ("left_shoulder", "right_shoulder"))
    assert list(codec["keypoint_weights"]) == [1, 1, left, right, 1, 1, 1, 1]


def test_pictures_held_out_are_never_trained_on_and_always_the_same(place):
    sets = []
    for name in ("a", "b"):
        own_recipe("dancers.json", place / name, model="tiny.safetensors")
        sets.append([open_dataset(place / name / f"{part}.json", images="images") for part in ("train", "validation")])
    (train, judged), (again, judged_again) = sets
    assert list(train.ids) == list(again.ids) and list(judged.ids) == list(judged_again.ids)
    assert not set(train.ids) & set(judged.ids)
    assert len(train) + len(judged) == 24 and len(judged) == 5
    assert all((judged.people_table().picture == i).any() for i in range(5))
    assert train.skeleton == judged.skeleton


def test_a_picture_that_is_listed_twice_or_missing_is_on_one_side_or_none(place):
    content = json.loads((place / "dancers.json").read_text())
    content["images"].append({"id": 99, "file_name": "000.png"})
    (place / "dancers.json").write_text(json.dumps(content))
    (place / "images" / "001.png").unlink()
    with pytest.warns(UserWarning, match=r"1 of 25 pictures are not in .*001\.png"):
        own_recipe("dancers.json", place / "run", model="tiny.safetensors")
    sides = [{one["file_name"] for one in json.loads((place / "run" / name).read_text())["images"]}
             for name in ("train.json", "validation.json")]  # fmt: skip
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {f"{i:03}.png" for i in range(24)} - {"001.png"}


def test_a_validation_file_is_taken_as_it_is_and_may_share_no_picture(place):
    content = json.loads((place / "dancers.json").read_text())
    for name, records in (("mine.json", content["images"][:21]), ("val.json", content["images"][21:])):
        (place / name).write_text(json.dumps({**content, "images": records}))
    with pytest.warns(UserWarning, match="belong to no listed picture"):
        own = own_recipe("mine.json", place / "run", model="tiny.safetensors", images="images", validation="val.json")
    assert own.recipe.data.validation.source == str(place / "val.json")
    assert not (place / "run" / "validation.json").exists()
    assert len(json.loads((place / "run" / "train.json").read_text())["images"]) == 21
    with pytest.raises(LiteposeError, match=r"shares 3 pictures with --data dancers\.json"):
        own_recipe("dancers.json", place / "new", model="tiny.safetensors", validation="val.json")


def test_keypoints_with_one_side_alone_are_named_and_pictures_not_mirrored(place):
    category = {"id": 1, "name": "one arm", "keypoints": [*list(NAMES.values())[:5], "x", "y", "z"], "skeleton": []}
    write_dancers(place, categories=[category])
    own = own_recipe("dancers.json", place / "run", model="tiny.safetensors")
    assert any(note.startswith("Warning: hand_l: a side in the name and no partner") for note in own.notes)
    assert own.recipe.augment.geometric["mirror"] == 0
    kept = own_recipe("dancers.json", place / "b", model="tiny.safetensors", changes=["augment.geometric.mirror=0.3"])
    assert kept.recipe.augment.geometric["mirror"] == 0.3


HORSE = {"id": 2, "name": "horse", "keypoints": ["nose", "tail"], "skeleton": []}


def test_of_several_categories_the_one_that_is_named_is_learned(place):
    content = json.loads((place / "dancers.json").read_text())
    ridden = {"id": 900, "image_id": 1, "category_id": 2, "keypoints": [5, 5, 2, 9, 9, 2]}
    write_dancers(place, categories=[*content["categories"], HORSE], annotations=[*content["annotations"], ridden])
    with pytest.raises(LiteposeError, match=r"dancer \(8 keypoints\); horse \(2 keypoints\).*--category NAME"):
        own_recipe("dancers.json", place / "run", model="tiny.safetensors")
    with pytest.raises(LiteposeError, match=r"no such category.*Did you mean 'horse'"):
        own_recipe("dancers.json", place / "run", model="tiny.safetensors", category="hors")
    own = own_recipe("dancers.json", place / "run", model="tiny.safetensors", category="dancer")
    assert own.recipe.model.open_skeleton().keypoints == DANCER
    written = json.loads((place / "run" / "train.json").read_text())
    assert {one["category_id"] for one in written["annotations"]} == {1}
    assert open_dataset(place / "run" / "train.json", images="images").skeleton.keypoints == DANCER


@pytest.mark.filterwarnings("ignore:.*belong to no listed picture")
def test_files_that_cannot_be_learned_from_are_one_message_each(place):
    content = json.loads((place / "dancers.json").read_text())
    unseen = [{**one, "keypoints": [0] * 24} for one in content["annotations"]]
    cases = {
        "no category names its keypoints": {"categories": []},
        "nobody in its 24 pictures has a labelled keypoint": {"annotations": unseen},
        "nobody in its 24 pictures": {"annotations": []},
        "list of images is empty": {"images": []},
        r"at least 20 are needed where some are to be held out.*--validation": {"images": content["images"][:9]},
        "'categories' must be a list of objects": {"categories": "dancer"},
        "a list is needed": {"annotations": {}},
    }
    for message, changes in cases.items():
        write_dancers(place, **changes)
        with pytest.raises(LiteposeError, match=message):
            own_recipe("dancers.json", place / "run", model="tiny.safetensors")
        assert not (place / "run").exists()
    write_dancers(place)
    with pytest.raises(LiteposeError, match=r"--images gone: there is no such folder"):
        own_recipe("dancers.json", place / "run", model="tiny.safetensors", images="gone")
    (place / "empty").mkdir()
    with pytest.raises(LiteposeError, match=r"none of its 24 pictures lies in .*empty"):
        own_recipe("dancers.json", place / "run", model="tiny.safetensors", images="empty")
    for other in ("synthetic", "images"):
        with pytest.raises(LiteposeError, match=r"a COCO keypoint file is needed.*Name a recipe for packed"):
            own_recipe(other, place / "run", model="tiny.safetensors")


@pytest.mark.filterwarnings("ignore:.*OKS sigmas")
def test_a_skeleton_file_stands_for_the_category_s(place):
    fan = {"name": "fan", "keypoints": list(DANCER), "mirror": [["hand_l", "hand_r"], ["foot_l", "foot_r"],
           ["left_shoulder", "right_shoulder"]], "limbs": [["crown", "hand_l"]]}  # fmt: skip
    (place / "fan.json").write_text(json.dumps(fan))
    for run, changes in (("a", {}), ("b", {"categories": []})):
        write_dancers(place, **changes)
        own = own_recipe("dancers.json", place / run, model="tiny.safetensors", skeleton="fan.json")
        skeleton = own.recipe.model.open_skeleton()
        assert (skeleton.name, skeleton.limbs) == ("fan", (("crown", "hand_l"),))
        sources, _ = open_sources(own.recipe, make_spec(own.recipe).input)
        assert (sources[0].dataset[0].keypoints[..., 2] > 0).any()


def test_models_that_cannot_be_trained_on_without_a_recipe_are_one_message_each(place):
    (place / "theirs.pth").write_bytes(b"")
    with pytest.raises(LiteposeError, match=r"another project's file.*litepose convert theirs\.pth"):
        own_recipe("dancers.json", place / "run", model="theirs.pth")
    spec = checkpoints.default_spec("openpose_light_0", OPENPOSE18)
    checkpoints.save(place / "paf.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    with pytest.raises(LiteposeError, match=r"codec 'paf'.*litepose train RECIPE --skeleton"):
        own_recipe("dancers.json", place / "run", model="paf.safetensors")
    with pytest.raises(LiteposeError, match="Did you mean 'litepose_xs'"):
        own_recipe("dancers.json", place / "run", model="litepose_x")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), ("no recipe, no --data, no --from",)),
        (("--data", "dancers.json"), ("found --data dancers.json.",)),
        (("--from", "litepose_xs"), ("found --from litepose_xs.",)),
    ],
)
def test_too_little_to_train_tells_all_ways(arguments, said, place, capsys):
    assert litepose("train", *arguments) == 2
    error = capsys.readouterr().err
    ways = ("train RECIPE", "train --data FILE.json --images FOLDER --from MODEL", "train --resume -o RUN", "lpn_50")
    for words in (*said, *ways):
        assert words in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "a.json", "--data", "b.json", "--from", "litepose_xs"), "--data is one file; found 2"),
        (("litepose_xs_synthetic", "--category", "dancer"), "--category dancer is for own data"),
        (("litepose_xs_synthetic", "--images", "images"), "which is missing"),
        (("--resume",), "name it with -o RUN"),
        (("--resume", "-o", "gone"), "gone holds no recipe.toml"),
    ],
)
def test_options_that_do_not_go_together_are_one_message(arguments, said, place, capsys):
    assert litepose("train", *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_recipe_takes_pictures_and_validation_from_the_options(place):
    recipe = (
        load_recipe("litepose_xs_synthetic").with_data(["dancers.json"], images="images").with_validation("val.json")
    )
    assert recipe.data.train[0].images == str(place / "images")
    assert recipe.data.validation.source == str(place / "val.json")


def test_pictures_may_lie_in_a_folder_that_has_the_file_s_name(tmp_path):
    folder = tmp_path / "dancers"
    assert len(open_dataset(write_dancers(folder, count=2))) == 2  # dancers/dancers.json, dancers/images/


@pytest.mark.slow
def test_some_hundred_steps_teach_a_shipped_model_keypoints_of_one_s_own(tmp_path, monkeypatch):
    write_dancers(tmp_path, count=120, side=192, boxes=True)
    monkeypatch.chdir(tmp_path)
    changes = [part for change in ("run.epochs=2", "run.evaluate_epochs=0", "run.threads=1", "run.workers=0",
                                   "model.size=[128, 128]") for part in ("--set", change)]  # fmt: skip
    assert litepose("train", "--data", "dancers.json", "--from", "litepose_xs", "-o", "run", *changes) == 0
    metrics = checkpoints.load(tmp_path / "run" / "best.safetensors")[1].provenance["metrics"]
    assert metrics["AP50"] > 0.15, metrics  # 0.27 when this was written; 6 of 8 keypoints began anew
    names = [one["file_name"] for one in json.loads((tmp_path / "run" / "validation.json").read_text())["images"]]
    pictures = [tmp_path / "images" / name for name in names]
    assert litepose("predict", *pictures, "-m", "run/best.safetensors", "-o", "out", "--threads", 1) == 0
    changed = [images.read(tmp_path / "out" / one.name).astype(int) - images.read(one) for one in pictures]
    assert np.mean([np.abs(one).sum(axis=2) > 60 for one in changed]) > 0.005  # limbs
