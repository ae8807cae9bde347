"""What tests of networks with one output share: the state that a reference was filled with, how far ours is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from litepose.counting import count
from parity.fill import fill_input, fill_state


def filled(about: dict[str, Any], *, damped: bool = False) -> dict[str, Tensor]:
    """Return the state of a fixture; damped: matrices halved, so that activations stay small."""
    state = {name: torch.from_numpy(array) for name, array in fill_state(about["layout"]).items()}
    return {name: 0.5 * one if damped and one.ndim >= 2 else one for name, one in state.items()}


def difference(network: nn.Module, about: dict[str, Any], wanted: np.ndarray) -> float:
    """Return the largest difference to the reference's output, relative to the largest output."""
    with torch.no_grad():
        (found,) = network(torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"]))))
    assert found.shape == wanted.shape
    return float(np.abs(found.numpy() - wanted).max() / np.abs(wanted).max())


def check_counts(network: nn.Module, about: dict[str, Any]) -> None:
    """Hold parameters and true MACs to the reference's, at every size that the fixture lists."""
    assert about["macs"]
    for shape, macs in about["macs"].items():
        _, height, width = (int(side) for side in shape.split("x"))
        counts = count(network, (width, height))
        assert (counts.params, counts.macs) == (about["params"], macs)
