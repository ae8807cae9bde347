"""How a training's numbers are computed: reduced precision, parts of a batch, torch.compile, determinism."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest

from tiny_recipe import tiny_recipe
from tiny_supernet import tiny_supernet_recipe

torch = pytest.importorskip("torch")

from litepose import checkpoints  # noqa: E402
from litepose.errors import RecipeError, SettingError  # noqa: E402
from litepose.training import loop, numerics, setup  # noqa: E402
from litepose.training.state import load_checkpoint  # noqa: E402
from training_process import freeze_norms  # noqa: E402

PLAIN_LOSS = {"foreground_weight": 0.0}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def fp16_anywhere(monkeypatch):
    """Let the CPU compute in fp16, as slowly as it does."""
    monkeypatch.setattr(setup, "open_device", lambda name, precision: torch.device(name))


def set_up(folder: Path, **changes) -> loop.Run:
    run, _ = loop.set_up(
        tiny_recipe(**changes), folder, resume=False, start_from=None, device="cpu", evaluate=lambda network: {}
    )
    return run


def first_gradients(run: loop.Run) -> dict[str, torch.Tensor]:
    loop._differentiate(run, next(iter(run.batches())))
    return {name: one.grad.clone() for name, one in run.state.network.named_parameters()}


def together(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.flatten() for one in gradients.values()])


def test_parts_of_a_batch_give_the_gradient_of_the_whole(tmp_path):
    gradients = []
    for accumulate in (1, 2, 4):
        run = set_up(tmp_path, loss=PLAIN_LOSS, run={"batch": 4, "accumulate": accumulate, "epoch_samples": 4})
        freeze_norms(run.state.network)
        gradients.append(first_gradients(run))
    for other in gradients[1:]:
        for name, whole in gradients[0].items():
            torch.testing.assert_close(other[name], whole, atol=1e-6, rtol=1e-5)  # float32 sums in another order
    assert together(gradients[0]).abs().max() > 1e-3


@pytest.mark.parametrize("targets", ["worker", "device"])
def test_a_batch_is_cut_into_all_its_pictures_and_their_targets(tmp_path, targets):
    run = set_up(tmp_path, run={"batch": 4, "epoch_samples": 4, "targets": targets})
    batch = next(iter(run.batches()))
    parts, whole = batch.parts(2), batch.drawn_targets()
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    for field in dataclasses.fields(whole):
        value = getattr(whole, field.name)
        pieces = [getattr(part.targets, field.name) for part in parts]
        for all_of_it, cut in zip(
            value if isinstance(value, tuple) else (value,),
            zip(*pieces, strict=True) if isinstance(value, tuple) else (pieces,), strict=True,
        ):  # fmt: skip
            assert torch.equal(torch.cat(list(cut)), all_of_it)


def test_parts_that_would_not_be_equal_are_refused():
    with pytest.raises(RecipeError, match=r"run\.accumulate = 3 is impossible.*must divide run\.batch = 4"):
        tiny_recipe(run={"batch": 4, "accumulate": 3})


def test_in_bf16_statistics_losses_and_weights_are_fp32(tmp_path):
    run = set_up(tmp_path, run={"precision": "bf16"})
    network, seen = run.state.network, {}

    def watch(name):
        def keep(module, inputs, output):
            seen[name] = inputs[0].detach().double()

        return keep

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.register_forward_hook(watch(name))
    kinds = {}
    whole_loss = run.loss
    run.loss = lambda outputs, targets: kinds.setdefault("parts", whole_loss(outputs, targets))
    gradients = first_gradients(run)
    assert {one.dtype for one in (*kinds["parts"].values(), *gradients.values())} == {torch.float32}
    for name, values in seen.items():
        norm = network.get_submodule(name)
        assert norm.running_mean.dtype == norm.running_var.dtype == torch.float32
        # bf16 has 8 bits: statistics that were kept in it would be off by some 1e-3 of their size.
        near = {"atol": 1e-6, "rtol": 1e-5}
        torch.testing.assert_close(norm.running_mean.double(), 0.1 * values.mean((0, 2, 3)), **near)
        torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * values.var((0, 2, 3)), **near)
    assert len(seen) > 10


def test_fp16_is_refused_on_the_cpu(tmp_path):
    with pytest.raises(SettingError, match=r"'fp16' was asked for on the CPU.*'bf16'"):
        loop.train(tiny_recipe(run={"precision": "fp16"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fp16_gives_nearly_the_gradient_of_fp32_without_its_scale(tmp_path, fp16_anywhere):
    found = []
    for precision in ("fp32", "fp16"):
        run = set_up(tmp_path, run={"precision": precision})
        freeze_norms(run.state.network)
        found.append(together(first_gradients(run)))
    exact, scaled = found
    assert torch.nn.functional.cosine_similarity(exact, scaled, dim=0) > 0.99
    assert float(scaled.norm()) == pytest.approx(float(exact.norm()), rel=0.05)


def test_a_gradient_that_overflows_halves_the_scale_changes_nothing_else_and_the_scale_is_resumed(
    tmp_path, fp16_anywhere
):
    recipe = tiny_recipe(run={"precision": "fp16", "epochs": 1, "epoch_samples": 2})
    loop.train(recipe, tmp_path / "run")
    run, _ = loop.set_up(
        recipe, tmp_path / "run", resume=True, start_from=None, device="cpu", evaluate=lambda network: {}
    )
    assert run.state.scaler.get_scale() == load_checkpoint(tmp_path / "run")["scaler"]["scale"] == numerics.FIRST_SCALE
    other = set_up(tmp_path / "other", run={"precision": "fp16", "epoch_samples": 4})
    before = copy.deepcopy(dict(other.state.network.state_dict()))
    first, second = list(other.batches())[:2]
    whole_loss = other.loss

    def enormous(outputs, targets):
        parts = whole_loss(outputs, targets)
        return {**parts, "total": parts["total"] * 1e38}

    other.loss = enormous
    assert loop.update(other, first) is None
    assert all(torch.equal(before[name], one) for name, one in other.state.network.state_dict().items())
    assert other.state.scaler.get_scale() == numerics.FIRST_SCALE / 2
    other.loss = whole_loss
    assert loop.update(other, second) is not None
    assert other.state.scaler.get_scale() == numerics.FIRST_SCALE / 2


def compiler_works() -> bool:
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2))
    except Exception:  # whatever a missing or broken compiler raises
        return False
    return True


@pytest.mark.slow
def test_a_compiled_network_has_the_same_loss_gradient_and_files(tmp_path):
    if not compiler_works():
        pytest.skip("torch.compile finds no compiler that works here")
    runs = [set_up(tmp_path, run={"compile": compiled}) for compiled in (False, True)]
    for run in runs:
        freeze_norms(run.state.network)
    plain, compiled = (first_gradients(run) for run in runs)
    assert plain.keys() == compiled.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, atol=1e-5, rtol=1e-3)  # fused float32 kernels
    recipe = tiny_recipe(run={"compile": True, "epochs": 1, "epoch_samples": 2})
    result = loop.train(recipe, tmp_path / "run", evaluate=lambda network: {"loss": 1.0})
    assert checkpoints.load(result.last)[0].keys() == set(runs[0].state.network.state_dict())


def test_two_deterministic_runs_are_equal_bit_by_bit_and_leave_the_switch_as_it_was(tmp_path):
    seen = []

    def evaluate(network):
        seen.append(torch.are_deterministic_algorithms_enabled())
        return {"loss": 1.0}

    recipe = tiny_recipe(run={"deterministic": True, "evaluate_epochs": 1, "epochs": 2, "epoch_samples": 4})
    weights = []
    for name in ("one", "other"):
        weights.append(checkpoints.load(loop.train(recipe, tmp_path / name, evaluate=evaluate).last)[0])
    assert seen == [True] * 4
    assert not torch.are_deterministic_algorithms_enabled()
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    one, other = ((tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "other"))
    assert [json.loads(line)["step"] for line in one] == [json.loads(line)["step"] for line in other]


@pytest.mark.parametrize("key", ["compile", "sync_batchnorm"])
def test_a_supernet_refuses_what_is_for_one_network(key):
    with pytest.raises(RecipeError, match=rf"many networks of many sizes: leave out run\.{key}"):
        tiny_supernet_recipe(run={key: True})


def test_a_run_of_an_earlier_version_goes_on_under_the_defaults_of_what_came_later(tmp_path):
    recipe = tiny_recipe(run={"epochs": 1, "epoch_samples": 4})
    loop.train(recipe, tmp_path / "run")
    file = tmp_path / "run" / "checkpoint.pt"
    saved = torch.load(file, weights_only=True)
    later = ("accumulate", "compile", "deterministic", "sync_batchnorm", "scale_lr")
    old = [line for line in saved["recipe"].splitlines() if not line.startswith(later)]
    assert len(old) == len(saved["recipe"].splitlines()) - len(later)
    torch.save(
        {**{key: saved[key] for key in saved if key not in ("processes", "scaler")}, "recipe": "\n".join(old)}, file
    )
    assert loop.train(recipe, tmp_path / "run", resume=True).finished
    with pytest.raises(SettingError, match=r"run\.accumulate: 1 -> 2"):
        loop.train(tiny_recipe(run={"epochs": 1, "epoch_samples": 4, "accumulate": 2}), tmp_path / "run", resume=True)
