"""What every recipe of the package keeps; a new file in `recipes/` is picked up by itself."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from litepose import models  # noqa: E402
from litepose.datasets import is_synthetic, open_dataset  # noqa: E402
from litepose.losses import LOSSES  # noqa: E402
from litepose.models.litepose_super import KERNEL_MAPS  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import Recipe, load_recipe, recipe_names  # noqa: E402
from litepose.training.sources import VariedDataset  # noqa: E402
from litepose.training.start import make_spec  # noqa: E402

DATA = os.environ.get("LITEPOSE_DATA")
# What is only for one kind of schedule, or sensible to leave out.
OPTIONAL = {
    "accumulate", "compile", "deterministic", "sync_batchnorm", "scale_lr",
    "step_epochs", "step_factor", "final_share", "size_schedule", "targets", "stages", "stage_lr",
    "patience_evaluations", "groups", "fast_depthwise",
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def small(recipe: Recipe) -> Recipe:
    """Return the recipe at 64 px, two pictures a step, on synthetic people."""
    model = recipe.model.model_copy(update={"size": (64, 64)})
    run = recipe.run.model_copy(update={"batch": 2, "workers": 0, "threads": 1, "size_schedule": (), "epochs": 1,
                                        "epoch_samples": 4})  # fmt: skip
    validation = {"data": recipe.data.model_copy(update={"validation": None})}
    supernet = recipe.supernet
    if supernet is not None:
        space = {**supernet.search_space().to_json(), "input_sizes": [64]}
        supernet = supernet.model_copy(update={"space": space})
    # Teachers are files of the user's.
    others = {"hints": None, "distillation": None, "supernet": supernet}
    smaller = recipe.model_copy(update={"model": model, "run": run, **others, **validation})
    return smaller.with_data(["synthetic:people=1-3,seed=1,size=64,length=4"])


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_built_and_stepped(name, tmp_path):
    run, _ = loop.set_up(small(load_recipe(name)), tmp_path, resume=False, start_from=None, device="cpu", evaluate=None)
    before = {key: tensor.clone() for key, tensor in run.state.network.named_parameters()}
    for batch in run.batches():  # two: what lies behind a layer that starts as 0 moves at the second
        values = loop.update(run, batch)
        assert values is not None
        assert all(math.isfinite(value) for value in values.values())
        assert values["total"] > 0 and values["grad_norm"] > 0
    trained = {key: tensor for key, tensor in run.state.network.named_parameters() if tensor.requires_grad}
    # Maps to smaller kernels learn only in steps that draw these kernels.
    still = [key for key, one in trained.items() if KERNEL_MAPS not in key and torch.equal(one, before[key])]
    assert not still, f"parameters that a step leaves as they were: {still}"


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_fits_its_network_at_its_own_size(name):
    recipe = load_recipe(name)
    spec = make_spec(recipe)
    assert spec.model in models.names()
    assert name.startswith((spec.model, "own_data"))
    sizes = [entry.size for entry in recipe.run.size_schedule]
    assert all(side % spec.input.stride == 0 for size in sizes for side in size)
    assert spec.input.size == recipe.model.size
    assert not sizes or sizes[-1] == recipe.model.size, "the last size of the schedule is not the model's"


@pytest.mark.parametrize("name", recipe_names())
def test_the_settings_of_every_data_entry_belong_to_a_transform(name):
    recipe = load_recipe(name)
    for entry in recipe.data.train:
        VariedDataset(
            Nothing(),
            geometric={**recipe.augment.geometric, **entry.geometric},
            photometric={**recipe.augment.photometric, **entry.photometric},
            rule=make_spec(recipe).input,
        )


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_states_every_number(name):
    text = (resources.files("litepose") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    written, recipe = tomllib.loads(text), load_recipe(name)
    assert set(written["loss"]) == {field.name for field in dataclasses.fields(LOSSES[written["codec"]["name"]])}
    for section in ("optim", "run"):
        known = set(type(getattr(recipe, section)).model_fields)
        assert known - OPTIONAL <= set(written[section]) <= known
    assert text.startswith("# "), "a recipe begins by saying what it is for"
    for schedule, keys in (("steps", {"step_epochs", "step_factor"}), ("cosine", {"final_share"})):
        if recipe.optim.schedule == schedule:
            assert keys <= set(written["optim"])


def test_the_table_of_the_documentation_names_exactly_the_recipes():
    text = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    rows = [line for line in text[text.index("## Recipes") :].split("\n## ")[0].splitlines() if line.startswith("|")]
    named = [one for row in rows for pattern in re.findall(r"`([\w{},]+_[\w{},]*)`", row) for one in spelt_out(pattern)]
    assert sorted(named) == recipe_names()


def spelt_out(pattern: str) -> list[str]:
    """Return "a_{b,c}" as ["a_b", "a_c"]."""
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    choices, _, after = rest.partition("}")
    return [before + choice + end for choice in choices.split(",") for end in spelt_out(after)]


@pytest.mark.parametrize("name", recipe_names())
def test_validation_pictures_are_never_trained_on(name):
    recipe = load_recipe(name)
    trained = {one.source for entry in recipe.data.train for one in entry.sets}
    assert recipe.data.validation is not None
    assert recipe.data.validation.source not in trained


@pytest.mark.skipif(not DATA, reason="LITEPOSE_DATA names no folder of pictures")
@pytest.mark.parametrize("name", recipe_names())
def test_no_picture_file_is_in_training_and_validation(name):
    recipe = load_recipe(name, [f"data.root={DATA}"])
    sets = [one for entry in recipe.data.train for one in entry.sets if not is_synthetic(one.source)]
    sets += [recipe.data.validation] if not is_synthetic(recipe.data.validation.source) else []
    missing = [one.source for one in sets if not (Path(DATA) / one.source).exists()]
    if missing or not sets:
        pytest.skip(f"not at hand: {missing}")
    files = [picture_files(one.source) for one in sets]
    assert not set().union(*files[:-1]) & files[-1]


def picture_files(source: str) -> set[Path]:
    dataset = open_dataset(Path(DATA) / source)
    return {dataset.path(i).resolve() for i in range(len(dataset))}


class Nothing:
    """An empty dataset."""

    name, skeleton = "nothing", COCO17

    def __len__(self) -> int:
        return 0
