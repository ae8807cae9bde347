"""`learning_rate` against mmpose v0.13.0 (linear warm-up, then steps by epoch)."""

from __future__ import annotations

import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")

from litepose.training.optim import learning_rate  # noqa: E402
from parity.fixtures import load_case  # noqa: E402

STEPS = {
    "lr": 2e-3, "warmup_steps": 500, "warmup_from": 0.001,
    "schedule": "steps", "step_epochs": [170, 200], "step_factor": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(("points", "rates", "per_epoch"), [("points", "lr", 1000), ("points_short", "lr_short", 100)])
def test_warm_up_and_steps_equal_mmpose(points, rates, per_epoch):
    _, arrays = load_case("lr-schedule", "step_170_200")
    optim = tiny_recipe(optim=STEPS).optim
    for (epoch, iteration), expected in zip(arrays[points], arrays[rates], strict=True):
        step = int(epoch) * per_epoch + int(iteration)
        rate = learning_rate(step, optim, steps_per_epoch=per_epoch, total_steps=210 * per_epoch)
        assert rate == pytest.approx(expected, rel=1e-12)  # float64 in another order
