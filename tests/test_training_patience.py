"""Early stopping: a run whose judged weights become no better ends, says so, and does it again when it is resumed."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")

from rich.console import Console  # noqa: E402

from litepose import checkpoints  # noqa: E402
from litepose.errors import RecipeError  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.state import load_checkpoint  # noqa: E402

PATIENT = {"epochs": 6, "evaluate_epochs": 1, "log_steps": 3}  # 3 steps an epoch


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


class Judge:
    """An evaluation that gives these APs in turn. asked: how often it was."""

    def __init__(self, *values: float, loss: float = 1.0) -> None:
        self.values, self.loss, self.asked = values, loss, 0

    def __call__(self, network: object) -> dict[str, float]:
        self.asked += 1
        return {"loss": self.loss, "AP": self.values[self.asked - 1]}


def patient(evaluations: int):
    return tiny_recipe(run={**PATIENT, "patience_evaluations": evaluations})


def test_a_run_ends_after_so_many_evaluations_without_better_weights_and_says_so(tmp_path):
    console = Console(file=io.StringIO())
    judge = Judge(0.1, 0.3, 0.2, 0.3, 0.4, 0.5)
    result = loop.train(patient(2), tmp_path / "run", evaluate=judge, console=console)
    assert (result.finished, result.step, judge.asked, result.stopped_by) == (True, 12, 4, None)
    assert checkpoints.load(tmp_path / "run" / "best.safetensors")[1].provenance["step"] == 6
    assert checkpoints.load(result.last)[1].provenance["metrics"]["AP"] == 0.3
    assert "Ended early after step 12: in 2 evaluations no weights were better" in console.file.getvalue()


def test_better_weights_renew_the_patience(tmp_path):
    judge = Judge(0.1, 0.0, 0.2, 0.1, 0.3, 0.2)
    assert loop.train(patient(2), tmp_path / "run", evaluate=judge).step == 18


def test_without_patience_nothing_ends_early(tmp_path):
    assert loop.train(tiny_recipe(run=PATIENT), tmp_path / "run", evaluate=Judge(*[0.1] * 6)).step == 18


def test_an_evaluation_without_a_finite_loss_is_not_better(tmp_path):
    judge = Judge(*[0.1] * 6, loss=math.nan)
    assert loop.train(patient(3), tmp_path / "run", evaluate=judge).step == 9
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_a_run_killed_in_its_patience_ends_at_the_same_step_when_resumed(tmp_path, monkeypatch):
    values = (0.3, 0.2, 0.1, 0.0, 0.0, 0.0)
    whole = loop.train(patient(3), tmp_path / "whole", evaluate=Judge(*values))

    class Killed(Exception):
        pass

    def kill(run, batch):
        if run.state.step == 10:
            raise Killed
        advance(run, batch)

    advance = loop._advance
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_advance", kill)
        with pytest.raises(Killed):
            loop.train(patient(3), tmp_path / "killed", evaluate=Judge(*values))
    assert load_checkpoint(tmp_path / "killed")["numbers"]["unimproved"] == 2
    resumed = loop.train(patient(3), tmp_path / "killed", evaluate=Judge(*values[3:]), resume=True)
    assert whole.step == resumed.step == 12
    states = [checkpoints.load(one.last)[0] for one in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_resuming_a_run_that_ended_early_changes_nothing_and_more_patience_goes_on(tmp_path):
    folder = tmp_path / "run"
    first = loop.train(patient(1), folder, evaluate=Judge(0.2, 0.1))
    kept = first.last.read_bytes()
    again = loop.train(patient(1), folder, evaluate=Judge(), resume=True)
    assert (again.finished, again.step) == (True, 6) and again.last.read_bytes() == kept
    more = loop.train(patient(3), folder, evaluate=Judge(0.1, 0.1, 0.1), resume=True)
    assert more.step == 12


def test_a_checkpoint_from_before_there_was_patience_is_resumed(tmp_path):
    folder, recipe = tmp_path / "run", tiny_recipe(run={"epochs": 2})
    loop.train(recipe, folder)
    saved = load_checkpoint(folder)
    del saved["numbers"]["unimproved"]
    saved["recipe"] = saved["recipe"].replace("patience_evaluations = 0\n", "")
    torch.save(saved, folder / "checkpoint.pt")
    assert loop.train(recipe, folder, resume=True).step == 6


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"evaluate_epochs": 0}, r"needs evaluate_epochs of at least 1 \(found 0\)"),
        ({"stages": 2}, r"a single stage \(found 2\)"),
        ({"patience_evaluations": -1}, r"run\.patience_evaluations = -1 is impossible"),
    ],
)
def test_patience_that_could_never_end_is_refused(run, words):
    with pytest.raises(RecipeError, match=words):
        tiny_recipe(run={**PATIENT, "patience_evaluations": 2, **run})


def test_patience_without_validation_pictures_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"no validation pictures.*\[data\.validation\]"):
        loop.train(patient(2), tmp_path / "run")


def test_the_recipe_that_is_kept_states_its_patience(tmp_path: Path):
    loop.train(patient(1), tmp_path / "run", evaluate=Judge(0.2, 0.1))
    assert "patience_evaluations = 1" in (tmp_path / "run" / "recipe.toml").read_text()
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert kinds.count("validation") == 2
