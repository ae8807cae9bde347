"""Parameter groups, the learning rate as a function of the step, averaged weights."""

from __future__ import annotations

import math
import tomllib

import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from litepose.errors import RecipeError  # noqa: E402
from litepose.training.optim import (  # noqa: E402
    AveragedWeights,
    learning_rate,
    make_optimizer,
    set_learning_rate,
    staged_learning_rate,
)
from litepose.training.recipe import parse_recipe  # noqa: E402


def rates(total: int = 100, **optim: object) -> list[float]:
    section = tiny_recipe(optim=optim).optim
    return [learning_rate(step, section, steps_per_epoch=10, total_steps=total) for step in range(total)]


def test_cosine_falls_from_the_full_rate_to_its_final_share():
    values = rates(lr=1.0, warmup_steps=0, final_share=0.1)
    assert values[0] == 1.0
    assert values[50] == pytest.approx(0.55)  # half way between 1 and 0.1
    assert values[99] == pytest.approx(0.1, abs=1e-3)
    assert values == sorted(values, reverse=True)


def test_warm_up_rises_in_a_line_to_the_full_rate():
    values = rates(lr=2.0, warmup_steps=10, warmup_from=0.1)
    assert values[0] == pytest.approx(0.2)
    assert values[5] == pytest.approx(2.0 * 0.55)
    assert values[10] == 2.0


def test_steps_multiply_the_rate_at_the_beginning_of_their_epoch():
    values = rates(lr=1.0, warmup_steps=0, schedule="steps", step_epochs=[3, 7], step_factor=0.1)
    assert values[29] == 1.0
    assert values[30] == pytest.approx(0.1)
    assert values[69] == pytest.approx(0.1)
    assert values[70] == pytest.approx(0.01)


def test_each_stage_goes_through_the_whole_schedule_again():
    section = tiny_recipe(optim={"lr": 1.0, "warmup_steps": 0, "final_share": 0.1, "stage_lr": 0.5}).optim
    values = [staged_learning_rate(step, section, steps_per_epoch=10, stage_steps=50) for step in range(150)]
    assert values[:50] == rates(50, lr=1.0, warmup_steps=0, final_share=0.1)
    assert values[50:100] == [0.5 * value for value in values[:50]]
    assert values[100:] == values[50:100]


def test_norms_and_biases_never_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decayed, kept = make_optimizer(network, tiny_recipe(optim={"weight_decay": 0.3}).optim).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3, 3, 3)]
    assert [tuple(p.shape) for p in kept["params"]] == [(4,), (4,), (4,)]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.3, 0.0)


class Refined(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 3, 3, groups=3), nn.BatchNorm2d(3))
        self.refinements = nn.Conv2d(3, 4, 1)


GROUPS = [
    {"names": "trunk.0.weight", "weight_decay": 0.0},
    {"names": "refinements.weight", "lr_factor": 4.0},
    {"names": "refinements.*", "lr_factor": 8.0},
    {"names": "*.bias", "lr_factor": 2.0},
]


def test_groups_of_a_recipe_have_their_own_rate_and_decay():
    network = Refined()
    optimizer = make_optimizer(network, tiny_recipe(optim={"weight_decay": 0.3, "groups": GROUPS}).optim)
    set_learning_rate(optimizer, 0.5)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert {name: found[id(p)] for name, p in network.named_parameters()} == {
        "trunk.0.weight": (0.5, 0.0), "trunk.0.bias": (1.0, 0.0), "trunk.1.weight": (0.5, 0.0),
        "trunk.1.bias": (1.0, 0.0), "refinements.weight": (2.0, 0.3), "refinements.bias": (4.0, 0.0),
    }  # fmt: skip


def test_without_groups_all_have_one_rate_in_the_two_groups_that_checkpoints_know():
    optimizer = make_optimizer(Refined(), tiny_recipe(optim={"weight_decay": 0.0}).optim)
    set_learning_rate(optimizer, 0.5)
    assert [(len(group["params"]), group["lr"]) for group in optimizer.param_groups] == [(2, 0.5), (4, 0.5)]
    for group in optimizer.param_groups:
        del group["lr_factor"]  # as in an older checkpoint
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def test_a_group_of_no_parameter_is_an_error_and_groups_survive_toml():
    recipe = tiny_recipe(optim={"groups": [{"names": "refinement.*", "lr_factor": 4.0}]})
    assert parse_recipe(tomllib.loads(recipe.to_toml()), "again") == recipe
    with pytest.raises(RecipeError, match=r"refinement\.\*.*trunk\.0\.weight to refinements\.bias"):
        make_optimizer(Refined(), recipe.optim)


def test_averages_warm_up_and_take_in_batch_statistics():
    norm = nn.BatchNorm2d(1)
    average = AveragedWeights(norm, decay=0.9)
    expected = {"weight": 1.0, "running_mean": 0.0}
    for t in range(30):
        with torch.no_grad():
            norm.weight.fill_(float(t))
            norm.running_mean.fill_(-float(t))
            norm.num_batches_tracked.fill_(t)
        average.update(norm)
        decay = min(0.9, (1 + t) / (10 + t))
        for name, value in (("weight", t), ("running_mean", -t)):
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in expected.items():
        assert float(average.state[name]) == pytest.approx(value, rel=1e-5)  # float32 over 30 updates
    assert int(average.state["num_batches_tracked"]) == 29


def test_without_decay_the_average_is_the_network():
    network = nn.Conv2d(2, 2, 1)
    average = AveragedWeights(network, decay=0.0)
    with torch.no_grad():
        network.weight.copy_(torch.randn(2, 2, 1, 1))
    average.update(network)
    assert torch.equal(average.state["weight"], network.weight)


def test_the_rate_is_finite_even_where_warm_up_outlasts_the_run():
    assert all(math.isfinite(rate) and rate > 0 for rate in rates(total=5, warmup_steps=20))
