"""What tests of networks share: the state that a reference was filled with, how far our outputs are off, counts."""

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


def scaled(about: dict[str, Any]) -> dict[str, Tensor]:
    """Return the state of a fixture with the scales of its norms made smaller, as the fixture says."""
    factor = about["scaled"]["factor"]
    return {
        name: factor * one if one.ndim == 1 and name.endswith(".weight") else one for name, one in filled(about).items()
    }


def largest_difference(
    network: nn.Module, about: dict[str, Any], arrays: dict[str, np.ndarray], outputs: str = "output"
) -> float:
    """Return the largest difference to the reference over all outputs, each relative to its largest value.

    outputs: "output" or "scaled_output". A fixture made small holds every about["every"]-th row and column.
    """
    with torch.no_grad():
        found = network(torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"]))))
    assert len(found) == len(about["output_names"])
    differences = []
    for i, output in enumerate(found):
        wanted, every = arrays[f"{outputs}_{i}"], about.get("every", 1)
        ours = output.numpy()[..., ::every, ::every]
        assert ours.shape == wanted.shape
        differences.append(float(np.abs(ours - wanted).max() / np.abs(wanted).max()))
    return max(differences)


def check_counts(network: nn.Module, about: dict[str, Any]) -> None:
    """Hold parameters and MACs to the reference's, at every size that the fixture lists: the true ones, and those by
    the rule of LitePose's authors where it has them.
    """
    assert about["macs"]
    for shape, macs in about["macs"].items():
        _, height, width = (int(side) for side in shape.split("x"))
        counts = count(network, (width, height), rule="litepose")
        assert (counts.params, counts.macs) == (about["params"], macs)
        if "macs_paper_convention" in about:
            assert counts.macs_reference == about["macs_paper_convention"][shape]
