"""A training that is killed, or cannot write, or loses a helper: nothing that was saved is lost, and it goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from several_processes import TESTS, environment
from tiny_recipe import tiny_recipe, written

torch = pytest.importorskip("torch")

from litepose import checkpoints, files  # noqa: E402
from litepose.errors import SettingError, TrainingError  # noqa: E402
from litepose.training import loop  # noqa: E402
from litepose.training.data import TrainingSamples  # noqa: E402
from litepose.training.log import RunLog  # noqa: E402
from litepose.training.state import NAME, load_checkpoint  # noqa: E402
from test_training_loop import assert_equal, assert_same_run  # noqa: E402

VALIDATED = {"validation": {"source": "synthetic:people=1,seed=9,size=64,length=3"}}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.parametrize(("kills", "seed"), [(5, 1), pytest.param(30, 2, marks=pytest.mark.slow)])
def test_a_training_killed_at_random_moments_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, kills, seed):
    recipe = tiny_recipe(data=VALIDATED, run={"epochs": 3 + kills // 3, "epoch_samples": 4, "evaluate_epochs": 1})
    command = [str(TESTS / "survival_process.py"), str(written(recipe, tmp_path)), str(tmp_path), str(kills), str(seed)]
    done = subprocess.run(
        [sys.executable, *command], env=environment(), capture_output=True, text=True, timeout=60 + 20 * kills
    )
    assert done.returncode == 0, done.stdout + done.stderr
    happened = done.stdout.splitlines()
    assert len(happened) == kills
    assert sum("status 9" in line for line in happened) >= kills - kills // 5, happened  # the others ended before
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    assert_equal(*(checkpoints.load(tmp_path / name / "best.safetensors")[0] for name in ("killed", "whole")))
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on_when_there_is_room(tmp_path):
    recipe = tiny_recipe()
    loop.train(recipe, tmp_path / "whole")

    def fill(network):
        (tmp_path / "run" / f"{NAME}.tmp").symlink_to("/dev/full")
        return {"loss": 1.0}

    judged = tiny_recipe(run={"evaluate_epochs": 2})
    with pytest.raises(TrainingError, match=r"checkpoint of step 6 .*No space left.*untouched.*--resume"):
        loop.train(judged, tmp_path / "run", evaluate=fill)
    assert load_checkpoint(tmp_path / "run")["numbers"]["step"] == 3
    assert not (tmp_path / "run" / f"{NAME}.tmp").is_symlink()
    loop.train(judged, tmp_path / "run", resume=True, evaluate=lambda network: {"loss": 1.0})
    assert_equal(*(load_checkpoint(tmp_path / name)["network"] for name in ("run", "whole")))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_log_that_cannot_be_written_is_one_error_that_says_how_to_go_on(tmp_path, monkeypatch, code):
    def full(self, kind, step, values):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(RunLog, "record", full)
    with pytest.raises(TrainingError, match=rf"{os.strerror(code)}.*--resume"):
        loop.train(tiny_recipe(), tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(loop, "update", lambda *_: pytest.fail("a step was made"))
    with pytest.raises(SettingError, match=r"Cannot write .*recipe\.toml"):
        loop.train(tiny_recipe(), tmp_path / "file" / "run")
    if os.geteuid():  # root may write everywhere
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(SettingError, match=r"Cannot write .*Permission denied"):
            loop.train(tiny_recipe(), tmp_path / "locked" / "run")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_loader_process_that_is_killed_ends_the_training_which_goes_on_as_if_nothing_had_been(tmp_path, monkeypatch):
    recipe = tiny_recipe(run={"workers": 1, "epochs": 3})
    draw = TrainingSamples.draw

    def deadly(self, n):
        if n == 16 and torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return draw(self, n)

    monkeypatch.setattr(TrainingSamples, "draw", deadly)
    # PyTorch says "is killed by signal: Killed" or "exited unexpectedly", whichever it notices first.
    with pytest.raises(TrainingError, match=r"prepares pictures died after step [5-8].*(Killed|exited).*--resume"):
        loop.train(recipe, tmp_path / "run")
    monkeypatch.setattr(TrainingSamples, "draw", draw)
    loop.train(recipe, tmp_path / "run", resume=True)
    loop.train(recipe, tmp_path / "whole")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_files_that_a_killed_process_left_are_removed_and_no_others(tmp_path):
    for name in (".last-0123abcd.safetensors", ".hidden-file", ".recipe-89abcdef.toml", "last-0123abcd.safetensors"):
        (tmp_path / name).touch()
    files.remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".hidden-file", "last-0123abcd.safetensors"}
    files.remove_leftovers(tmp_path / "absent")
