"""Distillation: what the teacher says is in the loss and its gradient, matched by name and stride, and nowhere else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from test_training_loop import assert_equal, assert_same_run, records
from tiny_recipe import NO_AUGMENTATION, tiny_recipe

torch = pytest.importorskip("torch")

from litepose import checkpoints  # noqa: E402
from litepose.codecs import AECodec, HeatmapCodec  # noqa: E402
from litepose.errors import InputSizeError, RecipeError  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import Recipe, load_recipe  # noqa: E402
from litepose.training.state import NAME, load_checkpoint  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def write_teacher(
    folder: Path, *, model: str = "litepose_s", skeleton: Skeleton = COCO17, seed: int = 5, codec=None
) -> Path:
    """Write an untrained teacher whose batch statistics are those of noise, so that its answers are no zeros."""
    torch.manual_seed(seed)
    spec = checkpoints.default_spec(model, skeleton, size=(64, 64), codec=codec)
    network = checkpoints.build_network(spec).train()
    for _ in range(20):
        network(torch.randn(4, 3, 64, 64))
    return checkpoints.save(folder / "teacher.safetensors", network.state_dict(), spec)


def taught(folder: Path, section: dict | None = None, **changes: dict) -> Recipe:
    """Return a recipe whose data.root is the folder of the teacher."""
    distillation = {"teacher": "teacher.safetensors", "heatmap_factor": 1.0, "tag_factor": 0.1, **(section or {})}
    changes["data"] = {"root": str(folder), **changes.get("data", {})}
    return tiny_recipe(distillation=distillation, **changes)


def taught_crops(folder: Path, section: dict | None = None) -> Recipe:
    """Return a recipe of a top-down network."""
    recipe = taught(folder, {"tag_factor": 0.0, **(section or {})}, model={"name": "lpn_50"})
    augment = recipe.augment.model_copy(update={"geometric": {}})
    return recipe.model_copy(update={"codec": {"name": "heatmap"}, "loss": {"half": True}, "augment": augment})


def set_up(recipe: Recipe, folder: Path) -> loop.Run:
    run, _ = loop.set_up(
        recipe, folder, resume=False, start_from=None, device="cpu", evaluate=None
    )  # fmt: skip
    return run


def a_step(run: loop.Run):
    """Return the batch, the student's outputs, the teacher's and the distilled parts."""
    batch = next(iter(run.batches()))
    outputs = run.state.network(batch.normalised(run.spec.input))
    teacher = run.state.distillation.teacher(batch.normalised(run.state.distillation.taught.input))
    parts = run.state.distillation.add({"total": torch.zeros(())}, batch)
    return batch, outputs, teacher, parts


def test_the_heatmap_part_and_its_gradient_are_those_of_the_squared_error_to_the_teacher(tmp_path):
    write_teacher(tmp_path)
    run = set_up(taught(tmp_path, {"heatmap_factor": 0.5, "tag_factor": 0.0}), tmp_path / "run")
    _, outputs, teacher, parts = a_step(run)
    assert set(parts) == {"total", "distilled_heatmaps"}
    got = torch.autograd.grad(parts["total"], outputs, allow_unused=True)

    wanted = 0.0
    for output, target, grad in zip(outputs, teacher, got, strict=True):
        student = output[:, :17].detach().double().requires_grad_()
        heat = target[:, :17].double().clamp(min=0)
        weight = 1 + 12 * heat  # the recipe's foreground_weight
        error = 0.5 * ((student - heat).square() * weight / weight.mean()).mean()
        error.backward()
        wanted += error.item()
        torch.testing.assert_close(grad[:, :17].double(), student.grad, atol=1e-9, rtol=1e-4)  # float32 sums
        assert not grad[:, 17:].any(), "tags are not taught here"
    assert parts["distilled_heatmaps"].item() == pytest.approx(wanted, rel=1e-5)


def test_the_tag_part_and_its_gradient_are_at_the_annotated_keypoints_only(tmp_path):
    write_teacher(tmp_path)
    run = set_up(taught(tmp_path, {"heatmap_factor": 0.0, "tag_factor": 0.1}), tmp_path / "run")
    batch, outputs, teacher, parts = a_step(run)
    (grad,) = torch.autograd.grad(parts["total"], outputs[:1])

    index, visible = batch.targets.tag_indices.unbind(-1)
    own, other = (maps[0][:, 17:].detach().double() for maps in (outputs, teacher))
    wanted, total, count = torch.zeros_like(own).flatten(1), 0.0, 0
    for b, p, k in torch.nonzero(visible).tolist():
        place = int(index[b, p, k])
        difference = float(own[b].flatten()[place] - other[b].flatten()[place])
        wanted[b, place] += 2 * difference
        total, count = total + difference**2, count + 1
    assert count > 20
    assert parts["distilled_tags"].item() == pytest.approx(0.1 * total / count, rel=1e-5)
    torch.testing.assert_close(grad[:, 17:].flatten(1).double(), 0.1 * wanted / count, atol=1e-8, rtol=1e-4)
    assert not grad[:, :17].any()


def test_the_gradient_reaches_the_student_and_never_the_teacher(tmp_path):
    write_teacher(tmp_path)
    run = set_up(taught(tmp_path), tmp_path / "run")
    before = {name: tensor.clone() for name, tensor in run.state.distillation.teacher.state_dict().items()}
    _, _, _, parts = a_step(run)
    parts["total"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in run.state.network.stem.parameters())
    assert all(p.grad is None for p in run.state.distillation.teacher.parameters())
    assert_equal(run.state.distillation.teacher.state_dict(), before)  # BN statistics too: eval mode


def test_keypoints_are_matched_by_name_and_what_the_teacher_lacks_is_left_to_the_annotations(tmp_path):
    write_teacher(tmp_path, skeleton=CROWDPOSE14)
    run = set_up(taught(tmp_path), tmp_path / "run")
    _, outputs, teacher, parts = a_step(run)
    grads = torch.autograd.grad(parts["total"], outputs)
    shared = [name in CROWDPOSE14.keypoints for name in COCO17.keypoints]
    assert grads[0][:, :17].abs().amax((0, 2, 3)).gt(0).tolist() == shared
    taught_tags = grads[0][:, 17:].abs().amax((0, 2, 3)).gt(0)
    assert not taught_tags[~torch.tensor(shared)].any() and taught_tags.sum() > 8
    wrist, other = COCO17.index("left_wrist"), CROWDPOSE14.index("left_wrist")
    grad = grads[0][:, wrist]
    heat = teacher[0][:, other].clamp(min=0)
    towards = torch.sign(outputs[0][:, wrist] - heat)
    assert torch.equal(torch.sign(grad)[grad != 0], towards[grad != 0])


def test_maps_of_another_stride_are_resized(tmp_path):
    """HRNet-style strides differ from LitePose's, so the teacher here is cut to one output of stride 4."""
    write_teacher(tmp_path)
    run = set_up(taught(tmp_path), tmp_path / "run")
    found = run.state.distillation
    codec = AECodec(output_strides=(4,), heatmap_outputs=(True,), tag_outputs=(True,))
    found.taught = dataclasses.replace(found.taught, codec=codec, outputs=found.taught.outputs[:1])
    whole = found.teacher
    found.teacher = lambda images: whole(images)[:1]
    batch = next(iter(run.batches()))
    outputs = run.state.network(batch.normalised(run.spec.input))
    (taught_map,) = found.teacher(batch.normalised(found.taught.input))
    error = found._heatmap_error(list(outputs), [taught_map.detach()])
    fine = torch.nn.functional.interpolate(taught_map[:, :17].detach(), scale_factor=2, mode="bilinear")
    wanted = 0.0
    for output, heat in zip(outputs, (taught_map[:, :17], fine), strict=True):
        heat = heat.clamp(min=0)
        weight = 1 + 12 * heat
        wanted += ((output[:, :17] - heat).square() * weight / weight.mean()).mean().item()
    assert error.item() == pytest.approx(wanted, rel=1e-5)


