"""The loop: it learns, survives interruption bit by bit, and refuses to go on with numbers that are none."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coco_files import coco, person, write
from tiny_recipe import NO_AUGMENTATION, tiny_recipe, written

torch = pytest.importorskip("torch")

from litepose import checkpoints, cli, unfolding, weights  # noqa: E402
from litepose.errors import CheckpointError, ModelError, SettingError, TrainingError  # noqa: E402
from litepose.training import loop, setup  # noqa: E402
from litepose.training.guard import GuardedSteps  # noqa: E402
from litepose.training.recipe import Recipe  # noqa: E402
from litepose.training.state import NAME, PREVIOUS, load_checkpoint  # noqa: E402

SOURCE = Path(__file__).resolve().parents[1] / "src"
TIMES = {"pictures_per_s", "data_wait"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def records(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit: averaged weights, the whole checkpoint, the log."""
    first, second = (load_checkpoint(folder) for folder in (one, other))
    assert first["numbers"] == second["numbers"]
    for key in ("network", "average", "optimizer", "random"):
        assert_equal(first[key], second[key])
    assert_equal(*(checkpoints.load(folder / "last.safetensors")[0] for folder in (one, other)))
    assert records(one) == records(other)


def assert_equal(one: object, other: object) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_equal(a, b)
    else:
        assert one == other


def interrupted(
    recipe: Recipe, folder: Path, number: signal.Signals, *, after: int, group: bool = False
) -> tuple[int, str]:
    """Train in another process and send it a signal once its log has `after` lines; return exit code and output.

    group: to its loader processes too, as Ctrl-C and most schedulers do.
    """
    path, said = written(recipe, folder.parent), folder.parent / "said.txt"
    with said.open("w") as output:  # no pipe: loader processes that outlive a kill would hold it open
        process = subprocess.Popen(
            [sys.executable, "-m", "litepose", "train", str(path), "-o", str(folder)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    log, deadline = folder / "log.jsonl", time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < after:
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, "the training wrote no log"
        time.sleep(0.01)
    if group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    return process.wait(timeout=120), said.read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one_bit_by_bit(tmp_path):
    # A checkpoint after each epoch of 3 steps: the kill after step 4 or later also loses steps that were done. The log
    # sums 2 steps a line, so the sums in the middle of a line travel with the checkpoint too.
    recipe = tiny_recipe(run={"epochs": 5, "log_steps": 2, "workers": 1})
    returned, _ = interrupted(recipe, tmp_path / "killed", signal.SIGKILL, after=2)
    assert returned == -signal.SIGKILL
    assert 3 <= load_checkpoint(tmp_path / "killed")["numbers"]["step"] < 15
    plain = tiny_recipe(run={"epochs": 5, "log_steps": 2, "workers": 0})
    loop.train(plain, tmp_path / "killed", resume=True)
    loop.train(plain, tmp_path / "whole")
    assert records(tmp_path / "whole")[-1]["step"] == 15
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can catch")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_group_writes_a_checkpoint_says_how_to_go_on_and_is_the_exit_code(tmp_path, number):
    recipe = tiny_recipe(run={"epochs": 100, "epoch_samples": 200, "workers": 1})
    returned, output = interrupted(recipe, tmp_path / "run", number, after=2, group=True)
    assert returned == 128 + number, output
    assert "--resume" in output
    step = load_checkpoint(tmp_path / "run")["numbers"]["step"]
    assert records(tmp_path / "run")[-1]["step"] == step >= 2
    assert checkpoints.load(tmp_path / "run" / "last.safetensors")[1].provenance["step"] == step


def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path):
    recipe = tiny_recipe()
    loop.train(recipe, tmp_path / "whole")
    loop.train(recipe, tmp_path / "torn")
    file = tmp_path / "torn" / NAME
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match=NAME):
        assert load_checkpoint(tmp_path / "torn")["numbers"]["step"] == 3
    with pytest.warns(UserWarning, match=NAME):
        loop.train(recipe, tmp_path / "torn", resume=True)
    assert_same_run(tmp_path / "torn", tmp_path / "whole")
    assert (tmp_path / "whole" / PREVIOUS).exists()


