"""Recipes: what is read, what is refused and how the error says it."""

from __future__ import annotations

import pytest

from litepose.errors import AnnotationError, RecipeError
from litepose.training.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from tiny_recipe import tiny_recipe, written


def changed(tmp_path, *changes: str) -> Recipe:
    return load_recipe(written(tiny_recipe(), tmp_path), changes)


def test_a_recipe_survives_its_own_toml(tmp_path):
    composites = {
        "source": "composites", "weight": 2, "composites": {"count": [1, 3]}, "geometric": {"zoom": [1.0, 1.5]},
        "people": [{"source": "a.json"}, {"source": "b.json", "missing_unlabelled": True}],
        "canvases": [{"source": "c.json", "images": 'with "quotes"\\'}],
    }  # fmt: skip
    recipe = tiny_recipe(
        data={"train": [composites], "validation": {"source": "v.json", "limit": 3}},
        run={"size_schedule": [{"from_share": 0.0, "size": [32, 64]}, {"from_share": 0.5, "size": [64, 64]}]},
        optim={"lr": 1e-7},
    )
    assert load_recipe(written(recipe, tmp_path)) == recipe


@pytest.mark.parametrize(
    ("change", "section", "key", "value"),
    [
        ("optim.lr=2e-3", "optim", "lr", 0.002),
        ("run.batch = 32", "run", "batch", 32),
        ("run.channels_last=true", "run", "channels_last", True),
        ("model.skeleton=crowdpose14", "model", "skeleton", "crowdpose14"),
        ("model.size=[96, 64]", "model", "size", (96, 64)),
        ("data.root=my folder/x", "data", "root", "my folder/x"),
    ],
)
def test_set_changes_one_key_with_its_type(tmp_path, change, section, key, value):
    assert getattr(getattr(changed(tmp_path, change), section), key) == value


def test_set_reaches_into_lists_by_number(tmp_path):
    assert changed(tmp_path, "data.train.0.weight=3").data.train[0].weight == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optim.lrr=1", ["optim.lrr", "Did you mean 'lr'"]),
        ("optimiser.lr=1", ["optimiser", "Did you mean 'optim'"]),
        ("data.train.0.wieght=1", ["data.train.0.wieght", "Did you mean 'weight'"]),
        ('run.size_schedule=[{from_share=0,size=[64,64],siez=1}]', ["run.size_schedule.0.siez", "Did you mean 'size'"]),
        ("optim.lr=-1", ["optim.lr", "-1", "greater than 0"]),
        ("optim.name=sgd", ["optim.name", "sgd", "adam"]),
        ("run.epochs=many", ["run.epochs", "many"]),
        ("run.size_schedule=[{from_share=0.5,size=[64,64]}]", ["size_schedule", "start at 0"]),
        ("data.train=[]", ["data.train", "at least 1"]),
        ('data.train.0.people=[{source="x"}]', ["data.train.0", "composites"]),
        ("optim.lr.x=1", ["optim.lr.x", "is a value, not a section"]),
        ("data.train.5.weight=1", ["'5'", "list of 1"]),
        ("nonsense", ["--set", "section.key=value"]),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_with_what_is_possible(tmp_path, change, words):
    with pytest.raises(RecipeError) as error:
        changed(tmp_path, change)
    for word in words:
        assert word in str(error.value)


def test_the_error_names_the_file(tmp_path):
    with pytest.raises(RecipeError, match=r"tiny\.toml"):
        changed(tmp_path, "optim.lrr=1")


def test_a_missing_number_is_an_error():
    data = tiny_recipe().model_dump(mode="json")
    del data["optim"]["lr"]
    with pytest.raises(RecipeError, match=r"optim\.lr is missing"):
        parse_recipe(data, "tiny")


def test_broken_toml_unknown_names_and_absent_files_are_one_error(tmp_path):
    (tmp_path / "broken.toml").write_text("[model\n")
    for name, words in (
        (str(tmp_path / "broken.toml"), "is no TOML"),
        (str(tmp_path / "absent.toml"), "cannot be read"),
        ("litepose_xs_sinthetic", "Did you mean 'litepose_xs_synthetic'"),
    ):
        with pytest.raises(RecipeError, match=words):
            load_recipe(name)


def test_the_input_size_follows_the_schedule():
    schedule = [{"from_share": 0, "size": [64, 64]}, {"from_share": 0.5, "size": [96, 96]}]
    recipe = tiny_recipe(run={"size_schedule": schedule})
    assert [recipe.size_at(share) for share in (0, 0.49, 0.5, 1)] == [(64, 64), (64, 64), (96, 96), (96, 96)]
    assert tiny_recipe().size_at(0.3) == (64, 64)


def test_other_data_replaces_the_training_sets_and_keeps_a_validation_set_that_is_at_hand(tmp_path):
    (tmp_path / "here.json").touch()
    for name, stays in (("here.json", True), ("absent.json", False), ("synthetic:seed=3", True)):
        recipe = tiny_recipe(data={"root": str(tmp_path), "validation": {"source": name}})
        recipe = recipe.with_data(["synthetic", "synthetic:seed=2"])
        assert [(one.source, one.weight) for one in recipe.data.train] == [("synthetic", 1), ("synthetic:seed=2", 1)]
        assert (recipe.data.validation is not None) == stays


def test_the_recipes_of_the_package_are_found_by_name():
    assert "litepose_xs_synthetic" in recipe_names()
    assert load_recipe("litepose_xs_synthetic").model.name == "litepose_xs"


def test_missing_data_is_one_error_that_says_where_to_put_what(tmp_path):
    pytest.importorskip("torch")
    from litepose.spec import InputSpec
    from litepose.training.sources import open_sources

    root = tmp_path / "nowhere"
    people = {"source": "coco/train.json", "weight": 1}
    recipe = tiny_recipe(data={"root": str(root), "train": [people], "validation": {"source": "val.json"}})
    with pytest.raises(AnnotationError) as error:
        open_sources(recipe, InputSpec(size=(64, 64)))
    for word in (root, root / "coco" / "train.json", root / "coco" / "images", root / "val.json", "--data synthetic"):
        assert str(word) in str(error.value)


@pytest.mark.parametrize(("section", "wrong"), [("geometric", "zoon"), ("photometric", "brigthness")])
def test_an_unknown_augmentation_is_named(section, wrong):
    pytest.importorskip("torch")
    from litepose.spec import InputSpec
    from litepose.training.sources import open_sources

    recipe = tiny_recipe(augment={section: {wrong: 1}})
    with pytest.raises(RecipeError, match=rf"augment\.{section}.*{wrong}.*Did you mean"):
        open_sources(recipe, InputSpec(size=(64, 64)))
