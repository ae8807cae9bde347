"""Training a supernet: what is drawn when, what is learned from it, how it starts, resumes and is judged."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, cli, supernet  # noqa: E402
from litepose.errors import CheckpointError, ModelError, RecipeError  # noqa: E402
from litepose.models.litepose_super import sort_channels  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import Recipe  # noqa: E402
from litepose.training.state import NAME, load_checkpoint  # noqa: E402
from litepose.training.supernet import Draws  # noqa: E402
from test_training_loop import assert_same_run, records  # noqa: E402
from tiny_recipe import tiny_recipe, written  # noqa: E402
from tiny_supernet import LISTS, SPACE, tiny_supernet_recipe  # noqa: E402

ROUNDED = {"atol": 1e-6, "rtol": 1e-4}  # float32, gradients summed in another order
TESTS = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def set_up(recipe: Recipe, folder: Path, start_from: Path | None = None) -> tuple[loop.Run, list[str]]:
    return loop.set_up(recipe, folder, resume=False, start_from=start_from, device="cpu", evaluate=None)


def draws_of(sampling: str, *, seed: int = 7, **keys) -> Draws:
    section = tiny_supernet_recipe({"sampling": sampling, **keys}).supernet
    return Draws(SPACE, section, seed, 1000)


def test_draws_are_a_function_of_seed_and_step_alone():
    one, again, other = draws_of("uniform"), draws_of("uniform"), draws_of("uniform", seed=8)
    steps = [3, 500, 3, 999, 0]  # in any order
    assert [one.archs(step) for step in steps] == [again.archs(step) for step in reversed(steps)][::-1]
    assert one.archs(3) == one.archs(3) and one.size_at(0.5) == again.size_at(0.5)
    assert [one.archs(step) for step in range(9)] != [other.archs(step) for step in range(9)]
    sizes = Counter(one.size_at(step / 1000) for step in range(1000))
    assert set(sizes) == {(64, 64), (96, 96)} and min(sizes.values()) > 400
    assert all(len(one.archs(step)) == 1 for step in range(5))


def test_a_sandwich_is_the_largest_the_smallest_and_so_many_between():
    draws = draws_of("sandwich", random=3)
    archs = draws.archs(11)
    assert archs[:2] == [SPACE.largest(), SPACE.smallest()] and len(archs) == 5
    assert archs[2:] != draws.archs(12)[2:]


def test_targets_are_made_for_the_size_of_the_step(tmp_path):
    recipe = tiny_supernet_recipe(run={"epochs": 4})
    run, _ = set_up(recipe, tmp_path)
    seen = set()
    for step, batch in enumerate(run.batches()):
        side = batch.images.shape[1]
        assert (side, side) == run.supernet.draws.size_at(step / run.total_steps)
        maps = batch.drawn_targets().heatmaps
        assert [one.shape[-1] for one in maps] == [side // 4, side // 2]
        assert maps[0].max() == 1  # a resized target can lose its peak
        seen.add(side)
    assert seen == {64, 96}


@pytest.mark.parametrize("sampling", ["uniform", "sandwich"])
def test_every_parameter_of_the_space_gets_a_gradient(tmp_path, sampling):
    run, _ = set_up(tiny_supernet_recipe({"sampling": sampling}), tmp_path)
    loop._differentiate(run, next(iter(run.batches())))
    assert all(parameter.grad is not None for parameter in run.state.network.parameters())
    (arch,) = run.supernet.draws.archs(0)[-1:]
    kernels = {kernel for stage in arch["backbone_setting"] for _, kernel in stage["block_setting"]}
    for block in run.state.network.blocks[::2]:  # the first of each stage
        used = {name for name, one in block.kernel_maps.items() if one.weight.grad.any()}
        assert used <= {"3", "5"} and (sampling == "sandwich" or used <= {str(kernel) for kernel in kernels})


def test_a_sandwich_learns_the_mean_loss_of_its_networks(tmp_path):
    run, _ = set_up(tiny_supernet_recipe(), tmp_path)
    batch = next(iter(run.batches()))
    images, targets = batch.normalised(run.spec.input), batch.drawn_targets()
    parts = run.supernet.differentiate(
        images, targets, step=0, precision=contextlib.nullcontext(), scale=lambda loss: loss
    )
    found = {name: one.grad.clone() for name, one in run.state.network.named_parameters()}
    run.state.network.zero_grad(set_to_none=True)
    losses = [run.loss(run.supernet.supernet(images, arch), targets)["total"] for arch in run.supernet.draws.archs(0)]
    torch.stack(losses).mean().backward()
    for name, parameter in run.state.network.named_parameters():
        wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found[name], wanted, **ROUNDED)
    assert parts["total"].item() == pytest.approx(sum(one.item() for one in losses) / 3, rel=1e-5)
    assert parts["total_largest"].item() == pytest.approx(losses[0].item(), rel=1e-5)
    assert parts["total_smallest"].item() == pytest.approx(losses[1].item(), rel=1e-5)


def test_the_largest_network_teaches_the_others_its_heatmaps_and_learns_from_the_annotation(tmp_path):
    run, _ = set_up(tiny_supernet_recipe({"distillation": 0.25}), tmp_path)
    batch = next(iter(run.batches()))
    images, targets = batch.normalised(run.spec.input), batch.drawn_targets()
    seen = []
    loss = run.supernet.loss
    run.supernet.loss = lambda outputs, wanted: seen.append((outputs, wanted)) or loss(outputs, wanted)
    run.supernet.differentiate(images, targets, step=0, precision=contextlib.nullcontext(), scale=lambda loss: loss)
    (largest, first), *others = seen
    assert first is targets and len(others) == 2
    for _, wanted in others:
        assert wanted.tag_indices is targets.tag_indices
        for made, drawn, output in zip(wanted.heatmaps, targets.heatmaps, largest, strict=True):
            heat = output[:, : drawn.shape[1]].detach().clamp(min=0)
            torch.testing.assert_close(made, 0.75 * drawn + 0.25 * heat)
            assert not made.requires_grad


def test_an_interrupted_training_goes_on_with_the_same_networks_and_sizes_bit_by_bit(tmp_path):
    recipe = tiny_supernet_recipe({"distillation": 0.5}, run={"workers": 1})
    plain = tiny_supernet_recipe({"distillation": 0.5})
    loop.train(recipe, tmp_path / "whole")
    loop.train(plain, tmp_path / "resumed")
    (tmp_path / "resumed" / NAME).unlink()  # what is left is the checkpoint of the first epoch
    assert load_checkpoint(tmp_path / "resumed")["numbers"]["step"] == 3
    loop.train(plain, tmp_path / "resumed", resume=True)
    assert_same_run(tmp_path / "resumed", tmp_path / "whole")
    sides = [record["size"][0] for record in records(tmp_path / "whole") if record["kind"] == "train"]
    draws = Draws(SPACE, plain.supernet, plain.run.seed, 6)
    assert sides == [draws.size_at(step / 6)[0] for step in range(6)]


def test_a_supernet_is_judged_by_its_largest_and_smallest_network_with_statistics_of_their_own(tmp_path):
    data = {"validation": {"source": "synthetic:people=1-2,seed=9,size=64,length=4"}}
    result = loop.train(tiny_supernet_recipe(data=data, run={"epochs": 1}), tmp_path / "run")
    assert {"loss", "AP", "AP50", "AR", "loss_smallest", "AP_smallest"} <= set(result.metrics)
    assert result.metrics["loss"] != result.metrics["loss_smallest"]
    kept = supernet.load(result.best)
    assert kept.space == SPACE and kept.spec.provenance["metrics"] == dict(result.metrics)
    # Statistics of the supernet itself stay those that all widths share.
    state = checkpoints.load(result.last)[0]
    assert torch.equal(kept.network.state_dict()["stem.0.norm.running_mean"], state["stem.0.norm.running_mean"])


def widest_recipe(tmp_path: Path, **changes) -> Recipe:
    (tmp_path / "widest.json").write_text(json.dumps(SPACE.largest()))
    return tiny_recipe(model={"arch": str(tmp_path / "widest.json"), "size": [96, 96]}, **changes)


def test_a_supernet_starts_from_its_widest_network_with_channels_sorted_and_the_head_kept(tmp_path):
    donor = loop.train(widest_recipe(tmp_path, run={"epochs": 1}), tmp_path / "donor").last
    run, notes = set_up(tiny_supernet_recipe(), tmp_path / "run", donor)
    assert notes[-1] == "Channels sorted by importance."
    network, _ = checkpoints.load_network(donor)
    orders = sort_channels(network)
    assert any(order.tolist() != sorted(order.tolist()) for order in orders)
    own = run.state.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in network.state_dict().items())


def test_a_supernet_that_starts_from_a_supernet_keeps_its_order(tmp_path):
    donor = loop.train(tiny_supernet_recipe(run={"epochs": 1}), tmp_path / "donor").last
    run, notes = set_up(tiny_supernet_recipe(), tmp_path / "run", donor)
    assert not any("sorted" in note for note in notes)
    state, own = checkpoints.load(donor)[0], run.state.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in state.items())


def test_a_network_is_cut_out_of_a_training_by_the_command_and_fine_tuned(tmp_path, capsys):
    trained = loop.train(tiny_supernet_recipe(run={"epochs": 1}), tmp_path / "super").last
    arch, cut = tmp_path / "arch.json", tmp_path / "cut.safetensors"
    arch.write_text(json.dumps(SPACE.smallest()))
    pictures = "synthetic:people=1-2,seed=3,size=64,length=8"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["extract", str(trained), "--arch", str(arch), "-o", str(cut), "--recalibrate", pictures,
                  "--batches", "1"])  # fmt: skip
    assert not stopped.value.code
    state, spec = checkpoints.load(cut)
    assert spec.provenance["recipe"]["augment"]["geometric"] == {"zoom": [0.8, 1.2]}  # how its pictures were varied
    run, notes = set_up(tiny_recipe(model={"arch": str(arch)}), tmp_path / "run", cut)
    assert notes == [f"{len(state)} of {len(state)} tensors taken over from {cut}."]
    assert all(torch.equal(tensor, state[name]) for name, tensor in run.state.network.state_dict().items())
    assert loop.update(run, next(iter(run.batches()))) is not None


def test_a_narrower_network_is_no_start_of_a_supernet(tmp_path):
    (tmp_path / "arch.json").write_text(json.dumps(SPACE.smallest()))
    recipe = tiny_recipe(model={"arch": str(tmp_path / "arch.json")}, run={"epochs": 1})
    donor = loop.train(recipe, tmp_path / "donor").last
    with pytest.raises(CheckpointError, match="starts from its widest network"):
        set_up(tiny_supernet_recipe(), tmp_path / "run", donor)


def test_a_supernet_is_no_start_of_a_network(tmp_path):
    donor = loop.train(tiny_supernet_recipe(run={"epochs": 1}), tmp_path / "donor").last
    with pytest.raises(ModelError, match="litepose extract"):
        set_up(widest_recipe(tmp_path), tmp_path / "run", donor)


@pytest.mark.parametrize(
    ("supernet_keys", "changes", "message"),
    [
        ({"space": "autors"}, {}, "Did you mean 'authors'"),
        ({"space": {**LISTS, "kernels": [4]}}, {}, "odd whole number"),
        ({"sampling": "sandwiches"}, {}, "'uniform' or 'sandwich'"),
        ({"sampling": "uniform", "distillation": 0.5}, {}, "set sampling to 'sandwich'"),
        ({"sizes": [64]}, {}, "unknown key supernet.sizes"),
        ({}, {"run": {"size_schedule": [{"from_share": 0.0, "size": [64, 64]}]}}, "leave out run.size_schedule"),
        ({}, {"model": {"arch": "a.json"}}, "leave out model.arch"),
    ],
)
def test_a_section_that_cannot_be_is_refused(supernet_keys, changes, message):
    with pytest.raises(RecipeError, match=message):
        tiny_supernet_recipe(supernet_keys, **changes)


def test_section_and_network_belong_together(tmp_path):
    with pytest.raises(RecipeError, match=r"is a supernet.*add \[supernet\]"):
        set_up(tiny_recipe(model={"name": "litepose_super"}), tmp_path)
    with pytest.raises(RecipeError, match="Name litepose_super"):
        set_up(tiny_supernet_recipe(model={"name": "litepose_xs"}), tmp_path)


PROCESS = """
import os, sys
from pathlib import Path
import torch
import torch.distributed as processes
from litepose.distributed import Share
from litepose.training import loop
from litepose.training.recipe import load_recipe

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
processes.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
run, _ = loop.set_up(load_recipe(folder / "tiny.toml"), folder / "run", resume=False, start_from=None, device="cpu",
                     evaluate=None, share=Share(rank, 2))
