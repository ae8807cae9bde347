"""The comparison of exported top-down networks: its forms are the same function, and it prints what it says."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from litepose import checkpoints, models

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def topdown(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import topdown

    yield topdown
    for name in ("topdown", "reference_style"):
        sys.modules.pop(name)


@pytest.mark.parametrize("block", ["lite", "naive"])
def test_the_reference_style_computes_the_same_by_other_steps(topdown, block):
    torch.manual_seed(0)
    network = models.build("litehrnet_18", num_keypoints=3, depths=(1, 1, 1), block=block).double().eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.5, 0.5)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    reference = topdown.reference_style(network)
    calls = []
    reference.trunk.stages[0][0].inflows[1].paths[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        (wanted,), (found,) = network(images), reference(images)
    assert len(calls) == 2  # twice, as the authors do
    assert float((found - wanted).abs().max()) <= 1e-9 * float(wanted.abs().max())  # float64, another order of sums


def test_it_prints_ratios_and_shares_of_equal_outputs(topdown, capsys, monkeypatch):
    shallow = partial(checkpoints.default_spec, depths=(1, 1, 1))  # a third of the nodes to export
    monkeypatch.setattr(topdown.checkpoints, "default_spec", shallow)
    topdown.main(["--models", "litehrnet_18", "--size", "64x64", "--batches", "2", "--rounds", "3", "--people", "2"])
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if re.match(r"litehrnet_18 +2 ", line)]
    assert [row[2] for row in rows] == ["reference-style", "plain", "exported"]
    assert all(float(row[3]) > 0 and float(row[-1]) < 1e-4 for row in rows)  # CPU ms; error of the outputs
    assert float(rows[0][4]) == 1.0
    crop, network, decode, share = (float(one) for one in lines[-1].split()[1:5])
    assert crop > 0 and network > 0 and decode > 0 and share > 0


def test_calls_take_turns_and_the_first_rounds_do_not_count(topdown):
    order = []
    times = topdown.take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert "".join(order) == "baab" * 2
    assert [len(clock) for clocks in times.values() for clock in clocks] == [2, 2, 2, 2]
    assert topdown.faster([2.0, 4.0, 6.0], [2.0, 2.0, 2.0]) == "2.000  (1.000 .. 3.000)"


def test_peaks_and_boxes_of_the_steps_lie_inside(topdown):
    rng = np.random.default_rng(0)
    boxes = topdown.random_boxes(20, rng)
    assert (boxes >= 0).all() and (boxes <= np.tile(topdown.PICTURE, 2)).all()
    maps = topdown.drawn_maps((17, 32, 24), rng)
    assert maps.dtype == np.float32 and (maps.max(axis=(1, 2)) > 0.3).all()
