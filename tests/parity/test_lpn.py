"""LPN against the authors' implementation: network, importer and counts at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, MPII16
from parity.fixtures import cases, load_case
from parity.networks import check_counts, difference, filled

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 1e11
DAMPED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # the same as plain: folding rounds every weight once
ATTENTIONS = {"noatt": "none", "se": "se"}  # by the end of a case's name; all others have the global context
TOPIC = "models/lpn"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def imported(tmp_path, case: str, state: dict[str, Tensor], **settings: Any) -> PoseNetwork:
    attention = ATTENTIONS.get(case.rsplit("-", 1)[1], "gc")
    skeleton = {17: COCO17, 16: MPII16}[len(next(t for name, t in state.items() if name.endswith("layer.bias")))]
    torch.save(state, tmp_path / "model_best.pth")
    network, _ = checkpoints.import_official(
        tmp_path / "model_best.pth", case.split("-")[0], skeleton, attention=attention, **settings
    )
    return network


@pytest.mark.parametrize("case", cases(TOPIC))
def test_lpn_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, filled(about))
    assert difference(network, about, arrays["output_0"]) < PLAIN
    check_counts(network, about)


@pytest.mark.parametrize("case", cases(TOPIC))
def test_lpn_equals_the_authors_on_well_scaled_weights(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, filled(about, damped=True))
    assert difference(network, about, arrays["damped_output_0"]) < DAMPED


def test_folded_lpn_equals_the_authors(tmp_path):
    about, arrays = load_case(TOPIC, "lpn_50-coco")
    fused = fuse_batchnorm(imported(tmp_path, "lpn_50-coco", filled(about)))
    assert difference(fused, about, arrays["output_0"]) < FOLDED