def test_two_pictures_are_learned_by_heart(tmp_path):
    recipe = tiny_recipe(
        data={"train": [{"source": "synthetic:people=1,seed=4,size=64,length=2", "weight": 1}]},
        augment={"geometric": NO_AUGMENTATION},
        optim={"lr": 4e-3, "warmup_steps": 5, "schedule": "steps"},
        run={"epochs": 1, "epoch_samples": 60},
    )
    loop.train(recipe, tmp_path / "run")
    totals = [record["total"] for record in records(tmp_path / "run")]
    assert sum(totals[-3:]) / 3 < totals[0] / 5


def test_a_loader_process_that_dies_is_one_error_that_says_how_to_go_on(tmp_path, monkeypatch):
    def die(*_):
        raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")

    monkeypatch.setattr(loop, "update", die)
    with pytest.raises(TrainingError, match=r"Killed.*--resume"):
        loop.train(tiny_recipe(), tmp_path / "run")


def broken_loss(monkeypatch, *, at_calls: set[int]) -> None:
    """Let the loss be NaN at these calls (0-based)."""
    calls = iter(range(10**6))

    make_loss = setup.make_loss

    def make_broken(recipe, spec):
        whole = make_loss(recipe, spec)

        def broken(outputs, targets):
            parts = whole(outputs, targets)
            factor = float("nan") if next(calls) in at_calls else 1.0
            return {**parts, "total": parts["total"] * factor}

        return broken

    monkeypatch.setattr(setup, "make_loss", make_broken)


def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(tmp_path, monkeypatch):
    broken_loss(monkeypatch, at_calls={0})
    run, _ = loop.set_up(tiny_recipe(), tmp_path, resume=False, start_from=None, device="cpu", evaluate=None)
    before = {name: tensor.clone() for name, tensor in run.state.network.state_dict().items()}
    first, second = list(run.batches())[:2]
    assert loop.update(run, first) is None
    assert_equal(before, dict(run.state.network.state_dict()))
    assert_equal(before, run.state.average.state)
    assert loop.update(run, second) is not None
    after = run.state.network.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("running_mean"))


def test_a_single_bad_step_is_survived_and_three_in_a_row_end_the_training(tmp_path, monkeypatch):
    broken_loss(monkeypatch, at_calls={1, 2, 4})
    result = loop.train(tiny_recipe(), tmp_path / "survives")
    assert result.finished
    assert records(tmp_path / "survives")[-1]["skipped"] == 3
    assert all(torch.isfinite(t).all() for t in checkpoints.load(result.last)[0].values())
    broken_loss(monkeypatch, at_calls={1, 2, 3})
    with pytest.raises(TrainingError, match=r"3 steps in a row.*optim\.lr"):
        loop.train(tiny_recipe(), tmp_path / "ends")


def guarded_runs(folder: Path, count: int) -> list[loop.Run]:
    """Return equal runs whose optimizer is the fused one that a guard needs."""
    runs = []
    for _ in range(count):
        run, _ = loop.set_up(tiny_recipe(), folder, resume=False, start_from=None, device="cpu", evaluate=None)
        for group in run.state.optimizer.param_groups:
            group["fused"] = True
        runs.append(run)
    return runs


def test_steps_that_nobody_waits_for_end_where_the_others_do(tmp_path, monkeypatch):
    plain, guarded = guarded_runs(tmp_path, 2)
    guarded.guard = GuardedSteps(guarded.state)
    for batch in plain.batches():
        for run in (plain, guarded):
            loop._advance(run, batch)
    loop._settle(guarded)
    one, other = plain.state, guarded.state
    assert_equal(dict(one.network.state_dict()), dict(other.network.state_dict()))
    assert_equal(one.optimizer.state_dict(), other.optimizer.state_dict())
    assert (one.step, one.sums, one.counted, one.skipped) == (other.step, other.sums, other.counted, other.skipped)
    assert one.average.updates == other.average.updates == 6
    for name, tensor in one.average.state.items():
        # a + (b - a) w in three roundings instead of two
        torch.testing.assert_close(other.average.state[name], tensor, atol=1e-6, rtol=1e-6)


