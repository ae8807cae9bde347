"""Several processes train as one does: equal among each other bit by bit, equal to one within float32."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from several_processes import TESTS, ended, environment, start
from tiny_recipe import tiny_recipe, written

torch = pytest.importorskip("torch")
if not torch.distributed.is_available():
    pytest.skip("this PyTorch cannot connect processes", allow_module_level=True)

from litepose import checkpoints  # noqa: E402
from litepose.distributed import Share  # noqa: E402
from litepose.errors import SettingError  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.recipe import load_recipe  # noqa: E402
from litepose.training.start import check_same_processes  # noqa: E402
from litepose.training.state import load_checkpoint  # noqa: E402
from training_process import norm_layers, steps  # noqa: E402

# With a foreground_weight the loss weighs cells by what the pictures of a process have; without, it is a mean of them.
PLAIN_LOSS = {"foreground_weight": 0.0}
PROCESS = str(TESTS / "training_process.py")
VALIDATED = {"validation": {"source": "synthetic:people=1-2,seed=9,size=64,length=19"}}


def alone(recipe_file: Path, folder: Path, *, frozen: bool) -> dict:
    run, _ = loop.set_up(
        load_recipe(recipe_file), folder, resume=False, start_from=None, device="cpu", evaluate=lambda network: {}
    )
    return steps(run, frozen=frozen)


def assert_near(one: dict, other: dict, *, atol: float, rtol: float = 0.0) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=atol, rtol=rtol, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_stay_equal_bit_by_bit_and_their_gradient_is_that_of_one(tmp_path, count):
    run = {"epochs": 1, "epoch_samples": 8, "seed": 11}
    changes = {"loss": PLAIN_LOSS, "run": {**run, "batch": 4 // count, "sync_batchnorm": True}}
    file = written(tiny_recipe(**changes), tmp_path)
    for code, said in ended(start(count, [PROCESS, str(file), str(tmp_path)], tmp_path), tmp_path):
        assert code == 0, said
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(count)]
    for way in ("frozen", "free"):
        for rank in ranks[1:]:
            assert_equal_after_each_step(rank[way]["after"], ranks[0][way]["after"], count=2)

    (tmp_path / "one").mkdir()
    one_file = written(tiny_recipe(loss=PLAIN_LOSS, run={**run, "batch": 4}), tmp_path / "one")
    for way in ("frozen", "free"):
        one, several = alone(one_file, tmp_path / "one", frozen=way == "frozen"), ranks[0][way]
        assert one["parts"][0]["total"] == pytest.approx(several["parts"][0]["total"], rel=1e-5)
        assert_near(one["statistics"], several["statistics"], atol=1e-5, rtol=1e-4)
        if way == "frozen":
            assert_near(one["gradients"], several["gradients"], atol=1e-6)
            assert any(gradient.abs().max() > 1e-3 for gradient in one["gradients"].values())
    # Normalisation over all processes as over one batch. Two layers: through fifty, that divide by small spreads,
    # float32 alone moves the gradients of the first one in their second digit.
    layers = norm_layers(Share())
    ranks[0]["layers"]["outputs"] = torch.cat([rank["layers"]["outputs"] for rank in ranks])
    assert_near(layers, ranks[0]["layers"], atol=1e-6, rtol=1e-5)


def assert_equal_after_each_step(mine: list, other: list, *, count: int) -> None:
    """Bit for bit: weights and BN statistics, averages, sums of the loss."""
    assert len(mine) == len(other) == count
    for states, others in zip(mine, other, strict=True):
        for one, another in zip(states, others, strict=True):
            assert one.keys() == another.keys()
            assert all(torch.equal(one[name], another[name]) for name in one)


def test_statistics_that_are_not_shared_are_averaged_so_that_processes_stay_equal(tmp_path):
    file = written(tiny_recipe(run={"epochs": 1, "epoch_samples": 8}), tmp_path)
    for code, said in ended(start(2, [PROCESS, str(file), str(tmp_path)], tmp_path), tmp_path):
        assert code == 0, said
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True)["free"] for rank in (0, 1))
    assert_equal_after_each_step(first["after"], second["after"], count=2)
    moved = [name for name in first["statistics"] if name.endswith("running_var")]
    assert all(not torch.equal(first["after"][0][0][name], first["after"][1][0][name]) for name in moved)


def command(recipe_file: Path, folder: Path, *more: str) -> list[str]:
    return ["-m", "litepose", "train", str(recipe_file), "-o", str(folder), *more]


def validations(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if '"validation"' in line]


def test_torchrun_trains_with_one_log_and_evaluates_over_all_processes_as_one_would(tmp_path):
    recipe = tiny_recipe(
        data=VALIDATED, optim={"scale_lr": True}, run={"epochs": 1, "epoch_samples": 8, "evaluate_epochs": 1}
    )
    file, folder = written(recipe, tmp_path), tmp_path / "run"
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    plain = {key: value for key, value in environment().items() if "RANK" not in key and "MASTER" not in key}
    done = subprocess.run([*launch, *command(file, folder)], env=plain, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Last weights") == 1
    assert "2 processes of 2: 4 pictures a step; learning rate 0.002, 2 times the recipe's." in done.stdout
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 1), ("train", 2), ("validation", 2)]
    assert lines[0]["samples"] == 4
    assert load_checkpoint(folder)["processes"] == 2

    network, spec = checkpoints.load_network(folder / "last.safetensors")
    run, _ = loop.set_up(recipe, tmp_path / "one", resume=False, start_from=None, device="cpu", evaluate=None)
    assert run.evaluate is not None
    assert run.evaluate(network) == {key: value for key, value in lines[-1].items() if key not in ("kind", "step")}
    assert spec.provenance["samples_seen"] == 8

    with pytest.raises(SettingError, match=r"begun with 2 processes, and there are 1 now"):
        loop.train(recipe, folder, resume=True)


def wait_for_lines(log: Path, count: int, ranks: list[subprocess.Popen], folder: Path) -> None:
    deadline = time.monotonic() + 240
    while not log.exists() or log.read_text().count("\n") < count:
        assert all(one.poll() is None for one in ranks), (folder / "said-0.txt").read_text()
        assert time.monotonic() < deadline, "the training wrote no log"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
def test_a_signal_to_one_process_stops_all_after_the_same_step_and_they_go_on_together(tmp_path):
    recipe = tiny_recipe(run={"epochs": 20, "epoch_samples": 16})
    file, folder = written(recipe, tmp_path), tmp_path / "run"
    ranks = start(2, command(file, folder), tmp_path)
    wait_for_lines(folder / "log.jsonl", 2, ranks, tmp_path)
    ranks[1].send_signal(signal.SIGTERM)
    for code, said in ended(ranks, tmp_path):
        assert code == 128 + signal.SIGTERM, said
    step = load_checkpoint(folder)["numbers"]["step"]
    assert 2 <= step < 80
    assert f"Stopped after step {step}; go on with: --resume" in (tmp_path / "said-0.txt").read_text()
    assert "Stopped" not in (tmp_path / "said-1.txt").read_text()

    ranks = start(2, command(file, folder, "--resume"), tmp_path)
    wait_for_lines(folder / "log.jsonl", step + 1, ranks, tmp_path)
    os.killpg(ranks[1].pid, signal.SIGKILL)  # and the end of one is heard by the other
    (code, said), _ = ended(ranks, tmp_path)
    assert code == 2, said
    assert f"Going on after step {step}." in said
    assert "Process 0 of 2 lost the others" in said and "--resume" in said


def test_a_run_goes_on_with_the_number_of_processes_that_it_was_begun_with():
    check_same_processes(2, 2)
    with pytest.raises(SettingError, match=r"begun with 4 processes, and there are 2 now.*--nproc-per-node"):
        check_same_processes(2, 4)


def test_a_process_alone_agrees_with_itself():
    share, tensor = Share(), torch.tensor([1.0, 2.0])
    share.average([tensor])
    assert tensor.tolist() == [1.0, 2.0]
    assert (share.agreed("mine"), share.largest(3)) == ("mine", 3)
    with pytest.raises(RuntimeError, match="not about others"), share.hearing_of_deaths():
        raise RuntimeError("not about others: gloo")
