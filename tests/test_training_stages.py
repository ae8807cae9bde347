"""LPN's iterative training: each stage begins with the best weights so far, a fresh optimizer, the whole schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")

from litepose import checkpoints  # noqa: E402
from litepose.errors import RecipeError  # noqa: E402
from litepose.training import loop, start  # noqa: E402
from litepose.training.state import load_checkpoint  # noqa: E402

STAGED = {"epochs": 2, "stages": 2, "log_steps": 1}  # 6 samples an epoch, 2 a step: 6 steps a stage


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def judged_by(values: list[float]):
    """Return an evaluation that gives these APs in turn."""
    remaining = iter(values)
    return lambda network: {"loss": 1.0, "AP": next(remaining)}


def rates(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["lr"] for line in lines if line["kind"] == "train"]


def test_a_stage_begins_with_the_best_weights_and_a_fresh_optimizer(tmp_path, monkeypatch):
    recipe = tiny_recipe(run={**STAGED, "evaluate_epochs": 1}, optim={"stage_lr": 5e-4})
    begun = []
    begin = loop._begin_stage

    def watched(run, log):
        best, _ = checkpoints.load(tmp_path / "run" / "best.safetensors")
        begin(run, log)
        begun.append(run.state.step)
        for name, tensor in run.state.network.state_dict().items():
            assert torch.equal(tensor, best[name]), name
        assert not run.state.optimizer.state
        assert run.state.average.updates == 0

    monkeypatch.setattr(loop, "_begin_stage", watched)
    # The first epoch of stage 1 is better than its second, so stage 2 begins with it.
    result = loop.train(recipe, tmp_path / "run", evaluate=judged_by([0.3, 0.2, 0.1, 0.1]))
    assert begun == [6]
    assert result.step == 12
    learned = rates(tmp_path / "run")
    assert learned[6:] == [pytest.approx(0.5 * rate) for rate in learned[:6]]
    _, spec = checkpoints.load(tmp_path / "run" / "best.safetensors")
    assert spec.provenance["step"] == 3


def test_a_run_that_was_stopped_at_the_border_of_two_stages_goes_on_bit_by_bit(tmp_path, monkeypatch):
    recipe = tiny_recipe(run=STAGED)
    loop.train(recipe, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(run, batch):
        if run.state.step == 7:  # one step into stage 2; the last checkpoint is from the border
            raise Killed
        advance(run, batch)

    advance = loop._advance
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_advance", kill)
        with pytest.raises(Killed):
            loop.train(recipe, tmp_path / "killed")
    assert load_checkpoint(tmp_path / "killed")["numbers"]["step"] == 6
    loop.train(recipe, tmp_path / "killed", resume=True)
    states = [checkpoints.load(tmp_path / name / "last.safetensors")[0] for name in ("whole", "killed")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"pussh_factor": 1.0}, r"unknown key 'pussh_factor'.*push_factor"),
        ({"push": "hard"}, r"loss\.push = 'hard'"),
        ({"heatmap_factors": [1.0]}, r"1 numbers; litepose_xs has 2 outputs"),
    ],
)
def test_a_loss_setting_that_is_none_is_named(loss, words):
    recipe = tiny_recipe(loss=loss)
    with pytest.raises(RecipeError, match=words):
        start.make_loss(recipe, start.make_spec(recipe))
