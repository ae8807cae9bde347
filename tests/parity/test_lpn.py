"""LPN against the authors' implementation: network, importer and counts at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from litepose import checkpoints
from litepose.counting import count
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, MPII16
from parity.fill import fill_input, fill_state
from parity.fixtures import cases, load_case

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 1e11
DAMPED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # the same as plain: folding rounds every weight once
ATTENTIONS = {"noatt": "none", "se": "se"}  # by the end of a case's name; all others have the global context
TOPIC = "models/lpn"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def filled(about: dict[str, Any], *, damped: bool = False) -> dict[str, Tensor]:
    state = {name: torch.from_numpy(array) for name, array in fill_state(about["layout"]).items()}
    return {name: 0.5 * one if damped and one.ndim >= 2 else one for name, one in state.items()}


def imported(tmp_path, case: str, state: dict[str, Tensor], **settings: Any) -> PoseNetwork:
    attention = ATTENTIONS.get(case.rsplit("-", 1)[1], "gc")
    skeleton = {17: COCO17, 16: MPII16}[len(next(t for name, t in state.items() if name.endswith("layer.bias")))]
    torch.save(state, tmp_path / "model_best.pth")
    network, _ = checkpoints.import_official(
        tmp_path / "model_best.pth", case.split("-")[0], skeleton, attention=attention, **settings
    )
    return network


def difference(network: nn.Module, about: dict[str, Any], wanted: np.ndarray) -> float:
    with torch.no_grad():
        (found,) = network(torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"]))))
    assert found.shape == wanted.shape
    return float(np.abs(found.numpy() - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("case", cases(TOPIC))
def test_lpn_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, filled(about))
    assert difference(network, about, arrays["output_0"]) < PLAIN
    for shape, macs in about["macs"].items():
        _, height, width = (int(side) for side in shape.split("x"))
        counts = count(network, (width, height))
        assert (counts.params, counts.macs) == (about["params"], macs)


@pytest.mark.parametrize("case", cases(TOPIC))
def test_lpn_equals_the_authors_on_well_scaled_weights(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, filled(about, damped=True))
    assert difference(network, about, arrays["damped_output_0"]) < DAMPED


def test_folded_lpn_equals_the_authors(tmp_path):
    about, arrays = load_case(TOPIC, "lpn_50-coco")
    fused = fuse_batchnorm(imported(tmp_path, "lpn_50-coco", filled(about)))
    assert difference(fused, about, arrays["output_0"]) < FOLDED