def test_top_down_networks_learn_the_teachers_heatmaps_through_their_own_loss(tmp_path):
    write_teacher(tmp_path, model="simplebaseline_50", codec=HeatmapCodec(), skeleton=CROWDPOSE14)
    run = set_up(taught_crops(tmp_path, {"heatmap_factor": 2.0}), tmp_path / "run")
    _, outputs, teacher, parts = a_step(run)
    assert set(parts) == {"total", "distilled_heatmaps"}
    (grad,) = torch.autograd.grad(parts["total"], outputs)
    shared = np.flatnonzero([name in CROWDPOSE14.keypoints for name in COCO17.keypoints])
    columns = [CROWDPOSE14.index(COCO17.keypoints[k]) for k in shared]
    student = outputs[0].detach().double().requires_grad_()
    # The factor 2 of the section, 0.5 of the recipe's HeatmapLoss; 17 keypoints, of which the teacher knows 12.
    error = 2.0 * 0.5 * (student[:, shared] - teacher[0][:, columns].double()).square().mean((2, 3)).sum(1).mean() / 17
    error.backward()
    assert parts["distilled_heatmaps"].item() == pytest.approx(float(error), rel=1e-5)
    torch.testing.assert_close(grad.double(), student.grad, atol=1e-9, rtol=1e-4)


