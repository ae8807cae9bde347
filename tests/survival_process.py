"""Trainings that are killed, for test_training_survival: python survival_process.py RECIPE FOLDER KILLS SEED.

One process that has loaded everything forks a child for each training, which saves the seconds of loading. FOLDER/whole
is trained without interruption; FOLDER/killed in children that are killed with SIGKILL at a random moment of a step, a
checkpoint, an evaluation, a record of the log, or of anything, and then to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch

from litepose.training import loop
from litepose.training.log import RunLog
from litepose.training.recipe import Recipe, load_recipe
from litepose.training.state import has_checkpoint

PHASES = {
    "step": (loop, "update"),
    "checkpoint": (loop, "save_checkpoint"),
    "evaluation": (loop, "_judge"),
    "log": (RunLog, "record"),
}
MOMENTS = (*PHASES, "anything")


def main(recipe: Recipe, folder: Path, kills: int, seed: int) -> None:
    """Do all of it and print which kill came when."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    child = os.fork()
    if child == 0:
        timed(recipe, folder)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    seconds = json.loads((folder / "seconds.json").read_text())
    for number in range(kills):
        moment = MOMENTS[number % len(MOMENTS)]
        killed_in(recipe, folder / "killed", moment, seconds, rng)
    child = os.fork()
    if child == 0:
        loop.train(recipe, folder / "killed", resume=has_checkpoint(folder / "killed"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def timed(recipe: Recipe, folder: Path) -> None:
    """Train without interruption and keep how long each phase takes."""
    seconds: dict[str, list[float]] = {name: [] for name in PHASES}
    for name, (owner, attribute) in PHASES.items():
        usual = getattr(owner, attribute)

        def watched(*arguments, usual=usual, name=name, **options):
            started = time.monotonic()
            try:
                return usual(*arguments, **options)
            finally:
                seconds[name].append(time.monotonic() - started)

        setattr(owner, attribute, watched)
    started = time.monotonic()
    loop.train(recipe, folder / "whole")
    means = {name: float(np.median(values)) for name, values in seconds.items()}
    (folder / "seconds.json").write_text(
        json.dumps({**means, "anything": (time.monotonic() - started) / recipe.run.epochs})
    )


def killed_in(recipe: Recipe, folder: Path, moment: str, seconds: dict[str, float], rng: np.random.Generator) -> None:
    """Go on with a training and kill it at a random time after a phase was entered, most often within it.

    So early that it makes little progress and much is left for the kills to come.
    """
    entered, told = os.pipe()
    occurrence = {"anything": 0, "log": int(rng.integers(1, 3))}.get(moment, 1)
    child = os.fork()
    if child == 0:
        tell_when_entered(moment, occurrence, told)
        loop.train(recipe, folder, resume=has_checkpoint(folder))
        os._exit(0)
    os.close(told)
    os.read(entered, 1)  # nothing, where the training ended before
    os.close(entered)
    wait = float(rng.uniform(0, 1)) * seconds[moment]
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status in (signal.SIGKILL, 0), status
    found = has_checkpoint(folder)
    print(f"{moment}: entered {occurrence} times, then {1e3 * wait:.1f} ms; status {status}, checkpoint {found}")


def tell_when_entered(moment: str, occurrence: int, told: int) -> None:
    """Write a byte when the phase is entered for this time, at once for no phase."""
    if moment == "anything":
        os.write(told, b".")
        return
    owner, attribute = PHASES[moment]
    usual, left = getattr(owner, attribute), [occurrence]

    def watched(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            os.write(told, b".")
        return usual(*arguments, **options)

    setattr(owner, attribute, watched)


if __name__ == "__main__":
    main(load_recipe(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