def test_a_bad_step_that_nobody_waits_for_changes_nothing_and_is_counted(tmp_path, monkeypatch):
    broken_loss(monkeypatch, at_calls={1, 2})
    (run,) = guarded_runs(tmp_path, 1)
    run.guard = GuardedSteps(run.state)
    for number, batch in enumerate(run.batches()):
        before = copy.deepcopy((run.state.network.state_dict(), run.state.optimizer.state_dict()["state"]))
        averages = copy.deepcopy(run.state.average.state)
        loop._advance(run, batch)
        after = (run.state.network.state_dict(), run.state.optimizer.state_dict()["state"])
        if number in (1, 2):
            assert_equal(before, after)
            assert_equal(averages, run.state.average.state)
        else:
            moved = [name for name in before[0] if not torch.equal(before[0][name], after[0][name])]
            assert any(name.endswith("running_mean") for name in moved) and any(n.endswith("weight") for n in moved)
    assert run.guard.settle() == 2  # in a row
    state = run.state
    assert (state.skipped, state.counted, state.bad_steps, state.average.updates) == (2, 4, 0, 4)
    assert all(math.isfinite(value) for value in state.take_means().values())
    assert run.guard.settle() == 0
    assert state.skipped == 2


def test_a_whole_training_that_nobody_waits_for_logs_saves_resumes_and_ends_on_bad_numbers(tmp_path, monkeypatch):
    make = setup.make_optimizer

    def fused(network, optim):
        optimizer = make(network, optim)
        for group in optimizer.param_groups:
            group["fused"] = True
        return optimizer

    usual = loop.set_up

    def guarded(*args, **options):
        run, notes = usual(*args, **options)
        run.guard = GuardedSteps(run.state)
        return run, notes

    monkeypatch.setattr(setup, "make_optimizer", fused)
    recipe = tiny_recipe(run={"log_steps": 2})
    loop.train(recipe, tmp_path / "plain")
    monkeypatch.setattr(loop, "set_up", guarded)
    loop.train(recipe, tmp_path / "guarded")
    assert records(tmp_path / "guarded") == records(tmp_path / "plain")
    numbers = [load_checkpoint(tmp_path / name)["numbers"] for name in ("guarded", "plain")]
    assert numbers[0] == numbers[1]

    (tmp_path / "guarded" / NAME).unlink()  # the one after the first epoch is left
    loop.train(recipe, tmp_path / "guarded", resume=True)
    assert records(tmp_path / "guarded") == records(tmp_path / "plain")
    broken_loss(monkeypatch, at_calls={1, 2, 3})
    with pytest.raises(TrainingError, match=r"3 steps in a row.*optim\.lr"):
        loop.train(recipe, tmp_path / "ends")


def test_a_run_goes_on_with_the_optimizer_of_another_device(tmp_path):
    fused, plain = guarded_runs(tmp_path, 2)
    for group in plain.state.optimizer.param_groups:
        group["fused"] = None
    loop._advance(fused, next(iter(fused.batches())))
    plain.state.from_checkpoint(fused.state.to_checkpoint())
    assert all(group["fused"] is None for group in plain.state.optimizer.param_groups)
    assert plain.state.optimizer.state_dict()["state"].keys() == fused.state.optimizer.state_dict()["state"].keys()


