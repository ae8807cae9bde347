"""Other keypoints and other numbers of people, from the command line: a JSON file, --skeleton, codec.max_people."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coco_files import coco, write
from tiny_recipe import NO_AUGMENTATION, tiny_recipe, written

torch = pytest.importorskip("torch")

from litepose import checkpoints, cli  # noqa: E402
from litepose.predictor import load  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import load_recipe  # noqa: E402

HORSE = {
    "name": "horse",
    "keypoints": ["nose", "withers", "tail", "left_hoof", "right_hoof"],
    "limbs": [["nose", "withers"], ["withers", "tail"]],
    "mirror": [["left_hoof", "right_hoof"]],
}
PLACES = np.array([(10, 10), (30, 12), (50, 14), (20, 40), (24, 40)])
HORSES = 3


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """horse.json and horses.json, the annotations of two pictures of three horses each; the working folder."""
    annotations = []
    for number in range(2 * HORSES):
        points = PLACES + np.array([30, 20]) * (number % HORSES)
        flat = [float(value) for x, y in points for value in (x, y, 2)]
        annotations.append({"id": number + 1, "image_id": number // HORSES + 1, "category_id": 1, "iscrowd": 0,
                            "num_keypoints": 5, "keypoints": flat, "area": 900.0 + number,
                            "bbox": [*points.min(axis=0).tolist(), 40, 30]})  # fmt: skip
    category = {"id": 1, "name": "horse", "keypoints": HORSE["keypoints"], "skeleton": []}
    write(tmp_path, coco(2, annotations, categories=[category])).rename(tmp_path / "horses.json")
    (tmp_path / "horse.json").write_text(json.dumps(HORSE))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.mark.filterwarnings("ignore:.*OKS sigmas")
def test_a_skeleton_file_and_another_number_of_people_are_trained_evaluated_and_predicted(folder, capsys):
    recipe = written(tiny_recipe(augment={"geometric": NO_AUGMENTATION}), folder)
    options = ("--skeleton", "horse.json", "--data", "horses.json", "--set", "codec.max_people=2")
    assert litepose("train", recipe, *options, "-o", "run", "--set", "run.epochs=1") == 0
    (folder / "horse.json").unlink()  # from here on it travels with the weights
    spec = checkpoints.load(folder / "run" / "last.safetensors")[1]
    assert spec.skeleton.to_json() == {**HORSE, "oks_sigmas": list(spec.skeleton.oks_sigmas)}
    assert spec.codec.max_people == 2
    assert [output.channels for output in spec.outputs] == [10, 5]
    assert litepose("eval", "-m", "run/last.safetensors", "--data", "horses.json", "--json", "report.json") == 0
    assert json.loads((folder / "report.json").read_text())["settings"]["people"] == 2 * HORSES
    assert litepose("predict", "images/1.jpg", "-m", "run/last.safetensors", "-o", "out", "--show-maps") == 0
    assert load(folder / "run" / "last.safetensors").skeleton.keypoints == tuple(HORSE["keypoints"])


@pytest.mark.filterwarnings("ignore:.*OKS sigmas")
def test_of_more_people_than_asked_for_the_largest_are_told_apart(folder):
    recipe = tiny_recipe(
        model={"skeleton": "horse.json"}, codec={"max_people": 2}, augment={"geometric": NO_AUGMENTATION},
        data={"root": ".", "train": [{"source": "horses.json", "weight": 1}]},
    )  # fmt: skip
    arguments = {"resume": False, "start_from": None, "device": "cpu", "evaluate": None}
    run, _ = loop.set_up(recipe, folder / "run", **arguments)
    targets = next(iter(run.batches())).drawn_targets()
    assert targets.tag_indices.shape == (2, 2, 5, 2)
    assert [heatmaps.shape[1] for heatmaps in targets.heatmaps] == [5, 5]
    taught = (targets.tag_indices[..., 1] > 0).any(dim=-1).sum(dim=1)
    assert taught.tolist() == [2, 2]  # of three, all of which have heat


@pytest.mark.parametrize("name", ["crowdpose14", "a folder/my horse.json", 'quo"te.json'])
def test_the_option_is_the_recipes_key_whatever_the_name(name, monkeypatch, tmp_path):
    seen = {}

    def recorded(recipe, changes):
        seen["skeleton"] = load_recipe(recipe, changes).model.skeleton
        raise KeyboardInterrupt

    monkeypatch.setattr("litepose.training.recipe.load_recipe", recorded)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        cli.main(["train", "litepose_xs_synthetic", "--skeleton", name, "-o", str(tmp_path)])
    assert seen == {"skeleton": name}


def test_a_skeleton_that_is_none_is_one_message(tmp_path, capsys):
    assert litepose("train", "litepose_xs_synthetic", "--skeleton", "coco71", "-o", tmp_path / "run") == 2
    assert "coco17" in capsys.readouterr().err