if rank == 1:  # a process that would draw others
    draws = run.supernet.draws
    object.__setattr__(draws, "seed", 12345)
seen = []
for batch in run.batches():
    loop._differentiate(run, batch)
    gradients = {name: one.grad.clone() for name, one in run.state.network.named_parameters()}
    seen.append({"gradients": gradients, "images": batch.images.clone()})
    run.state.optimizer.step()
    run.state.optimizer.zero_grad(set_to_none=True)
    run.state.step += 1
weights = {name: one.detach() for name, one in run.state.network.named_parameters()}
torch.save({"seen": seen, "weights": weights}, folder / f"{rank}.pt")
processes.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch cannot connect processes")
def test_two_processes_draw_the_same_and_have_equal_gradients_and_weights(tmp_path):
    # The first process's draw counts: the other's seed is spoilt on purpose, for archs; sizes are the loader's.
    space = {**LISTS, "input_sizes": [64]}
    recipe = tiny_supernet_recipe({"space": space, "sampling": "uniform"}, run={"epochs": 1, "epoch_samples": 12})
    written(recipe, tmp_path)
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path)], env=environment, stderr=subprocess.PIPE
        )
        for rank in (0, 1)
    ]
    for one in ranks:
        _, said = one.communicate(timeout=120)
        assert one.returncode == 0, said.decode()
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(first["seen"]) == 3
    for one, other in zip(first["seen"], second["seen"], strict=True):
        assert not torch.equal(one["images"], other["images"])  # each has its own pictures
        assert one["gradients"].keys() == other["gradients"].keys() == first["weights"].keys()
        assert all(torch.equal(one["gradients"][name], other["gradients"][name]) for name in one["gradients"])
        assert any(gradient.any() for gradient in one["gradients"].values())
    assert all(torch.equal(first["weights"][name], second["weights"][name]) for name in first["weights"])


def test_draws_travel_to_loader_processes():
    import pickle

    draws = draws_of("sandwich")
    again = pickle.loads(pickle.dumps(draws))
    assert dataclasses.astuple(again)[2:] == dataclasses.astuple(draws)[2:] and again.archs(4) == draws.archs(4)