def test_the_log_says_how_much_of_the_time_pictures_were_waited_for(tmp_path, monkeypatch):
    slow = setup.batches

    def delayed(*args, **options):
        for batch in slow(*args, **options):
            time.sleep(0.3)
            yield batch

    monkeypatch.setattr(setup, "batches", delayed)
    monkeypatch.setattr(loop, "update", lambda run, batch: time.sleep(0.1))
    loop.train(tiny_recipe(run={"bad_steps": 99}, optim={"ema_decay": 0.0}), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    shares = [line["data_wait"] for line in lines if line["kind"] == "train"]
    assert len(shares) == 6
    # 0.3 s of 0.4 s, and what drawing the pictures takes; checkpoints in between may make it less.
    assert all(0 <= share <= 1 for share in shares)
    assert 0.6 < sorted(shares)[3] < 1


def test_the_best_weights_are_those_of_the_best_evaluation(tmp_path):
    answers = iter(
        [{"loss": 1.0, "AP": 0.0}, {"loss": 0.5, "AP": 0.0}, {"loss": 0.9, "AP": 0.2}, {"loss": 0.1, "AP": 0.1}]
    )
    recipe = tiny_recipe(run={"epochs": 4, "epoch_samples": 2, "evaluate_epochs": 1})
    result = loop.train(recipe, tmp_path / "run", evaluate=lambda network: next(answers))
    best, last = (checkpoints.load(path)[1].provenance for path in (result.best, result.last))
    assert (best["step"], best["metrics"]) == (3, {"loss": 0.9, "AP": 0.2})
    assert (last["step"], last["metrics"], last["samples_seen"]) == (4, {"loss": 0.1, "AP": 0.1}, 8)
    assert last["recipe"]["optim"]["lr"] == recipe.optim.lr
    assert [r["AP"] for r in records(tmp_path / "run") if r["kind"] == "validation"] == [0.0, 0.0, 0.2, 0.1]


def test_the_validation_gives_loss_and_ap_with_the_decoder_of_inference(tmp_path):
    recipe = tiny_recipe(
        data={"validation": {"source": "synthetic:people=1,seed=9,size=64,length=3", "limit": 2}},
        run={"epochs": 1, "epoch_samples": 2},
    )
    result = loop.train(recipe, tmp_path / "run")
    assert result.metrics.keys() == {"loss", "AP", "AP50", "AR"}
    assert 0 < result.metrics["loss"] < 10
    assert result.metrics["AP"] == 0  # after a single step


@pytest.mark.parametrize(("precision", "channels_last"), [("bf16", False), ("fp32", True)])
def test_other_precisions_and_layouts_start_at_nearly_the_same_loss(tmp_path, precision, channels_last):
    firsts = []
    for name, changes in (("plain", {}), ("other", {"precision": precision, "channels_last": channels_last})):
        loop.train(tiny_recipe(run={"epochs": 1, "epoch_samples": 2, **changes}), tmp_path / name)
        firsts.append(records(tmp_path / name)[0]["total"])
    assert firsts[1] == pytest.approx(firsts[0], rel=0.05)  # bf16 has 8 bits


def test_weights_are_taken_over_where_they_fit(tmp_path):
    donor = loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "donor").last
    recipe = tiny_recipe(model={"skeleton": "crowdpose14"})
    run, notes = loop.set_up(recipe, tmp_path, resume=False, start_from=donor, device="cpu", evaluate=None)
    given, own = checkpoints.load(donor)[0], run.state.network.state_dict()
    fitting = [name for name in own if given[name].shape == own[name].shape]
    assert 0 < len(fitting) < len(own)
    assert all(torch.equal(own[name], given[name]) for name in fitting)
    assert notes[0].startswith(f"{len(fitting)} of {len(own)} tensors")
    heads = f"Heads ({len(own) - len(fitting)} tensors) for other keypoints: 12 of 14 heatmap channels kept by name"
    assert notes[1] == f"{heads}, made anew: head_top, neck."


def test_a_shipped_model_gives_all_its_tensors_by_its_name(tmp_path):
    run, notes = loop.set_up(
        tiny_recipe(), tmp_path, resume=False, start_from="litepose_xs", device="cpu", evaluate=None
    )
    own = run.state.network.state_dict()
    assert notes[0].startswith(f"{len(own)} of {len(own)} tensors")
    given, _ = unfolding.load(weights.path_of("litepose_xs"))
    assert all(torch.equal(tensor, given[name]) for name, tensor in own.items())
    with pytest.raises(ModelError, match=r"'litepose_xxs': neither shipped nor a file.*litepose_xs"):
        loop.train(tiny_recipe(), tmp_path / "run", start_from="litepose_xxs")