def test_distilled_parts_fall_and_are_part_of_the_total_and_of_the_log(tmp_path):
    write_teacher(tmp_path)
    recipe = taught(
        tmp_path,
        {"tag_factor": 1.0},
        data={"train": [{"source": "synthetic:people=1,seed=4,size=64,length=2", "weight": 1}]},
        augment={"geometric": NO_AUGMENTATION},
        optim={"lr": 1e-2, "schedule": "steps"},
        run={"epochs": 1, "epoch_samples": 40},
    )
    loop.train(recipe, tmp_path / "run")
    log = records(tmp_path / "run")
    for name in ("distilled_heatmaps", "distilled_tags"):
        assert log[-1][name] < log[0][name] / 2
    for record in log:
        parts = ("heatmap_0", "heatmap_1", "push", "pull", "distilled_heatmaps", "distilled_tags")
        assert record["total"] == pytest.approx(sum(record[part] for part in parts), rel=1e-5)


def test_the_weights_name_their_teacher_and_hold_nothing_of_it(tmp_path):
    write_teacher(tmp_path)
    plain = loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "plain")
    other = loop.train(taught(tmp_path, run={"epochs": 1}), tmp_path / "taught")
    (one, _), (state, spec) = (checkpoints.load(result.last) for result in (plain, other))
    assert state.keys() == one.keys()
    assert spec.provenance["distillation"]["teacher"] == "teacher.safetensors"
    assert spec.provenance["distillation"]["model"] == "litepose_s"
    assert load_recipe(tmp_path / "taught" / "recipe.toml") == taught(tmp_path, run={"epochs": 1})


def test_a_resumed_training_equals_an_uninterrupted_one_and_wants_the_same_teacher(tmp_path):
    write_teacher(tmp_path)
    recipe = taught(tmp_path, run={"epochs": 3})
    judged = {"evaluate": lambda network: {"loss": 1.0}}
    loop.train(recipe, tmp_path / "whole", **judged)
    loop.train(recipe, tmp_path / "stopped", **judged)
    (tmp_path / "stopped" / NAME).unlink()  # the one after the second epoch is left
    assert load_checkpoint(tmp_path / "stopped")["numbers"]["step"] == 6
    loop.train(recipe, tmp_path / "stopped", resume=True, **judged)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    write_teacher(tmp_path, seed=6)
    with pytest.raises(RecipeError, match="the same teacher"):
        loop.train(recipe, tmp_path / "stopped", resume=True, **judged)


def test_an_evaluation_in_between_changes_nothing(tmp_path):
    write_teacher(tmp_path)
    validation = {"data": {"validation": {"source": "synthetic:people=1,seed=9,size=64,length=1"}}}
    for name, changes in (("judged", {**validation, "run": {"evaluate_epochs": 1}}), ("plain", {})):
        loop.train(taught(tmp_path, **changes), tmp_path / name)
    one, other = (load_checkpoint(tmp_path / name) for name in ("judged", "plain"))
    assert_equal(one["network"], other["network"])


def test_bf16_and_channels_last_see_nearly_the_same_teacher(tmp_path):
    write_teacher(tmp_path)
    for name, run in (("plain", {}), ("other", {"precision": "bf16", "channels_last": True})):
        loop.train(taught(tmp_path, run={"epochs": 1, "epoch_samples": 2, **run}), tmp_path / name)
    one, other = (records(tmp_path / name)[0]["distilled_heatmaps"] for name in ("plain", "other"))
    assert other == pytest.approx(one, rel=0.05)  # bf16 has 8 bits


def test_a_shipped_model_may_teach_by_its_name(tmp_path):
    run = set_up(taught(tmp_path, {"teacher": "litepose_xs"}), tmp_path / "run")
    assert run.state.distillation.taught.model == "litepose_xs"
    assert run.spec.provenance["distillation"]["sha256"] == run.state.distillation.sha256


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ({"teacher": "techer.safetensors"}, {}, r"techer\.safetensors.*cannot be opened.*data\.root.*litepose_xs"),
        ({"teacher": "lpn_50"}, {}, "'lpn_50'.*codec 'heatmap'.*bottom-up"),
        ({}, {"codec": {"name": "ae", "tag_per_keypoint": False}}, "one has a tag for each keypoint"),
        ({}, {"run": {"size_schedule": [{"from_share": 0.0, "size": [64, 64]}]}, "model": {"size": [72, 64]}},
         "multiples of"),
        ({"tag_factr": 1.0}, {}, "distillation.tag_factr.*Did you mean 'tag_factor'"),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_an_error_before_the_training(tmp_path, section, changes, words):
    write_teacher(tmp_path)
    with pytest.raises((RecipeError, InputSizeError), match=words):
        loop.train(taught(tmp_path, section, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_encoding_of_top_down_maps_is_refused(tmp_path):
    write_teacher(tmp_path, model="simplebaseline_50", codec=HeatmapCodec(encoding="dark"))
    with pytest.raises(RecipeError, match=r"encoding 'dark'.*'gaussian'"):
        loop.train(taught_crops(tmp_path), tmp_path / "run")
    write_teacher(tmp_path, model="simplebaseline_50", codec=HeatmapCodec())
    with pytest.raises(RecipeError, match="heatmaps alone"):
        loop.train(taught_crops(tmp_path, {"tag_factor": 1.0}), tmp_path / "run")
