"""EfficientHRNet against the LitePose authors' implementation: network, importer and counts at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, CROWDPOSE14
from parity.fixtures import cases, load_case
from parity.networks import check_counts, filled, largest_difference, scaled

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 2e5
SCALED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # folding rounds every weight once
TOPIC = "models/efficienthrnet"
SMALL = "h4_small"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def imported(tmp_path, case: str, state: dict[str, Tensor]) -> PoseNetwork:
    """ "h4-coco" is efficienthrnet_h4 with 17 keypoints."""
    skeleton = {17: COCO17, 14: CROWDPOSE14}[len(state["final_layers.1.bias"])]
    torch.save({f"module.{name}": one for name, one in state.items()}, tmp_path / "checkpoint.pth.tar")
    model = "efficienthrnet_" + case.removesuffix("_small").removesuffix("-coco")
    network, spec = checkpoints.import_official(tmp_path / "checkpoint.pth.tar", model, skeleton)
    assert spec.provenance["colour"] == "RGB"
    return network


@pytest.mark.parametrize("case", cases(TOPIC))
def test_efficienthrnet_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, filled(about))
    assert largest_difference(network, about, arrays) < PLAIN
    check_counts(network, about)


@pytest.mark.parametrize("case", cases(TOPIC))
def test_efficienthrnet_equals_the_authors_on_well_scaled_weights(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, case, scaled(about))
    assert largest_difference(network, about, arrays, "scaled_output") < SCALED


def test_folded_efficienthrnet_equals_the_authors(tmp_path):
    about, arrays = load_case(TOPIC, SMALL)
    fused = fuse_batchnorm(imported(tmp_path, SMALL, scaled(about)))
    assert largest_difference(fused, about, arrays, "scaled_output") < FOLDED