@pytest.mark.filterwarnings("ignore:.*picture left out")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_ends_with_the_names_of_pictures_that_could_not_be_read(tmp_path, capsys, workers):
    write(tmp_path, coco(3, [person(n, n) for n in (1, 2, 3)]))
    (tmp_path / "images" / "2.jpg").write_bytes(b"no picture")
    entry = {"source": "people.json", "weight": 1}
    recipe = tiny_recipe(data={"root": str(tmp_path), "train": [entry]}, run={"epochs": 1, "workers": workers})
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", str(written(recipe, tmp_path)), "-o", str(tmp_path / "run")])
    assert not stopped.value.code
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "could not be read" in line)
    assert line.startswith("Left out") and "people.json (ids 2)" in line


def test_weights_name_their_data_without_saying_where_they_lie_on_the_machine(tmp_path):
    deep = tmp_path / "private" / "set"
    deep.mkdir(parents=True)
    file = write(deep, coco(2, [person(1, 1), person(2, 2)]))
    recipe = tiny_recipe(
        data={"root": str(tmp_path), "validation": {"source": str(file), "images": str(deep / "images")}},
        run={"epochs": 1, "epoch_samples": 2},
    ).with_data([str(file)])
    spec = checkpoints.load(loop.train(recipe, tmp_path / "run").last)[1]
    assert "private" not in spec.to_json() and str(tmp_path.parent) not in spec.to_json()
    assert spec.provenance["data"] == [f"set/{file.name}"]
    data = spec.provenance["recipe"]["data"]
    assert (data["root"], data["validation"]["images"]) == (tmp_path.name, "set/images")
    assert data["train"][0]["source"] == data["validation"]["source"] == f"set/{file.name}"
    assert str(file) in (tmp_path / "run" / "recipe.toml").read_text()  # --resume needs it


def test_weights_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    _, spec = checkpoints.load(loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "donor").last)
    checkpoints.save(path, {"foreign.weight": torch.zeros(3)}, spec)
    with pytest.raises(CheckpointError, match="none of its 1 tensors fits"):
        loop.train(tiny_recipe(), tmp_path / "run", start_from=path)


def test_a_folder_with_a_training_is_not_overwritten(tmp_path):
    loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "run")
    with pytest.raises(SettingError, match="--resume"):
        loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "run")


def test_resuming_with_another_recipe_names_the_difference(tmp_path):
    loop.train(tiny_recipe(run={"epochs": 1}), tmp_path / "run")
    with pytest.raises(SettingError, match=r"optim\.lr: 0\.001 -> 0\.1"):
        loop.train(tiny_recipe(run={"epochs": 1}, optim={"lr": 0.1}), tmp_path / "run", resume=True)


def test_resuming_where_nothing_began_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="holds no checkpoint"):
        loop.train(tiny_recipe(), tmp_path / "run", resume=True)


def test_the_command_names_the_missing_folder_and_writes_nothing(tmp_path, capsys):
    recipe = tiny_recipe(data={"root": str(tmp_path / "absent"), "train": [{"source": "a.json", "weight": 1}]})
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", str(written(recipe, tmp_path)), "-o", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert str(tmp_path / "absent" / "a.json") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_file_named_by_data_that_does_not_exist_is_called_by_its_own_name(tmp_path, capsys):
    recipe = tiny_recipe(data={"root": str(tmp_path / "absent")})
    with pytest.raises(SystemExit) as stopped:
        cli.main(
            ["train", str(written(recipe, tmp_path)), "--data", str(tmp_path / "a.json"), "-o", str(tmp_path / "r")]
        )
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert str(tmp_path / "a.json") in said and "absent" not in said and "data.root" not in said


def test_the_command_trains_on_synthetic_people_instead_and_says_where_the_weights_are(tmp_path, capsys):
    recipe = tiny_recipe(
        data={"train": [{"source": "a.json", "weight": 1}], "validation": {"source": "b.json"}},
        run={"epochs": 1, "epoch_samples": 2},
    )
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", str(written(recipe, tmp_path)), "--data", "synthetic:size=64", "-o", str(tmp_path / "run"),
                  "--set", "optim.lr=1e-5"])  # fmt: skip
    assert not stopped.value.code
    said = capsys.readouterr().out.replace("\n", "")
    assert str(tmp_path / "run" / "last.safetensors") in said
    assert "Without validation: b.json" in said
    assert "lr = 1e-05" in (tmp_path / "run" / "recipe.toml").read_text()
