"""Feature hints: they are learned, survive an interruption bit by bit, and leave nothing in the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from test_training_loop import assert_equal, assert_same_run, records
from tiny_recipe import NO_AUGMENTATION, tiny_recipe

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from litepose import checkpoints  # noqa: E402
from litepose.errors import RecipeError, SettingError  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import Recipe  # noqa: E402
from litepose.training.state import NAME, load_checkpoint  # noqa: E402
from litepose.training.teacher import Teacher  # noqa: E402

FINE, COARSE = "neck/fine", "neck/coarse"  # strides 4 and 8
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def write_teacher(folder: Path, *, seed: int = 0, side: int | str = "side", batch: int | str = "batch") -> Path:
    """Write a network of two convolutions; the rest, of which nothing is needed, would refuse every picture."""
    rng = np.random.default_rng(seed)
    weights = {
        "first": rng.normal(0, 0.3, (4, 3, 4, 4)), "second": rng.normal(0, 0.3, (6, 4, 2, 2)), "unused": np.ones((9, 9))
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["picture", "first"], ["convolved"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Relu", ["convolved"], [FINE]),
        helper.make_node("Conv", [FINE, "second"], [COARSE], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MatMul", [COARSE, "unused"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, side, side])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / "teacher.onnx"
    onnx.save(model, str(path))
    return path


def hinted(folder: Path, hints: dict | None = None, **changes: dict) -> Recipe:
    """Return a recipe whose data.root is the folder of the teacher."""
    maps = [{"student": "stages.1", "teacher": [COARSE, FINE]}, {"student": "stages.0", "teacher": [FINE]}]
    section = {
        "teacher": "teacher.onnx", "colour": "BGR", "mean": [100.0, 110.0, 120.0], "std": [57.0, 58.0, 59.0],
        "factor": 0.1, "maps": maps, **(hints or {}),
    }  # fmt: skip
    changes["data"] = {"root": str(folder), **changes.get("data", {})}
    return tiny_recipe(hints=section, **changes)


def set_up(recipe: Recipe, folder: Path) -> loop.Run:
    run, _ = loop.set_up(
        recipe, folder, resume=False, start_from=None, device="cpu", evaluate=None
    )  # fmt: skip
    return run


def test_hints_fall_and_are_part_of_the_total_and_of_the_log(tmp_path):
    write_teacher(tmp_path)
    recipe = hinted(
        tmp_path,
        data={"train": [{"source": "synthetic:people=1,seed=4,size=64,length=2", "weight": 1}]},
        augment={"geometric": NO_AUGMENTATION},
        optim={"lr": 1e-2, "schedule": "steps"},
        run={"epochs": 1, "epoch_samples": 40},
    )
    loop.train(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    for name in ("hint_stages.1", "hint_stages.0"):
        assert log[-1][name] < log[0][name] / 2
        assert log[-1][name] < recipe.hints.factor  # what the answer 0 would cost, as the maps have variance 1
    for record in log:
        parts = ("heatmap_0", "heatmap_1", "push", "pull", "hint_stages.1", "hint_stages.0")
        assert record["total"] == pytest.approx(sum(record[part] for part in parts), rel=1e-5)


def test_the_gradient_of_a_hint_reaches_its_projection_and_the_student_below_it_only(tmp_path):
    write_teacher(tmp_path)
    run = set_up(hinted(tmp_path), tmp_path / "run")
    batch = next(iter(run.batches()))
    run.state.network(batch.normalised(run.spec.input))
    parts = run.state.hints.add({"total": torch.zeros(())}, batch)
    parts["hint_stages.0"].backward()
    network, (first, second) = run.state.network, run.state.hints.projections
    assert first.weight.grad is None
    assert (second.weight.shape, first.weight.shape[0]) == ((4, 16, 1, 1), 10)
    assert second.weight.grad.abs().max() > 0
    assert all(p.grad.abs().max() > 0 for p in network.stem.parameters() if p.ndim > 1)
    assert all(p.grad is None for p in network.stages[1].parameters())


def test_each_channel_is_standardised_over_the_batch_and_averaged_down_to_the_student(tmp_path):
    path = write_teacher(tmp_path)
    run = set_up(hinted(tmp_path), tmp_path / "run")
    batch = next(iter(run.batches()))
    hints = run.state.hints
    student = run.state.network.stages[1](run.state.network.stages[0](run.state.network.stem(torch.rand(2, 3, 64, 64))))
    run.state.network.zero_grad()
    run.state.network(batch.normalised(run.spec.input))
    found = hints._pairs(hints.teacher(batch.normalised(hints.rule)))[0]
    assert found[0].shape == student.shape

    pixels = (batch.images.numpy().astype(np.float64) - [100, 110, 120]) / [57, 58, 59]
    weights = {
        one.name: numpy_helper.to_array(one).astype(np.float64) for one in onnx.load(str(path)).graph.initializer
    }
    patches = pixels.reshape(2, 16, 4, 16, 4, 3)
    fine = np.einsum("bhiwjc,ocij->bohw", patches, weights["first"]).clip(0)
    coarse = np.einsum("bchiwj,ocij->bohw", fine.reshape(2, 4, 8, 2, 8, 2), weights["second"])
    wanted = []
    for values in (coarse, fine):
        mean, std = (statistic(values, axis=(0, 2, 3), keepdims=True) for statistic in (np.mean, np.std))
        wanted.append((values - mean) / (std + 1e-3))
    wanted[1] = wanted[1].reshape(2, 4, 8, 2, 8, 2).mean((3, 5))
    # float32 against float64
    np.testing.assert_allclose(found[1].numpy(), np.concatenate(wanted, 1), atol=2e-5)


def test_the_weights_have_the_keys_of_a_training_without_hints_and_name_the_teacher(tmp_path):
    path = write_teacher(tmp_path)
    plain = loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "plain")
    taught = loop.train(hinted(tmp_path, run={"epochs": 1}), tmp_path / "taught")
    (one, spec), (other, plain_spec) = (checkpoints.load(result.last) for result in (taught, plain))
    assert one.keys() == other.keys()
    assert spec.provenance["hints"] == {
        "teacher": "teacher.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert "hints" not in plain_spec.provenance
    assert "hints" not in load_checkpoint(tmp_path / "plain")
    network, _ = checkpoints.load_network(taught.last)
    assert network(torch.zeros(1, 3, 64, 64))[0].shape == (1, 34, 16, 16)


def test_a_training_resumed_from_the_middle_equals_an_uninterrupted_one_bit_by_bit(tmp_path):
    write_teacher(tmp_path)
    changes = {"run": {"epochs": 3}, "data": {"validation": {"source": "synthetic:people=1,seed=9,size=64,length=1"}}}
    recipe = hinted(tmp_path, **changes)
    loop.train(recipe, tmp_path / "whole", evaluate=lambda network: {"loss": 1.0})
    loop.train(recipe, tmp_path / "stopped", evaluate=lambda network: {"loss": 1.0})
    (tmp_path / "stopped" / NAME).unlink()  # the one after the second epoch is left
    assert load_checkpoint(tmp_path / "stopped")["numbers"]["step"] == 6
    loop.train(recipe, tmp_path / "stopped", resume=True, evaluate=lambda network: {"loss": 1.0})
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    assert_equal(*(load_checkpoint(tmp_path / name)["hints"] for name in ("stopped", "whole")))
    saved = load_checkpoint(tmp_path / "whole")["hints"]["projections"]
    run = set_up(recipe, tmp_path / "fresh")
    assert all(not torch.equal(saved[name], fresh) for name, fresh in run.state.hints.state_dict().items())


def test_an_evaluation_in_between_changes_nothing(tmp_path):
    write_teacher(tmp_path)
    judged = {"data": {"validation": {"source": "synthetic:people=1,seed=9,size=64,length=1"}}}
    for name, changes in (("judged", {**judged, "run": {"evaluate_epochs": 1}}), ("plain", {})):
        loop.train(hinted(tmp_path, **changes), tmp_path / name)
    one, other = (load_checkpoint(tmp_path / name) for name in ("judged", "plain"))
    assert_equal(one["network"], other["network"])
    assert_equal(one["hints"], other["hints"])


def test_resuming_with_another_teacher_is_refused_and_with_the_same_elsewhere_is_not(tmp_path):
    path = write_teacher(tmp_path)
    recipe = hinted(tmp_path, run={"epochs": 1})
    loop.train(recipe, tmp_path / "run")
    write_teacher(tmp_path, seed=1)
    with pytest.raises(SettingError, match="the same teacher"):
        loop.train(recipe, tmp_path / "run", resume=True)
    (tmp_path / "elsewhere").mkdir()
    write_teacher(tmp_path / "elsewhere")
    path.unlink()
    moved = hinted(tmp_path, {"teacher": "elsewhere/teacher.onnx"}, run={"epochs": 1})
    assert loop.train(moved, tmp_path / "run", resume=True).finished


def test_hints_at_a_factor_of_nearly_nothing_leave_the_first_loss_as_it_was(tmp_path):
    write_teacher(tmp_path)
    loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "plain")
    loop.train(hinted(tmp_path, {"factor": 1e-9}, run={"epochs": 1}), tmp_path / "taught")
    one, other = (records(tmp_path / name)[0] for name in ("plain", "taught"))
    assert all(other[name] == one[name] for name in ("heatmap_0", "heatmap_1", "push", "pull"))


@pytest.mark.parametrize(("precision", "channels_last"), [("bf16", False), ("fp32", True)])
def test_other_precisions_and_layouts_see_nearly_the_same_hints(tmp_path, precision, channels_last):
    write_teacher(tmp_path)
    changes = {"precision": precision, "channels_last": channels_last}
    for name, run in (("plain", {}), ("other", changes)):
        loop.train(hinted(tmp_path, run={"epochs": 1, "epoch_samples": 2, **run}), tmp_path / name)
    one, other = (records(tmp_path / name)[0]["hint_stages.1"] for name in ("plain", "other"))
    assert other == pytest.approx(one, rel=0.05)  # bf16 has 8 bits


def test_a_teacher_for_a_batch_of_one_looks_at_the_pictures_one_by_one(tmp_path):
    images = torch.rand(3, 3, 16, 16)
    (tmp_path / "free").mkdir()
    free = Teacher(write_teacher(tmp_path / "free"), [COARSE, FINE], device=CPU)(images)
    single = Teacher(write_teacher(tmp_path, batch=1), [COARSE, FINE], device=CPU)(images)
    assert {name: values.shape for name, values in single.items()} == {COARSE: (3, 6, 2, 2), FINE: (3, 4, 4, 4)}
    for name, values in free.items():
        torch.testing.assert_close(single[name], values)  # the engine may sum in another order


def test_what_the_maps_do_not_need_is_cut_off(tmp_path):
    session = Teacher(write_teacher(tmp_path), [FINE], device=CPU)._session
    assert [entry.name for entry in session.get_outputs()] == [FINE]


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"teacher": "teacher.onxx"}, ["teacher.onxx", "no such file", "data.root"]),
        ({"teacher": "broken.onnx"}, ["broken.onnx", "no usable ONNX file"]),
        ({"maps": [{"student": "stages.1", "teacher": ["neck/course"]}]}, ["neck/course", f"Did you mean '{COARSE}'"]),
        ({"maps": [{"student": "stags.1", "teacher": [FINE]}]}, ["stags.1", "Did you mean 'stages.1'"]),
        ({"maps": [{"student": "stages", "teacher": [FINE]}]}, ["'stages' gives no map"]),
        ({"maps": [{"student": "stem.0", "teacher": [FINE]}]}, ["(1, 32, 32, 32)", FINE, "(1, 4, 16, 16)", "multiple"]),
    ],
)  # fmt: skip
def test_a_hint_that_cannot_be_followed_is_named_before_the_training(tmp_path, hints, words):
    write_teacher(tmp_path)
    (tmp_path / "broken.onnx").write_bytes(b"\x08no model")
    with pytest.raises(RecipeError) as error:
        loop.train(hinted(tmp_path, hints), tmp_path / "run")
    for word in words:
        assert word in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_teacher_that_was_made_for_another_size_is_an_error_that_names_the_size(tmp_path):
    write_teacher(tmp_path, side=96)
    with pytest.raises(RecipeError, match=r"\(1, 3, 64, 64\)(?s:.*)input size"):
        loop.train(hinted(tmp_path), tmp_path / "run")
    write_teacher(tmp_path, side=64)
    schedule = [{"from_share": 0.0, "size": [64, 64]}, {"from_share": 0.9, "size": [96, 96]}]
    with pytest.raises(RecipeError, match=r"\(1, 3, 96, 96\)"):
        loop.train(hinted(tmp_path, run={"size_schedule": schedule}), tmp_path / "run")


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"color": "BGR"}, "hints.color.*Did you mean 'colour'"),
        ({"maps": []}, "hints.maps.*at least 1"),
        ({"maps": [{"student": "a", "teacher": ["b"], "techer": 1}]}, "hints.maps.0.techer.*Did you mean 'teacher'"),
        ({"maps": [{"student": "a", "teacher": ["b"]}] * 2}, "hints.maps.*may come once"),
        ({"std": [1.0, 0.0, 1.0]}, "hints.std.1.*greater than 0"),
    ],
)
def test_a_wrong_key_of_the_section_is_named(tmp_path, hints, words):
    with pytest.raises(RecipeError, match=words):
        hinted(tmp_path, hints)


def test_the_section_survives_its_own_toml_and_the_log_is_plain_json(tmp_path):
    write_teacher(tmp_path)
    recipe = hinted(tmp_path, run={"epochs": 1})
    loop.train(recipe, tmp_path / "run")
    from litepose.training.recipe import load_recipe

    assert load_recipe(tmp_path / "run" / "recipe.toml") == recipe
    assert all(json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
