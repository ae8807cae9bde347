"""Pictures of what is found, in TensorBoard at each evaluation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from litepose.training import loop  # noqa: E402
from litepose.training.log import RunLog  # noqa: E402
from litepose.training.shown import LONGEST_PX, PICTURES, shown_predictions  # noqa: E402

VALIDATION = {"validation": {"source": "synthetic:people=1-2,seed=9,size=64,length=6"}}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0})
    found.Reload()
    return found


def top_down():
    recipe = tiny_recipe(model={"name": "lpn_50"}, data=VALIDATION)
    augment = recipe.augment.model_copy(update={"geometric": {}})
    return recipe.model_copy(update={"codec": {"name": "heatmap"}, "loss": {}, "augment": augment})


def test_each_evaluation_leaves_a_few_pictures_beside_losses_rate_gradient_and_ap(tmp_path):
    loop.train(tiny_recipe(run={"evaluate_epochs": 1}, data=VALIDATION), tmp_path)
    found = events(tmp_path)
    names = found.Tags()["images"]
    assert len(names) == PICTURES and all(name.startswith("validation/") for name in names)
    assert [one.step for one in found.Images(names[0])] == [3, 6]
    picture = cv2.imdecode(np.frombuffer(found.Images(names[0])[0].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (64, 128, 3)
    wanted = {"train/total", "train/lr", "train/grad_norm", "train/heatmap_0", "validation/loss", "validation/AP"}
    assert wanted <= set(found.Tags()["scalars"])


@pytest.mark.parametrize("make", [lambda: tiny_recipe(data=VALIDATION), top_down], ids=["bottom-up", "top-down"])
def test_the_pictures_show_the_sample_on_the_left(tmp_path, make):
    run, _ = loop.set_up(
        make(), tmp_path, resume=False, start_from=None, device="cpu", evaluate=None
    )  # fmt: skip
    shown = dict(shown_predictions(run.evaluate, run.state.network.eval()))
    assert len(shown) == PICTURES
    first = run.evaluate.dataset[0]
    drawn = shown[str(first.id)]
    assert drawn.shape == (64, 128, 3) and drawn.dtype == np.uint8
    same = (drawn[:, :64] == first.image).all(axis=2)
    assert same.mean() > 0.2, "but for the people of an untrained network"


def test_large_pictures_are_shrunk_and_foreign_judges_show_nothing(tmp_path):
    data = {"validation": {"source": "synthetic:people=1,seed=9,size=600,length=1"}}
    run, _ = loop.set_up(
        tiny_recipe(data=data), tmp_path, resume=False, start_from=None, device="cpu", evaluate=None
    )  # fmt: skip
    ((_, drawn),) = shown_predictions(run.evaluate, run.state.network.eval())
    assert drawn.shape == (LONGEST_PX, 2 * LONGEST_PX, 3)
    assert list(shown_predictions(lambda network: {"loss": 1.0}, run.state.network)) == []


def test_pictures_are_made_only_where_tensorboard_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr("litepose.training.log.importlib.util.find_spec", lambda name: None)

    def never():
        raise AssertionError("nobody would see it")

    with RunLog(tmp_path, work=1) as log:
        log.pictures("validation", 1, never)
